package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func nodeHost(i int) string { return fmt.Sprintf("node%d", i) }
func nodeAddr(i int) string { return nodeHost(i) + ":9092" }

// machine is one node of a cluster over all its lives: its disk, its clock, and
// the broker while there is one. The nemesis alone starts and ends lives, one
// fault at a time for each machine.
type machine struct {
	id     int
	of     int   // nodes of the cluster
	copies int16 // of each partition
	net    *memnet.Network
	fs     *vfs.Mem
	rand   *rand.Rand
	logger *slog.Logger
	stalls atomic.Int64 // until when the disk answers nothing, by the bubble's clock in ns
	offset atomic.Int64 // of the machine's wall clock, in ns
	life   atomic.Int64
	spoil  func(vfs.FS) vfs.FS // planted bugs between broker and disk; nil: none
	join   bool                // begin the next life as another identity

	up     bool
	cancel context.CancelFunc
	ended  chan error
}

func newMachine(id int, f *fleet) *machine {
	m := &machine{id: id, of: f.opt.Nodes, copies: f.copies(), net: f.net, rand: rand.New(rand.NewPCG(f.opt.Seed, 0x3ac41e+uint64(id))),
		logger: f.opt.Logger.With("node", id), spoil: f.opt.Spoil}
	m.fs = vfs.NewMem(vfs.MemConfig{Now: time.Now})
	m.fs.SetHook(m.disk)
	if f.opt.Nodes > 1 {
		m.offset.Store(m.rand.Int64N(int64(2*time.Second)) - int64(time.Second))
	}
	return m
}

// disk gives every operation a time of its own, see slowly, and waits while the
// disk is stalled.
func (m *machine) disk(op vfs.Op) (v vfs.Verdict) {
	if !op.Kind.Changes() {
		return v
	}
	h := fnv.New64a()
	h.Write([]byte(op.Name))
	n := uint64(time.Now().UnixNano())
	h.Write([]byte{byte(m.id), byte(op.Kind), byte(op.Off), byte(op.Off >> 8), byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	v.Delay = 5*time.Microsecond + time.Duration(h.Sum64()%50_000)
	if op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncDir {
		v.Delay = 100*time.Microsecond + 8*v.Delay
	}
	if d := m.stalls.Load() - int64(n); d > 0 {
		v.Delay += time.Duration(d)
	}
	return v
}

// now is the machine's time: its wall clock is off and may jump, what passes
// between two of its times is what passes.
func (m *machine) now() time.Time {
	return skewed(time.Now(), time.Duration(m.offset.Load()))
}

func (m *machine) properties() []string {
	set := []string{
		fmt.Sprintf("node.id=%d", m.id), "process.roles=broker,controller", "log.dirs=/data", "admin.listener=",
		"cluster.id=AAAAAAAAAAAAAAAAAAAAAQ",
		"group.initial.rebalance.delay.ms=500", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
		"share.coordinator.state.topic.num.partitions=3", "log.retention.check.interval.ms=60000",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=2000", "group.share.record.lock.duration.ms=5000",
		"group.share.min.record.lock.duration.ms=1000", "group.min.session.timeout.ms=3000",
		"group.consumer.min.session.timeout.ms=6000", "group.consumer.session.timeout.ms=6000",
		"group.consumer.min.heartbeat.interval.ms=1000", "group.consumer.heartbeat.interval.ms=1000",
		"group.share.min.session.timeout.ms=6000", "group.share.session.timeout.ms=6000",
		"group.share.min.heartbeat.interval.ms=1000", "group.share.heartbeat.interval.ms=1000",
	}
	for _, topic := range []string{"offsets.topic", "transaction.state.log", "share.coordinator.state.topic"} {
		set = append(set, fmt.Sprintf("%s.replication.factor=%d", topic, m.copies))
	}
	if m.of == 1 {
		return append(set, "listeners=PLAINTEXT://"+nodeAddr(m.id))
	}
	var voters []string
	for i := range min(m.of, 3) {
		voters = append(voters, fmt.Sprintf("%d@%s:9093", i, nodeHost(i)))
	}
	return append(set, fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s:9093", nodeAddr(m.id), nodeHost(m.id)),
		"controller.quorum.voters="+strings.Join(voters, ","))
}

// start begins a life on the disk as it is. It does not wait for the broker to
// be ready, which may need others.
func (m *machine) start() error {
	set, err := config.ParseSet(m.properties())
	if err != nil {
		return err
	}
	var disk vfs.FS = m.fs
	if m.spoil != nil {
		disk = m.spoil(disk)
	}
	b, err := broker.Open(broker.Config{Properties: config.NewBroker(set), FS: disk, Listen: m.listen, Dial: m.dial,
		Now: m.now, Rand: rand.New(rand.NewPCG(m.rand.Uint64(), 1)), Logger: m.logger, Format: true, Join: m.join})
	if err != nil {
		return fmt.Errorf("opening node %d: %w", m.id, err)
	}
	m.life.Add(1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	m.cancel, m.ended, m.up, m.join = cancel, ended, true, false
	go func() { ended <- b.Run(ctx) }()
	return nil
}

// drainLimit is how long the end of a node may take.
const drainLimit = 3 * time.Minute

// stop drains the node, as SIGTERM does.
func (m *machine) stop() error {
	if !m.up {
		return nil
	}
	m.up = false
	m.cancel()
	timer := time.NewTimer(drainLimit)
	defer timer.Stop()
	select { //house:select a drain that ends in the very instant of its limit may as well have failed
	case err := <-m.ended:
		return err
	case <-timer.C:
		return fmt.Errorf("node %d was told to stop %v ago and has not ended", m.id, drainLimit)
	}
}

// errHangs is what a machine without power says if its program does not end.
var errHangs = errors.New("does not end")

// cut takes the power away. What the program does until its goroutines have
// ended reaches neither disk nor network.
func (m *machine) cut(p vfs.Policy) error {
	m.fs.StopBefore(0)
	if err := m.perish(); err != nil {
		return err
	}
	m.fs = m.fs.Crash(p, m.rand)
	m.fs.SetHook(m.disk)
	return nil
}

// kill ends the process and leaves the machine as it is, as `kill -9` does.
func (m *machine) kill() error {
	m.fs.StopBefore(0)
	if err := m.perish(); err != nil {
		return err
	}
	m.fs = m.fs.Fork()
	m.fs.SetHook(m.disk)
	return nil
}

// perish ends a program whose machine is gone: nobody hears of it.
func (m *machine) perish() error {
	if !m.up {
		return nil
	}
	m.net.Isolate(nodeHost(m.id), true)
	m.net.Crash(nodeHost(m.id))
	m.up = false
	m.cancel()
	timer := time.NewTimer(drainLimit)
	defer timer.Stop()
	select { //house:select see stop
	case <-m.ended: // its errors are those of a machine without power
	case <-timer.C:
		return fmt.Errorf("node %d lost its power %v ago and its program: %w", m.id, drainLimit, errHangs)
	}
	m.net.Crash(nodeHost(m.id))
	m.net.Isolate(nodeHost(m.id), false)
	return nil
}
