package replica

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// trySwap puts the copy in the log's place. It says false if that cannot be now.
func (t mover) trySwap(m *move, r *Replica) (bool, error) {
	s := m.slot
	t.mu.Lock()
	home := s.lane
	if m.gone.Load() || home.busy {
		t.mu.Unlock()
		return false, nil
	}
	home.busy, m.swapping = true, true
	home.again, home.queued = home.again || home.queued, false
	t.mu.Unlock()

	r.turn.lock()
	after, err := t.exchange(m, r, home.dir)
	r.turn.leave()
	after.run(&r.board)
	if r.Offline() != nil {
		r.dismiss(r.Offline(), true)
	}

	t.mu.Lock()
	m.swapping = false
	if r.at.Load().dir == m.to {
		t.rehouseLocked(s, home, m.lane)
	} else if t.mu.slots[s.tp] != s {
		t.dropLocked(s) // it was removed meanwhile
	}
	t.leaveLaneLocked(home)
	t.mu.Unlock()
	home.dir.call(1)
	if r.at.Load().dir != m.to {
		return false, err
	}
	if t.cfg.Named != nil {
		t.cfg.Named([]Placed{{TopicPartition: s.tp, TopicID: s.id, Dir: m.to.ID}})
	}
	return true, nil // whatever err says is of the old directory, and was told
}

// rehouseLocked gives a slot its lane in the new directory. It may have been
// removed meanwhile: then its folder is to go there.
func (t mover) rehouseLocked(s *slot, from, to *lane) {
	from.dir.holds--
	if from.now == s {
		from.now, to.now = nil, s
	}
	rest := from.old[:0]
	for _, o := range from.old {
		if o != s {
			rest = append(rest, o)
			continue
		}
		to.old = append(to.old, s)
		to.again = true
		from.dir.holds++ // leaveLocked has counted it out here
		to.dir.holds--
	}
	from.old = rest
	s.lane = to
	to.again = to.again || from.again
}

// exchange is the swap, in the replica's turn. The old log stays until the new one
// is open under the log's name; an error before leaves it in its place.
func (t mover) exchange(m *move, r *Replica, from *directory) (after aftermath, err error) {
	old := r.at.Load()
	if err := r.Offline(); err != nil {
		return after, errKeep
	}
	if err := old.log.Flush(); err != nil {
		return after, errKeep // its flusher tells
	}
	for n, left := 1, moveRest; n > 0; left -= n {
		if n, err = m.step(old.log, old.log.End()); err != nil || left < 0 {
			return after, err // on a busy log perhaps only the next time
		}
	}
	if !m.whole(old.log) {
		return after, fmt.Errorf("the copy of partition %s is damaged, the log stays: %w", r.tp, kafka.CorruptMessage)
	}
	if err := commitlog.TakeState(m.log, old.log); err != nil {
		return after, err
	}
	if err := (commitlog.Futures{Home: m.to.Home}).Promote(m.log); err != nil {
		return after, err
	}
	conf := r.Config()
	log, err := opening{r}.open(m.to, &conf)
	if err == nil && log.End() != old.log.End() {
		_ = log.Close() // it is of no use
		err = fmt.Errorf("the copy of partition %s ends at %d, the log at %d", r.tp, log.End(), old.log.End())
	}
	if err != nil {
		_, aside := t.setAside(m.to, &slot{tp: r.tp, stray: true}, straySuffix)
		t.env.logger.Error("the copy cannot be opened and is set aside", "partition", r.tp.String(), "error", err, "aside", aside)
		return after, err
	}
	commitlog.TakeEnded(log, old.log)
	r.mu.Lock()
	r.at.Store(&berth{m.to, log})
	r.next.Store(nil)
	r.producers = log.Producers()
	after = r.settle(r.mu.part.Flushed(log.Flushed()))
	r.mu.Unlock()
	r.ring()
	return after, t.vacate(m.slot, r, from, old)
}

// vacate takes the old log's folder out of the way. If that cannot be done
// durably, the folder may be there after a crash while the metadata still names
// its directory: until a restart has sorted that out, nothing may be written that
// it lacks.
func (t mover) vacate(s *slot, r *Replica, from *directory, old *berth) error {
	if err := old.log.Close(); err != nil {
		t.env.logger.Warn("close of a log that was moved away", "partition", r.tp.String(), "dir", from.Home.Path(), "error", err)
	}
	aside, err := t.setAside(from, s, "-delete")
	if err != nil {
		r.spoil(fmt.Errorf("the old directory failed in the move: %w", err))
		return err
	}
	if aside != "" {
		t.mu.Lock()
		from.trash = append(from.trash, doomed{aside, t.env.now().Add(r.Config().FileDeleteDelay)})
		t.mu.Unlock()
	}
	return nil
}

// forsake ends the showing of a copy; there may be no replica any more.
func (r *Replica) forsake() {
	if r != nil {
		r.next.Store(nil)
	}
}

// Future tells of the copy of a replica that is being moved: its directory, its
// size in bytes, and how many offsets it lacks.
func (m *mooring) Future() (dir string, size, lag int64, ok bool) {
	next := m.next.Load()
	if next == nil {
		return "", 0, 0, false
	}
	return next.dir.Home.Path(), next.log.Size(), max(0, m.log().End()-next.log.End()), true
}

// sweepFutures takes copies away whose partition is not here any more, or that
// lie beside what they are a copy of.
func (t mover) sweepFutures(d *directory) {
	t.mu.Lock()
	var stale []kafka.TopicPartition
	for tp := range d.futures {
		if s := t.mu.slots[tp]; s == nil || s.lane != nil && s.lane.dir == d {
			stale = append(stale, tp)
		}
	}
	t.mu.Unlock()
	sortPartitions(stale)
	for _, tp := range stale {
		t.mu.Lock()
		folder := d.futures[tp]
		delete(d.futures, tp)
		t.mu.Unlock()
		if err := (commitlog.Futures{Home: d.Home}).Remove(tp, folder); err != nil {
			t.env.logger.Warn("a copy that nobody wants stays", "dir", d.Home.Path(), "folder", folder, "error", err)
		}
	}
}
