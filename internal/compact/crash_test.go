package compact

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// story fills a log with something of everything that compaction drops or keeps.
func (r *rig) story() {
	r.t.Helper()
	txn := func(id int64, seq int32, key string) {
		r.must(r.append(&record.Builder{Flags: record.Transactional, Codec: record.LZ4, Producer: &record.Producer{ID: id, Sequence: seq}},
			record.Record{Key: str(key), Value: str("v")}, record.Record{Key: str(key + "2"), Value: str("v")}))
	}
	r.put("a=1 b=1 c=1 a=2 b= c=2 d=1 =keyless")
	txn(1, 0, "t")
	txn(2, 0, "u")
	r.put("e=1 f=1 e=2 f=2")
	r.must(r.marker(1, 0, record.Abort))
	r.put("v=1 v=2 v=3 v=4 v=5 v=6 v=7 v=8 v=9 w=1 w=2 w=3 w=4 w=5 w=6 w=7") // a segment of which nothing stays
	r.must(r.marker(2, 0, record.Commit))
	r.put("v=10 w=8 a=3 d= g=1 e=3 h=1 h=2 h=3 h=4")
	txn(1, 2, "t")
	r.must(r.marker(1, 0, record.Commit))
	r.roll()
	r.must(r.log.Flush())
}

// TestPowerCut: power is cut before every file operation of a round, in every
// way that a disk may lose what was not durable. What opens is, for each group
// of segments, the old one or the new one whole; the producers are known; and
// the next round gives what an uncut one would have.
func TestPowerCut(t *testing.T) {
	every := int64(1)
	if testing.Short() {
		every = 7
	}
	for _, joined := range []bool{true, false} {
		t.Run(fmt.Sprint("joined=", joined), func(t *testing.T) {
			tun := small()
			if !joined {
				tun.SegmentBytes = 250
			}
			prepare := func() *rig {
				r := newRig(t, tun)
				r.story()
				if joined {
					tun := tun
					tun.SegmentBytes = 1 << 20 // one group
					r.tun = tun
					r.log.SetConfig(tun)
				}
				return r
			}
			r := prepare()
			old, from := r.records(), r.disk.Ops()
			groups := r.bases()
			r.clean()
			fresh, to := r.records(), r.disk.Ops()
			if sameOffsets(old, fresh) || to-from < 20 {
				t.Fatal("nothing was cleaned")
			}
			if joined {
				groups = r.bases()
			}
			for stop := from; stop <= to; stop += every {
				cut := prepare()
				cut.disk.StopBefore(stop)
				if _, _, err := cut.tryClean(); stop < to && !errors.Is(err, vfs.ErrPowerCut) {
					t.Fatalf("stopped before %d of %d to %d: %v", stop, from, to, err)
				}
				for _, p := range vfs.Policies {
					cut.afterCut(p, uint64(stop), old, fresh, groups)
				}
			}
		})
	}
}

func (r *rig) bases() (out []int64) {
	for _, s := range r.log.Segments() {
		out = append(out, s.Base)
	}
	return out
}

func (r *rig) afterCut(p vfs.Policy, seed uint64, old, fresh []kv, groups []int64) {
	r.t.Helper()
	next := &rig{t: r.t, disk: r.disk.Crash(p, rand.New(rand.NewPCG(seed, 3))), now: r.now, tun: r.tun, rng: r.rng}
	name := fmt.Sprintf("%s, before operation %d", p, seed)
	if err := next.start(); err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	if next.log.End() != r.log.End() || next.rec.CutBytes > 0 || next.rec.Missing > 0 {
		r.t.Fatalf("%s: ends at %d, not %d: %+v", name, next.log.End(), r.log.End(), next.rec)
	}
	got := next.records()
	for i, base := range groups {
		end := kafka.NoOffset
		if i+1 < len(groups) {
			end = groups[i+1]
		}
		part := func(all []kv) []kv {
			return slices.DeleteFunc(slices.Clone(all), func(k kv) bool { return k.offset < base || end >= 0 && k.offset >= end })
		}
		if now := part(got); !slices.Equal(now, part(old)) && !slices.Equal(now, part(fresh)) {
			r.t.Fatalf("%s: segments from %d on are neither old nor new:\nhave %v\n old %v\n new %v", name, base, now, part(old), part(fresh))
		}
	}
	next.knows(map[int64]int32{1: 4, 2: 2})
	files, err := next.disk.ReadDir("/data/t-0")
	r.must(err)
	for _, f := range files {
		if strings.Count(f.Name, ".") > 1 {
			r.t.Errorf("%s: %s is left", name, f.Name)
		}
	}
	next.clean()
	if again := next.records(); !sameOffsets(again, fresh) {
		r.t.Fatalf("%s: cleaned again\nhave %v\nwant %v", name, again, fresh)
	}
	next.knows(map[int64]int32{1: 4, 2: 2})
}
