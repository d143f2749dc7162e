package quorum

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Errors of proposals.
var (
	// ErrNotLeader says that this node does not decide, or stopped to before the
	// proposal was known to be committed: it may be committed all the same.
	ErrNotLeader = fmt.Errorf("this node does not lead the metadata quorum: %w", kafka.NotController)
	// ErrStopped says that Run has ended.
	ErrStopped = fmt.Errorf("the metadata quorum is stopped here: %w", kafka.NotController)
)

// Config is what a Node needs.
type Config struct {
	FS   vfs.FS
	Home *commitlog.Home // holds the log; stays the caller's
	Dir  string          // path of Home

	Machine   Machine
	Transport Transport // nil: nobody else is there
	Logger    *slog.Logger
	Now       func() time.Time

	// Tick is the unit of raft's clock: a heartbeat every two, an election
	// after eight to sixteen without one. 0 is 100 ms.
	Tick time.Duration
	// SnapshotBytes is how much of the log may gather before a snapshot is
	// taken. 0 is 20 MiB, as Kafka's metadata.log.max.record.bytes.between.snapshots.
	SnapshotBytes int64
	// KeepEntries stay in the log behind a snapshot for members that lag.
	KeepEntries uint64
}

// The log's name, Kafka's.
const (
	Topic     = "__cluster_metadata"
	Partition = 0
)

// Folder is the path of the quorum's files in a log directory.
func Folder(dir string) string {
	return dir + "/" + kafka.TopicPartition{Topic: Topic, Partition: Partition}.String()
}

const segmentBytes = 8 << 20 // small, so that compaction finds whole segments to delete

// Node is this node's part in the quorum.
type Node struct {
	cfg   Config
	dir   string
	store *store
	raft  *raft.RawNode
	inbox *inbox

	// The rest is Run's own.
	peers     members // who has sent something
	strangers strangers
	changes   changes  // of members, under way: one at most
	times     moments  // when members were heard of, while this node leads
	readings  readings // of Confirm
	candidacy candidacy
	tenure    tenure
	ticker    *time.Timer
	queue     []*proposal // proposed, without an index yet
	waiting   []*proposal // in the log, by index
	applied   uint64
	begin     uint64 // entry that began this node's leadership; 0 when it does not lead
	leading   bool   // the machine was told so
	leader    uint64
	grown     int64 // bytes of entries since the last snapshot
	snapping  bool
	ending    context.Context // Run's
	stopping  atomic.Bool
	snapshots sync.WaitGroup

	incoming *incoming // a snapshot that comes from another member

	status atomic.Pointer[Status]
	full   atomic.Pointer[error] // what keeps the log from being written; nil while nothing does
}

// Open reads the log and the state of a formatted directory. Nothing runs yet.
func Open(cfg Config) (*Node, error) {
	if cfg.Tick == 0 {
		cfg.Tick = 100 * time.Millisecond
	}
	if cfg.SnapshotBytes == 0 {
		cfg.SnapshotBytes = 20 << 20
	}
	n := &Node{
		cfg: cfg, dir: Folder(cfg.Dir), inbox: newInbox(), times: moments{},
		strangers: strangers{told: map[kafka.UUID]bool{}, logger: cfg.Logger},
	}
	n.incoming = &incoming{fs: cfg.FS, dir: n.dir, slot: make(chan struct{}, 1)}
	if err := sweepIncoming(cfg.FS, n.dir); err != nil {
		return nil, err
	}
	states, s, err := openState(cfg.FS, n.dir)
	if err != nil {
		return nil, err
	}
	if s.snapshot.index > 1 {
		if there, err := vfs.Exists(cfg.FS, n.dir+"/"+snapshotName(s.snapshot)); err != nil || !there {
			return nil, errors.Join(fmt.Errorf("%w: %s is missing", ErrSnapshot, snapshotName(s.snapshot)), err, states.close())
		}
	}
	openLog := func() (*commitlog.Log, error) { return openLog(&cfg, int64(s.cut.index)+1) }
	log, err := openLog()
	for vfs.IsNoSpace(err) && cfg.Home.RelieveLast() {
		log, err = openLog()
	}
	if err != nil {
		return nil, errors.Join(err, states.close())
	}
	if n.store, err = openStore(log, states, s); err == nil {
		n.store.open = openLog
		n.applied = s.snapshot.index
		err = n.start()
	}
	if err != nil {
		return nil, errors.Join(err, log.Close(), states.close())
	}
	return n, nil
}

// openLog opens the metadata log, which begins at first unless it is there.
func openLog(cfg *Config, first int64) (*commitlog.Log, error) {
	log, _, err := commitlog.Open(commitlog.Config{
		Home: cfg.Home, Topic: Topic, Partition: Partition, Logger: cfg.Logger, Now: cfg.Now,
		Begin:    first,
		Tunables: commitlog.Tunables{SegmentBytes: segmentBytes, RetentionAge: -1, KeepAll: true},
	})
	if err != nil {
		return nil, err
	}
	if err := whole(log); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return log, nil
}

func (n *Node) start() (err error) {
	defer rescue(&err)
	n.raft, err = raft.NewRawNode(&raft.Config{
		ID:                        n.Self().ID(),
		ElectionTick:              8,
		HeartbeatTick:             2,
		Storage:                   n.store,
		Applied:                   n.applied,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  4 << 20,
		MaxInflightMsgs:           64,
		MaxInflightBytes:          8 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    raftLogger{n.cfg.Logger},
	})
	if err == nil {
		n.publish() // who the members are is known before Run
	}
	return err
}

// Self is the member that this node is.
func (n *Node) Self() Member { return n.store.state.self }

// Close closes the files. Run must have returned, or never been called.
func (n *Node) Close() error { return errors.Join(n.incoming.end(), n.store.close()) }

// Status is the newest view of the quorum.
func (n *Node) Status() Status { return *n.status.Load() }

// Propose asks for data to become an entry. It does not wait: done is called
// once, on the goroutine of Run, with nil after the entry was applied here.
// Proposals of one caller keep their order. Data must not be changed afterwards.
func (n *Node) Propose(data []byte, done func(error)) {
	if !n.inbox.put(item{proposal: &proposal{data: data, done: done}}) {
		done(ErrStopped)
	}
}

// Run takes part until ctx ends, and then answers nil. Any other end is an error
// that is final for this process: the files may not say what memory does.
func (n *Node) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, n.inbox.poke)
	defer stop()
	n.ending = ctx
	err := n.run(ctx)
	if errors.Is(err, errEnding) {
		err = nil
	}
	n.stopping.Store(true)
	if n.ticker != nil {
		n.ticker.Stop()
	}
	n.snapshots.Wait()
	n.refuse(ErrStopped)
	for _, it := range n.inbox.close() {
		if it.proposal != nil {
			it.proposal.done(ErrStopped)
		}
		if it.change != nil {
			it.change.done(ErrStopped)
		}
		if it.confirm != nil {
			it.confirm(ErrStopped)
		}
	}
	return err
}

func (n *Node) run(ctx context.Context) (err error) {
	defer rescue(&err)
	defer unreadable(&err)
	if err := n.restore(); err != nil {
		return err
	}
	if err := n.settle(); err != nil { // what is committed acts before anything new
		return err
	}
	if n.store.state.lone() {
		if err := n.raft.Campaign(); err != nil {
			return err
		}
	}
	n.keepTime()
	var items []item
	for ctx.Err() == nil {
		if err := n.settle(); err != nil {
			return err
		}
		var ticks int
		if items, ticks = n.inbox.take(items); len(items) == 0 && ticks == 0 {
			<-n.inbox.wake
			continue
		}
		for range ticks {
			n.raft.Tick()
			if err := n.candidacy.tick(n.raft); err != nil {
				return err
			}
			if to := n.tenure.tick(n.raft, n.leading, n.cfg.Home.Slow); to != raft.None {
				n.cfg.Logger.Warn("the disk does not answer: the quorum is handed over", "to", n.nodeOf(to))
			}
			n.keepTime()
		}
		for _, it := range items {
			if err := n.accept(it); err != nil {
				return err
			}
		}
		clear(items)
	}
	return nil
}

// keepTime runs raft's clock while there are others to hear from. Alone, a
// member has nothing to time and an idle broker does not wake up for it.
func (n *Node) keepTime() {
	if n.store.state.lone() && len(n.store.state.conf.Learners) == 0 {
		return
	}
	if n.ticker == nil {
		n.ticker = time.AfterFunc(n.cfg.Tick, n.inbox.tick)
		return
	}
	n.ticker.Reset(n.cfg.Tick)
}

// accept gives one item to raft.
func (n *Node) accept(it item) error {
	switch {
	case it.proposal != nil:
		if len(it.proposal.data) == 0 || n.raft.Propose(it.proposal.data) != nil {
			it.proposal.done(ErrNotLeader)
			return nil
		}
		n.queue = append(n.queue, it.proposal)
	case it.message != nil:
		if err := n.remembers(it.message); err != nil {
			return err
		}
		if n.strangers.refuses(n.store.state, it.from, it.message) || n.amnesiac(it.message) {
			return nil
		}
		n.peers = n.peers.with(it.from)
		if n.leading {
			n.times.heard(it.from, n.cfg.Now().UnixMilli())
		}
		// A message that does not fit is raft's to drop.
		if err := n.raft.Step(it.message); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
			n.cfg.Logger.Debug("raft message dropped", "type", it.message.GetType(), "err", err)
		}
	case it.change != nil:
		n.propose(it.change)
	case it.unreachable != 0:
		n.raft.ReportUnreachable(it.unreachable)
	case it.gone != nil:
		if n.nodeOf(n.raft.BasicStatus().Lead) == *it.gone {
			n.candidacy.hasten(n.raft, n.store.state)
		}
	case it.confirm != nil:
		n.confirm(it.confirm)
	case it.report != nil:
		outcome := raft.SnapshotFinish
		if !it.report.ok {
			outcome = raft.SnapshotFailure
		}
		n.raft.ReportSnapshot(it.report.to, outcome)
	case it.snapshot != nil:
		return n.snapshotDone(it.snapshot)
	}
	return nil
}

// restore brings the machine to the newest snapshot.
func (n *Node) restore() error {
	at := n.store.state.snapshot
	records := readSnapshot(n.cfg.FS, n.dir, at)
	if at.index <= 1 {
		records = func(func([]byte, error) bool) {}
	}
	if err := n.cfg.Machine.Restore(at.index, at.term, records); err != nil {
		return err
	}
	n.applied, n.grown = at.index, 0
	return sweep(n.cfg.FS, n.dir, at)
}

// snapshotDone compacts the log behind a snapshot that was written.
func (n *Node) snapshotDone(f *finished) error {
	n.snapping = false
	if f.err != nil {
		if errors.Is(f.err, ErrStopped) {
			return nil
		}
		if errors.Is(f.err, fs.ErrNotExist) || !vfs.IsNoSpace(f.err) {
			return f.err
		}
		n.cfg.Logger.Warn("no metadata snapshot: the disk is full", "err", f.err)
		n.grown = 0 // try again after as much more
		return nil
	}
	if err := n.insist(func() error { return n.store.compact(f.at, f.conf, n.cfg.KeepEntries) }); err != nil {
		return err
	}
	return sweep(n.cfg.FS, n.dir, f.at)
}
