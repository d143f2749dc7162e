package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const units = root + "/deploy/systemd"

// TestUnit lets systemd read the unit for three nodes, with the binary where it
// is here, and say how much the process is shut in.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile(units + "/myelin@.service")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	here := strings.ReplaceAll(string(text), "/usr/bin/myelin", binary)
	if here == string(text) {
		t.Fatal("the unit does not name /usr/bin/myelin")
	}
	var names []string
	for i := 1; i <= 3; i++ {
		name := filepath.Join(dir, fmt.Sprintf("myelin@%d.service", i))
		if err := os.WriteFile(name, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	for _, args := range [][]string{
		append([]string{"verify", "--man=no"}, names...),
		append([]string{"security", "--offline=true", "--threshold=20"}, names[:1]...),
	} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		complaint := regexp.MustCompile(`(?m)^.*myelin@\d\.service:.*$`).FindString(string(out))
		if err != nil || args[0] == "verify" && complaint != "" {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
	for _, must := range []string{"--config /etc/myelin/cluster.yaml --config /etc/myelin/node-%i.yaml", "StateDirectory=myelin/%i\n", "User=myelin\n"} {
		if !strings.Contains(string(text), must) {
			t.Errorf("the unit has no %q", must)
		}
	}
}

// TestUnitSettings lets the binary judge each node's two files, and compares
// what must differ between nodes and what must not.
func TestUnitSettings(t *testing.T) {
	seen := map[string]int{}
	for i := 1; i <= 3; i++ {
		files := []string{"--config", units + "/cluster.yaml", "--config", fmt.Sprintf("%s/node-%d.yaml", units, i)}
		if out := lint(t, nil, files[1], files[3]); out != "" {
			t.Errorf("node %d: %s", i, out)
		}
		for _, key := range []string{"node.id", "log.dirs", "listeners", "admin.listener"} {
			value := setting(t, key, files)
			if other, twice := seen[key+value]; twice {
				t.Errorf("%s of nodes %d and %d: %s", key, other, i, value)
			}
			seen[key+value] = i
		}
		if got, want := setting(t, "log.dirs", files), fmt.Sprintf("/var/lib/myelin/%d", i); got != want {
			t.Errorf("node %d: log.dirs %s, and the unit makes %s", i, got, want)
		}
		quorum := strings.Split(setting(t, "controller.quorum.bootstrap.servers", files), ",")
		_, controller, _ := strings.Cut(setting(t, "listeners", files), "CONTROLLER://")
		if !slices.Contains(quorum, controller) || len(quorum) != 3 {
			t.Errorf("node %d listens for controllers at %s and looks for them at %v", i, controller, quorum)
		}
	}
}

// setting is what the binary takes a property to be set to.
func setting(t *testing.T, key string, flags []string) string {
	t.Helper()
	out := myelin(t, nil, append([]string{"config", "explain", key}, flags...)...)
	m := regexp.MustCompile(`(?m)^\s*value\s+(\S+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("%s is not said to be set:\n%s", key, out)
	}
	return m[1]
}
