package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is a buffer that a broker's log and a test may share.
type lockedBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.String()
}

// startDev runs `myelin dev` in this process until the test ends, and returns
// its bootstrap address and what it prints.
func startDev(t *testing.T, args ...string) (address string, out *lockedBuffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ready")
	ctx, cancel := context.WithCancel(context.Background())
	out = &lockedBuffer{}
	errs := &lockedBuffer{}
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, Process{Args: append([]string{"dev", "--port", "0", "--ready-file", file}, args...), In: strings.NewReader(""), Out: out, Err: errs})
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("dev ended with %d: %s", code, errs.String())
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the ready file outlives the broker")
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case <-tick.C:
			if text, err := os.ReadFile(file); err == nil {
				first, _, _ := strings.Cut(string(text), "\n")
				return first, out
			}
		case code := <-ended:
			ended <- code
			t.Fatalf("dev ended with %d before it was ready: %s", code, errs.String())
		case <-deadline:
			t.Fatalf("dev is not ready: %s", errs.String())
		}
	}
}

// TestJourney walks the first five minutes of a user through the command tree,
// against a broker that dev runs in this process.
func TestJourney(t *testing.T) {
	address, banner := startDev(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	env := []string{"MYELIN_BROKERS=" + address}
	for _, step := range []struct {
		input string
		args  string
		code  int
		out   string
		errs  string
	}{
		{"", "ping", 0, "1 brokers", ""},
		{"", "topic list", 0, "TOPIC", "no topics; create one with"},
		{"", "topic create orders -p 3 -c retention.ms=86400000", 0, "orders", ""},
		{"", "topic create orders", exitFailed, "", "topic orders exists already"},
		{"", "topic create orders other -p 1", exitPartial, "other", "topic orders exists already"},
		{"", "topic create x -c retenton.ms=1", exitUsage, "", "did you mean retention.ms?"},
		{"", "topic create x --dry-run", 0, "", "nothing was created"},
		{"", "topic list -o name", 0, "orders\nother\n", ""},
		{"a\nb\nc\n", "produce orders -k key", 0, "", "3 records to orders"},
		{"k1=v1\n", "produce orders -f %k=%v\\n -H h:1 -z zstd -o jsonl", 0, `"topic":"orders"`, ""},
		{"x\n", "produce missing --create=false", exitNotFound, "", "topic missing does not exist; create it with: myelin topic create missing"},
		{"x\n", "produce auto", 0, "", "1 records to auto"},
		{"", "consume orders -e -f %k=%v\\n", 0, "key=a\nkey=b\nkey=c\n", ""},
		{"", "consume orders -e -f %k=%v\\n", 0, "k1=v1\n", ""},
		{"", "consume orders -n 1 -o jsonl", 0, `"topic":"orders"`, ""},
		{"", "consume nope -e", exitNotFound, "", "topic nope does not exist"},
		{"", "topic describe orders", 0, "86400000  TOPIC", ""},
		{"", "topic config set orders segment.ms=x", exitFailed, "", "Not a number of type LONG"},
		{"", "topic config set orders segment.ms=60000", 0, "", ""},
		{"", "topic config get orders segment.ms", 0, "60000  TOPIC", ""},
		{"", "topic config unset orders segment.ms", 0, "", ""},
		{"", "topic config get orders segment.ms", 0, "604800000  DEFAULT", ""},
		{"", "topic partitions add orders --to 4", 0, "", "4 partitions"},
		{"", "topic partitions add orders --to 2", exitFailed, "", "would not be an increase"},
		{"", "consume orders -g g -n 4", 0, "v1", ""},
		{"", "group list -o name", 0, "g\n", ""},
		{"", "group describe g", 0, "state Empty", ""},
		{"", "group seek g --to start", 0, "orders", "nothing was moved"},
		{"", "group seek g --to start --yes", 0, "orders", ""},
		{"", "consume orders -g g -n 4", 0, "v1", ""},
		{"", "group delete g --yes", 0, "g\n", ""},
		{"", "group describe g", exitNotFound, "", "group g does not exist"},
		{"", "topic trim orders --before end --yes", 0, "orders 0", ""},
		{"", "consume orders -e", 0, "", ""},
		{"", "bench produce bench -n 2000", 0, "produce  2000", ""},
		{"", "bench consume bench", 0, "consume  2000", ""},
		{"", "topic delete other", exitUsage, "", "add --yes"},
		{"", "topic delete other --yes", 0, "other\n", ""},
		{"", "topic describe other", exitNotFound, "", "topic other does not exist"},
	} {
		out, errs, code := run(t, step.input, env, strings.Fields(step.args)...)
		if code != step.code || !strings.Contains(out, step.out) || !strings.Contains(errs, step.errs) {
			t.Errorf("myelin %s: exit %d\n%s%s\nwant %d, %q, %q", step.args, code, out, errs, step.code, step.out, step.errs)
		}
	}
	if lines := strings.Count(banner.String(), "\n"); lines != 6 || !strings.Contains(banner.String(), "ready at "+address) {
		t.Errorf("banner of %d lines:\n%s", lines, banner.String())
	}
}

// TestDevTwice finds what stands in the way of a second broker.
func TestDevTwice(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	address, _ := startDev(t, "--data-dir", data)
	if _, errs, code := run(t, "", nil, "dev", "--listen", address, "--ephemeral"); code != exitFailed || !strings.Contains(errs, "choose another port") {
		t.Errorf("port in use: %d %s", code, errs)
	}
	if _, errs, code := run(t, "", nil, "dev", "--port", "0", "--data-dir", data); code != exitFailed || !strings.Contains(errs, "in use by another process") {
		t.Errorf("directory in use: %d %s", code, errs)
	}
}

// TestDevKeeps restarts a broker on its directory and reads what was written.
func TestDevKeeps(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	t.Run("write", func(t *testing.T) {
		address, _ := startDev(t, "--data-dir", data)
		if _, errs, code := run(t, "one\ntwo\n", nil, "produce", "t", "-b", address); code != 0 {
			t.Fatal(errs)
		}
	})
	address, _ := startDev(t, "--data-dir", data)
	if out, errs, code := run(t, "", nil, "consume", "t", "-e", "-b", address); code != 0 || out != "one\ntwo\n" {
		t.Errorf("%d %q %s", code, out, errs)
	}
}
