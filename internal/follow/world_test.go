package follow_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/follow"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// world is some brokers that hold one topic between them, each on a disk that can
// lose power, with the real handlers of Fetch and the real followers. The network
// between them is a function call that may be late, lost or come much later; the
// controller is a model of the rules that the real one has to keep.
type world struct {
	t     testing.TB
	nodes []*node
	ctl   *controller
	calls sync.WaitGroup // of the network
	bad   atomic.Pointer[string]

	mu struct {
		sync.Mutex
		rng  *rand.Rand
		cuts map[[2]int32]bool // links that carry nothing; node 0 is the controller
	}
}

const (
	topic      = "t"
	partitions = 3
	minISR     = 2
)

var topicID = kafka.UUID{15: 7}

// node is a machine: a disk, and what runs on it.
type node struct {
	w    *world
	id   int32
	fs   *vfs.Mem
	life atomic.Pointer[life] // nil while it is off
	slow atomic.Int64         // ms that a sync takes at most
}

// life is one process of a broker.
type life struct {
	*node
	epoch  int64
	home   *commitlog.Home
	table  *replica.Table
	api    *api.Table
	ctx    context.Context
	end    func()
	dead   atomic.Bool // nothing comes from it and nothing goes to it any more
	image  atomic.Pointer[cluster.Image]
	parts  sync.WaitGroup
	seen   int64
	awaits chan proposal
}

type proposal struct {
	tp     kafka.TopicPartition
	change partition.ISRChange
}

func newWorld(t testing.TB, seed uint64, nodes int) *world {
	w := &world{t: t}
	w.mu.rng = rand.New(rand.NewPCG(seed, 99))
	w.mu.cuts = map[[2]int32]bool{}
	w.ctl = newController(w, nodes)
	for i := range nodes {
		n := &node{w: w, id: int32(i + 1), fs: vfs.NewMem(vfs.MemConfig{Now: time.Now})}
		w.nodes = append(w.nodes, n)
		n.boot()
	}
	return w
}

func (w *world) intn(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.rng.IntN(n)
}

func (w *world) rng(do func(*rand.Rand)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(w.mu.rng)
}

func (w *world) ms(most int) time.Duration {
	return time.Duration(w.intn(most*1000)) * time.Microsecond
}

func (w *world) cut(a, b int32, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.cuts[[2]int32{min(a, b), max(a, b)}] = on
}

func (w *world) isCut(a, b int32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.cuts[[2]int32{min(a, b), max(a, b)}]
}

func (w *world) broke(format string, args ...any) {
	w.bad.CompareAndSwap(nil, new(fmt.Sprintf(format, args...)))
}

// alarms finds what must not be logged.
type alarms struct {
	slog.Handler
	l *life
}

func (a alarms) Enabled(context.Context, slog.Level) bool { return true }
func (a alarms) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(x slog.Attr) bool { text += fmt.Sprintf(" %s=%v", x.Key, x.Value); return true })
	if strings.Contains(text, "committed and flushed") && !a.l.dead.Load() {
		a.l.w.broke("node %d: %s", a.l.id, text)
	}
	if verbose {
		a.l.w.t.Logf("%s node %d/%d: %s", time.Now().Format("05.000"), a.l.id, a.l.epoch, text)
	}
	return nil
}
func (a alarms) WithAttrs([]slog.Attr) slog.Handler { return a }
func (a alarms) WithGroup(string) slog.Handler      { return a }

// boot starts a process on the node's disk.
func (n *node) boot() {
	l := &life{node: n, awaits: make(chan proposal, 1000)}
	n.slow.Store(int64(1 + n.w.intn(30)))
	n.fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == vfs.OpSync && !l.dead.Load() {
			v.Delay = n.w.ms(int(n.slow.Load()))
		}
		return v
	})
	logger := slog.New(alarms{l: l})
	var err error
	if l.home, err = commitlog.OpenHome(commitlog.HomeConfig{FS: n.fs, Path: "/data", Logger: logger, Now: time.Now}); err != nil {
		n.w.t.Fatal(err)
	}
	flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now, Logger: logger})
	var f *follow.Follow
	l.table = replica.NewTable(replica.Config{Self: n.id, Dirs: []replica.Dir{{Home: l.home, FS: n.fs, Flusher: flusher}},
		Pool: record.NewPool(record.PoolConfig{}), Now: time.Now, Logger: logger, ISR: l,
		Roled: func(r *replica.Replica) { f.Changed(r) }})
	f = follow.New(follow.Config{Self: n.id, Now: time.Now, Logger: logger,
		Epoch:   func() int64 { return l.epoch },
		Connect: func(leader int32, _ int) follow.Conn { return &link{l: l, to: n.w.nodes[leader-1]} },
		Settings: func() follow.Settings {
			return follow.Settings{Fetchers: 1, MaxWait: 500 * time.Millisecond, Backoff: time.Second, MinBytes: 1, MaxBytes: 1 << 20, ResponseBytes: 10 << 20}
		}})
	l.image.Store(cluster.Empty("world"))
	data := &api.DataHandlers{Replicas: l.table, Image: l.image.Load, NodeID: n.id, FetchMaxBytes: 55 << 20,
		Sessions: api.NewFetchSessions(100, rand.New(rand.NewPCG(uint64(n.id), 5)), time.Now)}
	if l.api, err = api.NewTable(api.Config{Data: data, Shares: &api.ShareStateHandlers{}, Authorizer: auth.AllowAll{}, Quotas: quota.Unlimited{},
		Metrics: metrics.NewRequests(), Logger: logger, Now: time.Now,
		Self: api.Self{NodeID: n.id, Image: l.image.Load, Supported: []cluster.FeatureRange{{Name: "metadata.version", Min: 7, Max: 33}}}}); err != nil {
		n.w.t.Fatal(err)
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	flushing, stopFlusher := context.WithCancel(context.Background())
	l.parts.Go(func() { _ = flusher.Run(flushing) })
	l.parts.Go(func() {
		_ = l.table.Run(l.ctx)
		stopFlusher()
	})
	l.parts.Go(func() { _ = f.Run(l.ctx) })
	l.epoch = n.w.ctl.register(n.id)
	l.parts.Go(l.learn)
	l.parts.Go(l.propose)
	n.life.Store(l)
}

// crash cuts the power of some nodes at one moment: a disk is what the policy
// leaves of it.
func (w *world) crash(p vfs.Policy, nodes ...*node) {
	left := make([]*vfs.Mem, len(nodes))
	for i, n := range nodes {
		if l := n.life.Load(); l != nil {
			l.dead.Store(true)
			n.fs.StopBefore(n.fs.Ops())
			synctest.Wait() // who is about to use the disk finds that it is gone
			left[i] = n.fs.Crash(p, rand.New(rand.NewPCG(uint64(w.intn(1<<30)), 1)))
		}
	}
	for i, n := range nodes {
		if left[i] != nil {
			n.fs.StopBefore(1 << 60) // the old one is let run out
			n.life.Load().stop()
			n.fs = left[i]
		}
	}
}

func (l *life) stop() {
	l.end()
	l.parts.Wait()
	_ = l.home.Close(true)
	l.node.life.Store(nil)
}

// learn applies what the controller decided, a little late and only the newest.
func (l *life) learn() {
	for l.ctx.Err() == nil {
		time.Sleep(time.Millisecond + l.w.ms(25))
		if l.dead.Load() || l.w.isCut(0, l.id) {
			continue
		}
		if img, delta, at := l.w.ctl.view(l.seen); delta != nil {
			l.seen = at
			l.image.Store(img)
			l.table.Apply(*delta)
		}
	}
}

// Propose is partition.ISR.
func (l *life) Propose(tp kafka.TopicPartition, c partition.ISRChange) {
	select {
	case l.awaits <- proposal{tp, c}:
	default:
		l.w.broke("too many proposals")
	}
}

// propose brings proposals to the controller, again and again while it is not
// known what became of one.
func (l *life) propose() {
	var todo []proposal
	for l.ctx.Err() == nil {
		time.Sleep(5*time.Millisecond + l.w.ms(10))
		for len(l.awaits) > 0 {
			todo = append(todo, <-l.awaits)
		}
		if l.dead.Load() || l.w.isCut(0, l.id) {
			continue
		}
		var again []proposal
		for _, p := range todo {
			lost, late := l.w.intn(10) == 0, l.w.intn(10) == 0
			if lost {
				again = append(again, p)
				continue
			}
			code := l.w.ctl.alter(l, p)
			switch {
			case late: // it was decided, and the answer is lost
				again = append(again, p)
			case code == kafka.IneligibleReplica:
				if r, err := l.table.Get(p.tp.Topic, p.tp.Partition); err == nil {
					r.ISRRefused(p.change.PartitionEpoch)
				}
			}
		}
		todo = again
	}
}

// link is a connection from one process to a node.
type link struct {
	l    *life
	to   *node
	call *api.Call
	at   *life // whom call belongs to
}

var errLink = errors.New("the network carries nothing")

// DoInto is follow.Conn.
func (k *link) DoInto(ctx context.Context, req msg.Request, resp msg.Response, version int16, _ *[]byte) error {
	w := k.l.w
	time.Sleep(100*time.Microsecond + w.ms(2))
	to := k.to.life.Load()
	if to == nil || to.dead.Load() || k.l.dead.Load() || w.isCut(k.l.id, k.to.id) {
		k.call = nil
		time.Sleep(20 * time.Millisecond)
		return errLink
	}
	if k.call == nil || k.at != to {
		conn := &api.Conn{ID: 1, Listener: "PLAINTEXT", Peer: "/x", Local: "x:1", Subject: auth.Subject{Principal: auth.Anonymous}}
		conn.Park.Init()
		k.call, k.at = api.NewCall(to.ctx, conn, nil), to
	}
	id := "follower"
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: 1, ClientID: &id}
	frame := req.Append(h.Append(nil, msg.RequestHeaderVersion(req.Key(), version)), version)
	if w.intn(200) == 0 { // held on its way: it comes when nobody thinks of it any more
		k.call = nil
		w.calls.Go(func() {
			time.Sleep(w.ms(4000))
			if old := k.to.life.Load(); old != nil && !old.dead.Load() {
				_, _ = serve(old, nil, frame)
			}
		})
		time.Sleep(time.Second)
		return errLink
	}
	answer := make(chan []byte, 1)
	call := k.call
	w.calls.Go(func() {
		b, err := serve(to, call, frame)
		if err != nil {
			b = nil
		}
		answer <- b
	})
	var b []byte
	select {
	case b = <-answer:
	case <-ctx.Done():
		k.call = nil
		return ctx.Err()
	}
	time.Sleep(100*time.Microsecond + w.ms(2))
	if b == nil || to.dead.Load() || k.l.dead.Load() || w.isCut(k.l.id, k.to.id) {
		k.call = nil
		return errLink
	}
	var r wire.Reader
	r.Reset(b[4+4:])
	if msg.ResponseHeaderVersion(req.Key(), version) >= 1 {
		r.SkipTags()
	}
	resp.Decode(&r, version)
	return r.Done()
}

// serve has a node answer one frame.
func serve(at *life, call *api.Call, frame []byte) ([]byte, error) {
	if call == nil {
		conn := &api.Conn{ID: 2, Listener: "PLAINTEXT", Peer: "/x", Local: "x:1", Subject: auth.Subject{Principal: auth.Anonymous}}
		conn.Park.Init()
		call = api.NewCall(at.ctx, conn, nil)
	}
	if err := at.api.Admit(call, slices.Clone(frame)); err != nil {
		return nil, err
	}
	var out api.Reply
	call.Time = time.Now()
	at.api.Serve(call, &out)
	if len(out.Buf) == 0 {
		return nil, errLink
	}
	var b []byte
	from := 0
	for _, f := range out.Files {
		b = append(b, out.Buf[from:f.At]...)
		from = f.At
		n := len(b)
		b = append(b, make([]byte, f.Range.Len())...)
		if err := f.Range.ReadAt(b[n:], 0); err != nil {
			return nil, err
		}
	}
	b = append(b, out.Buf[from:]...)
	if int(binary.BigEndian.Uint32(b)) != len(b)-4 {
		return nil, errors.New("a frame of another size")
	}
	out.Sent()
	return b, nil
}

// controller is the model of one: elections from the ISR only, changes by compare
// and set, brokers fenced after a session and registered anew with an epoch of
// their own.
type controller struct {
	w  *world
	mu struct {
		sync.Mutex
		version int64
		epochs  int64
		brokers []broker
		parts   []partition.Assignment
	}
}

type broker struct {
	epoch  int64
	fenced bool
	lost   time.Time // since when nothing is heard of it; zero: it is heard
}

func newController(w *world, nodes int) *controller {
	c := &controller{w: w}
	c.mu.brokers = make([]broker, nodes)
	for p := range partitions {
		a := partition.Assignment{Leader: -1}
		for i := range min(nodes, 3) {
			a.Replicas = append(a.Replicas, int32((p+i)%nodes+1))
		}
		a.ISR = slices.Clone(a.Replicas)
		c.mu.parts = append(c.mu.parts, a)
	}
	return c
}

// register gives a new process its epoch. What it had as another is not taken for
// granted while somebody else is in sync.
func (c *controller) register(id int32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &c.mu.brokers[id-1]
	if b.epoch > 0 {
		c.fenceLocked(id)
	}
	c.mu.epochs++
	*b = broker{epoch: c.mu.epochs}
	c.electLocked()
	return b.epoch
}

func (c *controller) fenceLocked(id int32) {
	c.mu.brokers[id-1].fenced = true
	for p := range c.mu.parts {
		a := &c.mu.parts[p]
		if slices.Contains(a.ISR, id) && len(a.ISR) > 1 {
			a.ISR = slices.DeleteFunc(slices.Clone(a.ISR), func(m int32) bool { return m == id })
			a.PartitionEpoch++
		}
		if a.Leader == id {
			a.Leader = -1
			a.LeaderEpoch++
			a.PartitionEpoch++
		}
	}
	c.electLocked()
}

// electLocked finds leaders for those without.
func (c *controller) electLocked() {
	c.mu.version++
	for p := range c.mu.parts {
		a := &c.mu.parts[p]
		for _, id := range a.Replicas {
			if b := &c.mu.brokers[id-1]; a.Leader < 0 && b.epoch > 0 && !b.fenced && slices.Contains(a.ISR, id) {
				a.Leader = id
				a.LeaderEpoch++
				a.PartitionEpoch++
			}
		}
	}
}

// tick fences whom nothing is heard of, and lets back who is heard again.
func (c *controller) tick(heard func(id int32) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.mu.brokers {
		b, id := &c.mu.brokers[i], int32(i+1)
		switch {
		case heard(id):
			b.lost = time.Time{}
			if b.fenced {
				b.fenced = false
				c.electLocked()
			}
		case b.lost.IsZero():
			b.lost = time.Now()
		case time.Since(b.lost) > 1500*time.Millisecond && !b.fenced:
			c.fenceLocked(id)
		}
	}
}

// move elects another leader from the ISR, as a rebalance does.
func (c *controller) move(p int, to int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.mu.parts[p]
	if id := a.ISR[to%len(a.ISR)]; id != a.Leader && !c.mu.brokers[id-1].fenced {
		a.Leader = id
		a.LeaderEpoch++
		a.PartitionEpoch++
		c.mu.version++
	}
}

func (c *controller) alter(from *life, p proposal) kafka.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.mu.parts[p.tp.Partition]
	switch {
	case from.epoch != c.mu.brokers[from.id-1].epoch:
		return kafka.StaleBrokerEpoch
	case a.Leader != from.id || a.LeaderEpoch != p.change.LeaderEpoch:
		return kafka.FencedLeaderEpoch
	case a.PartitionEpoch != p.change.PartitionEpoch:
		return kafka.InvalidUpdateVersion
	}
	var isr []int32
	for _, m := range p.change.ISR {
		b := &c.mu.brokers[m.Broker-1]
		if b.fenced || m.Epoch >= 0 && m.Epoch != b.epoch {
			return kafka.IneligibleReplica
		}
		isr = append(isr, m.Broker)
	}
	a.ISR = isr
	a.PartitionEpoch++
	c.mu.version++
	return kafka.None
}

// view gives all, if it changed since.
func (c *controller) view(since int64) (*cluster.Image, *replica.Delta, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.version == since {
		return nil, nil, since
	}
	d := cluster.NewDelta(cluster.Empty("world"))
	for i, b := range c.mu.brokers {
		r := state.NewRegisterBrokerRecord()
		r.BrokerID, r.BrokerEpoch, r.Fenced = int32(i+1), b.epoch, b.fenced || b.epoch == 0
		if err := d.Replay(&r); err != nil {
			c.w.t.Error(err)
		}
	}
	conf := replica.DefaultTopicConfig()
	conf.MinISR = minISR
	conf.Log.SegmentBytes = 64 << 10
	delta := &replica.Delta{Complete: since == 0}
	for p, a := range c.mu.parts {
		a.Replicas, a.ISR = slices.Clone(a.Replicas), slices.Clone(a.ISR)
		delta.Assigned = append(delta.Assigned, replica.Assignment{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: int32(p)},
			TopicID: topicID, Config: &conf, Role: a})
	}
	return d.Apply(c.mu.version, 1), delta, c.mu.version
}

func (c *controller) leader(p int) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.parts[p].Leader
}
