package commitlog

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
)

// Of any range that is read, all rolled back transactions are listed that it has
// records of, and none that begins behind the next batch that the index knows:
// with every batch indexed that is the next one, or the next segment.
func TestAbortedInRange(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 1500, IndexInterval: 1})
	rng := rand.New(rand.NewPCG(1, 2))
	var began [3]int64 // by producer; -1: no transaction
	var seq [3]int32
	for i := range began {
		began[i] = -1
	}
	var all []AbortedTxn
	for range 150 {
		p := rng.IntN(len(began))
		at := r.log.End()
		if began[p] >= 0 && rng.IntN(2) == 0 {
			kind := record.Commit
			if rng.IntN(2) == 0 {
				kind = record.Abort
				all = append(all, AbortedTxn{ProducerID: int64(p), First: began[p], Last: at})
			}
			r.mark(int64(p), kind)
			began[p] = -1
			continue
		}
		if began[p] < 0 {
			began[p] = at
		}
		n := 1 + rng.IntN(3)
		r.must(r.produce(batchSpec{n: n, size: 20, flags: record.Transactional, producer: &record.Producer{ID: int64(p), Sequence: seq[p]}}))
		seq[p] += int32(n)
	}
	end := r.log.End()
	if len(r.log.Segments()) < 5 || len(all) < 10 {
		t.Fatal(len(r.log.Segments()), all)
	}
	slices.SortFunc(all, func(a, b AbortedTxn) int { return int(a.First - b.First) })
	short := 0
	for range 500 {
		from := rng.Int64N(end)
		in, err := r.log.Read(from, 1+rng.IntN(600), end, true)
		r.must(err)
		got, err := in.Aborted(r.log, from, end)
		r.must(err)
		last := lastOffset(t, &in)
		in.Release()
		next := end
		if more, err := r.log.Read(min(last+1, end), 1, end, true); err == nil && more.Len() > 0 {
			next = lastOffset(t, &more) + 1
			more.Release()
		}
		for _, a := range all {
			listed := slices.ContainsFunc(got, func(g AbortedTxn) bool { return g.ProducerID == a.ProducerID && g.First == a.First })
			switch {
			case a.Last >= from && a.First <= last && !listed:
				t.Fatalf("%d to %d: %v lacks %v", from, last, got, a)
			case (a.Last < from || a.First >= next) && listed:
				t.Fatalf("%d to %d: %v has %v", from, last, got, a)
			case a.First >= next:
				short++
			}
		}
		if !slices.IsSortedFunc(got, func(a, b AbortedTxn) int { return int(a.First - b.First) }) {
			t.Fatal(got)
		}
	}
	if short == 0 {
		t.Fatal("no range ended before a transaction")
	}
	r.stop()
}

func lastOffset(t *testing.T, in *Range) (last int64) {
	t.Helper()
	b := make([]byte, in.Len())
	if _, err := in.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	for n := record.Size(b); n > 0 && n <= len(b); n = record.Size(b) {
		h, err := record.Check(b[:n])
		if err != nil {
			t.Fatal(err)
		}
		last, b = h.LastOffset(), b[n:]
	}
	return last
}
