package api

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
)

// Slot is the place of an answer that is not due yet in its connection's order
// of answers: a Produce under acks=all, whose records are written but not yet
// durable everywhere.
//
// Its frame is encoded at once, as it will be sent if all goes well. What may
// still change is an error code for each partition, so a slot remembers where
// those stand. It holds no part of the request.
//
//	handler   take -> ack, ack ... -> Reply.Later
//	listen    Settled? Patch, Discard : Keep the frame, queue, Release
//	replicas  each ack is done once; the last one tells the Owner
//	writer    Settled or too late -> Finish, send, Free
//
// A slot that was too late is still known to replicas. It is used again only
// when the last of them has called back.
type Slot struct {
	Deadline time.Time // when the answer becomes REQUEST_TIMED_OUT
	Owner    Owner     // told when the slot is settled

	frame []byte
	first ack
	more  []*ack
	used  int // acks in use

	open atomic.Int32 // acks not done, and one for the handler
	refs atomic.Int32 // acks not done, one for the handler, one for the connection
	pool *slotPool

	guide   guide // of a Produce; else empty
	row     *Row
	conn    uint64
	version int16
	began   time.Time
	size    int // of the request

	small [160]byte // room for a frame of one partition
}

// Owner is told from a flusher's goroutine that a slot is settled. It must not
// block.
type Owner interface{ SlotSettled(s *Slot) }

// ack is one partition's part of a slot.
type ack struct {
	w    replica.Waiter
	slot *Slot
	at   int          // of the error code, in the frame
	code atomic.Int32 // ackOpen, or the error code
}

const ackOpen = math.MinInt32

// done is what the replica calls, once.
func (a *ack) done(err error) {
	a.code.CompareAndSwap(ackOpen, int32(kafka.CodeOf(err)))
	s := a.slot
	if s.open.Add(-1) == 0 {
		s.Owner.SlotSettled(s)
	}
	s.unref()
}

// slotPool keeps slots that are not in use.
type slotPool struct{ pool sync.Pool }

// take returns a slot with the handler's hold on it.
func (p *slotPool) take(c *Call) *Slot {
	s, _ := p.pool.Get().(*Slot)
	if s == nil {
		s = &Slot{pool: p}
		s.frame = s.small[:0]
		s.first.slot = s
		s.first.w.Done = s.first.done
	}
	s.open.Store(1)
	s.refs.Store(2)
	s.used = 0
	s.guide = guide{}
	s.row, s.conn, s.version, s.began, s.size = c.row, c.Conn.ID, c.Version, c.Time, c.Size
	return s
}

// Later makes the answer at work wait: it is sent when all that the Slot expects
// is done, or as REQUEST_TIMED_OUT at the deadline.
func (c *Call) Later(out *Reply, deadline time.Time) *Slot {
	s := c.t.slots.take(c)
	s.Deadline = deadline
	out.Later = s
	return s
}

// Expect adds a partition to what the answer waits for: its error code stands at
// byte at of the frame. The function it returns has to be called once.
func (s *Slot) Expect(at int) func(error) { return s.ack(at).w.Done }

// ack adds a partition whose error code stands at byte at of the frame.
func (s *Slot) ack(at int) *ack {
	s.used++
	a := &s.first
	if i := s.used - 2; i >= 0 {
		if i == len(s.more) {
			b := &ack{slot: s}
			b.w.Done = b.done
			s.more = append(s.more, b)
		}
		a = s.more[i]
	}
	a.at = at
	a.code.Store(ackOpen)
	s.open.Add(1)
	s.refs.Add(1)
	return a
}

func (s *Slot) each(f func(*ack)) {
	if s.used > 0 {
		f(&s.first)
	}
	for _, a := range s.more[:max(0, s.used-1)] {
		f(a)
	}
}

// Settled says whether every partition is done while the handler still holds
// the slot, so before Release.
func (s *Slot) Settled() bool { return s.open.Load() == 1 }

// Ready says whether every partition is done, after Release.
func (s *Slot) Ready() bool { return s.open.Load() == 0 }

// Keep copies the finished frame into the slot.
func (s *Slot) Keep(frame []byte) { s.frame = append(s.frame[:0], frame...) }

// Release gives up the handler's hold: from now on the last ack tells Owner, at
// once if all are done already.
func (s *Slot) Release() {
	if s.open.Add(-1) == 0 {
		s.Owner.SlotSettled(s)
	}
	s.unref()
}

// Discard gives up the handler's hold and the connection's, of a slot that
// needed no place.
func (s *Slot) Discard() {
	s.unref()
	s.unref()
}

// Patch writes the error codes into frame, which is the slot's own or still in
// the write buffer. An ack that is not done by now is REQUEST_TIMED_OUT for
// good.
func (s *Slot) Patch(frame []byte) {
	s.each(func(a *ack) {
		a.code.CompareAndSwap(ackOpen, int32(kafka.RequestTimedOut))
		if code := a.code.Load(); code != 0 {
			binary.BigEndian.PutUint16(frame[a.at:], uint16(code))
		}
	})
}

// Finish returns the frame as it is to be sent now.
func (s *Slot) Finish() []byte {
	s.Patch(s.frame)
	if s.guide.h == nil || s.version < redirectVersion {
		return s.frame
	}
	lost := false
	s.each(func(a *ack) { lost = lost || a.code.Load() == int32(kafka.NotLeaderOrFollower) })
	if lost {
		s.frame = s.guide.redirect(s.frame, s.version)
	}
	return s.frame
}

// Free ends the connection's use of the slot.
func (s *Slot) Free() { s.unref() }

func (s *Slot) unref() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.Owner = nil
	if cap(s.frame) > 4<<10 {
		s.frame = s.small[:0]
	}
	s.pool.pool.Put(s)
}
