package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDevFleet starts three nodes in this process.
func TestDevFleet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	t.Run("first", func(t *testing.T) {
		address, out := startDev(t, "-n", "3", "--data-dir", dir)
		if n := len(strings.Split(address, ",")); n != 3 {
			t.Fatalf("bootstrap addresses: %s", address)
		}
		// A node is ready a moment before the others know that it serves.
		soon(t, []string{"topic", "create", "demo", "-p", "1", "-r", "3", "-b", address}, "demo")
		if _, errs, code := run(t, "one\ntwo\n", nil, "produce", "demo", "-b", address); code != exitOK {
			t.Fatal(code, errs)
		}
		soon(t, []string{"cluster", "info", "-b", address, "-o", "template={{.Node}} {{.State}} {{.Replicas}}"},
			"1 in service 1\n2 in service 1\n3 in service 1\n")
		if !strings.Contains(out.String(), "consume demo -b "+address) {
			t.Errorf("the banner: %s", out)
		}
	})
	for _, n := range []string{"1", "2", "3"} {
		if _, err := os.Stat(filepath.Join(dir, n, "meta.properties")); err != nil {
			t.Error(err)
		}
	}
	if _, errs, code := run(t, "", nil, "-q", "dev", "-n", "3", "--data-dir", filepath.Join(dir, "1")); code != exitUsage || !strings.Contains(errs, "holds the data of one node") {
		t.Error(errs, code)
	}
	if _, errs, code := run(t, "", nil, "-q", "dev", "-n", "0"); code != exitUsage || !strings.Contains(errs, "-n 0: want 1 to 9") {
		t.Error(errs, code)
	}
}

// soon runs a command until it succeeds and prints want, for a minute at most.
func soon(t *testing.T, args []string, want string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	for {
		out, errs, code := run(t, "", nil, args...)
		if code == exitOK && strings.Contains(out, want) {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
}
