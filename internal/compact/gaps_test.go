package compact

import (
	"fmt"
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestGaps: over the offsets that compaction has taken out, reads give the next
// batch there is, lookups by time the next record, and epochs end where they did;
// also after a restart and after a crash.
func TestGaps(t *testing.T) {
	r := newRig(t, small())
	const begin = 1_600_000_000_000
	for i := range 60 {
		key := fmt.Sprint("k", i%7)
		if i%10 < 2 {
			key = fmt.Sprint("once", i)
		}
		r.must(r.append(&record.Builder{LeaderEpoch: int32(i / 13)}, record.Record{Key: str(key), Value: str("v"), Timestamp: begin + int64(i)*10}))
	}
	before := r.epochEnds()
	r.clean()
	look := func(when string) {
		t.Helper()
		if now := r.epochEnds(); now != before {
			t.Errorf("%s: epochs end at %s, before at %s", when, now, before)
		}
		all := r.records()
		if len(all) > 40 {
			t.Fatal("nothing was cleaned")
		}
		var heads []record.Header
		for _, b := range r.batches() {
			h, err := record.ParseHeader(b)
			r.must(err)
			heads = append(heads, h)
		}
		next, batch := 0, 0
		for off := range r.log.End() {
			for all[next].offset < off {
				next++
			}
			for heads[batch].LastOffset() < off {
				batch++
			}
			rng, err := r.log.Read(off, 1, r.log.End(), true)
			r.must(err)
			if want := heads[batch].BaseOffset; rng.BaseOffset() != want {
				t.Errorf("%s: read at %d gives %d, want %d", when, off, rng.BaseOffset(), want)
			}
			rng.Release()
			found, ok, err := r.log.OffsetForTime(begin + off*10)
			if err != nil || !ok || found.Offset != all[next].offset || found.Timestamp != all[next].ts {
				t.Errorf("%s: time of %d is found at %+v (%t, %v), want %d", when, off, found, ok, err, all[next].offset)
			}
		}
		if found, ok, err := r.log.MaxTimestamp(); err != nil || !ok || found.Offset != 59 {
			t.Error(when, found, ok, err)
		}
	}
	look("cleaned")
	r.restart()
	look("restarted")
	r.must(r.append(&record.Builder{LeaderEpoch: 4}, record.Record{Key: str("last"), Value: str("v")}))
	r.must(r.log.Flush())
	r.must(r.log.TruncateTo(60))
	look("truncated")
	r.must(r.home.Checkpoint())
	for _, p := range []vfs.Policy{vfs.KeepAll, vfs.DropAll, vfs.NamesLost} {
		r.disk = r.disk.Crash(p, nil)
		r.must(r.start())
		look("after " + p.String())
	}
}

// epochEnds tells where the first five leader epochs end.
func (r *rig) epochEnds() (text string) {
	for epoch := range int32(5) {
		found, at := r.log.EndOffsetForEpoch(epoch)
		text += fmt.Sprint(found, ":", at, " ")
	}
	return text
}
