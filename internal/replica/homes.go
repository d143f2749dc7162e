package replica

import (
	"errors"
	"fmt"
	"path"
	"slices"
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
	work chan struct{} // wakes its openers
	shut atomic.Bool   // cordoned: takes nothing new (KIP-1066)

	// These belong to whoever holds the table's mutex.
	lanes map[kafka.TopicPartition]*lane
	queue queue
	trash []doomed                      // folders to remove when they are due
	ill   []kafka.TopicPartition        // partitions that a full disk took offline
	pause int                           // rounds before they are looked at again
	sweep bool                          // the folders on disk are to be compared with the lanes
	holds int                           // slots that have their place here
	found map[kafka.TopicPartition]bool // folders at the survey that no slot has taken

	futures map[kafka.TopicPartition]string // folders of copies at the survey that no move has taken
}

// SetMoveRate bounds the bytes a second of all moves together
// (replica.alter.log.dirs.io.max.bytes.per.second).
func (t *Table) SetMoveRate(bytes int64) { t.pace.rate.Store(bytes) }

func newDirectory(d Dir, openers int) *directory {
	return &directory{Dir: d, work: make(chan struct{}, openers), lanes: map[kafka.TopicPartition]*lane{}}
}

// suspect looks at an error of housekeeping, and takes the directory offline if
// it says that the volume is gone: no log need be written to find that out.
func (d *directory) suspect(err error) {
	if vfs.IsGone(err) {
		d.Home.Fail(err)
	}
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

// eachIn calls do for every open replica in a directory, sorted by topic and
// partition.
func (t *Table) eachIn(d *directory, do func(*Replica)) {
	t.Each(func(r *Replica) {
		if r.at.Load().dir == d {
			do(r)
		}
	})
}

// Cordon says which directories, by path, take no new replicas from now on; all
// others do.
func (t *Table) Cordon(paths []string) {
	for _, d := range t.dirs {
		d.shut.Store(slices.ContainsFunc(paths, func(p string) bool { return path.Clean(p) == d.Home.Path() }))
	}
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
		t.spoil(m.slot, m.err)
	}
}

// placer is the part of a table that knows where replicas lie, and decides where
// new ones go.
type placer struct{ *Table }

// survey lists what lies in the directories, each on a goroutine of its own, and
// then gives every slot that came before its place.
func (t placer) survey() {
	var workers sync.WaitGroup
	lists := make([]map[kafka.TopicPartition]bool, len(t.dirs))
	futures := make([]map[kafka.TopicPartition]string, len(t.dirs))
	for i, d := range t.dirs {
		workers.Go(func() {
			list, err := d.Home.Logs()
			if err == nil {
				futures[i], err = commitlog.Futures{Home: d.Home}.List()
			}
			if err != nil {
				d.Home.Fail(err)
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
		d.found, d.futures = lists[i], futures[i]
	}
	t.mu.surveyed = true
	for _, s := range t.slotsLocked() {
		lost = append(lost, t.seatLocked(s)...)
	}
	t.mu.Unlock()
	t.tell(lost)
	t.callAll()
}

// Lose takes a directory out of use that has failed: what waits to be opened in
// it hears so, and nothing new comes to it. Its open logs have been told by its
// Home. It says how many directories are left.
func (t *Table) Lose(h *commitlog.Home) (left int) {
	var lost []misplaced
	t.mu.Lock()
	for _, d := range t.dirs {
		switch {
		case d.Home.Failed() == nil:
			left++
		case d.Home == h:
			for _, l := range d.lanes {
				if l.now != nil && l.now.replica.Load() == nil {
					lost = append(lost, misplaced{l.now, fmt.Errorf("partition %s: %w", l.tp, h.Failed())})
				}
			}
		}
	}
	t.mu.Unlock()
	slices.SortFunc(lost, func(a, b misplaced) int { return a.slot.tp.Compare(b.slot.tp) })
	t.tell(lost)
	return left
}

// seatLocked gives a slot its place, if it has none, and has it brought to where
// it should be. A slot for which there is no place is given back.
func (t placer) seatLocked(s *slot) []misplaced {
	if s.lane == nil {
		d, err := t.placeLocked(s)
		if err != nil {
			return []misplaced{{s, fmt.Errorf("partition %s: %w: %w", s.tp, err, kafka.KafkaStorageError)}}
		}
		d.holds++
		delete(d.found, s.tp)
		delete(t.mu.preferred, s.tp)
		s.lane = d.laneLocked(s.tp)
		s.lane.now = s
	}
	if !sleeper(t).layLocked(s) {
		s.lane.dir.queue.add(s.lane)
	}
	return nil
}

var (
	errNoDirectory = errors.New("no log directory can be used")
	errTwice       = errors.New("its folder is in two log directories, and the metadata names neither")
	errAway        = errors.New("its log directory is not there")
)

// placeLocked finds the directory of a slot: the one that holds its folder; of
// two, the one that the metadata names. A new partition goes where the fewest
// are. It is not new if the metadata names a directory that is offline, or one that
// is gone and was not replaced.
func (t placer) placeLocked(s *slot) (*directory, error) {
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
	if named != nil && named.Home.Failed() != nil {
		return nil, named.Home.Failed() // a folder elsewhere may be an older one
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
	case t.mu.preferred[s.tp] != nil && t.mu.preferred[s.tp].Home.Failed() == nil:
		return t.mu.preferred[s.tp], nil
	case !kafka.ReservedDir(s.want.Dir) && !t.replacedLocked(s.want):
		return nil, fmt.Errorf("%w: directory.id %s is not among log.dirs", errAway, s.want.Dir)
	}
	return t.roomiestLocked()
}

// replacedLocked says whether a replica may begin anew though the metadata names a
// directory that is not here: all that are configured are in use, so that one was
// replaced by an empty one, and others are in sync, so that they have what was in
// it. It counts for nothing before it has caught up with them.
func (t placer) replacedLocked(a *Assignment) bool {
	whole := len(t.cfg.Broken) == 0 && !slices.ContainsFunc(t.dirs, func(d *directory) bool { return d.Home.Failed() != nil })
	return whole && a.Role.Leader != t.cfg.Self && len(a.Role.ISR) > 0 && !slices.Contains(a.Role.ISR, t.cfg.Self)
}

// roomiestLocked is the directory that a new partition goes to: of those that are
// not cordoned the one with the fewest partitions. If all are, the first takes
// what the controller nevertheless placed here, as in Kafka.
func (t placer) roomiestLocked() (*directory, error) {
	var first, best *directory
	for _, d := range t.dirs {
		if d.Home.Failed() != nil {
			continue
		}
		if first == nil {
			first = d
		}
		if !d.shut.Load() && (best == nil || d.holds < best.holds) {
			best = d
		}
	}
	switch {
	case best != nil:
		return best, nil
	case first != nil:
		return first, nil
	}
	return nil, errNoDirectory
}

func sortPartitions(list []kafka.TopicPartition) {
	slices.SortFunc(list, kafka.TopicPartition.Compare)
}
