package compact

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
)

// small are settings with a few batches to a segment, by default joined by
// cleaning.
func small() commitlog.Tunables {
	return commitlog.Tunables{SegmentBytes: 400, IndexInterval: 100, RetentionAge: -1,
		Compaction: commitlog.Compaction{On: true, DeleteRetention: time.Minute}}
}

// put writes "k=v" records, a batch for each word; "k=" is a tombstone, "=v" has
// no key.
func (r *rig) put(words string) {
	r.t.Helper()
	for w := range strings.FieldsSeq(words) {
		k, v, _ := strings.Cut(w, "=")
		rec := record.Record{Key: str(k), Value: str(v)}
		if k == "" {
			rec.Key = nil
		}
		if v == "" {
			rec.Value = nil
		}
		r.must(r.append(&record.Builder{}, rec))
	}
}

// roll begins another segment by writing filler until it happens.
func (r *rig) roll() {
	r.t.Helper()
	for n := len(r.log.Segments()); len(r.log.Segments()) == n; {
		r.put("filler=x")
	}
}

func (r *rig) has(want string) {
	r.t.Helper()
	var have []string
	for _, k := range r.records() {
		if !k.control && !k.aborted && k.key != "filler" {
			have = append(have, k.String())
		}
	}
	if got := strings.Join(have, " "); got != want {
		r.t.Fatalf("have %s\nwant %s", got, want)
	}
}

func TestLastOfEachKey(t *testing.T) {
	r := newRig(t, small())
	r.put("a=1 b=1 a=2 c=1 b=2 =keyless a=3")
	r.roll()
	r.clean()
	r.has("3:c=1 4:b=2 6:a=3")
	before := r.log.Segments()
	r.put("c=2 b=3")
	r.roll()
	r.clean()
	if got := len(r.log.Segments()); got > len(before)+1 {
		t.Errorf("%d segments, small ones are not joined", got)
	}
	r.restart()
	r.must(r.log.Flush())
	if !strings.HasPrefix(text(r.records()), "6:a=3 ") {
		t.Error(text(r.records()))
	}
}

func TestTombstones(t *testing.T) {
	r := newRig(t, small())
	r.put("a=1 b=1 a= d=1")
	r.roll()
	r.clean()
	r.has("1:b=1 2:a=∅ 3:d=1")
	r.now = r.now.Add(59 * time.Second)
	r.put("d=2")
	r.roll()
	r.clean() // the horizon of a's tombstone was set at the first round
	r.has("1:b=1 2:a=∅ " + r.find("d"))
	r.now = r.now.Add(time.Second)
	r.put("d=3")
	r.roll()
	r.clean()
	r.has("1:b=1 " + r.find("d"))
}

// TestTombstonesOutliveAJump: a wall clock that leaps a year ahead does not end
// what was deleted a moment ago, which a slow reader may not have heard of yet.
func TestTombstonesOutliveAJump(t *testing.T) {
	r := newRig(t, small())
	r.put("a=1 b=1 a= d=1")
	r.roll()
	r.clean()
	r.jump = 365 * 24 * time.Hour
	r.put("d=2")
	r.roll()
	r.clean()
	r.has("1:b=1 2:a=∅ " + r.find("d"))
	r.jump, r.now = 0, r.now.Add(time.Minute)
	r.put("d=3")
	r.roll()
	r.clean()
	r.has("1:b=1 " + r.find("d"))
}

// find shows the record of a key.
func (r *rig) find(key string) string {
	last := ""
	for _, k := range r.records() {
		if k.key == key {
			last = k.String()
		}
	}
	return last
}

func TestTransactions(t *testing.T) {
	r := newRig(t, small())
	txn := func(id int64, seq int32, key string) {
		r.must(r.append(&record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: id, Sequence: seq}},
			record.Record{Key: str(key), Value: str("v")}))
	}
	txn(1, 0, "a")
	txn(2, 0, "b")
	r.must(r.marker(1, 0, record.Abort))
	txn(2, 1, "c")
	r.must(r.marker(2, 0, record.Commit))
	txn(3, 0, "d")
	r.roll()
	r.clean()
	if len(r.records()) < 6 { // 3's transaction is open: nothing at or behind offset 5 was looked at
		t.Fatal(r.records())
	}
	r.must(r.marker(3, 0, record.Abort))
	r.roll()
	r.clean()
	r.has("1:b=v 3:c=v")
	markers := func() (n int) {
		for _, k := range r.records() {
			if k.control {
				n++
			}
		}
		return n
	}
	if markers() != 3 {
		t.Fatal("markers went before their time: ", r.records())
	}
	again := func(x string) {
		r.put(x)
		r.roll()
		r.clean()
		r.now = r.now.Add(time.Minute)
	}
	again("x=1")
	again("x=2")
	if markers() != 3 { // each has a batch before it, if an empty one, by which its producer is known
		t.Fatal(r.records())
	}
	txn(1, 1, "e")
	r.must(r.marker(1, 0, record.Commit))
	again("x=3") // 1 is known by another batch: its first goes
	again("x=4") // and its marker gets a horizon
	again("x=5")
	if markers() != 3 || r.records()[1].offset == 2 {
		t.Fatal(r.records())
	}
	r.knows(map[int64]int32{1: 2, 2: 2, 3: 1})
	r.restart()
	r.knows(map[int64]int32{1: 2, 2: 2, 3: 1})
}

// knows checks that the log takes each producer's next sequence and no other.
func (r *rig) knows(next map[int64]int32) {
	r.t.Helper()
	for id, seq := range next {
		h := record.Header{ProducerID: id, BaseSequence: seq, Count: 1, Attributes: record.Transactional}
		if _, err := r.log.Producers().Check(&h); err != nil {
			r.t.Error(err)
		}
		h.BaseSequence += 2
		if _, err := r.log.Producers().Check(&h); err == nil {
			r.t.Errorf("producer %d is not known", id)
		}
	}
}

// TestFullTable: where the keys of a round have no room, the round ends earlier,
// and the next goes on there.
func TestFullTable(t *testing.T) {
	r := newRig(t, small())
	for range 3 {
		r.put("a=1 b=1 c=1 d=1 e=1 f=1 g=1 h=1 i=1 j=1 k=1 l=1")
	}
	r.roll()
	table := newKeys(secret{1, 2}, 0, room{span: 1000, memory: 8 * slotBytes, load: 0.5})
	rounds := 0
	for ; ; rounds++ {
		p, err := look(Target{Log: r.log, Stable: r.stable()}, 0)
		r.must(err)
		if p.cleanableBytes == 0 {
			break
		}
		*table = *newKeys(secret{1, 2}, p.dirty, room{span: 1000, memory: 8 * slotBytes, load: 0.5})
		rd := &round{log: commitlog.Rewriter{Log: r.log}, plan: p, conf: r.tun, pace: func(int) error { return nil }, keys: table}
		rd.conf.IndexBytes = 1 << 20
		r.must(rd.clean(t.Context()))
		if rd.stats.End <= p.dirty {
			t.Fatal("no progress at", p.dirty)
		}
		r.must(rd.log.SetCleanPoint(rd.stats.End))
	}
	if rounds < 5 {
		t.Error("rounds:", rounds)
	}
	r.has("24:a=1 25:b=1 26:c=1 27:d=1 28:e=1 29:f=1 30:g=1 31:h=1 32:i=1 33:j=1 34:k=1 35:l=1")
}

func TestSipHash(t *testing.T) {
	key := secret{0x0706050403020100, 0x0f0e0d0c0b0a0908} // the vectors of the reference
	for _, c := range []struct {
		in     []byte
		lo, hi uint64
	}{
		{nil, 0xe6a825ba047f81a3, 0x930255c71472f66d},
		{[]byte{0}, 0x44af996bd8c187da, 0x45fc229b11597634},
	} {
		if lo, hi := key.sum(c.in); lo != c.lo || hi != c.hi {
			t.Errorf("%x: %016x %016x", c.in, lo, hi)
		}
	}
}

// TestBuffer: the settings bound how many keys a round takes; what does not fit
// waits for the next round.
func TestBuffer(t *testing.T) {
	rounds := func(s Settings) (n int) {
		tun := small()
		tun.SegmentBytes = 1 << 20
		r := newRig(t, tun)
		r.set = s
		for i := range 400 {
			var recs []record.Record
			for j := range 50 {
				recs = append(recs, record.Record{Key: str(fmt.Sprint(i*50 + j)), Value: str("v")})
			}
			r.must(r.append(&record.Builder{}, recs...))
		}
		r.tun.SegmentBytes = 400
		r.log.SetConfig(r.tun)
		r.roll()
		for ; ; n++ {
			if _, did, err := r.tryClean(); err != nil || !did {
				r.must(err)
				break
			}
		}
		return n
	}
	if n := rounds(Settings{}); n != 1 {
		t.Error("20,000 keys in the default buffer take", n, "rounds")
	}
	small := rounds(Settings{Buffer: 200_000}) // 150,000 bytes of slots: 6,750 keys at 0.9
	if small != 3 {
		t.Error("and", small, "in 200 kB")
	}
	if n := rounds(Settings{Buffer: 200_000, Load: 0.3}); n < 2*small {
		t.Error("and", n, "if the table is filled to 30 %")
	}
	if have := (&Settings{Threads: 4, Buffer: 1 << 40}).keyBytes() * 4; have > 64<<20 {
		t.Error("four threads take", have)
	}
}
