package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// A partition that nobody touches is only a slot and a line of its directory's
// manifest: no log is open for it, no replica made. It wakes when somebody asks
// for it, and goes back to sleep after long idleness.
//
//	asleep --Get--> opening ----> awake --idle--> asleep
//	                   ^                            |
//	                   '--- another role, Apply ----'
//
// Only what stands alone may sleep: a replica with followers, or that follows,
// has to answer them, and compacted topics are looked over by the cleaner.
const (
	// sleepEvery is how often idle replicas are looked for.
	sleepEvery = 10 * time.Second
	// idleTicks is for how many ticks nobody must have asked for a replica, and
	// crowdedTicks, while more than awakeMost are awake.
	idleTicks    = uint32(10 * time.Minute / tickEvery)
	crowdedTicks = uint32(15 * time.Second / tickEvery)
	awakeMost    = 10_000
	// sleepMost is how many go to sleep at once.
	sleepMost = 20_000
)

// sleeper is the part of a table that lays replicas to sleep and wakes them.
type sleeper struct{ *Table }

// maySleep says whether a partition may be left closed.
func (t sleeper) maySleep(d *directory, a *Assignment) bool {
	return a.Role.Leader == t.cfg.Self && len(a.Role.Replicas) == 1 && !a.Config.Compacted && !kafka.IsInternalTopic(a.Topic) &&
		(t.cfg.Named == nil || a.Dir == d.ID || kafka.ReservedDir(d.ID))
}

// layLocked leaves a slot asleep, or as it is if it is asleep already; false if
// it has to be brought to where it should be.
func (t sleeper) layLocked(s *slot) bool {
	l := s.lane
	idle := l.now == s && s.move == nil && !mover(t).movedLocked(s.tp) && len(l.old) == 0 && !l.busy && !l.queued && s.replica.Load() == nil && s.fault.Load() == nil
	s.asleep = idle && t.maySleep(l.dir, s.want) && (s.asleep || !s.called) && l.dir.Home.RestsAs(s.tp, s.id)
	return s.asleep
}

// wakeLocked has a slot that is asleep opened.
func (t sleeper) wakeLocked(s *slot) {
	if s.asleep {
		s.asleep = false
		s.lane.dir.queue.add(s.lane)
	}
}

// touch notes that somebody asked for a slot. It is on the way of every request,
// so it writes at most once a tick.
func (t *Table) touch(s *slot) {
	if now := t.clock.Load(); s.used.Load() != now {
		s.used.Store(now)
	}
}

// lull puts replicas of a directory to sleep that nobody has asked for in a long
// time, sooner if very many are awake.
func (t sleeper) lull(ctx context.Context, d *directory) {
	if d.Home.Failed() != nil {
		return
	}
	now, patience := t.clock.Load(), idleTicks
	var idle []*slot
	awake := 0
	t.eachSlotIn(d, func(s *slot) {
		if s.replica.Load() != nil {
			awake++
		}
	})
	if awake > awakeMost {
		patience = crowdedTicks
	}
	t.eachSlotIn(d, func(s *slot) {
		if s.replica.Load() != nil && now-s.used.Load() > patience && len(idle) < sleepMost {
			idle = append(idle, s)
		}
	})
	for _, s := range idle {
		if ctx.Err() != nil {
			return
		}
		t.lay(d, s, now-patience)
	}
}

// lay puts one replica to sleep, unless somebody asked for it after the tick
// before, or waits at it. The lane is kept from openers meanwhile.
func (t sleeper) lay(d *directory, s *slot, before uint32) {
	t.mu.Lock()
	l := s.lane
	if l == nil || l.dir != d || l.now != s || s.move != nil || len(l.old) > 0 || l.busy || l.queued || !t.maySleep(d, s.want) {
		t.mu.Unlock()
		return
	}
	l.busy, l.again = true, false
	t.mu.Unlock()

	// Whoever asks from here on finds no replica and waits; whoever asked before
	// has left its mark.
	r := s.replica.Swap(nil)
	slept := false
	if r != nil {
		if int32(s.used.Load()-before) < 0 && r.sleep() {
			slept = true
		} else {
			s.replica.Store(r)
		}
	}

	t.mu.Lock()
	if slept {
		t.rememberLocked(r)
		s.asleep, s.called = s.opened == nil && !l.again, false
	}
	again := l.again || slept && !s.asleep
	l.busy, l.again = false, false
	if again {
		d.queue.add(l)
		if s.opened != nil {
			d.queue.hurry(l)
		}
	}
	if s.replica.Load() != nil {
		s.answerLocked()
	}
	n := d.queue.len()
	t.mu.Unlock()
	d.call(n)
}

// errAsleep refuses who still holds a replica that went to sleep: it is to be
// asked for again.
var errAsleep = fmt.Errorf("asleep: %w", kafka.NotLeaderOrFollower)

// sleep closes a replica that is at rest and that nobody waits at. False: it
// goes on.
func (r *Replica) sleep() bool {
	r.turn.lock()
	after, err := dozing{r}.rest()
	r.turn.leave()
	after.run(&r.board)
	switch {
	case err == nil:
		r.dismiss(r.Offline(), true)
	case !errors.Is(err, commitlog.ErrBusy):
		r.fail(err)
	}
	return err == nil
}

// dozing is a replica that is about to sleep.
type dozing struct{ *Replica }

// rest is sleep in a turn. While it looks whether the log may sleep, a flush may
// end whose report goes unheard: what is durable is taken in here.
func (r dozing) rest() (after aftermath, err error) {
	log := r.log()
	r.mu.Lock()
	free := r.mu.committed.head == nil && r.mu.durable.head == nil && r.mu.plain.head == nil && r.mu.stable.head == nil &&
		r.mu.all.head == nil && r.mu.closed == nil
	r.mu.Unlock()
	if !free || r.Offline() != nil {
		return after, commitlog.ErrBusy
	}
	asleep := &fault{err: r.wrap(errAsleep)}
	r.fault.Store(asleep)
	if err = log.Sleep(); err != nil {
		r.fault.CompareAndSwap(asleep, nil)
		if failed := log.Failed(); failed != nil {
			return after, failed
		}
	}
	r.mu.Lock()
	after = r.settle(r.mu.part.Flushed(log.Flushed()))
	if err == nil {
		r.mu.closed = asleep.err
	}
	r.mu.Unlock()
	return after, err
}

// rememberLocked keeps the counters of a replica that went to sleep, for its
// topic.
func (t sleeper) rememberLocked(r *Replica) {
	c := t.mu.slept[r.tp.Topic]
	if c == nil {
		c = &Counters{}
		t.mu.slept[r.tp.Topic] = c
	}
	c.add(&r.count)
}

// Slept gives the counters of a topic's replicas that went to sleep, as of then.
// They are not among those of the open ones.
func (t *Table) Slept(topic string) *Counters {
	var sum Counters
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.slept[topic]; c != nil {
		sum.add(c)
	}
	return &sum
}

// Standing is where a replica stands, whether it is awake or asleep.
type Standing struct {
	kafka.TopicPartition
	Replica   *Replica // nil while it is asleep
	Directory string
	Leader    int32
	Leads     bool
	Assigned  int // replicas
	InSync    int
	MinISR    int
	Offline   bool
	Size      int64
	Segments  int

	Start, End, HW int64
}

// Standings calls do for every replica that is open or asleep, sorted by topic
// and partition. It wakes none.
func (t *Table) Standings(do func(*Standing)) {
	for _, s := range t.slots() {
		if st, ok := (sleeper{t}).stand(s); ok {
			do(&st)
		}
	}
}

// Standing is [Table.Standings] for one partition.
func (t *Table) Standing(topic string, p int32) (Standing, bool) {
	list := t.index.find(topic)
	if p < 0 || int(p) >= len(list) || list[p] == nil {
		return Standing{}, false
	}
	return sleeper{t}.stand(list[p])
}

func (t sleeper) stand(s *slot) (Standing, bool) {
	if r := s.replica.Load(); r != nil {
		leader, _ := r.Leader()
		assigned, inSync, _ := r.InSync()
		return Standing{TopicPartition: s.tp, Replica: r, Directory: r.Directory(), Leader: leader, Leads: r.Leads(),
			Assigned: assigned, InSync: inSync, MinISR: int(r.Config().MinISR), Offline: r.Offline() != nil,
			Size: r.Size(), Segments: len(r.Segments()), Start: r.LogStart(), End: r.LogEnd(), HW: r.HW()}, true
	}
	t.mu.Lock()
	asleep, want, l := s.asleep, s.want, s.lane
	t.mu.Unlock()
	if !asleep {
		return Standing{}, false
	}
	known, ok := l.dir.Home.Resting(s.tp)
	if !ok {
		return Standing{}, false
	}
	return Standing{TopicPartition: s.tp, Directory: l.dir.Home.Path(), Leader: want.Role.Leader, Leads: true,
		Assigned: len(want.Role.Replicas), InSync: len(want.Role.ISR), MinISR: int(want.Config.MinISR),
		Size: known.Size(), Segments: len(known.Segments), Start: known.Start, End: known.End, HW: known.End}, true
}

// overdue wakes what is asleep in a directory and has something that retention
// will delete when it comes by the next time.
func (t sleeper) overdue(d *directory) {
	now := t.env.nowMs()
	t.eachSlotIn(d, func(s *slot) {
		t.mu.Lock()
		asleep, want := s.asleep, s.want
		t.mu.Unlock()
		if !asleep {
			return
		}
		known, ok := d.Home.Resting(s.tp)
		if ok && !known.Overdue(now, want.Config.Log) {
			return
		}
		t.touch(s)
		t.mu.Lock()
		t.wakeLocked(s)
		t.mu.Unlock()
	})
	t.callAll()
}

// eachSlotIn calls do for the slots that have their place in a directory.
func (t sleeper) eachSlotIn(d *directory, do func(*slot)) {
	for _, s := range t.slots() {
		t.mu.Lock()
		here := s.lane != nil && s.lane.dir == d
		t.mu.Unlock()
		if here {
			do(s)
		}
	}
}
