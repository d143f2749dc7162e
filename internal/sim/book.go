package sim

import (
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/myelin-stream/myelin/internal/history"
)

// book is what all agents did and saw, for package history and for the checks of
// its own. Its lock is for memory only.
type book struct {
	mu struct {
		sync.Mutex
		ops     []history.Op
		process int
		serial  int64
		batches int

		seen     map[string]map[int64]int64 // values that consumers were given, by key and offset
		marks    map[watched]int64          // high watermarks, see water
		commits  map[string]*committed      // offsets of groups, by group and partition
		accepted map[string]map[int64]bool  // records that share groups are done with, by group and partition
		given    map[string]map[int64]bool  // and those that they were given
		copies   map[int64]origin           // what a copied value came from
	}
}

// watched is a partition at a node in one of its lives.
type watched struct {
	at   tp
	node int32
	life int
}

// committed is what is known of a committed offset.
type committed struct {
	acked int64 // the largest that was acknowledged, -1 while there is none
	tried int64 // the largest that was ever sent
}

// origin is the record of which another is a copy.
type origin struct {
	from   tp
	offset int64
}

func newBook() *book {
	b := &book{}
	b.mu.seen = map[string]map[int64]int64{}
	b.mu.marks = map[watched]int64{}
	b.mu.commits = map[string]*committed{}
	b.mu.accepted, b.mu.given = map[string]map[int64]bool{}, map[string]map[int64]bool{}
	b.mu.copies = map[int64]origin{}
	return b
}

// process gives a number for somebody who does one thing after another.
func (b *book) process() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.process++
	return b.mu.process
}

// value gives a value that nobody ever sent.
func (b *book) value() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.serial++
	return b.mu.serial
}

// note writes down an operation that has ended.
func (b *book) note(op history.Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.ops = append(b.mu.ops, op)
	for _, s := range op.Steps {
		for _, r := range s.Polled {
			m := b.mu.seen[r.Key]
			if m == nil {
				m = map[int64]int64{}
				b.mu.seen[r.Key] = m
			}
			m[r.Offset] = r.Value
		}
	}
}

func (b *book) sentBatch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.batches++
}

func (b *book) size() (ops, batches int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mu.ops), b.mu.batches
}

// waters are the high watermarks that a node has told of in its present life;
// whoever asks after that may not be told less.
func (b *book) waters(node int32, life int) map[tp]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[tp]int64{}
	for w, mark := range b.mu.marks {
		if w.node == node && w.life == life {
			out[w.at] = mark
		}
	}
	return out
}

// water notes a high watermark that was told of.
func (b *book) water(w watched, atLeast, mark int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if mark < atLeast {
		return fmt.Errorf("%v at node %d: the high watermark was %d before it was asked for and is %d", w.at, w.node, atLeast, mark)
	}
	b.mu.marks[w] = max(mark, b.mu.marks[w])
	return nil
}

func (b *book) commitOf(key string) *committed {
	c := b.mu.commits[key]
	if c == nil {
		c = &committed{acked: -1, tried: -1}
		b.mu.commits[key] = c
	}
	return c
}

// committing notes that an offset is about to be sent, committedOK that it was
// acknowledged.
func (b *book) committing(key string, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.commitOf(key)
	c.tried = max(c.tried, offset)
}

func (b *book) committedOK(key string, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.commitOf(key)
	c.acked = max(c.acked, offset)
}

// ackedCommit is what a read that begins now may not fall behind.
func (b *book) ackedCommit(key string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commitOf(key).acked
}

// checkCommit judges an offset that was read; atLeast is what was acknowledged
// before the question was asked.
func (b *book) checkCommit(key string, atLeast, got int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.commitOf(key); got < atLeast || got > c.tried {
		return fmt.Errorf("%s: the committed offset is %d, %d was acknowledged before and %d is the largest that anybody sent", key, got, atLeast, c.tried)
	}
	return nil
}

// done tells whether a share group is done with a record; finish says so.
func (b *book) done(key string) map[int64]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[int64]bool{}
	for o := range b.mu.accepted[key] {
		out[o] = true
	}
	return out
}

func (b *book) finish(key string, first, last int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	mark(b.mu.accepted, key, first, last)
}

// give notes that members were given records.
func (b *book) give(key string, first, last int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	mark(b.mu.given, key, first, last)
}

func mark(in map[string]map[int64]bool, key string, first, last int64) {
	if in[key] == nil {
		in[key] = map[int64]bool{}
	}
	for o := first; o <= last; o++ {
		in[key][o] = true
	}
}

// neverGiven is the first record below end that was written and that no member of
// the share group was given.
func (b *book) neverGiven(group string, of tp, end int64) (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range slices.Sorted(mapKeys(b.mu.seen[of.String()])) {
		if o < end && !b.mu.given[groupKey(group, of)][o] {
			return o, true
		}
	}
	return 0, false
}

func (b *book) copied(value int64, from tp, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.copies[value] = origin{from, offset}
}

// verdict checks the whole history, whose last operations read all there is.
func (b *book) verdict(final map[string]map[int64]int64, loose []tp) (bad []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range history.Check(b.mu.ops, history.Options{Final: true}) {
		bad = append(bad, a.String())
	}
	for _, key := range slices.Sorted(mapKeys(b.mu.seen)) {
		if slices.ContainsFunc(loose, func(p tp) bool { return p.String() == key }) {
			continue
		}
		for _, o := range slices.Sorted(mapKeys(b.mu.seen[key])) {
			want := b.mu.seen[key][o]
			if got, ok := final[key][o]; !ok || got != want {
				bad = append(bad, fmt.Sprintf("%s: offset %d was read as %d, and in the end is %d (there: %t)", key, o, want, got, ok))
			}
		}
	}
	return bad
}

// verdictOfCopies holds outputs to inputs: what lies below the offset that the
// copiers' group committed was copied once, what lies above was not.
func (b *book) verdictOfCopies(final map[string]map[int64]int64, outputs []tp, committed map[tp]int64) (bad []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := map[origin]int{}
	for _, out := range outputs {
		for _, v := range final[out.String()] {
			if from, ok := b.mu.copies[v]; ok {
				times[from]++
			}
		}
	}
	for _, in := range slices.SortedFunc(mapKeys(committed), compareTP) {
		for _, o := range slices.Sorted(mapKeys(final[in.String()])) {
			want := 0
			if o < committed[in] {
				want = 1
			}
			if n := times[origin{in, o}]; n != want {
				bad = append(bad, fmt.Sprintf("%v: offset %d was copied %d times, want %d: the copiers' group has committed %d", in, o, n, want, committed[in]))
			}
		}
	}
	return bad
}

func parseValue(b []byte) (int64, error) { return strconv.ParseInt(string(b), 10, 64) }
