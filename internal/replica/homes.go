package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Dir is a log directory as a table uses it.
type Dir struct {
	// ID is its directory.id; zero where directories have none.
	ID   kafka.UUID
	Home *commitlog.Home
	// FS is the file system of Home, with the tokens of this directory.
	FS vfs.FS
	// Flusher makes durable what lies in Home, and nothing else.
	Flusher *commitlog.Flusher
}

// directory is one of a table's log directories. Whatever touches its disk runs
// on goroutines of its own, so that no other directory waits for it.
type directory struct {
	Dir
	fault atomic.Pointer[fault] // set once: it cannot be used any more
	work  chan struct{}         // wakes its openers

	// These belong to whoever holds the table's mutex.
	lanes map[kafka.TopicPartition]*lane
	queue queue
	trash []doomed                      // folders to remove when they are due
	sweep bool                          // the folders on disk are to be compared with the lanes
	holds int                           // slots that have their place here
	found map[kafka.TopicPartition]bool // folders at the survey that no slot has taken
}

func newDirectory(d Dir, openers int) *directory {
	return &directory{Dir: d, work: make(chan struct{}, openers), lanes: map[kafka.TopicPartition]*lane{}}
}

// call wakes openers for n jobs.
func (d *directory) call(n int) {
	for range min(n, cap(d.work)) {
		select {
		case d.work <- struct{}{}:
		default:
			return // enough are awake
		}
	}
}

// callAll wakes openers wherever something is queued.
func (t *Table) callAll() {
	for _, d := range t.dirs {
		t.mu.Lock()
		n := d.queue.len()
		t.mu.Unlock()
		d.call(n)
	}
}

func (d *directory) laneLocked(tp kafka.TopicPartition) *lane {
	l := d.lanes[tp]
	if l == nil {
		l = &lane{dir: d, tp: tp}
		d.lanes[tp] = l
	}
	return l
}

// berth is where a replica's log lies.
type berth struct {
	dir *directory
	log *commitlog.Log
}

// schedule asks the directory's flusher for a flush of the log.
func (b *berth) schedule(urgent bool) { b.dir.Flusher.Schedule(b.log, urgent) }

// log is the replica's log, which another one replaces when the replica moves to
// another directory.
func (r *Replica) log() *commitlog.Log { return r.at.Load().log }

// eachIn calls do for every open replica in a directory, sorted by topic and
// partition.
func (t *Table) eachIn(d *directory, do func(*Replica)) {
	t.Each(func(r *Replica) {
		if r.at.Load().dir == d {
			do(r)
		}
	})
}

// misplaced is a slot that cannot have a place, and why.
type misplaced struct {
	slot *slot
	err  error
}

// tell ends the waiting for slots without a place.
func (t *Table) tell(lost []misplaced) {
	for _, m := range lost {
		if kafka.CodeOf(m.err) == kafka.KafkaStorageError {
			t.env.logger.Error("partition is offline", "partition", m.slot.tp.String(), "error", m.err)
		}
		m.slot.spoil(m.err)
	}
}

// survey lists what lies in the directories, each on a goroutine of its own, and
// then gives every slot that came before its place.
func (t *Table) survey() {
	var workers sync.WaitGroup
	lists := make([]map[kafka.TopicPartition]bool, len(t.dirs))
	for i, d := range t.dirs {
		workers.Go(func() {
			list, err := d.Home.Logs()
			if err != nil {
				t.lose(d, err)
				return
			}
			lists[i] = make(map[kafka.TopicPartition]bool, len(list))
			for _, tp := range list {
				lists[i][tp] = true
			}
		})
	}
	workers.Wait()
	var lost []misplaced
	t.mu.Lock()
	for i, d := range t.dirs {
		d.found = lists[i]
	}
	t.mu.surveyed = true
	for _, s := range t.index.Load().sorted {
		lost = append(lost, t.seatLocked(s)...)
	}
	t.mu.Unlock()
	t.tell(lost)
	t.callAll()
}

// lose takes a directory out of use.
func (t *Table) lose(d *directory, cause error) {
	err := fmt.Errorf("log directory %s: %w: %w", d.Home.Path(), cause, kafka.KafkaStorageError)
	if d.fault.CompareAndSwap(nil, &fault{err}) {
		t.env.logger.Error("log directory is offline", "dir", d.Home.Path(), "cause", cause)
	}
}

// seatLocked gives a slot its place, if it has none, and has it brought to where
// it should be. A slot for which there is no place is given back.
func (t *Table) seatLocked(s *slot) []misplaced {
	if s.lane == nil {
		d, err := t.placeLocked(s)
		if err != nil {
			return []misplaced{{s, fmt.Errorf("partition %s: %w: %w", s.tp, err, kafka.KafkaStorageError)}}
		}
		d.holds++
		delete(d.found, s.tp)
		s.lane = d.laneLocked(s.tp)
		s.lane.now = s
	}
	s.lane.dir.queue.add(s.lane)
	return nil
}

var (
	errNoDirectory = errors.New("no log directory can be used")
	errTwice       = errors.New("its folder is in two log directories, and the metadata names neither")
	errAway        = errors.New("its log directory is not there")
)

// placeLocked finds the directory of a slot: the one that holds its folder; of
// two, the one that the metadata names. A new partition goes where the fewest
// are. It is not new if the metadata names a directory that is offline or gone.
func (t *Table) placeLocked(s *slot) (*directory, error) {
	var holders []*directory
	var named *directory
	for _, d := range t.dirs {
		if d.found[s.tp] {
			holders = append(holders, d)
		}
		if d.ID == s.want.Dir && !kafka.ReservedDir(d.ID) {
			named = d
		}
	}
	if named != nil && named.fault.Load() != nil {
		return nil, named.fault.Load().err // a folder elsewhere may be an older one
	}
	switch {
	case len(holders) == 1:
		return holders[0], nil
	case len(holders) > 1 && named != nil && named.found[s.tp]:
		return named, nil
	case len(holders) > 1:
		return nil, fmt.Errorf("%w: %s, %s: keep the one that is whole and move the other away",
			errTwice, holders[0].Home.Path(), holders[1].Home.Path())
	case named != nil:
		return named, nil
	case !kafka.ReservedDir(s.want.Dir):
		return nil, fmt.Errorf("%w: directory.id %s is not among log.dirs", errAway, s.want.Dir)
	}
	return t.roomiestLocked()
}

// roomiestLocked is the directory that a new partition goes to.
func (t *Table) roomiestLocked() (*directory, error) {
	var best *directory
	for _, d := range t.dirs {
		if d.fault.Load() == nil && (best == nil || d.holds < best.holds) {
			best = d
		}
	}
	if best == nil {
		return nil, errNoDirectory
	}
	return best, nil
}
