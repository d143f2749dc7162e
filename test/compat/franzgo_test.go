//go:build compat

package compat

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// onBroker are tests of its suite that talk to the broker, whose names must be
// among those that passed: most others need none.
var onBroker = []string{"TestAddRemovePartitions", "TestClient_Produce", "TestClient_ProduceLargeMessages", "TestConsumeRegex",
	"TestConsumeTopicRetrieval", "TestConsumeTopicRetrieval_Many", "TestDirectPartitionPurge", "TestGroupETL", "TestGroupETL/range",
	"TestGroupETL/cooperative-sticky/static", "TestGroupSimple", "TestIssue325", "TestIssue337", "TestIssue434", "TestIssue523", "TestIssue648",
	"TestIssue769", "TestIssue810", "TestIssue865", "TestIssueFetchLargerThanBrokerMaxReadBytes", "TestPauseIssue489",
	"TestPauseIssueOct2023", "TestPing", "TestUnknownGroupOffsetFetchPinned", "TestTxnEtl", "Test848RegexBrokerResolves",
	"TestShareGroup", "TestShareGroupETL", "TestShareGroupAckOnClose", "TestShareGroupOffsetsAdmin", "TestConsumeRegexShareSkipsInternal",
	"TestSCRAMAuth", "TestSCRAMAuthBadCredentials"}

// franz-go's own integration tests, unchanged, from the module cache.
func TestFranzGoSuite(t *testing.T) {
	b, in, _ := guardedMyelin(t)
	admin := wirecmp.Dial("myelin", b)
	defer admin.Close()
	var made msg.AlterUserScramCredentialsResponse
	if err := admin.Do(carol(), 0, &made); err != nil || made.Results[0].ErrorCode != 0 {
		t.Fatal(err, made)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/twmb/franz-go")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("finding franz-go's sources: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "franz-go")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-json", "-count=1", "-timeout", "9m", "./pkg/kgo")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+b, "KGO_TEST_RF=1", "KGO_TEST_SCRAM_SEEDS="+in, "KGO_TEST_SCRAM=carol:ca", "KGO_TEST_RECORDS=50000", "GOFLAGS=-mod=mod")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	passed := report(t, bufio.NewScanner(pipe))
	if err := cmd.Wait(); err != nil {
		t.Errorf("franz-go's suite: %v\n%s", err, tail(stderr.String()))
	}
	for _, name := range onBroker {
		if !passed[name] {
			t.Errorf("%s of franz-go's suite did not pass", name)
		}
	}
	t.Logf("%d tests passed", len(passed))
}

// report logs the verdict of each test in a stream of test2json events, fails
// for each that failed with what it printed, and returns those that passed.
func report(t *testing.T, lines *bufio.Scanner) map[string]bool {
	t.Helper()
	lines.Buffer(nil, 1<<20)
	printed := map[string]*strings.Builder{}
	passed := map[string]bool{}
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "output":
			if printed[e.Test] == nil {
				printed[e.Test] = new(strings.Builder)
			}
			printed[e.Test].WriteString(e.Output)
		case "pass":
			passed[e.Test] = true
			t.Logf("pass %s", e.Test)
		case "skip":
			t.Logf("skip %s", e.Test)
		case "fail":
			t.Errorf("fail %s\n%s", e.Test, tail(printed[e.Test].String()))
		}
	}
	return passed
}
