//go:build system

package system

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestElastic grows a cluster of three to five under load, spreads what it has
// over all of them, and takes two of the first away, which are voters too: nothing
// that was acknowledged is lost, the throttle is kept to, progress is shown, and
// three that all vote are left. SYSTEM_ELASTIC is how many times this is done; the
// cluster has none of its first nodes after two.
func TestElastic(t *testing.T) {
	rounds := number(t, "SYSTEM_ELASTIC", 1)
	f := newFleet(t, threeFolders(t), nil)
	f.start(t)
	d := &drill{t: t, cluster: clusterID, nodes: f.nodes, voters: f.voters, ids: []int32{1, 2, 3}, next: 4}
	d.run("topic", "create", "fill", "-p", "24", "-r", "3")
	d.run("bench", "produce", "fill", "-n", "12000", "--size", "2000")
	l := startLoad(t, d.addrs(), loadConfig{producers: 3, partitions: 6, largest: 500, replicas: 3, pace: recordPace})
	for range rounds {
		d.round(l)
	}
	l.addr = d.addrs()
	l.finish(t)
	if t.Failed() {
		t.Log(d.logs())
	}
	for _, b := range d.nodes {
		b.kill()
	}
}

// drill is a cluster whose nodes come and go.
type drill struct {
	t       *testing.T
	cluster string // its id
	nodes   []*broker
	ids     []int32
	voters  []string // addresses of controllers
	next    int32    // the id of the next node
}

// round brings two new nodes and takes the two oldest away.
func (d *drill) round(l *load) {
	d.join()
	d.join()
	d.acked(l, "with five nodes")
	d.spread()
	d.acked(l, "after the balance")
	d.retire()
	d.acked(l, "with four nodes")
	d.retire()
	d.acked(l, "with three nodes")
	info := d.info()
	if len(info) != 3 {
		d.t.Errorf("%d nodes are left: %+v", len(info), info)
	}
	for _, n := range info {
		if n.State != "in service" || n.Quorum != "voter" && n.Quorum != "leader" {
			d.t.Errorf("node %d is %s and %s in the quorum", n.Node, n.State, n.Quorum)
		}
	}
	last := &fleet{nodes: d.nodes, addrs: d.addrs(), cl: client(d.t, d.addrs())}
	last.whole(d.t)
}

func (d *drill) acked(l *load, when string) {
	d.t.Helper()
	if err := l.awaitAcked(100, 60*time.Second); err != nil {
		d.t.Fatalf("%s: %v\n%s", when, err, d.logs())
	}
}

func (d *drill) logs() (text string) {
	for i, b := range d.nodes {
		text += fmt.Sprintf("--- node %d\n%s", d.ids[i], b.tail())
	}
	return text
}

func (d *drill) addrs() string {
	var all []string
	for _, b := range d.nodes {
		all = append(all, b.addr)
	}
	return strings.Join(all, ",")
}

// run gives what a command of the first node's binary prints.
func (d *drill) run(args ...string) string {
	d.t.Helper()
	out, code := d.nodes[0].myelin(append(args, "-y", "--timeout", "30s", "-b", d.addrs())...)
	if code != 0 {
		d.t.Fatalf("myelin %s: exit %d\n%s\n%s", strings.Join(args, " "), code, out, d.logs())
	}
	return out
}

// join starts a node that the cluster does not know, and waits until it serves.
func (d *drill) join() {
	b, free := newBroker(d.t, folders(d.t, 1)), freeAddresses(d.t, ownHost(), 3)
	b.addr = free[0]
	d.set(b, d.next, free, "controller.quorum.bootstrap.servers="+strings.Join(d.voters, ","))
	if out, code := b.myelin(append([]string{"storage", "format", "--no-initial-controllers"}, b.args...)...); code != 0 {
		d.t.Fatalf("formatting: exit %d\n%s", code, out)
	}
	b.start(d.t)
	d.nodes, d.ids, d.voters, d.next = append(d.nodes, b), append(d.ids, d.next), append(d.voters, free[2]), d.next+1
	d.await(fmt.Sprintf("node %d serves", d.ids[len(d.ids)-1]), func() bool {
		for _, n := range d.info() {
			if n.Node == d.ids[len(d.ids)-1] {
				return n.State == "in service"
			}
		}
		return false
	})
}

// set gives a node the settings of one of the cluster, on its three addresses.
func (d *drill) set(b *broker, id int32, at []string, more ...string) {
	b.args = nil
	for _, s := range append([]string{fmt.Sprintf("node.id=%d", id), "cluster.id=" + d.cluster,
		"listeners=PLAINTEXT://" + at[0] + ",INSIDE://" + at[1] + ",CONTROLLER://" + at[2], "inter.broker.listener.name=INSIDE",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"min.insync.replicas=2", "log.dirs=" + b.dirs[0]}, more...) {
		b.args = append(b.args, "--set", s)
	}
}

func (d *drill) await(what string, is func() bool) {
	d.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); pause(50 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("not within a minute: %s\n%s", what, d.logs())
		}
	}
}

// nodeFacts is a row of `myelin cluster info`.
type nodeFacts struct {
	Node     int32
	State    string
	Quorum   string
	Leaders  int
	Replicas int
	Bytes    int64
}

func (d *drill) info() (rows []nodeFacts) {
	d.t.Helper()
	text := d.run("cluster", "info", "-q", "-o", "json")
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		d.t.Fatalf("%v in %s", err, text)
	}
	return rows
}

// rate is the throttle of the drill, in bytes a second for each node.
const rate = 4 << 20

// spread balances the cluster and looks at what that does: each new node takes in
// no more than the rate, and all carry alike after.
func (d *drill) spread() {
	var moves []struct {
		To    []int32
		From  []int32
		Bytes int64 `json:"bytes_to_copy"`
	}
	text := d.run("cluster", "rebalance", "plan", "-q", "-o", "json")
	if err := json.Unmarshal([]byte(text), &moves); err != nil {
		d.t.Fatalf("%v in %s", err, text)
	}
	takes, most := map[int32]int64{}, int64(0)
	for _, m := range moves {
		for _, id := range m.To {
			if !contains(m.From, id) {
				takes[id] += m.Bytes / int64(max(1, added(m.From, m.To)))
				most = max(most, takes[id])
			}
		}
	}
	begun := time.Now()
	out := d.run("cluster", "rebalance", "apply", "--throttle", "4MiB")
	took := time.Since(begun)
	// The first quarter of a second's worth from each leader is free.
	if least := time.Duration(float64(most)/rate*0.7*float64(time.Second)) - time.Second; took < least {
		d.t.Errorf("%d bytes came to one node within %v, at most %d a second are wanted", most, took, rate)
	}
	if shown := regexp.MustCompile(`\d+ of \d+ partitions? moved, [\d.]+ MiB copied`).FindAllString(out, -1); len(shown) < 2 {
		d.t.Errorf("progress is not shown:\n%s", out)
	}
	d.t.Logf("%d moves, %d bytes to the node that takes most, in %v", len(moves), most, took.Round(time.Millisecond))
	info := d.info()
	leaders, bytes := 0, int64(0)
	for _, n := range info {
		leaders, bytes = leaders+n.Leaders, bytes+n.Bytes
	}
	for _, n := range info {
		mean, part := bytes/int64(len(info)), float64(leaders)/float64(len(info))
		if n.Bytes < mean*8/10 || n.Bytes > mean*12/10 { // 10 %, and what was written meanwhile
			d.t.Errorf("node %d carries %d bytes, the mean is %d", n.Node, n.Bytes, mean)
		}
		if float64(n.Leaders) < part*0.9-1 || float64(n.Leaders) > part*1.1+1 {
			d.t.Errorf("node %d leads %d partitions, the mean is %v", n.Node, n.Leaders, part)
		}
	}
}

func contains(list []int32, id int32) bool {
	for _, one := range list {
		if one == id {
			return true
		}
	}
	return false
}

func added(from, to []int32) (n int) {
	for _, id := range to {
		if !contains(from, id) {
			n++
		}
	}
	return n
}

// retire takes the oldest node out of the cluster.
func (d *drill) retire() {
	id, b := fmt.Sprint(d.ids[0]), d.nodes[0]
	out := d.run("cluster", "decommission", id)
	for _, want := range []string{"gets a vote", "node " + id + ", directory ", "loses its vote", "stop it"} {
		if !strings.Contains(out, want) {
			d.t.Errorf("decommission %s does not say %q:\n%s", id, want, out)
		}
	}
	b.stop(d.t)
	d.nodes, d.ids, d.voters = d.nodes[1:], d.ids[1:], d.voters[1:]
	d.await("node "+id+" is out of service", func() bool {
		out, code := d.nodes[0].myelin("cluster", "decommission", id, "-y", "-b", d.addrs())
		return code == 0 && strings.Contains(out, "is forgotten")
	})
	d.await("node "+id+" is no member of the quorum", func() bool {
		for _, n := range d.info() {
			if fmt.Sprint(n.Node) == id {
				return false
			}
		}
		return true
	})
}

// TestGrow makes three nodes of one: a directory that was written by a node alone
// becomes that of the first of three, two more join and get votes, the internal
// topics grow by themselves and the others when they are asked to. Then the first
// node dies, and all records and offsets are there. SYSTEM_OLD_BINARY is who writes
// the directory, for instance an older version.
func TestGrow(t *testing.T) {
	const records = "3000"
	first, at := newBroker(t, folders(t, 1)), freeAddresses(t, ownHost(), 3)
	first.addr = at[0]
	now := first.bin
	if old := os.Getenv("SYSTEM_OLD_BINARY"); old != "" {
		first.bin = old
	}
	d := &drill{t: t, nodes: []*broker{first}, ids: []int32{1}, voters: at[2:], next: 2}
	first.start(t)
	d.run("topic", "create", "orders", "-p", "4")
	d.run("bench", "produce", "orders", "-n", records)
	d.run("consume", "orders", "-g", "readers", "-n", records, "-q")
	first.stop(t)

	text, err := os.ReadFile(filepath.Join(first.dirs[0], "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "cluster.id=")
	d.cluster, _, _ = strings.Cut(rest, "\n")
	first.bin = now
	d.set(first, 1, at, "controller.quorum.bootstrap.servers="+at[2])
	first.start(t)
	d.join()
	d.join()
	d.run("cluster", "quorum", "add-voter", "2")
	d.run("cluster", "quorum", "add-voter", "3")
	d.await("the internal topics have grown", func() bool {
		for _, n := range d.info() {
			if n.Replicas < 50 {
				return false
			}
		}
		return true
	})
	d.run("cluster", "rebalance", "apply", "--replicas", "3", "--topic", "orders")
	all := &fleet{nodes: d.nodes, addrs: d.addrs(), cl: client(t, d.addrs())}
	all.whole(t)
	first.kill()
	d.nodes, d.ids = d.nodes[1:], d.ids[1:]
	d.await("another node leads all", func() bool {
		out, code := d.nodes[0].myelin("group", "describe", "readers", "-b", d.addrs())
		return code == 0 && strings.Contains(out, "lag 0")
	})
	if got := strings.Count(d.run("consume", "orders", "-n", records, "-q", "-f", "%o\n"), "\n"); fmt.Sprint(got) != records {
		t.Errorf("%d records are left of %s", got, records)
	}
	d.run("bench", "produce", "orders", "-n", "10")
	for _, b := range d.nodes {
		b.kill()
	}
}
