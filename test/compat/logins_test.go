//go:build compat

package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// librdkafka makes users, logs in by each mechanism, is refused, and renews its
// sessions.
func TestLoginsOfPython(t *testing.T) {
	open, in, short := guardedMyelin(t)
	t.Log(runPython(t, 2*time.Minute, "python/logins.py", open, in, short).stdout)
}

// Java's clients log in by each mechanism, are refused, and renew their sessions.
func TestLoginsOfJava(t *testing.T) {
	open, in, short := guardedMyelin(t)
	admin := wirecmp.Dial("myelin", open)
	defer admin.Close()
	var made msg.AlterUserScramCredentialsResponse
	if err := admin.Do(carol(), 0, &made); err != nil || made.Results[0].ErrorCode != 0 {
		t.Fatal(err, made)
	}
	tool(t, "", "configs", "--bootstrap-server", open, "--alter", "--entity-type", "users", "--entity-name", "dave", "--add-config", "SCRAM-SHA-512=[password=da]")
	login := func(mechanism, module, user, password string) string {
		file := filepath.Join(t.TempDir(), "client.properties")
		text := fmt.Sprintf("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=%s\nsasl.jaas.config=org.apache.kafka.common.security.%s required username=\"%s\" password=\"%s\";\n",
			mechanism, module, user, password)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const plain, scram = "plain.PlainLoginModule", "scram.ScramLoginModule"
	tool(t, "", "topics", "--bootstrap-server", in, "--command-config", login("PLAIN", plain, "alice", "al"), "--create", "--topic", "j", "--partitions", "1")
	for i, file := range []string{login("PLAIN", plain, "bob", "bo"), login("SCRAM-SHA-256", scram, "carol", "ca"), login("SCRAM-SHA-512", scram, "dave", "da")} {
		tool(t, fmt.Sprintln("by", i), "console-producer", "--bootstrap-server", in, "--topic", "j", "--command-config", file)
		out := tool(t, "", "console-consumer", "--bootstrap-server", in, "--topic", "j", "--command-config", file, "--from-beginning", "--max-messages", fmt.Sprint(i+1), "--timeout-ms", "30000")
		want(t, out, fmt.Sprint("by ", i))
	}
	for _, file := range []string{login("SCRAM-SHA-256", scram, "carol", "no"), login("SCRAM-SHA-256", scram, "nobody", "x"), login("PLAIN", plain, "alice", "no")} {
		out, err := tryRun(t, time.Minute, "", java(t, "tools", tools["topics"], "--bootstrap-server", in, "--command-config", file, "--list")...)
		if err == nil || !strings.Contains(out.stdout+out.stderr, "SaslAuthenticationException") {
			t.Errorf("one with a wrong password: %v\n%s%s", err, tail(out.stdout), tail(out.stderr))
		}
	}
	out := tool(t, "", "producer-perf", "--topic", "j", "--num-records", "1000", "--record-size", "10", "--throughput", "100", "--bootstrap-server", short,
		"--command-config", login("SCRAM-SHA-256", scram, "carol", "ca")) // ten seconds, sessions of four
	want(t, out, "1000 records sent")
}
