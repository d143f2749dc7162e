package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// node is a running Metadata on a file system.
type node struct {
	*Metadata
	t    testing.TB
	home *commitlog.Home
	stop context.CancelFunc
	done chan error
}

type options struct {
	fs       vfs.FS
	dir      string
	static   config.Settings
	previous int64
	subs     []Subscriber
	peers    Peers
}

func logger() *slog.Logger {
	if os.Getenv("MYELIN_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// start formats the directory if need be and runs a node on it.
func start(t testing.TB, o options) *node {
	t.Helper()
	if o.dir == "" {
		o.dir = "/data"
	}
	rng := rand.New(rand.NewPCG(1, rand.Uint64()))
	info, err := Format(FormatConfig{FS: o.fs, LogDirs: []string{o.dir}, Metadata: o.dir, NodeID: 1, Rand: rng})
	if err != nil && !errors.Is(err, ErrFormatted) {
		t.Fatal(err)
	}
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: o.fs, Path: o.dir, Logger: logger(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if o.previous == 0 {
		o.previous = -1
	}
	m, err := Open(Config{Roles: Roles{Broker: true, Controller: true},
		FS: o.fs, Home: home, Dir: o.dir, LogDirs: []kafka.UUID{info.DirectoryID},
		NodeID: 1, ClusterID: info.ClusterID, Properties: config.NewBroker(o.static),
		Endpoints: []cluster.Endpoint{
			{Listener: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}, {Listener: "CONTROLLER", Host: "127.0.0.1", Port: 9093}},
		Peers: o.peers, PreviousEpoch: o.previous, Now: time.Now, Rand: rng, Logger: logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range o.subs {
		m.Subscribe(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{Metadata: m, t: t, home: home, stop: cancel, done: make(chan error, 1)}
	go func() { n.done <- m.Run(ctx) }()
	if err := m.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) end() {
	n.t.Helper()
	// What the leader decides on is at the place that the log then has.
	n.turn.take()
	if l := n.leading; l != nil && l.image.Index() != n.Image().Index() {
		n.t.Errorf("decisions rest on index %d, the log is at %d", l.image.Index(), n.Image().Index())
	}
	n.turn.give()
	n.stop()
	if err := <-n.done; err != nil {
		n.t.Errorf("Run: %v", err)
	}
	if err := errors.Join(n.Close(), n.home.Close(true)); err != nil {
		n.t.Errorf("Close: %v", err)
	}
}

func (n *node) create(name string, partitions int32, configs ...string) kafka.Code {
	n.t.Helper()
	req := msg.NewCreateTopicsRequest()
	t := msg.CreateTopicsRequestTopic{Name: name, NumPartitions: partitions, ReplicationFactor: 1}
	for i := 0; i < len(configs); i += 2 {
		t.Configs = append(t.Configs, msg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Topics = append(req.Topics, t)
	resp := n.CreateTopics(context.Background(), &req)
	return kafka.Code(resp.Topics[0].ErrorCode)
}

func (n *node) remove(name string) kafka.Code {
	req := msg.NewDeleteTopicsRequest()
	req.TopicNames = []string{name}
	return kafka.Code(n.DeleteTopics(context.Background(), &req, 5).Responses[0].ErrorCode)
}

func names(m *cluster.Image) (out []string) {
	for _, t := range m.Topics() {
		out = append(out, t.Name)
	}
	return out
}

// A fresh directory becomes a cluster of one; what it decides is there for
// whoever asks and, after a stop, for the next process.
func TestStartDecideRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs})
		img := n.Image()
		if b := img.Broker(1); b == nil || b.Fenced || len(b.Endpoints) != 2 || b.Epoch != n.BrokerEpoch() {
			t.Fatalf("broker %+v", b)
		}
		if img.ControllerID() != 1 || img.Feature(controller.FeatureMetadata) != controller.MetadataLevel {
			t.Fatalf("controller %d, features %v", img.ControllerID(), img.Features())
		}
		if code := n.create("a", 3, "retention.ms", "5000"); code != kafka.None {
			t.Fatal(code)
		}
		if code := n.create("a", 3); code != kafka.TopicAlreadyExists {
			t.Fatal(code)
		}
		if got := n.Image().Topic("a"); got == nil || len(got.Partitions) != 3 || got.Partitions[2].Leader != 1 {
			t.Fatalf("topic %+v", got)
		}
		first, err := n.NextProducerID(context.Background())
		if err != nil || first != 0 {
			t.Fatal(first, err)
		}
		epoch, id := n.BrokerEpoch(), n.Image().Topic("a").ID
		n.end()

		n = start(t, options{fs: fs, previous: epoch})
		a := n.Image().Topic("a")
		if a == nil || a.ID != id || a.Partitions[0].LeaderEpoch != 0 {
			t.Fatalf("after a clean stop: %+v", a)
		}
		if v, _ := n.Image().Config(cluster.Resource{Kind: cluster.TopicResource, Name: "a"}).Get("retention.ms"); v != "5000" {
			t.Fatalf("retention.ms %q", v)
		}
		if n.BrokerEpoch() <= epoch {
			t.Fatalf("broker epoch %d after %d", n.BrokerEpoch(), epoch)
		}
		if next, err := n.NextProducerID(context.Background()); err != nil || next != controller.ProducerIDBlock {
			t.Fatal(next, err)
		}
		n.end()

		n = start(t, options{fs: fs})
		if e := n.Image().Topic("a").Partitions[0].LeaderEpoch; e != 1 {
			t.Fatalf("leader epoch %d after an unclean stop, want 1", e)
		}
		n.end()
	})
}

// Subscribers are told in their order, of the whole state first, and before the
// answer leaves.
func TestSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs})
		n.create("old", 2)
		n.end()

		var calls []string
		var seen map[string]int
		note := func(who string) Subscriber {
			return func(d *cluster.Delta, m *cluster.Image) {
				calls = append(calls, who)
				for _, c := range d.Topics() {
					if c.New != nil {
						seen[c.New.Name] += len(c.Partitions())
					}
				}
			}
		}
		seen = map[string]int{}
		n = start(t, options{fs: fs, subs: []Subscriber{note("1"), note("2")}})
		if seen["old"] == 0 {
			t.Error("the first call lacks the topic that was there")
		}
		calls = nil
		n.create("new", 4)
		if !slices.Equal(calls, []string{"1", "2"}) || seen["new"] != 8 {
			t.Errorf("calls %v, seen %v", calls, seen)
		}
		n.end()
	})
}

// The first thing that subscribers hear is the whole truth, however much of it
// lies in a snapshot and however many steps the rest of the log takes: whoever
// compares it with folders on disk deletes what it does not name.
func TestFirstWordIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs, static: config.Settings{
			"metadata.log.max.record.bytes.between.snapshots": {Value: "3000", Origin: "test"}}})
		for i := range 40 {
			n.create(fmt.Sprintf("t%02d", i), 1)
		}
		synctest.Wait()
		n.end()
		n = start(t, options{fs: fs}) // no more snapshots
		for i := range 8 {            // over 4 MiB, which is more than is applied at once
			n.create(fmt.Sprintf("u%02d", i), 1, "leader.replication.throttled.replicas", long(700_000))
		}
		n.end()
		first := true
		n = start(t, options{fs: fs, subs: []Subscriber{func(d *cluster.Delta, m *cluster.Image) {
			if first && (m.TopicCount() != 48 || len(d.Topics()) != 48 || m.Broker(1) == nil) {
				t.Errorf("the first word has %d topics of %d in the image", len(d.Topics()), m.TopicCount())
			}
			first = false
		}}})
		if first {
			t.Error("ready before the subscriber was told")
		}
		n.end()
	})
}

// A decision of more than a mebibyte takes several entries and acts whole.
func TestLargeDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs})
		req := msg.NewCreateTopicsRequest()
		for i := range 10 {
			topic := msg.CreateTopicsRequestTopic{Name: fmt.Sprint("big", i), NumPartitions: 1000, ReplicationFactor: 1}
			for range 5 {
				topic.Configs = append(topic.Configs, msg.CreateTopicsRequestTopicConfig{
					Name: "leader.replication.throttled.replicas", Value: new(long(120_000))})
			}
			req.Topics = append(req.Topics, topic)
		}
		resp := n.CreateTopics(context.Background(), &req)
		for _, r := range resp.Topics {
			if r.ErrorCode != 0 {
				t.Fatal(r.Name, *r.ErrorMessage)
			}
		}
		if got := n.Image().PartitionCount(); got != 10_000 {
			t.Fatal(got)
		}
		if n.framed {
			t.Error("a decision is still open")
		}
		if code := n.create("after", 1); code != kafka.None {
			t.Fatal(code)
		}
		n.end()
		n = start(t, options{fs: fs})
		if got := n.Image().PartitionCount(); got != 10_001 {
			t.Fatal(got)
		}
		n.end()
	})
}

func long(n int) string {
	b := make([]byte, 0, n)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d:%d,", i, i)
	}
	return string(b[:len(b)-1])
}

// The log is cut behind snapshots, and a start from one is like a start from
// the log.
func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		small := config.Settings{"metadata.log.max.record.bytes.between.snapshots": {Value: "2000", Origin: "test"}}
		n := start(t, options{fs: fs, static: small})
		for i := range 100 {
			if code := n.create(fmt.Sprintf("t%03d", i), 2, "retention.ms", "77"); code != kafka.None {
				t.Fatal(code)
			}
			if i%3 == 0 {
				n.remove(fmt.Sprintf("t%03d", i))
			}
		}
		synctest.Wait()
		n.create("last", 1)
		synctest.Wait()
		want := names(n.Image())
		n.end()
		files, err := fs.ReadDir("/data/__cluster_metadata-0")
		if err != nil {
			t.Fatal(err)
		}
		snapshots := 0
		for _, f := range files {
			if filepath.Ext(f.Name) == ".checkpoint" {
				snapshots++
			}
		}
		if snapshots != 1 {
			t.Errorf("%d snapshots in %v", snapshots, files)
		}
		n = start(t, options{fs: fs, static: small})
		if got := names(n.Image()); !slices.Equal(got, want) {
			t.Errorf("after a restart %v, want %v", got, want)
		}
		if cfg := n.Image().Config(cluster.Resource{Kind: cluster.TopicResource, Name: "t000"}); len(cfg) > 0 {
			t.Errorf("settings of a deleted topic came back: %v", cfg)
		}
		n.end()
	})
}

// Whatever a power cut leaves, every decision that was answered is there.
func TestPowerCut(t *testing.T) {
	for _, policy := range vfs.Policies {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { cut(t, policy) })
		})
	}
}

func cut(t *testing.T, policy vfs.Policy) {
	rng := rand.New(rand.NewPCG(3, 4))
	fs := vfs.NewMem(vfs.MemConfig{})
	small := config.Settings{"metadata.log.max.record.bytes.between.snapshots": {Value: "1500", Origin: "test"}}
	var want []string
	for life := range 6 {
		n := start(t, options{fs: fs, static: small})
		for _, name := range want {
			if n.Image().Topic(name) == nil {
				t.Fatalf("life %d: topic %s is lost", life, name)
			}
		}
		for i := range 8 {
			name := fmt.Sprintf("t-%d-%d", life, i)
			if code := n.create(name, 2, "flush.ms", "9"); code != kafka.None {
				t.Fatal(code)
			}
			want = append(want, name)
		}
		crashed := fs.Crash(policy, rng)
		n.end()
		fs = crashed
	}
}

// A request whose time is up is answered so; one to a node that has stopped
// gets NOT_CONTROLLER.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs})
		ctx, cancel := context.WithTimeout(context.Background(), 0)
		defer cancel()
		req := msg.NewCreateTopicsRequest()
		req.Topics = []msg.CreateTopicsRequestTopic{{Name: "x", NumPartitions: 1, ReplicationFactor: 1}}
		if code := kafka.Code(n.CreateTopics(ctx, &req).Topics[0].ErrorCode); code != kafka.RequestTimedOut {
			t.Errorf("late: %v", code)
		}
		n.end()
		if code := n.create("y", 1); code != kafka.NotController {
			t.Errorf("stopped: %v", code)
		}
	})
}

// A failed write ends the node; no answer says otherwise.
func TestFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs})
		broken := errors.New("the device is gone")
		fs.SetHook(func(vfs.Op) vfs.Verdict { return vfs.Verdict{Err: broken} })
		if code := n.create("a", 1); code != kafka.NotController {
			t.Errorf("answered %v", code)
		}
		if err := <-n.done; !errors.Is(err, broken) {
			t.Errorf("Run: %v", err)
		}
		n.stop()
	})
}

// Formatting leaves alone what is formatted, adds a new log directory, finishes
// what was interrupted, and never empties a log that was used.
func TestFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		rng := rand.New(rand.NewPCG(1, 1))
		format := func(node int32, cluster string, dirs ...string) (Info, error) {
			return Format(FormatConfig{FS: fs, LogDirs: dirs, Metadata: "/data", NodeID: node, ClusterID: cluster, Rand: rng})
		}
		first, err := format(1, "", "/data")
		if err != nil || first.ClusterID == "" || first.DirectoryID.IsZero() {
			t.Fatal(first, err)
		}
		if again, err := format(1, "", "/data"); !errors.Is(err, ErrFormatted) || !reflect.DeepEqual(again, first) {
			t.Error(again, err)
		}
		if _, err := format(2, "", "/data"); !errors.Is(err, ErrForeign) {
			t.Error("another node:", err)
		}
		if _, err := format(1, "another", "/data"); !errors.Is(err, ErrForeign) {
			t.Error("another cluster:", err)
		}
		if both, err := format(1, "", "/data", "/more"); err != nil || !reflect.DeepEqual(both, first) {
			t.Error(both, err)
		}
		if more, err := ReadInfo(fs, "/more"); err != nil || more.ClusterID != first.ClusterID || more.DirectoryID == first.DirectoryID {
			t.Error(more, err)
		}
		// The call was interrupted before its last file.
		if err := fs.Remove("/data/meta.properties"); err != nil {
			t.Fatal(err)
		}
		if _, err := format(1, first.ClusterID, "/data"); err != nil {
			t.Error("again after an interruption:", err)
		}
		n := start(t, options{fs: fs})
		n.create("a", 1)
		n.end()
		if err := fs.Remove("/data/meta.properties"); err != nil {
			t.Fatal(err)
		}
		if _, err := format(1, first.ClusterID, "/data"); !errors.Is(err, quorum.ErrInUse) {
			t.Error("over a log that was used:", err)
		}
		for _, text := range []string{"version=2\nnode.id=1\ncluster.id=c\n", "version=1\nnode.id=x\ncluster.id=c\n", "version=1\n",
			"version=1\nnode.id=1\ncluster.id=c\ndirectory.id=short\n"} {
			if err := vfs.WriteAtomic(fs, "/more/meta.properties", []byte(text)); err != nil {
				t.Fatal(err)
			}
			if info, err := ReadInfo(fs, "/more"); err == nil {
				t.Errorf("%q is read as %+v", text, info)
			}
		}
	})
}

// On a real disk, from an empty directory to a registered broker.
func TestStartsQuickly(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	n := start(t, options{fs: vfs.OS(), dir: dir})
	took := time.Since(began)
	began = time.Now()
	n.create("a", 1)
	t.Logf("empty directory to registered: %v; CreateTopics: %v", took, time.Since(began))
	n.end()
	began = time.Now()
	n = start(t, options{fs: vfs.OS(), dir: dir})
	t.Logf("restart: %v", time.Since(began))
	n.end()
}

// A decision that its leader did not live to finish never acts: the next leader
// takes it back before it decides.
func TestUnfinishedDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		n := start(t, options{fs: fs})
		begin, topic := state.NewBeginTransactionRecord(), state.NewTopicRecord()
		topic.Name, topic.TopicID = "half", kafka.UUID{1}
		done := make(chan error, 1)
		n.node.Propose(append(frame(&begin), frame(&topic)...), func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		n.turn.take()
		n.leading.image = n.leading.image.At(n.leading.image.Index() + 1)
		n.turn.give()
		if n.Image().Topic("half") != nil {
			t.Error("half a decision acts")
		}
		n.end()
		for range 2 {
			n = start(t, options{fs: fs})
			if n.Image().Topic("half") != nil {
				t.Error("half a decision acts after a restart")
			}
			if code := n.create("half", 1); code != kafka.None && code != kafka.TopicAlreadyExists {
				t.Error(code)
			}
			n.remove("half")
			n.end()
		}
	})
}
