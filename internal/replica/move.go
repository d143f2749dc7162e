package replica

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// move is the way of a replica from one log directory to another (KIP-113):
//
//	wait   in the destination's lane, behind what has to go there first
//	copy   what is durable here is appended to a copy there, t-0.id-future
//	swap   in one turn of the replica: the rest is flushed and copied, the copy
//	       gets the log's name and is opened, the old folder is set aside
//	tell   the metadata names the new directory
//
// Only what is durable is copied, so a crash leaves in the copy a part of what it
// leaves in the log, and the copying goes on. In the swap the copy has its name
// before the log loses it, each durably, and nothing is written in between: a
// crash leaves one of them or both, each whole. Of both the start takes the one
// that the metadata names, and sets the other aside.
type move struct {
	slot   *slot
	to     *directory
	lane   *lane // of to; busy from the copy to the end
	folder string
	quit   chan struct{} // one element: stop and clean up
	gone   atomic.Bool   // the same, to be looked at

	waits    int  // how often something was left
	swapping bool // too late to take it back; guarded by the table's mutex
	log      *commitlog.Log
	buf      []byte
	batches  []commitlog.Batch
}

const (
	moveChunk = 1 << 20  // bytes that are copied at a time
	moveRest  = 16 << 20 // bytes that may be left for the turn; it is a few milliseconds
	moveWaits = 20       // looks whether nothing is left, before the rest is left for the turn
)

// mover is the part of a table that moves replicas between directories.
type mover struct{ *Table }

// Move has a replica moved to the log directory at path, and returns at once. A
// move to elsewhere that is under way is taken back; a move to where the replica
// is does no more than that. A replica that is not here yet will be made there.
//
// Errors, Kafka's: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR while any directory is
// offline, INVALID_REPLICA_ASSIGNMENT if it is cordoned, REPLICA_NOT_AVAILABLE if
// the replica is not open here, INVALID_TOPIC_EXCEPTION if the name is too long
// for a copy's folder.
func (t *Table) Move(tp kafka.TopicPartition, path string) error {
	refuse := func(code kafka.Code, why string) error {
		return fmt.Errorf("partition %s to %s: %s: %w", tp, path, why, code)
	}
	if len(commitlog.FutureFolder(tp, kafka.UUID{})) > maxName {
		return refuse(kafka.InvalidTopicException, "the topic name is too long")
	}
	to, err := mover{t}.directoryAt(path)
	switch {
	case err != nil:
		return refuse(kafka.CodeOf(err), "no such directory")
	case to == nil || to.Home.Failed() != nil:
		return refuse(kafka.KafkaStorageError, "the directory is offline")
	case to.shut.Load():
		return refuse(kafka.InvalidReplicaAssignment, "the directory is cordoned")
	}
	r, err := t.Get(tp.Topic, tp.Partition)
	if err == nil {
		err = r.Offline()
	}
	switch {
	case kafka.CodeOf(err) == kafka.UnknownTopicOrPartition:
		t.mu.Lock()
		t.mu.preferred[tp] = to
		t.mu.Unlock()
		return refuse(kafka.ReplicaNotAvailable, "it is not here")
	case kafka.CodeOf(err) == kafka.KafkaStorageError:
		return err
	case err != nil:
		return refuse(kafka.ReplicaNotAvailable, "it is not open")
	}
	t.mu.Lock()
	why := mover{t}.redirectLocked(tp, to)
	t.mu.Unlock()
	t.callAll()
	if why != kafka.None {
		return refuse(why, "not now")
	}
	return nil
}

// directoryAt finds a directory by its path, nil for one that failed before it
// was open.
func (t mover) directoryAt(path string) (*directory, error) {
	for _, d := range t.dirs {
		if d.Home.Path() == path {
			return d, nil
		}
	}
	for _, p := range t.cfg.Broken {
		if p == path {
			return nil, nil
		}
	}
	return nil, kafka.LogDirNotFound
}

// redirectLocked lets a slot's way lead to a directory.
func (t mover) redirectLocked(tp kafka.TopicPartition, to *directory) kafka.Code {
	s := t.mu.slots[tp]
	if s == nil || s.lane == nil || s.replica.Load() == nil {
		return kafka.ReplicaNotAvailable
	}
	if m := s.move; m != nil {
		switch {
		case m.to == to:
			return kafka.None
		case m.swapping:
			return kafka.ReplicaNotAvailable
		}
		t.dropLocked(s)
	}
	if s.lane.dir == to {
		return kafka.None
	}
	whole := len(t.cfg.Broken) == 0
	for _, d := range t.dirs {
		whole = whole && d.Home.Failed() == nil
	}
	if !whole { // an offline directory may hold a copy that comes back
		return kafka.KafkaStorageError
	}
	t.setOutLocked(s, to, commitlog.FutureFolder(tp, s.id))
	return kafka.None
}

// setOutLocked puts a new move behind what has to go first in its destination.
func (t mover) setOutLocked(s *slot, to *directory, folder string) {
	m := &move{slot: s, to: to, folder: folder, quit: make(chan struct{}, 1)}
	m.lane = to.laneLocked(s.tp)
	m.lane.moves = append(m.lane.moves, m)
	s.move = m
	to.holds++
	to.queue.add(m.lane)
}

// dropLocked takes a slot's move back; its mover cleans up.
func (t mover) dropLocked(s *slot) {
	m := s.move
	if m == nil || m.swapping {
		return
	}
	s.move = nil
	m.to.holds--
	m.gone.Store(true)
	rouse(m.quit)
}

// rouse leaves a token unless there is one.
func rouse(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// resumeLocked goes on with a move that a restart interrupted, or that ended when
// the replica went offline, if there is one.
func (t mover) resumeLocked(s *slot) (found bool) {
	if m := s.stalled; m != nil && s.move == nil {
		s.stalled = nil
		if s.lane != nil && s.lane.dir != m.to {
			t.setOutLocked(s, m.to, m.folder)
			found = true
		}
	}
	for _, d := range t.dirs {
		folder, ok := d.futures[s.tp]
		if !ok || s.lane == nil || s.lane.dir == d || s.move != nil {
			continue
		}
		delete(d.futures, s.tp)
		t.setOutLocked(s, d, folder)
		found = true
	}
	return found
}

// movedLocked says whether there is a copy of a partition to go on with.
func (t mover) movedLocked(tp kafka.TopicPartition) bool {
	for _, d := range t.dirs {
		if d.futures[tp] != "" {
			return true
		}
	}
	return false
}

// work carries moves, one after the other, until ctx ends.
func (t mover) work(ctx context.Context) {
	for ctx.Err() == nil {
		t.mu.Lock()
		var m *move
		if len(t.mu.moves) > 0 {
			m, t.mu.moves = t.mu.moves[0], t.mu.moves[1:]
		}
		t.mu.Unlock()
		if m != nil {
			t.carry(ctx, m)
			continue
		}
		//house:select the loop looks at ctx again before it carries
		select {
		case <-t.movable:
		case <-ctx.Done():
		}
	}
}

var (
	errGone = errors.New("the move was taken back")
	errKeep = errors.New("the replica is offline, its copy is kept")
)

// carry brings one move to its end, and leaves its lane.
func (t mover) carry(ctx context.Context, m *move) {
	tp := m.slot.tp.String()
	err := t.copyAll(ctx, m)
	switch {
	case err == nil:
		t.env.logger.Info("replica is moved", "partition", tp, "dir", m.to.Home.Path())
	case ctx.Err() != nil || errors.Is(err, errKeep):
		m.slot.replica.Load().forsake()
		if m.log != nil {
			if err := m.log.Close(); err != nil {
				t.env.logger.Warn("close of a copy", "partition", tp, "dir", m.to.Home.Path(), "error", err)
			}
		}
	default:
		if !errors.Is(err, errGone) {
			t.env.logger.Error("replica stays where it is", "partition", tp, "dir", m.to.Home.Path(), "error", err)
		}
		t.discard(m)
	}
	t.mu.Lock()
	resumed := false
	if m.slot.move == m {
		m.slot.move = nil
		if err != nil {
			m.to.holds--
		}
		if errors.Is(err, errKeep) {
			m.slot.stalled = m
		}
	}
	t.leaveLaneLocked(m.lane)
	if r := m.slot.replica.Load(); m.slot.stalled == m && r != nil && r.Offline() == nil { // it is back already
		resumed = t.resumeLocked(m.slot)
	}
	t.mu.Unlock()
	m.to.call(1)
	if resumed {
		t.callAll()
	}
}

// discard takes an unfinished copy away.
func (t mover) discard(m *move) {
	m.slot.replica.Load().forsake()
	if m.log != nil {
		_ = m.log.Close() // it goes anyway
	}
	if err := (commitlog.Futures{Home: m.to.Home}).Remove(m.slot.tp, m.folder); err != nil {
		t.env.logger.Warn("an unfinished copy stays", "partition", m.slot.tp.String(), "dir", m.to.Home.Path(), "error", err)
	}
}

// leaveLaneLocked frees a lane, or queues it if there is more to do in it.
func (t mover) leaveLaneLocked(l *lane) {
	l.busy = false
	switch {
	case l.again || len(l.old) > 0 || len(l.moves) > 0:
		l.again = false
		l.dir.queue.add(l)
	case l.now == nil:
		delete(l.dir.lanes, l.tp)
	}
}

// copyAll copies until the copy has all that is durable, then swaps.
func (t mover) copyAll(ctx context.Context, m *move) error {
	r := m.slot.replica.Load()
	if r == nil || m.gone.Load() {
		return errGone
	}
	if err := t.openCopy(m, r); err != nil {
		return err
	}
	for {
		switch err := ctx.Err(); {
		case err != nil:
			return err
		case m.gone.Load():
			return errGone
		case r.Offline() != nil:
			return errKeep
		}
		limit := r.log().Flushed()
		n, err := m.step(r.log(), limit)
		switch {
		case err != nil && (r.Offline() != nil || r.log().Home().Failed() != nil):
			return errKeep
		case err != nil:
			return err
		case n > 0:
			m.to.Flusher.Schedule(m.log, false)
			t.pace.wait(ctx, m.quit, n)
			continue
		}
		if m.waits++; m.waits > moveWaits || m.level(r, limit) {
			if done, err := t.trySwap(m, r); done || err != nil {
				return err
			}
		}
		t.pace.rest(ctx, m.quit) // its lane is busy, or too much is left for the turn
	}
}

// level says whether the copy, which has all below limit, has all there is. What
// is not durable is on its way to be.
func (m *move) level(r *Replica, limit int64) bool {
	at := r.at.Load()
	if at.log.Flushed() < at.log.End() {
		at.schedule(true)
	}
	return at.log.End() <= limit
}

// openCopy opens the copy, what a restart left of it if it is of this topic and
// whole. What a crash took from a copy is in the log: the copy begins anew, or the
// move would make a loss of it.
func (t mover) openCopy(m *move, r *Replica) error {
	open := func() (err error) {
		tunables := r.Config().Log
		tunables.KeepAll, tunables.FlushMessages, tunables.FlushAfter, tunables.FileDeleteDelay = true, 0, 0, 0
		m.log, _, err = commitlog.Open(commitlog.Config{Home: m.to.Home, Topic: r.tp.Topic, Partition: r.tp.Partition, Folder: m.folder,
			TopicID: r.id, Logger: t.env.logger, Now: t.env.now, Tunables: tunables})
		return err
	}
	err := open()
	useless := kafka.CodeOf(err) == kafka.InconsistentTopicID
	if err == nil && !m.whole(r.log()) {
		useless, err = true, m.log.Close()
	}
	if useless {
		if err = (commitlog.Futures{Home: m.to.Home}).Remove(r.tp, m.folder); err == nil {
			err = open()
		}
	}
	if err != nil {
		m.log = nil
		return fmt.Errorf("copy of partition %s: %w", r.tp, err)
	}
	r.next.Store(&berth{m.to, m.log})
	return nil
}

// whole says whether the copy has all that the log has below the copy's end.
func (m *move) whole(from *commitlog.Log) bool {
	return len(m.log.Damage()) == 0 && (m.log.Start() <= from.Start() || m.log.Start() == m.log.End())
}

// step copies the next batches below limit and says how many bytes; 0 when the
// copy has them all.
func (m *move) step(from *commitlog.Log, limit int64) (int, error) {
	if err := m.align(from); err != nil {
		return 0, err
	}
	at := max(m.log.End(), from.Start())
	if at >= limit {
		return 0, m.trim(from)
	}
	part, err := from.Read(at, moveChunk, limit, true)
	if err != nil {
		return 0, err
	}
	if m.buf = m.buf[:0]; part.Len() > cap(m.buf) {
		m.buf = make([]byte, 0, part.Len())
	}
	m.buf = m.buf[:part.Len()]
	_, err = part.ReadAt(m.buf, 0)
	part.Release()
	if err != nil {
		return 0, err
	}
	m.batches = m.batches[:0]
	for rest := m.buf; len(rest) > 0; {
		h, err := record.ParseHeader(rest)
		if err != nil || h.Size() > len(rest) {
			return 0, fmt.Errorf("a batch after %d is cut off: %w", at, kafka.CorruptMessage)
		}
		m.batches = append(m.batches, commitlog.Batch{Bytes: rest[:h.Size()], Header: h})
		rest = rest[h.Size():]
	}
	if len(m.batches) == 0 {
		return 0, m.trim(from)
	}
	if first := m.batches[0].Header.BaseOffset; m.log.End() < from.Start() || m.log.Start() == m.log.End() && m.log.End() > first {
		if err := m.log.ResetTo(first); err != nil {
			return 0, err
		}
	}
	if err := m.log.Append(m.batches); err != nil {
		return 0, err
	}
	return len(m.buf), m.trim(from)
}

// align cuts off what the log does not have: it was truncated to another
// leader's history since.
func (m *move) align(from *commitlog.Log) error {
	end := m.log.End()
	if epoch := m.log.LatestEpoch(); epoch != kafka.NoEpoch {
		found, at := from.EndOffsetForEpoch(epoch)
		if found == kafka.NoEpoch || found < epoch {
			at = min(max(at, 0), from.End())
		}
		end = min(end, at)
	}
	if end = min(end, from.End()); end >= m.log.End() {
		return nil
	}
	if end < m.log.Start() {
		return m.log.ResetTo(max(end, 0))
	}
	return m.log.TruncateTo(end)
}

// trim lets the copy begin where the log does.
func (m *move) trim(from *commitlog.Log) error {
	start := from.Start()
	switch {
	case start <= m.log.Start():
		return nil
	case start > m.log.End():
		if start < from.End() {
			return nil // the next batches say where
		}
		return m.log.ResetTo(start)
	}
	return m.log.DeleteTo(start)
}

// pace bounds the bytes a second of all moves together.
type pace struct {
	now  func() time.Time
	rate atomic.Int64  // bytes a second
	turn chan struct{} // 1-slot lock of free
	free time.Time     // when the next bytes may be copied
}

// wait waits until n bytes are paid for, ctx ends or quit rings.
func (p *pace) wait(ctx context.Context, quit <-chan struct{}, n int) {
	rate := p.rate.Load()
	if rate >= 1<<40 {
		return
	}
	p.turn <- struct{}{}
	now := p.now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(max(rate, 1)) * float64(time.Second)))
	due := p.free.Sub(now)
	<-p.turn
	for due > 0 && p.rate.Load() == rate { // a new rate counts at once
		if p.sleep(ctx, quit, min(due, time.Second)) {
			return
		}
		due -= time.Second
	}
}

// rest waits a little.
func (p *pace) rest(ctx context.Context, quit <-chan struct{}) {
	p.sleep(ctx, quit, 10*time.Millisecond)
}

// sleep tells whether it was cut short.
func (p *pace) sleep(ctx context.Context, quit <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	//house:select the caller looks at everything again
	select {
	case <-ctx.Done():
	case <-quit:
	case <-timer.C:
		return false
	}
	return true
}
