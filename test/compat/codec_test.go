//go:build compat

package compat

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Kafka's own classes read what our codec writes and write it again byte for
// byte, for every message and stored record. The test lies beside the codec and
// is skipped without Kafka's jars; here it gets them.
func TestCodecWithJava(t *testing.T) {
	cmd := exec.Command("go", "test", "./internal/wire", "-run", "^TestJava$", "-count=1", "-v")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "MYELIN_KAFKA_CLASSPATH="+classpath(t, "broker"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestJava") {
		t.Fatalf("%v\n%s", err, tail(string(out)))
	}
}
