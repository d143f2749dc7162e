package persist

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/share"
)

// combine lays batches over those that are known, from the start offset on
// (share.NoStart: from the beginning). For each offset the batch of the highest
// rank counts, whichever list it is in. The result is in order, does not overlap,
// and neighbours in the same state are one batch; a single batch comes out as it
// is. Neither list is changed.
//
//	known   |--- 1 ---|      |-- 2 --|
//	more         |-- 2 --|      |-- 1 --|
//	result  |-1-|--- 2 --|   |-- 2 --|-1|
func combine(known, more []share.Batch, start int64) []share.Batch {
	all := make([]share.Batch, 0, len(known)+len(more))
	all = appendFrom(all, known, start)
	all = appendFrom(all, more, start)
	if len(all) < 2 {
		return all
	}
	slices.SortStableFunc(all, func(a, b share.Batch) int { return cmp.Compare(a.First, b.First) })
	var out []share.Batch
	var open ranked // batches that have begun, the highest first
	at := all[0].First
	for len(all) > 0 || len(open) > 0 {
		if len(open) == 0 {
			at = max(at, all[0].First)
		}
		for len(all) > 0 && all[0].First <= at {
			heap.Push(&open, all[0])
			all = all[1:]
		}
		for len(open) > 0 && open[0].Last < at {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			continue
		}
		top := open[0]
		until := top.Last
		if len(all) > 0 {
			until = min(until, all[0].First-1)
		}
		out = extend(out, share.Batch{First: at, Last: until, State: top.State, Count: top.Count})
		if until == math.MaxInt64 {
			break
		}
		at = until + 1
	}
	return out
}

// appendFrom appends the batches of src as far as they lie at start or later.
func appendFrom(out, src []share.Batch, start int64) []share.Batch {
	for _, b := range src {
		if start != share.NoStart {
			b.First = max(b.First, start)
		}
		if b.First <= b.Last {
			out = append(out, b)
		}
	}
	return out
}

// extend appends b, or lets the last batch grow when it is in the same state and
// ends where b begins.
func extend(out []share.Batch, b share.Batch) []share.Batch {
	if n := len(out); n > 0 {
		if last := &out[n-1]; last.Last+1 == b.First && rank(last, &b) == 0 {
			last.Last = b.Last
			return out
		}
	}
	return append(out, b)
}

// rank orders batches by what they say of a record: more deliveries are newer,
// and within one delivery states only rise.
func rank(a, b *share.Batch) int {
	return cmp.Or(cmp.Compare(a.Count, b.Count), cmp.Compare(a.State, b.State))
}

// ranked is a heap of batches, the highest rank first.
type ranked []share.Batch

func (r ranked) Len() int           { return len(r) }
func (r ranked) Less(i, j int) bool { return rank(&r[i], &r[j]) > 0 }
func (r ranked) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranked) Push(x any)        { *r = append(*r, x.(share.Batch)) }

func (r *ranked) Pop() any {
	last := len(*r) - 1
	b := (*r)[last]
	*r = (*r)[:last]
	return b
}
