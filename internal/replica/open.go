package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// lane is the order of what happens to one partition's folder in one directory.
// A topic that is deleted and made again may have the same folder under another
// id: the old replica has to be out of it before the new one opens. All fields
// but dir and tp belong to whoever holds the table's mutex.
type lane struct {
	dir *directory
	tp  kafka.TopicPartition
	now *slot   // what should be there; nil for nothing
	old []*slot // what is to go first

	moves []*move // to here, one after the other when nothing else is to be done

	queued, hurried bool
	busy, again     bool // an opener is at it; and has to look once more
}

// slot is one incarnation of a partition here.
type slot struct {
	tp      kafka.TopicPartition
	id      kafka.UUID
	lane    *lane         // nil before it has a place; guarded by the table's mutex
	want    *Assignment   // the newest; guarded by the table's mutex
	opened  chan struct{} // closed once replica or fault is set; nil while nobody waits; guarded by the table's mutex
	asleep  bool          // closed and at rest, see sleep.go; guarded by the table's mutex
	called  bool          // somebody asked for it while it was not open; guarded by the table's mutex
	used    atomic.Uint32 // the tick in which it was asked for last
	replica atomic.Pointer[Replica]
	fault   atomic.Pointer[fault]
	stray   bool     // on disk, but no image names it
	move    *move    // to another directory; guarded by the table's mutex
	stalled *move    // its copy was kept when the replica went offline
	kept    *Replica // open, until the metadata names its directory; its opener's own
}

func newSlot(a *Assignment) *slot {
	return &slot{tp: a.TopicPartition, id: a.TopicID}
}

// spoil ends the waiting for a slot that will not open.
func (t *Table) spoil(s *slot, err error) {
	s.fault.Store(&fault{err})
	t.mu.Lock()
	defer t.mu.Unlock()
	s.asleep = false
	s.answerLocked()
}

// answerLocked ends the waiting for a slot that has a replica or a fault.
func (s *slot) answerLocked() {
	if s.opened != nil {
		close(s.opened)
		s.opened = nil
	}
}

// broken says whether the log could not be opened.
func (s *slot) broken() bool { return s.replica.Load() == nil && s.fault.Load() != nil }

// queue holds the lanes that need an opener, those that a request waits for
// first. A lane may stand in both lists; the second time it counts for nothing.
type queue struct{ first, rest []*lane }

func (q *queue) len() int { return len(q.first) + len(q.rest) }

func (q *queue) add(l *lane) {
	switch {
	case l.busy:
		l.again = true
	case !l.queued:
		l.queued = true
		q.rest = append(q.rest, l)
	}
}

// hurry moves a waiting lane before all that nobody waits for.
func (q *queue) hurry(l *lane) {
	if l.queued && !l.hurried {
		l.hurried = true
		q.first = append(q.first, l)
	}
}

// next takes a lane out, nil if none waits.
func (q *queue) next() *lane {
	for _, list := range []*[]*lane{&q.first, &q.rest} {
		for len(*list) > 0 {
			l := (*list)[0]
			(*list)[0] = nil
			*list = (*list)[1:]
			if l.queued {
				l.queued, l.hurried, l.busy = false, false, true
				return l
			}
		}
	}
	return nil
}

// opener serves the lanes of a directory until ctx ends.
func (t *Table) opener(ctx context.Context, d *directory) {
	for ctx.Err() == nil {
		t.mu.Lock()
		l := d.queue.next()
		t.mu.Unlock()
		if l != nil {
			t.serve(l)
			continue
		}
		//house:select the loop looks at ctx again before it serves
		select {
		case <-d.work:
		case <-ctx.Done():
		}
	}
}

// serve brings one lane to where it should be.
func (t *Table) serve(l *lane) {
	for {
		t.mu.Lock()
		old, s := l.old, l.now
		l.old, l.again = nil, false
		var want *Assignment
		if s != nil && s.asleep {
			s = nil
		}
		if s != nil {
			want = s.want
		}
		t.mu.Unlock()
		for _, o := range old {
			t.retire(l.dir, o)
		}
		if s != nil {
			t.bring(l.dir, s, want)
		}
		t.mu.Lock()
		if done := !l.again; done {
			move := t.partLocked(l)
			t.mu.Unlock()
			if move {
				rouse(t.movable)
			}
			return
		}
		t.mu.Unlock()
	}
}

// partLocked ends an opener's work at a lane. If a move waits there, the lane
// stays busy and a mover has it from now on.
func (t *Table) partLocked(l *lane) (move bool) {
	if len(l.moves) > 0 {
		t.mu.moves = append(t.mu.moves, l.moves[0])
		l.moves = l.moves[1:]
		return true
	}
	l.busy = false
	if l.now == nil {
		delete(l.dir.lanes, l.tp)
	}
	return false
}

// bring opens the slot's replica if need be and gives it its role.
func (t *Table) bring(d *directory, s *slot, want *Assignment) {
	if r := s.replica.Load(); r != nil {
		if o := (opening{r}); o.ailing() {
			if o.resigns(want) {
				ward{t}.forgo(s)
				return // Apply comes again with another leader, or an epoch
			}
			if err := o.reopen(d); err != nil {
				t.env.logger.Warn("partition stays offline", "partition", s.tp.String(), "error", err)
				ward{t}.relapse(d, s.tp, err)
				return
			}
			if !t.named(d, s, want) {
				return
			}
		}
		r.adopt(want)
		t.mu.Lock()
		resumed := r.Offline() == nil && mover{t}.resumeLocked(s)
		t.mu.Unlock()
		if resumed {
			t.callAll()
		}
		return
	}
	if s.kept == nil {
		r, err := t.openIn(d, s, want)
		if err != nil {
			d.suspect(err)
			if kafka.CodeOf(err) == kafka.UnknownServerError {
				err = fmt.Errorf("%w: %w", err, kafka.KafkaStorageError)
			}
			err = fmt.Errorf("partition %s cannot be opened: %w", s.tp, err)
			t.env.logger.Error("partition is offline", "partition", s.tp.String(), "error", err)
			t.spoil(s, err)
			ward{t}.relapse(d, s.tp, err)
			return
		}
		s.kept = r
	}
	if !t.named(d, s, want) {
		return // Apply comes again with the name
	}
	s.kept.adopt(want)
	s.replica.Store(s.kept)
	s.kept = nil
	t.touch(s)
	t.mu.Lock()
	resumed := mover{t}.resumeLocked(s)
	s.answerLocked()
	t.mu.Unlock()
	if resumed {
		t.callAll()
	}
}

// named says whether the metadata knows where the slot's replica is, and tells
// it otherwise. A replica takes no records before: else one whose directory is
// gone after a restart could be made anew in another, and nobody would know that
// it is not all.
func (t *Table) named(d *directory, s *slot, want *Assignment) bool {
	if t.cfg.Named == nil || want.Dir == d.ID || kafka.ReservedDir(d.ID) {
		return true
	}
	t.cfg.Named([]Placed{{TopicPartition: s.tp, TopicID: s.id, Dir: d.ID}})
	return false
}

// adopt applies what the image says of an open replica.
func (r *Replica) adopt(want *Assignment) {
	if r.Config() != *want.Config {
		r.SetConfig(*want.Config)
	}
	r.assign(want.Role)
}

// openIn opens the slot's replica. A folder of another topic id is of a topic
// that was deleted before this one was made, when a crash came before its folder
// was out of the way.
func (t *Table) openIn(d *directory, s *slot, want *Assignment) (*Replica, error) {
	if err := d.Home.Failed(); err != nil {
		return nil, err
	}
	r, err := open(t.env, d, want)
	if kafka.CodeOf(err) != kafka.InconsistentTopicID {
		return r, err
	}
	t.env.logger.Warn("folder of another topic is set aside", "partition", s.tp.String(), "cause", err)
	if _, err := t.setAside(d, &slot{tp: s.tp, stray: true}, straySuffix); err != nil {
		return nil, err
	}
	return open(t.env, d, want)
}

// doomed is a folder that is out of the way and still has to be removed.
type doomed struct {
	path string
	due  time.Time
}

// retire takes an incarnation out of its folder: the replica is closed and the
// folder renamed, so that its name is free and the log does not come back, also
// after a power cut. What no image names is only set aside, not removed: the
// fault may be the image's.
func (t *Table) retire(d *directory, s *slot) {
	delay := DefaultTopicConfig().FileDeleteDelay
	if s.want != nil {
		delay = s.want.Config.FileDeleteDelay
	}
	r := s.replica.Load()
	if r == nil {
		r = s.kept
	}
	if r != nil {
		delay = r.Config().FileDeleteDelay
		if err := r.close(kafka.UnknownTopicOrPartition); err != nil {
			t.env.logger.Warn("close of a removed partition", "partition", s.tp.String(), "error", err)
		}
	}
	if s.replica.Load() == nil {
		t.spoil(s, fmt.Errorf("partition %s: %w", s.tp, kafka.UnknownTopicOrPartition))
	}
	suffix := "-delete"
	if s.stray {
		suffix = straySuffix
		t.env.logger.Warn("folder of an unknown partition is set aside", "partition", s.tp.String())
	}
	aside, err := t.setAside(d, s, suffix)
	if err != nil {
		t.env.logger.Error("folder of a removed partition stays", "partition", s.tp.String(), "error", err)
	}
	if s.stray || aside == "" {
		return
	}
	t.mu.Lock()
	d.trash = append(d.trash, doomed{aside, t.env.now().Add(delay)})
	t.mu.Unlock()
}

// straySuffix marks a folder that no image names, as in Kafka.
const straySuffix = "-stray"

// maxName is the longest name that file systems take.
const maxName = 255

// setAside renames the folder of a slot, as Kafka does: topic-0.id-delete. It
// gives "" if there is none.
func (t *Table) setAside(d *directory, s *slot, suffix string) (string, error) {
	root, tp := d.Home.Path(), s.tp
	mark := s.id.String()
	if s.stray {
		mark = strconv.FormatInt(t.env.now().UnixMilli(), 10)
	}
	tail := fmt.Sprintf("-%d.%s%s", tp.Partition, mark, suffix)
	name := path.Join(root, tp.Topic[:min(len(tp.Topic), maxName-len(tail))]+tail)
	if err := d.FS.RemoveAll(name); err != nil { // it was here before, and moved away
		return "", err
	}
	err := d.FS.Rename(path.Join(root, tp.String()), name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := d.FS.SyncDir(root); err != nil {
		return "", err
	}
	return name, d.Home.RemoveLog(tp)
}
