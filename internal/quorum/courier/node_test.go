package courier

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/peer"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// words is a machine that keeps what was said.
type words struct {
	mu       sync.Mutex
	said     []string
	restored int
}

func (w *words) Restore(_, _ uint64, records iter.Seq2[[]byte, error]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = nil
	for b, err := range records {
		if err != nil {
			return err
		}
		w.said = append(w.said, string(b))
		w.restored++
	}
	return nil
}

func (w *words) Apply(entries []quorum.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range entries {
		w.said = append(w.said, string(e.Data))
	}
	return nil
}

func (w *words) Lead(uint64, uint64) {}
func (w *words) Follow(int32)        {}

func (w *words) Snapshot() (iter.Seq[[]byte], bool) {
	all := w.all()
	return func(yield func([]byte) bool) {
		for _, s := range all {
			if !yield([]byte(s)) {
				return
			}
		}
	}, true
}

func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

// ring is a cluster of quorum nodes on a network in memory.
type ring struct {
	t     *testing.T
	net   *memnet.Network
	nodes map[int32]*node
	log   *slog.Logger
	warns *alarms
}

// alarms counts the errors that are logged, by message.
type alarms struct {
	slog.Handler
	mu    sync.Mutex
	count map[string]int
}

func (a *alarms) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		a.mu.Lock()
		a.count[r.Message]++
		a.mu.Unlock()
	}
	return a.Handler.Handle(ctx, r)
}

func newRing(t *testing.T) *ring {
	var h slog.Handler = slog.DiscardHandler
	if os.Getenv("MYELIN_TEST_LOG") != "" {
		h = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	a := &alarms{Handler: h, count: map[string]int{}}
	return &ring{t: t, net: memnet.New(), nodes: map[int32]*node{}, log: slog.New(loud{a}), warns: a}
}

// loud lets every level through to alarms.
type loud struct{ *alarms }

func (l loud) Enabled(context.Context, slog.Level) bool { return true }

// node is a member with all that it stands on.
type node struct {
	*quorum.Node
	ring     *ring
	self     quorum.Member
	cluster  string
	disk     *vfs.Mem
	home     *commitlog.Home
	words    *words
	pool     *peer.Pool
	courier  *Courier
	listener net.Listener
	stop     context.CancelFunc
	work     sync.WaitGroup
	mu       sync.Mutex
	ended    error
	pieces   int
}

func host(id int32) string { return "node" + strconv.Itoa(int(id)) }

func member(id int32, generation uint64) quorum.Member {
	m := quorum.Member{Node: id}
	binary.BigEndian.PutUint64(m.Directory[:], uint64(id)<<32|generation)
	return m
}

// format makes a disk for a member.
func (r *ring) format(self quorum.Member, voters ...quorum.Member) *vfs.Mem {
	r.t.Helper()
	disk := vfs.NewMem(vfs.MemConfig{})
	err := disk.MkdirAll("/q")
	if err = errors.Join(err, quorum.Format(disk, quorum.Folder("/q"), self, voters), disk.SyncDir("/q"), disk.SyncDir("/")); err != nil {
		r.t.Fatal(err)
	}
	return disk
}

// start runs a node on a disk that was formatted.
func (r *ring) start(self quorum.Member, disk *vfs.Mem, cluster string) *node {
	r.t.Helper()
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: disk, Path: "/q", Logger: r.log, Now: time.Now})
	if err != nil {
		r.t.Fatal(err)
	}
	n := &node{ring: r, self: self, cluster: cluster, disk: disk, home: home, words: &words{}}
	from := r.net.Host(host(self.Node))
	n.pool = peer.New(peer.Config{
		Self: self.Node, ClientID: host(self.Node), Logger: r.log, Rand: rand.New(rand.NewPCG(uint64(self.Node), 1)),
		Dial:    func(ctx context.Context, addr string) (net.Conn, error) { return from.Dial(ctx, "tcp", addr) },
		Address: func(id int32, _ bool) (string, bool) { return host(id) + ":9093", true },
		Down:    func(id int32) { n.work.Go(func() { _ = n.pool.To(id, peer.Raft).Open(context.Background()) }) },
		Refused: func(id int32) { n.Gone(id) },
	})
	n.courier = New(Config{Peers: n.pool, ClusterID: cluster, Logger: r.log})
	n.Node, err = quorum.Open(quorum.Config{
		FS: disk, Home: home, Dir: "/q", Machine: n.words, Transport: n.courier, Logger: r.log, Now: time.Now,
		SnapshotBytes: 1 << 20,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if n.listener, err = r.net.Listen(host(self.Node) + ":9093"); err != nil {
		r.t.Fatal(err)
	}
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	n.work.Go(n.accept)
	n.work.Go(func() { _ = n.pool.Run(ctx) })
	n.work.Go(func() { _ = n.courier.Run(ctx) })
	n.work.Go(func() {
		err := n.Run(ctx)
		n.mu.Lock()
		n.ended = err
		n.mu.Unlock()
	})
	r.nodes[self.Node] = n
	return n
}

func (n *node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ended
}

// kill is the end of a process, as the others see it; the disk keeps what is on it.
func (n *node) kill() {
	n.ring.t.Helper()
	n.ring.net.Crash(host(n.self.Node))
	n.stop()
	n.work.Wait()
	if err := errors.Join(n.Close(), n.home.Close(true)); err != nil {
		n.ring.t.Error(err)
	}
	delete(n.ring.nodes, n.self.Node)
}

func (n *node) accept() {
	for {
		c, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.work.Go(func() { n.talk(c) })
	}
}

func (n *node) talk(c net.Conn) {
	defer c.Close()
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
		var r wire.Reader
		r.Reset(frame)
		h := msg.NewRequestHeader()
		h.Decode(&r, msg.RequestHeaderVersion(key, version))
		req, _ := msg.NewRequest(key)
		req.Decode(&r, version)
		b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(h.CorrelationID))
		if msg.ResponseHeaderVersion(key, version) >= 1 {
			b = append(b, 0)
		}
		b = n.answer(req).Append(b, version)
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// answer does what package metadata does with a request.
func (n *node) answer(req msg.Request) msg.Response {
	switch req := req.(type) {
	case *msg.RaftMessagesRequest:
		resp := msg.NewRaftMessagesResponse()
		from := quorum.Member{Node: req.FromNode, Directory: req.FromDirectory}
		err := n.meant(req.ClusterID, quorum.Member{Node: req.ToNode, Directory: req.ToDirectory})
		for i := 0; i < len(req.Messages) && err == nil; i++ {
			err = n.Step(from, req.Messages[i].Data)
		}
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return &resp
	case *msg.RaftSnapshotRequest:
		resp := msg.NewRaftSnapshotResponse()
		err := n.meant(req.ClusterID, quorum.Member{Node: req.ToNode, Directory: req.ToDirectory})
		if err == nil {
			n.mu.Lock()
			n.pieces++
			n.mu.Unlock()
			resp.Position, err = n.Receive(quorum.Piece{
				From: quorum.Member{Node: req.FromNode, Directory: req.FromDirectory}, Name: req.Name, Size: req.Size,
				Position: req.Position, Checksum: req.Checksum, Data: req.Piece, Message: req.Message,
			})
		}
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return &resp
	}
	resp := msg.NewAPIVersionsResponse()
	return &resp
}

func (n *node) meant(cluster string, to quorum.Member) error {
	switch {
	case cluster != n.cluster:
		return kafka.InconsistentClusterID
	case to != n.self:
		return kafka.InvalidVoterKey
	}
	return nil
}

// say proposes, and waits.
func (n *node) say(s string) error {
	done := make(chan error, 1)
	n.Propose([]byte(s), func(err error) { done <- err })
	return <-done
}

// leader waits, for 10 s at most, until a node leads and decides.
func (r *ring) leader() *node {
	r.t.Helper()
	for range 1000 {
		time.Sleep(10 * time.Millisecond)
		for _, id := range r.ids() {
			n := r.nodes[id]
			if s := n.Status(); s.Leader == id && n.say("here") == nil {
				return n
			}
		}
	}
	r.t.Fatal("nobody leads after 10 s")
	return nil
}

func (r *ring) ids() []int32 {
	var ids []int32
	for id := range r.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// change waits for a change of the members, which is tried until it may be.
func change(f func(quorum.Member, func(error)), m quorum.Member) error {
	for range 100 {
		done := make(chan error, 1)
		f(m, func(err error) { done <- err })
		err := <-done
		if !errors.Is(err, quorum.ErrChanging) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return quorum.ErrChanging
}

// agree says whether all nodes have the same words, after some time.
func (r *ring) agree() {
	r.t.Helper()
	time.Sleep(10 * time.Second)
	synctest.Wait()
	var first []string
	for i, id := range r.ids() {
		n := r.nodes[id]
		if err := n.failure(); err != nil {
			r.t.Errorf("node %d ended: %v", id, err)
		}
		if i == 0 {
			first = n.words.all()
		} else if got := n.words.all(); !slices.Equal(got, first) {
			r.t.Errorf("node %d has %d words, node %d has %d", id, len(got), r.ids()[0], len(first))
		}
	}
}

func (r *ring) end() {
	for _, id := range r.ids() {
		r.nodes[id].kill()
	}
}
