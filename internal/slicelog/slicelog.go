// Package slicelog is the log of a coordinator in memory, for tests: commits can
// be held back and lost, appends refused, and at any append the process may die.
//
// A [Log] satisfies coordinator.Log, which it does not import, so that the tests
// of that package can use it too.
//
//	log := slicelog.New(1)        // its leader has epoch 1
//	log.Hold()                    // what is appended from now on is not committed ...
//	log.Commit()                  // ... until now, or
//	log.Lose()                    // never: it is cut off
//	log.DieAt(3, slicelog.Last)   // the third append from now on is the last of this leader
package slicelog

import (
	"bytes"
	"fmt"
	"iter"
	"sort"
	"sync"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// Log is one partition's log. Commits come by themselves, unless they are held.
type Log struct {
	mu struct {
		sync.Mutex
		epoch            int32
		batches          [][]byte // stamped
		start, end       int64
		committed        int64
		hold             bool
		refuse, deaf     error // of the next append, the next read
		waiters          []waiter
		watch            func(at int64, batch []byte)
		dies             int // at this append from now on; 0: it does not
		fate             Fate
		stays, died      bool
		unanswered, lost int64 // the end whose commit is not told, or never comes; -1: none
	}
}

type waiter struct {
	end  int64
	done func(error)
}

// Fate is what becomes of the append at which the process dies.
type Fate int

// Whatever it is, the leader's later appends fail: the log is led in the next
// epoch.
const (
	// Lost: the append fails, and the log does not have it.
	Lost Fate = iota
	// Unheard: the append fails, but the log has it.
	Unheard
	// Unanswered: the log has it, and the leader learns that it was appended, but
	// not that it is committed.
	Unanswered
	// Cut: the leader learns that it was appended, but it is never committed, and
	// cut off with all that is not.
	Cut
	// Last: the log has it and the leader learns so. What comes after is lost.
	Last
	fates
)

// Fates lists all fates.
func Fates() (list []Fate) {
	for f := range fates {
		list = append(list, f)
	}
	return list
}

// Deaths gives all that can befall a history of so many appends, in words and as
// what to do to its log: at each append, in each way that one can end, its leader
// dies, or stumbles where that makes a difference.
func Deaths(appends int) iter.Seq2[string, func(*Log)] {
	return func(yield func(string, func(*Log)) bool) {
		for at := 1; at <= appends; at++ {
			for _, fate := range Fates() {
				if !yield(fmt.Sprintf("dies at append %d, fate %d", at, fate), func(l *Log) { l.DieAt(at, fate) }) {
					return
				}
				if fate != Last && !yield(fmt.Sprintf("stumbles at append %d, fate %d", at, fate), func(l *Log) { l.StumbleAt(at, fate) }) {
					return
				}
			}
		}
	}
}

// New returns an empty log that is led in an epoch.
func New(epoch int32) *Log {
	l := &Log{}
	l.mu.epoch, l.mu.unanswered, l.mu.lost = epoch, -1, -1
	return l
}

// Append adds a batch, unless the log was told not to.
func (l *Log) Append(epoch int32, batch []byte) (end int64, err error) {
	l.mu.Lock()
	watch, at := l.mu.watch, l.mu.end
	leads := epoch == l.mu.epoch
	l.mu.Unlock()
	if watch != nil && leads {
		watch(at, batch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mu.refuse; err != nil {
		l.mu.refuse = nil
		return 0, err
	}
	if epoch != l.mu.epoch {
		return 0, kafka.NotLeaderOrFollower
	}
	if l.mu.dies > 0 {
		if l.mu.dies--; l.mu.dies == 0 {
			return l.lastAppend(batch)
		}
	}
	return l.add(batch)
}

// lastAppend is the one at which the process dies.
func (l *Log) lastAppend(batch []byte) (end int64, err error) {
	err = kafka.NotLeaderOrFollower
	if l.mu.fate != Lost {
		end, err = l.add(batch)
	}
	if !l.mu.stays {
		l.mu.died = true
		l.mu.epoch++
	}
	switch {
	case err != nil:
	case l.mu.fate == Unheard:
		err = kafka.NotLeaderOrFollower
	case l.mu.fate == Unanswered:
		l.mu.unanswered = end
	case l.mu.fate == Cut:
		l.mu.lost = end
	}
	return end, err
}

// Add appends a batch behind the leader's back.
func (l *Log) Add(batch []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.add(batch); err != nil {
		panic(err)
	}
}

func (l *Log) add(batch []byte) (int64, error) {
	b := bytes.Clone(batch)
	record.Stamp(b, l.mu.end, l.mu.epoch)
	h, err := record.Check(b)
	if err != nil {
		return 0, err
	}
	l.mu.batches, l.mu.end = append(l.mu.batches, b), h.NextOffset()
	return l.mu.end, nil
}

// Committed calls done when everything below end is committed, or is lost.
func (l *Log) Committed(end int64, done func(error)) {
	l.mu.Lock()
	switch {
	case end == l.mu.lost:
		l.mu.Unlock()
		l.Lose()
		done(kafka.NotLeaderOrFollower)
		return
	case !l.mu.hold:
		l.mu.committed = l.mu.end
	}
	var err error
	if end == l.mu.unanswered {
		l.mu.unanswered, err = -1, kafka.NotLeaderOrFollower
		l.mu.committed = l.mu.end
	}
	if end > l.mu.committed {
		l.mu.waiters = append(l.mu.waiters, waiter{end, done})
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	done(err)
}

// Hold keeps what is appended from now on from being committed.
func (l *Log) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.hold = true
}

// Commit commits everything, and from now on at once.
func (l *Log) Commit() {
	l.mu.Lock()
	end := l.mu.end
	l.mu.hold = false
	l.mu.Unlock()
	l.CommitTo(end)
}

// CommitTo commits what lies below an offset.
func (l *Log) CommitTo(end int64) {
	l.mu.Lock()
	l.mu.committed = max(l.mu.committed, end)
	var woken, rest []waiter
	for _, w := range l.mu.waiters {
		if w.end <= end {
			woken = append(woken, w)
		} else {
			rest = append(rest, w)
		}
	}
	l.mu.waiters = rest
	l.mu.Unlock()
	for _, w := range woken {
		w.done(nil)
	}
}

// Lose cuts off what is not committed, as a new leader without it would, and
// tells who waits.
func (l *Log) Lose() {
	l.mu.Lock()
	l.cut(l.mu.committed)
	l.mu.lost = -1
	woken := l.mu.waiters
	l.mu.waiters = nil
	l.mu.Unlock()
	for _, w := range woken {
		w.done(kafka.NotLeaderOrFollower)
	}
}

// cut takes off the batches that end behind an offset.
func (l *Log) cut(at int64) {
	for n := len(l.mu.batches); n > 0; n-- {
		h, _ := record.ParseHeader(l.mu.batches[n-1])
		if h.NextOffset() <= at {
			break
		}
		l.mu.batches, l.mu.end = l.mu.batches[:n-1], max(h.BaseOffset, l.mu.start)
	}
}

// Refuse has the next append fail.
func (l *Log) Refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.refuse = err
}

// Deaf has the next read fail.
func (l *Log) Deaf(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.deaf = err
}

// Watch has f called before each append that the leader asks for, with the offset
// that the batch would have. The leader holds its partition's turn, so its machine
// must be what the log up to there makes of one: nothing of the batch is applied
// yet.
func (l *Log) Watch(f func(at int64, batch []byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.watch = f
}

// DieAt has the leader die at an append: 1 is the next one.
func (l *Log) DieAt(n int, f Fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.dies, l.mu.fate, l.mu.stays = n, f, false
}

// StumbleAt is DieAt for a leader that goes on in its epoch, and so has to find
// out by itself what the log kept.
func (l *Log) StumbleAt(n int, f Fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.dies, l.mu.fate, l.mu.stays = n, f, true
}

// Died says whether the leader died since the last call; then the log has a new
// epoch, in which somebody has to be elected.
func (l *Log) Died() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	died := l.mu.died
	l.mu.died = false
	return died
}

// Read returns the first batch that ends behind an offset.
func (l *Log) Read(from int64) ([]byte, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mu.deaf; err != nil {
		l.mu.deaf = nil
		return nil, 0, err
	}
	from = max(from, l.mu.start)
	next := func(i int) int64 {
		h, _ := record.ParseHeader(l.mu.batches[i])
		return h.NextOffset()
	}
	i := sort.Search(len(l.mu.batches), func(i int) bool { return next(i) > from })
	if i == len(l.mu.batches) {
		return nil, from, nil
	}
	return bytes.Clone(l.mu.batches[i]), next(i), nil
}

// Leads is the epoch in which the log takes appends.
func (l *Log) Leads() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.epoch
}

// Lead sets the epoch in which the log takes appends.
func (l *Log) Lead(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.epoch = epoch
}

// Led is the epoch in which the batch at an offset was appended, -1 if there is
// none.
func (l *Log) Led(at int64) int32 {
	for _, b := range l.Batches() {
		if h, _ := record.ParseHeader(b); h.BaseOffset <= at && at < h.NextOffset() {
			return h.LeaderEpoch
		}
	}
	return -1
}

// Span is where the log begins and ends.
func (l *Log) Span() (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.start, l.mu.end
}

// Upto is the log as a later leader would find it if it ended at an offset.
func (l *Log) Upto(end int64) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := New(l.mu.epoch)
	to.mu.batches = l.mu.batches[:len(l.mu.batches):len(l.mu.batches)]
	to.mu.start, to.mu.end = l.mu.start, l.mu.end
	to.cut(end)
	return to
}

// Copy is the log as a later leader finds it.
func (l *Log) Copy() *Log {
	_, end := l.Span()
	return l.Upto(end)
}

// Prune drops the batches that lie before an offset.
func (l *Log) Prune(before int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before > l.mu.end {
		return kafka.OffsetOutOfRange
	}
	for len(l.mu.batches) > 0 {
		if h, _ := record.ParseHeader(l.mu.batches[0]); h.NextOffset() > before {
			break
		}
		l.mu.batches = l.mu.batches[1:]
	}
	l.mu.start = max(l.mu.start, before)
	return nil
}

// Batches are what the log holds, oldest first; nobody may change them.
func (l *Log) Batches() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.batches[:len(l.mu.batches):len(l.mu.batches)]
}

// Durable is the offset below which everything is committed for certain.
func (l *Log) Durable() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.committed
}

// Records are those of the log, markers left out, oldest first.
func (l *Log) Records(t testing.TB) []record.Record {
	t.Helper()
	return Parse(t, bytes.Join(l.Batches(), nil))
}

// Parse reads the records of batches, markers left out. They are copies.
func Parse(t testing.TB, batches []byte) (list []record.Record) {
	t.Helper()
	var r record.Reader
	for n := record.Size(batches); n > 0 && n <= len(batches); n = record.Size(batches) {
		b := batches[:n]
		batches = batches[n:]
		if h, err := record.ParseHeader(b); err == nil && h.Attributes.Has(record.Control) {
			continue
		}
		for r.Reset(b, record.DefaultLimit); r.Next(); {
			rec := *r.Record()
			rec.Key, rec.Value, rec.Headers = bytes.Clone(rec.Key), bytes.Clone(rec.Value), nil
			list = append(list, rec)
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		r.Release()
	}
	return list
}
