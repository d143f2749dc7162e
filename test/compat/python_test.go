//go:build compat

package compat

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// python makes a virtual environment with the pinned client libraries, once a
// machine.
var python = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), "myelin-compat-venv")
	bin := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return bin, nil
	}
	for _, argv := range [][]string{
		{"python3", "-m", "venv", dir},
		{filepath.Join(dir, "bin", "pip"), "install", "-q", "--disable-pip-version-check", "-r", "python/requirements.txt"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", errors.Join(err, errors.New(tail(string(out))))
		}
	}
	return bin, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
})

func runPython(t testing.TB, limit time.Duration, args ...string) output {
	t.Helper()
	bin, err := python()
	if err != nil {
		t.Fatalf("a Python with confluent-kafka is needed: %v", err)
	}
	return run(t, limit, "", append([]string{bin}, args...)...)
}

// confluent-kafka is librdkafka's Python client: admin, idempotent producer,
// group consumer with commits, and its errors.
func TestConfluentPython(t *testing.T) {
	b := target(t)
	out := runPython(t, 2*time.Minute, "python/confluent.py", b)
	t.Log(out.stdout)
}

// kafka-python is a client written from the protocol's documents alone, with
// its own codec and group code.
func TestKafkaPython(t *testing.T) {
	b := target(t)
	out := runPython(t, 2*time.Minute, "python/kafkapython.py", b)
	t.Log(out.stdout)
}
