package compact

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/record"
)

// history drives a log at random and knows what must be in it: a list of all
// that was ever appended, with what became of each record's transaction.
type history struct {
	*rig
	rng       *rand.Rand
	all       []*entry
	producers [5]scribe
	cleaned   int64           // everything below was cleaned
	horizons  map[int64]int64 // of batches with tombstones, by base offset, ms
}

// entry is one record that was appended.
type entry struct {
	kv
	batch   int64 // its batch's base offset
	decided bool  // not part of an open transaction
}

// scribe is a producer: 0 is none, 1 and 2 are idempotent, 3 and 4 transactional.
type scribe struct {
	seq   int32
	epoch int16
	open  bool
}

func (h *history) step() {
	switch p := h.rng.IntN(100); {
	case p < 78:
		h.produce()
	case p < 86:
		h.endTxn(3 + h.rng.IntN(2))
	case p < 93:
		h.round()
	case p < 96:
		h.now = h.now.Add(time.Duration(h.rng.IntN(90)) * time.Second)
	case p < 98:
		h.restart()
		h.check()
	default:
		h.must(h.log.DeleteTo(min(h.log.Start()+h.rng.Int64N(8), h.stable())))
		h.check()
	}
}

func (h *history) produce() {
	id := h.rng.IntN(len(h.producers))
	s := &h.producers[id]
	b := record.Builder{Codec: record.Codec(h.rng.IntN(5)), LeaderEpoch: 3, BaseOffset: h.log.End()}
	if id > 0 {
		b.Producer = &record.Producer{ID: int64(id), Epoch: s.epoch, Sequence: s.seq}
	}
	if id >= 3 {
		b.Flags |= record.Transactional
		s.open = true
	}
	if h.rng.IntN(5) == 0 {
		b.Flags |= record.AppendTime
		b.AppendedAt = h.now.UnixMilli()
	}
	var recs []record.Record
	for i := range 1 + h.rng.IntN(4) {
		e := &entry{kv: kv{offset: h.log.End() + int64(i), pid: -1, hasKey: h.rng.IntN(30) > 0, tombstone: h.rng.IntN(6) == 0},
			batch: h.log.End(), decided: id < 3}
		rec := record.Record{Timestamp: h.now.UnixMilli() - h.rng.Int64N(5000)}
		if e.ts = rec.Timestamp; b.Flags.Has(record.AppendTime) {
			e.ts = b.AppendedAt
		}
		if e.hasKey {
			e.key = fmt.Sprint("k", h.rng.IntN(12))
			rec.Key = str(e.key)
		}
		if !e.tombstone {
			e.value = strings.Repeat(fmt.Sprint(e.offset, " "), 1+h.rng.IntN(8))
			rec.Value = str(e.value)
		}
		if h.rng.IntN(4) == 0 {
			rec.Headers = []record.RecordHeader{{Key: "h", Value: str(fmt.Sprint(e.offset))}}
		}
		e.headers = fmt.Sprint(rec.Headers)
		if id > 0 {
			e.pid = int64(id)
			s.seq++
		}
		h.all = append(h.all, e)
		recs = append(recs, rec)
	}
	h.must(h.append(&b, recs...))
}

func (h *history) endTxn(id int) {
	s := &h.producers[id]
	if !s.open {
		return
	}
	kind := record.Abort
	if h.rng.IntN(2) == 0 {
		kind = record.Commit
	}
	for _, e := range h.all {
		if e.pid == int64(id) && !e.decided {
			e.decided, e.aborted = true, kind == record.Abort
		}
	}
	if h.rng.IntN(2) == 0 { // as TV2: the marker has another epoch, in which sequences begin anew
		s.epoch++
		s.seq = 0
	}
	h.must(h.marker(int64(id), s.epoch, kind))
	s.open = false
}

// round cleans and checks what is left.
func (h *history) round() {
	stats, did, err := h.tryClean()
	h.must(err)
	if !did {
		return
	}
	h.cleaned = stats.End
	have := map[int64]bool{}
	for _, k := range h.records() {
		have[k.offset] = true
	}
	for off, until := range h.horizons {
		if until <= h.now.UnixMilli() {
			delete(h.horizons, off)
			for _, e := range h.all {
				if e.batch == off && e.offset < h.cleaned && e.tombstone && have[e.offset] {
					h.t.Fatalf("%s outlived its horizon", e)
				}
			}
			h.drop(off)
		}
	}
	for _, e := range h.all {
		if _, set := h.horizons[e.batch]; !set && e.tombstone && have[e.offset] && e.batch < h.upTo() {
			h.horizons[e.batch] = h.now.UnixMilli() + h.tun.Compaction.DeleteRetention.Milliseconds()
		}
	}
	h.check()
}

// upTo is where the rewritten segments end.
func (h *history) upTo() int64 {
	for _, s := range h.log.Segments() {
		if s.Base >= h.cleaned {
			return s.Base
		}
	}
	return h.log.End()
}

// drop forgets the tombstones of a batch that may be gone, and what they void.
func (h *history) drop(batch int64) {
	for _, t := range h.all {
		if t.batch == batch && t.tombstone && t.hasKey && !t.aborted && t.offset < h.cleaned {
			h.all = slices.DeleteFunc(slices.Clone(h.all), func(e *entry) bool {
				return e.hasKey && e.key == t.key && e.offset <= t.offset
			})
		}
	}
}

// check compares what is read with what must be there.
func (h *history) check() {
	h.t.Helper()
	last := map[string]int64{}
	for _, e := range h.all {
		if e.hasKey && e.offset < h.cleaned && !e.aborted {
			last[e.key] = e.offset
		}
	}
	var want []kv
	for _, e := range h.all {
		if e.offset >= h.log.Start() && (e.offset >= h.cleaned || e.hasKey && !e.aborted && last[e.key] == e.offset) {
			want = append(want, e.kv)
		}
	}
	got := slices.DeleteFunc(h.records(), func(k kv) bool { return k.control || k.offset < h.log.Start() })
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			h.t.Fatalf("cleaned to %d, record %d\n got %+v\nwant %+v", h.cleaned, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		h.t.Fatalf("%d records, want %d: %v\n%v", len(got), len(want), offsets(got), offsets(want))
	}
	h.checkProducers()
}

func (h *history) checkProducers() {
	h.t.Helper()
	for _, p := range h.log.Producers().Describe() {
		s := h.producers[p.ID]
		if p.Epoch != s.epoch || p.LastSequence != s.seq-1 || (p.TxnFirst >= 0) != s.open {
			h.t.Fatalf("producer %+v, want %+v", p, s)
		}
	}
}

// TestHistories: after any number of cleanings the latest record of each key,
// the order, the offsets, the producers and what a read_committed consumer sees
// are right, and stay so over restarts.
func TestHistories(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 60
	}
	for seed := range uint64(n) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			tun := small()
			tun.SegmentBytes = 300 + rng.Int64N(3000)
			h := &history{rig: newRig(t, tun), rng: rng, horizons: map[int64]int64{}}
			for range 50 + rng.IntN(250) {
				h.step()
			}
			h.round()
			// And the producers are known from the batches alone.
			known := len(h.log.Producers().Describe())
			h.must(h.log.Close())
			h.must(h.home.Close(true))
			files, err := h.disk.ReadDir("/data/t-0")
			h.must(err)
			for _, f := range files {
				if strings.HasSuffix(f.Name, ".snapshot") {
					h.must(h.disk.Remove("/data/t-0/" + f.Name))
				}
			}
			h.must(h.disk.Remove("/data/.myelin_manifest"))
			h.must(h.start())
			h.check()
			if got := len(h.log.Producers().Describe()); got != known && h.log.Start() == 0 {
				t.Errorf("%d producers, %d were known", got, known)
			}
		})
	}
}
