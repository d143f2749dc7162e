package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDevFleet starts three nodes in this process.
func TestDevFleet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	t.Run("first", func(t *testing.T) {
		address, out := startDev(t, "-n", "3", "--data-dir", dir)
		if n := len(strings.Split(address, ",")); n != 3 {
			t.Fatalf("bootstrap addresses: %s", address)
		}
		if _, errs, code := run(t, "one\ntwo\n", nil, "produce", "demo", "-b", address); code != exitOK {
			t.Fatal(code, errs)
		}
		nodes, errs, code := run(t, "", nil, "cluster", "info", "-b", address, "-o", "template={{.Node}} {{.State}} {{.Replicas}}")
		if code != exitOK || strings.Count(nodes, " in service 1\n") != 3 {
			t.Errorf("%d nodes, %s, exit %d:\n%s", strings.Count(nodes, "\n"), errs, code, nodes)
		}
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
