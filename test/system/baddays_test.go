//go:build system && linux

package system

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// loaded is a cluster under a load of records, whose nodes reach each other
// directly.
func loaded(t testing.TB, dirs []string) (*fleet, *load) {
	t.Helper()
	f := newFleet(t, dirs, nil)
	f.start(t)
	l := startLoad(t, f.addrs, loadConfig{producers: 2, partitions: 4, largest: 1000, replicas: 3, pace: recordPace})
	f.goOn(t, l)
	return f, l
}

// goOn waits until every partition acknowledges again.
func (f *fleet) goOn(t testing.TB, l *load) {
	t.Helper()
	since := time.Now().Add(underWay)
	for end := time.Now().Add(time.Minute); !l.silence.heard(since) && len(l.broken()) == 0; pause(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a partition acknowledged nothing for a minute\n%s", f.logs())
		}
	}
	if bad := l.broken(); len(bad) > 0 {
		t.Fatalf("%s\n%s", bad[0], f.logs())
	}
}

// end checks all that was written, and that the replicas are equal.
func (f *fleet) end(t testing.TB, l *load) {
	t.Helper()
	l.finish(t)
	f.compare(t)
	if t.Failed() {
		t.Log(f.logs())
	}
}

func threeFolders(t testing.TB) []string {
	return []string{folders(t, 1)[0], folders(t, 1)[0], folders(t, 1)[0]}
}

// replace starts a node on an empty disk, as one that joins; then what is on it has
// to count. Everything is checked in the end.
func (f *fleet) replace(t testing.TB, l *load, b *broker) {
	t.Helper()
	if err := os.RemoveAll(b.dirs[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.dirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	b.rejoin(t)
	b.launch(t)
	f.ready(t)
	f.whole(t)
	f.goOn(t, l)
	// The new disk knows nothing of what the old one voted for: it learns, until
	// somebody says that the old one will not come back.
	f.myelin(t, "cluster", "quorum", "remove-voter", "3", "-y")
	f.myelin(t, "cluster", "quorum", "add-voter", "3", "--address", f.voters[2], "-y")
	f.nodes[0].kill() // what is acknowledged now is on the new disk
	f.goOn(t, l)
	f.nodes[0].launch(t)
	f.ready(t)
	f.end(t, l)
}

// myelin runs a command of the binary until it succeeds.
func (f *fleet) myelin(t testing.TB, args ...string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; pause(100 * time.Millisecond) {
		out, code := f.nodes[0].myelin(append(args, "-b", f.addrs)...)
		if code == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("myelin %s: exit %d\n%s\n%s", strings.Join(args, " "), code, out, f.logs())
		}
	}
}

// rejoin formats the node's empty directory as that of one that joins.
func (b *broker) rejoin(t testing.TB) {
	t.Helper()
	var args []string
	for i := 0; i < len(b.args); i += 2 {
		setting := b.args[i+1]
		if voters, ok := strings.CutPrefix(setting, "controller.quorum.voters="); ok {
			var servers []string
			for _, v := range strings.Split(voters, ",") {
				_, address, _ := strings.Cut(v, "@")
				servers = append(servers, address)
			}
			setting = "controller.quorum.bootstrap.servers=" + strings.Join(servers, ",")
		}
		args = append(args, b.args[i], setting)
	}
	b.args = args
	if out, code := b.myelin(append([]string{"storage", "format", "--no-initial-controllers"}, b.args...)...); code != 0 {
		t.Fatalf("formatting: exit %d\n%s", code, out)
	}
}

// TestOldAndEmptyDisk gives a node back what its disk held some time ago, as from a
// snapshot of the machine: it says what is wrong and ends. On an empty disk it comes
// back as one that joins, under a new identity, and gets all that it had.
func TestOldAndEmptyDisk(t *testing.T) {
	f, l := loaded(t, threeFolders(t))
	b := f.nodes[2]
	b.kill()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(b.dirs[0])); err != nil {
		t.Fatal(err)
	}
	b.launch(t)
	f.ready(t)
	f.whole(t)
	f.goOn(t, l)
	b.stop(t)
	f.goOn(t, l)
	if err := os.RemoveAll(b.dirs[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.dirs[0], os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	b.launch(t)
	select {
	case <-b.exited:
		const want = "the disk was lost or set back. Format the directory anew, so that the node joins as a new member"
		if b.err == nil || !strings.Contains(b.tail(), want) {
			t.Errorf("a node with an old disk ended with %v, and does not say %q", b.err, want)
		}
	case <-time.After(time.Minute):
		t.Errorf("a node runs on with an old disk")
	}
	b.kill()
	f.goOn(t, l)
	f.replace(t, l, b)
}

// TestStrangers starts nodes that do not belong to a cluster: each is told why and
// ends, and the cluster goes on.
func TestStrangers(t *testing.T) {
	f, l := loaded(t, threeFolders(t))
	for _, c := range []struct{ name, id, cluster, want string }{
		{"two nodes with one id", "3", clusterID, "node 3 is there and alive: give the new one a node.id of its own"},
		{"a node of another cluster", "4", "BBBBBBBBBBBBBBBBBBBBBQ", "cluster " + clusterID},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := f.stranger(t, c.id, c.cluster)
			b.launch(t)
			select {
			case <-b.exited:
				if out := b.tail(); b.err == nil || !strings.Contains(out, c.want) {
					t.Errorf("the stranger ended with %v, and does not say %q:\n%s", b.err, c.want, out)
				}
			case <-time.After(time.Minute):
				t.Errorf("the stranger runs on:\n%s", b.tail())
			}
			b.kill()
		})
	}
	f.goOn(t, l)
	f.whole(t)
	f.end(t, l)
}

// stranger is a node beside the three, that was formatted to join them.
func (f *fleet) stranger(t testing.TB, id, cluster string) *broker {
	t.Helper()
	b, at := newBroker(t, folders(t, 1)), freeAddresses(t, ownHost(), 3)
	b.addr = at[0]
	own := map[string]string{"node.id": id, "cluster.id": cluster, "log.dirs": b.dirs[0],
		"listeners": "PLAINTEXT://" + b.addr + ",INSIDE://" + at[1] + ",CONTROLLER://" + at[2], "advertised.listeners": "auto",
		"initial.broker.registration.timeout.ms": "3000"}
	given := slices.Clone(f.nodes[2].args)
	for i := 1; i < len(given); i += 2 {
		name, _, _ := strings.Cut(given[i], "=")
		if value, ok := own[name]; ok {
			given[i] = name + "=" + value
			delete(own, name)
		}
	}
	b.args = given
	for name, value := range own {
		b.args = append(b.args, "--set", name+"="+value)
	}
	b.rejoin(t)
	return b
}

// TestPowerCutsTogether cuts the power of all three machines at once, under load.
func TestPowerCutsTogether(t *testing.T) {
	var disks []*disk
	var dirs []string
	for range 3 {
		d := newDisk(t)
		disks, dirs = append(disks, d), append(dirs, d.folders(t, 1)[0])
	}
	dice := dice(t)
	f, l := loaded(t, dirs)
	for range number(t, "SYSTEM_CUTS", 1) {
		f.killAll()
		for _, d := range disks {
			d.cut(t, vfs.Policies[dice.IntN(len(vfs.Policies))], dice)
		}
		for _, b := range f.nodes {
			b.launch(t)
		}
		f.ready(t)
		f.goOn(t, l)
		pause(time.Duration(dice.IntN(500)) * time.Millisecond)
		if dice.IntN(2) == 0 {
			f.whole(t)
		}
	}
	f.end(t, l)
	for _, b := range f.nodes {
		b.kill()
	}
}
