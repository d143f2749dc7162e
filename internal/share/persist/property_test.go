package persist

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// TestCombine compares combine with a map that has one entry for each offset.
func TestCombine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		known, more := randomBatches(r), randomBatches(r)
		if r.IntN(2) == 0 {
			known = combine(known, nil, share.NoStart) // as it is kept
		}
		start := int64(r.IntN(12)) - 1
		model := map[int64]share.Batch{}
		for _, list := range [][]share.Batch{known, more} {
			for _, b := range list {
				for at := b.First; at <= b.Last; at++ {
					if was, ok := model[at]; at >= start && (!ok || rank(&b, &was) > 0) {
						model[at] = b
					}
				}
			}
		}
		got := combine(known, more, start)
		n := 0
		for i, b := range got {
			if i > 0 && (b.First <= got[i-1].Last || b.First == got[i-1].Last+1 && rank(&b, &got[i-1]) == 0) {
				t.Fatalf("%v + %v from %d: %v is out of order or not joined", known, more, start, got)
			}
			for at := b.First; at <= b.Last; at++ {
				n++
				if want, ok := model[at]; !ok || want.State != b.State || want.Count != b.Count {
					t.Fatalf("%v + %v from %d: %v, but at %d %v", known, more, start, got, at, want)
				}
			}
		}
		if n != len(model) {
			t.Fatalf("%v + %v from %d: %v has %d offsets, not %d", known, more, start, got, n, len(model))
		}
		if twice := combine(got, more, start); !reflect.DeepEqual(twice, got) {
			t.Fatalf("%v + %v from %d: %v, and laid on again %v", known, more, start, got, twice)
		}
	}
}

func randomBatches(r *rand.Rand) []share.Batch {
	var out []share.Batch
	for range r.IntN(5) {
		first := int64(r.IntN(20))
		out = append(out, share.Batch{First: first, Last: first + int64(r.IntN(7)) - 1, // some are empty
			State: []share.Delivery{share.Available, share.Acknowledged, share.Archived}[r.IntN(3)], Count: int16(r.IntN(3))})
	}
	return out
}

// expected is what a share partition must be, by offset.
type expected struct {
	stateEpoch, fence int32
	start             int64
	records           map[int64]share.Batch
}

// TestHistories plays random histories. After each append the log is loaded into
// another machine, as it is and pruned, which must then know the same; what is
// read must be what a model by offset says; and neither start nor state epoch may
// go back.
func TestHistories(t *testing.T) {
	histories := 150
	if testing.Short() {
		histories = 40
	}
	for seed := range uint64(histories) {
		synctest.Test(t, func(t *testing.T) { playHistory(t, seed) })
	}
}

func playHistory(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	rig := newRig(t, slicelog.New(0), func(c *Config) {
		c.SnapshotEvery, c.ColdAfter, c.PruneEvery = r.IntN(6), 20*time.Second, 365*24*time.Hour
	})
	defer rig.stop()
	model := map[share.Key]*expected{}
	for step := range 120 {
		at := fmt.Sprintf("seed %d step %d", seed, step)
		key := share.Key{Group: "g", TopicID: topicID(byte(1 + r.IntN(2))), Partition: int32(r.IntN(2))}
		if wrong := randomStep(r, rig, key, model); wrong != "" {
			t.Fatal(at, wrong)
		}
		live := rig.shard(t)
		whole := load(t, rig, rig.log)
		start, _ := rig.log.Span()
		if start == 0 && !reflect.DeepEqual(live, whole) || !sameButFence(live, whole) {
			t.Fatalf("%s: live %s\nloaded %s", at, show(live), show(whole))
		}
		pruned := rig.log.Copy()
		if err := pruned.Prune(needed(t, rig)); err != nil {
			t.Fatal(at, err)
		}
		if part := load(t, rig, pruned); !sameButFence(live, part) {
			t.Fatalf("%s: live %s\nloaded after pruning %s", at, show(live), show(part))
		}
		compare(t, at, live, model)
		if r.IntN(20) == 0 {
			if err := rig.s.pruneOne(t.Context(), 0, map[int32]int64{}); err != nil {
				t.Fatal(at, err)
			}
			time.Sleep(time.Duration(r.IntN(30)) * time.Second)
			synctest.Wait()
		}
	}
}

// randomStep does something to a share partition, and what must come of it to
// the model; it returns what went wrong.
func randomStep(r *rand.Rand, rig *rig, key share.Key, model map[share.Key]*expected) (wrong string) {
	ctx, was := rig.t.Context(), model[key]
	var err error
	want := kafka.None
	switch n := r.IntN(20); {
	case n < 2:
		epoch, start := int32(r.IntN(4)), int64(r.IntN(30))-1
		err = rig.s.Initialize(ctx, key, epoch, start)
		if was != nil && was.stateEpoch > epoch {
			want = kafka.FencedStateEpoch
			break
		}
		model[key] = &expected{stateEpoch: epoch, start: start, records: map[int64]share.Batch{}}
		if was != nil {
			model[key].fence = was.fence
		}
	case n == 2:
		err = rig.s.Delete(ctx, key)
		delete(model, key)
	case n < 6:
		epoch := int32(r.IntN(6))
		_, err = rig.s.Read(ctx, key, epoch)
		if want = refuses(was, epoch, 1<<30); want == kafka.None {
			was.fence = epoch
		}
	case n == 6:
		err = rig.s.TopicsDeleted(ctx, []kafka.UUID{key.TopicID})
		for k := range model {
			if k.TopicID == key.TopicID {
				delete(model, k)
			}
		}
	default:
		u := share.Update{StateEpoch: int32(r.IntN(4)), LeaderEpoch: int32(r.IntN(6)), StartOffset: int64(r.IntN(30)) - 1,
			DeliveryComplete: int32(r.IntN(3)), Batches: randomBatches(r)}
		err = rig.s.Write(ctx, key, u)
		if want = refuses(was, u.LeaderEpoch, u.StateEpoch); want == kafka.None {
			was.write(&u)
		}
	}
	if kafka.CodeOf(err) != want {
		return fmt.Sprintf(": %v, not %s", err, want.Name())
	}
	return ""
}

func refuses(e *expected, leader, state int32) kafka.Code {
	switch {
	case e == nil:
		return kafka.InvalidRequest
	case e.fence > leader:
		return kafka.FencedLeaderEpoch
	case e.stateEpoch > state:
		return kafka.FencedStateEpoch
	}
	return kafka.None
}

func (e *expected) write(u *share.Update) {
	e.start = max(e.start, u.StartOffset)
	for _, b := range u.Batches {
		for at := b.First; at <= b.Last; at++ {
			if was, ok := e.records[at]; !ok || rank(&b, &was) > 0 {
				e.records[at] = b
			}
		}
	}
	for at := range e.records {
		if at < e.start {
			delete(e.records, at)
		}
	}
}

// compare checks what is kept against the model.
func compare(t *testing.T, at string, kept map[share.Key]kept, model map[share.Key]*expected) {
	if len(kept) != len(model) {
		t.Fatalf("%s: %d share partitions, not %d", at, len(kept), len(model))
	}
	for key, want := range model {
		got := kept[key]
		if got.start != want.start || got.stateEpoch != want.stateEpoch || got.fence != want.fence {
			t.Fatalf("%s: %s is %+v, not %+v", at, key, got, want)
		}
		n := 0
		for _, b := range got.batches {
			for o := b.First; o <= b.Last; o++ {
				if w, ok := want.records[o]; !ok || w.State != b.State || w.Count != b.Count {
					t.Fatalf("%s: %s has at %d %+v, not %+v", at, key, o, b, w)
				}
				n++
			}
		}
		if n != len(want.records) {
			t.Fatalf("%s: %s has %d offsets, not %d", at, key, n, len(want.records))
		}
	}
}

// shard is what the live machine knows.
func (r *rig) shard(t *testing.T) map[share.Key]kept {
	var out map[share.Key]kept
	err := r.s.rt.Write(t.Context(), 0, func(sh *shard, _ *coordinator.Turn) error {
		out = values(sh)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func needed(t *testing.T, r *rig) (first int64) {
	err := r.s.rt.Write(t.Context(), 0, func(sh *shard, _ *coordinator.Turn) error {
		first = sh.needed()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func values(sh *shard) map[share.Key]kept {
	out := map[share.Key]kept{}
	for k, s := range sh.kept {
		v := *s
		v.batches = append([]share.Batch{}, v.batches...)
		out[k] = v
	}
	return out
}

// load replays a log into a fresh machine.
func load(t *testing.T, r *rig, log *slicelog.Log) map[share.Key]kept {
	again := newRig(t, log.Copy(), func(c *Config) { c.SnapshotEvery = r.s.cfg.SnapshotEvery })
	defer again.stop()
	return again.shard(t)
}

func sameButFence(a, b map[share.Key]kept) bool {
	return maps.EqualFunc(a, b, func(x, y kept) bool {
		x.fence, y.fence = 0, 0
		return reflect.DeepEqual(x, y)
	})
}

func show(m map[share.Key]kept) string { return fmt.Sprintf("%+v", m) }
