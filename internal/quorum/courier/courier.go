// Package courier carries the messages of the metadata quorum between nodes, over
// the connections of package peer.
//
// Each member has a queue of its own and a goroutine that empties it: what has
// gathered goes as one request. A queue that is full takes nothing more, and the
// quorum is told: it repeats what matters. Snapshots have a connection of their
// own, on which they go piece by piece, so that no heartbeat waits behind one.
package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/peer"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Bounds of what waits for one member.
const (
	maxQueue = 64        // messages
	maxBytes = 8 << 20   // of them, beyond the first
	maxBatch = 2 << 20   // bytes of one request, beyond the first message
	piece    = 256 << 10 // of a snapshot
)

// within is how long a request may take, opening its connection included. What was
// not delivered by then is old.
const within = 3 * time.Second

// Config is what a Courier needs.
type Config struct {
	Peers     Peers
	ClusterID string
	Logger    *slog.Logger
}

// Peers is what a Courier needs of a [peer.Pool].
type Peers interface {
	To(node int32, why peer.Purpose) *peer.Conn
}

// Courier is a [quorum.Transport].
type Courier struct {
	cfg  Config
	ctx  context.Context // ends when Run does
	end  context.CancelFunc
	work sync.WaitGroup

	mu struct {
		sync.Mutex // memory only
		ways       map[quorum.Member]*way
		closed     bool
	}
}

// way is the way to one member.
type way struct {
	to quorum.Member

	// Under the lock of the Courier.
	queue   []quorum.Message
	bytes   int
	busy    bool // a goroutine empties the queue
	shipper bool // a goroutine sends a snapshot
	refused kafka.Code
}

// New makes a Courier. It does nothing before the first message, but Run has to be
// called for what it starts to end.
func New(cfg Config) *Courier {
	c := &Courier{cfg: cfg}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.mu.ways = map[quorum.Member]*way{}
	return c
}

// Run waits for ctx to end, and answers nil when all goroutines are gone.
func (c *Courier) Run(ctx context.Context) error {
	<-ctx.Done()
	c.mu.Lock()
	c.mu.closed = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
	return nil
}

// Send takes messages in, or drops them. It does not wait.
func (c *Courier) Send(messages []quorum.Message) {
	var lost []quorum.Message
	c.mu.Lock()
	for _, m := range messages {
		if !c.put(m) {
			lost = append(lost, m)
		}
	}
	c.mu.Unlock()
	for _, m := range lost {
		drop(m)
	}
}

// drop tells the quorum that a message is lost.
func drop(m quorum.Message) {
	if m.Snapshot != "" {
		m.Shipped(false)
		return
	}
	m.Lost()
}

// put takes one message in; the lock is held.
func (c *Courier) put(m quorum.Message) bool {
	if c.mu.closed {
		return false
	}
	w := c.mu.ways[m.To]
	if w == nil {
		w = &way{to: m.To}
		c.mu.ways[m.To] = w
	}
	if m.Snapshot != "" {
		if w.shipper {
			return false
		}
		w.shipper = true
		c.work.Go(func() { c.shipped(w, m, c.ship(w, m)) })
		return true
	}
	if len(w.queue) == maxQueue || len(w.queue) > 0 && w.bytes+len(m.Data) > maxBytes {
		return false
	}
	w.queue = append(w.queue, m)
	w.bytes += len(m.Data)
	if !w.busy {
		w.busy = true
		c.work.Go(func() { c.deliver(w) })
	}
	return true
}

// take gives the next batch of a queue; nothing if it is empty, and then the
// goroutine ends.
func (c *Courier) take(w *way) []quorum.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < len(w.queue) && (n == 0 || size+len(w.queue[n].Data) <= maxBatch) {
		size += len(w.queue[n].Data)
		n++
	}
	batch := w.queue[:n:n]
	w.queue = w.queue[n:]
	w.bytes -= size
	if n == 0 {
		w.busy, w.queue = false, nil
	}
	return batch
}

// deliver empties a queue.
func (c *Courier) deliver(w *way) {
	for batch := c.take(w); len(batch) > 0; batch = c.take(w) {
		if err := c.send(w, batch); err != nil {
			c.cfg.Logger.Debug("messages of the quorum are lost", "node", w.to.Node, "messages", len(batch), "err", err)
			batch[len(batch)-1].Lost() // one word is enough for raft
		}
	}
}

func (c *Courier) send(w *way, batch []quorum.Message) error {
	from := batch[0].From
	req := msg.RaftMessagesRequest{
		ClusterID: c.cfg.ClusterID, FromNode: from.Node, FromDirectory: from.Directory,
		ToNode: w.to.Node, ToDirectory: w.to.Directory,
		Messages: make([]msg.RaftMessagesRequestMessage, len(batch)),
	}
	for i, m := range batch {
		req.Messages[i].Data = m.Data
	}
	ctx, cancel := context.WithTimeout(c.ctx, within)
	defer cancel()
	var resp msg.RaftMessagesResponse
	if err := c.cfg.Peers.To(w.to.Node, peer.Raft).Do(ctx, &req, &resp, 0); err != nil {
		return err
	}
	return c.answered(w, resp.ErrorCode, resp.ErrorMessage)
}

// answered makes an error of a refusal, and tells the log of it once.
func (c *Courier) answered(w *way, answer int16, text *string) error {
	code := kafka.Code(answer)
	c.mu.Lock()
	news := code != w.refused
	w.refused = code
	c.mu.Unlock()
	if code == kafka.None {
		return nil
	}
	why := ""
	if text != nil {
		why = *text
	}
	if news {
		c.cfg.Logger.Error("a member of the metadata quorum takes no messages of this node", "node", w.to.Node,
			"directory", w.to.Directory, "err", code, "why", why)
	}
	return fmt.Errorf("node %d: %s: %w", w.to.Node, why, code)
}

// shipped ends the journey of a snapshot.
func (c *Courier) shipped(w *way, m quorum.Message, err error) {
	c.mu.Lock()
	w.shipper = false
	c.mu.Unlock()
	if err != nil {
		c.cfg.Logger.Info("a snapshot of the metadata did not arrive", "node", w.to.Node, "snapshot", m.Snapshot, "err", err)
	}
	m.Shipped(err == nil)
}

// errStuck says that a receiver does not get on.
var errStuck = errors.New("the receiver asks for what it has been given")

// ship sends a snapshot, and after its last byte the message. The receiver says
// where to go on.
func (c *Courier) ship(w *way, m quorum.Message) (err error) {
	file, err := m.File()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	req := msg.RaftSnapshotRequest{
		ClusterID: c.cfg.ClusterID, FromNode: m.From.Node, FromDirectory: m.From.Directory,
		ToNode: w.to.Node, ToDirectory: w.to.Directory, Name: m.Snapshot,
	}
	if req.Size, err = file.Size(); err != nil {
		return err
	}
	room := make([]byte, piece)
	restarts := 0
	for req.Position < req.Size {
		req.Piece = room[:min(piece, req.Size-req.Position)]
		if _, err := file.ReadAt(req.Piece, req.Position); err != nil {
			return err
		}
		req.Checksum = quorum.Checksum(req.Piece)
		if req.Message = nil; req.Position+int64(len(req.Piece)) == req.Size {
			req.Message = m.Data
		}
		have, err := c.sendPiece(w, &req)
		if err != nil {
			return err
		}
		if have <= req.Position {
			if restarts++; restarts > 3 {
				return errStuck
			}
		}
		req.Position = max(0, min(have, req.Size))
	}
	return nil
}

func (c *Courier) sendPiece(w *way, req *msg.RaftSnapshotRequest) (have int64, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*within)
	defer cancel()
	var resp msg.RaftSnapshotResponse
	if err := c.cfg.Peers.To(w.to.Node, peer.Snapshot).Do(ctx, req, &resp, 0); err != nil {
		return 0, err
	}
	return resp.Position, c.answered(w, resp.ErrorCode, resp.ErrorMessage)
}
