//go:build system

package system

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const clusterID = "AAAAAAAAAAAAAAAAAAAAAQ"

// fleet is a cluster of three processes, each on a folder of its own.
type fleet struct {
	nodes  []*broker
	addrs  string   // of all, for clients
	voters []string // where each listens for controllers
	links  *links   // nil: nodes reach each other directly
	cl     *kgo.Client
}

// newFleet formats three nodes on the given log directories. With links, they reach
// each other through these only.
func newFleet(t testing.TB, dirs []string, l *links) *fleet {
	t.Helper()
	f := &fleet{links: l}
	var voters, addrs, listeners, told []string
	free := freeAddresses(t, ownHost(), 5*len(dirs))
	for i, dir := range dirs {
		b := newBroker(t, []string{dir})
		at := free[5*i:]
		inside, controller := at[1], at[2]
		b.addr = at[0]
		listeners = append(listeners, "PLAINTEXT://"+b.addr+",INSIDE://"+inside+",CONTROLLER://"+controller)
		if l != nil {
			l.front(i+1, at[3], inside)
			l.front(i+1, at[4], controller)
			inside, controller = at[3], at[4]
		}
		told = append(told, "PLAINTEXT://"+b.addr+",INSIDE://"+inside+",CONTROLLER://"+controller)
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, controller))
		f.voters = append(f.voters, controller)
		f.nodes, addrs = append(f.nodes, b), append(addrs, b.addr)
	}
	f.addrs = strings.Join(addrs, ",")
	for i, b := range f.nodes {
		for _, s := range []string{fmt.Sprintf("node.id=%d", i+1), "cluster.id=" + clusterID, "controller.quorum.voters=" + strings.Join(voters, ","),
			"listeners=" + listeners[i], "advertised.listeners=" + told[i], "inter.broker.listener.name=INSIDE",
			"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
			"min.insync.replicas=2", "log.dirs=" + dirs[i], "log.level=info"} {
			b.args = append(b.args, "--set", s)
		}
		b.format(t)
	}
	return f
}

// ownHost is an address of this machine that no other test process uses: a node that
// is down for a moment must find its port free when it comes back.
func ownHost() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.1", 1+pid/250%250, 1+pid%250)
}

// format makes the node's directory that of a voter.
func (b *broker) format(t testing.TB) {
	t.Helper()
	if out, err := exec.Command(b.bin, append([]string{"storage", "format"}, b.args...)...).CombinedOutput(); err != nil {
		t.Fatalf("formatting: %v\n%s", err, out)
	}
}

// start starts all nodes and waits until they are in service.
func (f *fleet) start(t testing.TB) {
	t.Helper()
	for _, b := range f.nodes {
		b.launch(t)
	}
	f.ready(t)
	f.cl = client(t, f.addrs)
	// A node is ready a moment before the controller counts it in.
	for end := time.Now().Add(time.Minute); ; pause(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		res, err := kadm.NewClient(f.cl).CreateTopic(ctx, 1, 3, nil, "first")
		cancel()
		if err == nil && (res.Err == nil || strings.Contains(res.Err.Error(), "EXISTS")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no topic can be created: %v %v\n%s", err, res.Err, f.logs())
		}
	}
}

// ready waits for the ready file of every node that runs.
func (f *fleet) ready(t testing.TB) {
	t.Helper()
	for i, b := range f.nodes {
		if b.cmd == nil {
			continue
		}
		if err := b.await(60 * time.Second); err != nil {
			t.Fatalf("node %d: %v\n%s", i+1, err, f.logs())
		}
	}
}

func (f *fleet) logs() (text string) {
	for i, b := range f.nodes {
		text += fmt.Sprintf("--- node %d\n%s", i+1, b.tail())
	}
	return text
}

// killAll kills -9 all nodes at once.
func (f *fleet) killAll() {
	for _, b := range f.nodes {
		if b.cmd != nil {
			b.cmd.Process.Kill()
		}
	}
	for _, b := range f.nodes {
		b.kill()
	}
}

// controller is the index of the node that leads the quorum.
func (f *fleet) controller(t testing.TB) int {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); pause(50 * time.Millisecond) {
		req := kmsg.NewPtrDescribeQuorumRequest()
		rt, p := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
		rt.Topic, rt.Partitions = "__cluster_metadata", append(rt.Partitions, p)
		req.Topics = append(req.Topics, rt)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		resp, err := req.RequestWith(ctx, f.cl)
		cancel()
		if err != nil || resp.ErrorCode != 0 || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
			continue
		}
		if id := resp.Topics[0].Partitions[0].LeaderID; id >= 1 && int(id) <= len(f.nodes) {
			return int(id) - 1
		}
	}
	t.Fatalf("nobody says who leads the quorum\n%s", f.logs())
	return 0
}

// leader is the index of the node that leads a partition.
func (f *fleet) leader(t testing.TB, name string, partition int32) int {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); pause(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		list, err := kadm.NewClient(f.cl).ListTopics(ctx, name)
		cancel()
		if id := list[name].Partitions[partition].Leader; err == nil && id >= 1 && int(id) <= len(f.nodes) {
			return int(id) - 1
		}
	}
	t.Fatalf("partition %d of %s has no leader\n%s", partition, name, f.logs())
	return 0
}

// whole waits until every replica of all topics is in sync.
func (f *fleet) whole(t testing.TB) {
	t.Helper()
	var last string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); pause(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		list, err := kadm.NewClient(f.cl).ListTopicsWithInternal(ctx)
		cancel()
		if last = fmt.Sprint(err); err != nil {
			continue
		}
		last = ""
		list.EachPartition(func(p kadm.PartitionDetail) {
			if len(p.ISR) != len(p.Replicas) {
				last += fmt.Sprintf(" %s-%d: leader %d, in sync %v;", p.Topic, p.Partition, p.Leader, p.ISR)
			}
		})
		if last == "" {
			return
		}
	}
	t.Fatalf("not all replicas are in sync after 2 minutes: %s\n%s", last, f.logs())
}

// forget deletes topics, so that a long run does not fill the disk.
func (f *fleet) forget(t testing.TB, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(f.cl).DeleteTopics(ctx, topics...); err != nil {
		t.Errorf("deleting topics: %v", err)
	}
}

// compare stops all nodes and looks at their disks: what each holds is sound, and
// the logs of clients' topics are the same on all, byte for byte.
func (f *fleet) compare(t testing.TB) {
	t.Helper()
	f.whole(t)
	for _, b := range f.nodes {
		b.stop(t)
	}
	var logs []map[string]string
	for _, b := range f.nodes {
		b.sound(t, false)
		logs = append(logs, sums(t, b.dirs[0]))
	}
	for i, other := range logs[1:] {
		for name, sum := range logs[0] {
			if other[name] != sum {
				t.Errorf("the log of %s is not the same on node 1 (%s) and node %d (%s)", name, sum, i+2, other[name])
			}
		}
		if len(other) != len(logs[0]) {
			t.Errorf("node 1 holds %d partitions, node %d holds %d", len(logs[0]), i+2, len(other))
		}
	}
}

// sums reads the logs of all topics but internal ones, which each node cleans for
// itself, by the names of their folders.
func sums(t testing.TB, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	out := map[string]string{}
	for first := 0; first < len(files); {
		folder := filepath.Dir(files[first])
		sum, size := sha256.New(), int64(0)
		for ; first < len(files) && filepath.Dir(files[first]) == folder; first++ {
			f, err := os.Open(files[first])
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(sum, f)
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			size += n
		}
		if name := filepath.Base(folder); !strings.HasPrefix(name, "__") && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, "-delete") {
			out[name] = fmt.Sprintf("%d bytes, %x", size, sum.Sum(nil)[:6])
		}
	}
	return out
}
