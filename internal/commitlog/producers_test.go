package commitlog

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// TestProducerCheck goes through the rules of idempotence on one history:
// producer 1, epoch 3, five batches of two records at offsets 100 to 109 with
// sequences 0 to 9, after an older batch that is forgotten.
func TestProducerCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		id    int64
		epoch int16
		seq   int32
		n     int32
		txn   bool
		want  string
	}{
		{"not idempotent", -1, -1, -1, 1, false, "ok"},
		{"unknown producer may begin anywhere", 9, 0, 77, 1, false, "ok"},
		{"next", 1, 3, 10, 1, false, "ok"},
		{"gap", 1, 3, 11, 1, false, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{"the last again", 1, 3, 8, 2, false, "duplicate 108-109"},
		{"the fifth last again", 1, 3, 0, 2, false, "duplicate 100-101"},
		{"the sixth last again", 1, 3, math.MaxInt32 - 1, 2, false, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{"same first, other last", 1, 3, 8, 3, false, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{"older epoch", 1, 2, 10, 1, false, "INVALID_PRODUCER_EPOCH"},
		{"newer epoch at 0", 1, 4, 0, 1, false, "ok"},
		{"newer epoch elsewhere", 1, 4, 10, 1, false, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{"begins a transaction", 1, 3, 10, 1, true, "ok"},
		{"inside its transaction", 2, 0, 2, 1, true, "ok"},
		{"outside its transaction", 2, 0, 2, 1, false, "INVALID_TXN_STATE"},
		{"only a marker is known, 0", 3, 5, 0, 1, true, "ok"},
		{"only a marker is known, 1", 3, 5, 1, 1, true, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProducerState()
			p.Update(head(batchID{1, 3}, math.MaxInt32-1, 2, 98, false))
			for i := range int64(5) {
				p.Update(head(batchID{1, 3}, int32(i*2), 2, 100+i*2, false))
			}
			p.Update(head(batchID{1, 3}, 8, 2, 108, false)) // twice is once
			p.Update(head(batchID{2, 0}, 0, 2, 110, true))
			p.end(head(batchID{3, 5}, -1, 1, 112, true), record.Commit, 7)
			h := head(batchID{c.id, c.epoch}, c.seq, c.n, 200, c.txn)
			v, err := p.Check(h)
			got := "ok"
			if v.Duplicate {
				got = fmt.Sprintf("duplicate %d-%d", v.Base, v.Last)
			}
			if err != nil {
				got = kafka.CodeOf(err).Name()
			}
			if got != c.want {
				t.Fatalf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
}

type batchID struct {
	producer int64
	epoch    int16
}

func head(id batchID, seq, n int32, at int64, txn bool) *record.Header {
	h := &record.Header{ProducerID: id.producer, ProducerEpoch: id.epoch, BaseSequence: seq, Count: n, LastOffsetDelta: n - 1,
		BaseOffset: at, MaxTimestamp: at * 10}
	if txn {
		h.Attributes |= record.Transactional
	}
	return h
}

func TestCheckMarker(t *testing.T) {
	p := newProducerState()
	p.end(head(batchID{1, 5}, -1, 1, 10, true), record.Abort, 7)
	for _, c := range []struct {
		id    int64
		epoch int16
		coord int32
		want  kafka.Code
	}{
		{2, 0, 0, kafka.None},
		{1, 5, 7, kafka.None},
		{1, 6, 8, kafka.None},
		{1, 4, 7, kafka.InvalidProducerEpoch},
		{1, 5, 6, kafka.TransactionCoordinatorFenced},
	} {
		if got := kafka.CodeOf(p.CheckMarker(c.id, c.epoch, c.coord)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestSnapshotLeavesOutWhatIsNotAppended: the holder of a turn takes a batch in
// before it appends it. If a roll comes in between, the snapshot must not know
// it: a power cut may take the batch, and the producer must be able to send it
// again.
func TestSnapshotLeavesOutWhatIsNotAppended(t *testing.T) {
	p := newProducerState()
	p.Update(head(batchID{1, 0}, 0, 2, 10, false))
	p.Update(head(batchID{1, 0}, 2, 2, 12, true))
	p.Update(head(batchID{2, 0}, 0, 2, 12, true))
	p.Update(head(batchID{3, 0}, 0, 2, 8, false))
	p.Update(head(batchID{3, 1}, 0, 2, 14, false)) // nor its epoch
	q := newProducerState()
	if err := q.decode(p.encode(12)); err != nil {
		t.Fatal(err)
	}
	want := []Producer{
		{ID: 1, LastSequence: 1, LastTimestamp: 120, CoordinatorEpoch: -1, TxnFirst: -1},
		{ID: 3, LastSequence: 1, LastTimestamp: 80, CoordinatorEpoch: -1, TxnFirst: -1},
	}
	if got := q.Describe(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%+v", got)
	}
	if v, err := q.Check(head(batchID{1, 0}, 2, 2, 12, true)); v.Duplicate || err != nil {
		t.Fatal(v, err)
	}
}

// TestTransactionBehindItsMarker: a batch may be appended together with the
// marker of the transaction before, and was then taken in before the marker was.
// Its transaction is open all the same.
func TestTransactionBehindItsMarker(t *testing.T) {
	r := newRig(t, Tunables{})
	p := record.Producer{ID: 9}
	r.must(r.produce(batchSpec{producer: &p, flags: record.Transactional}))
	end := bytes.Clone(record.EndTxnMarker(p, record.Commit, 0, 1))
	record.Stamp(end, 1, 0)
	h, err := record.Check(end)
	r.must(err)
	next := makeBatch(batchSpec{at: 2, producer: &record.Producer{ID: 9, Sequence: 1}, flags: record.Transactional})
	r.log.Producers().Update(&next.Header)
	r.must(r.log.Append([]Batch{{Bytes: end, Header: h}, next}))
	if first, ok := r.log.Producers().FirstUnstable(3); !ok || first != 2 {
		t.Fatal("the second transaction is open from", first, ok)
	}

	// Nor does the marker of an empty transaction end the one behind it.
	p.ID = 10
	end = bytes.Clone(record.EndTxnMarker(p, record.Abort, 0, 1))
	record.Stamp(end, 3, 0)
	h, err = record.Check(end)
	r.must(err)
	next = makeBatch(batchSpec{at: 4, producer: &record.Producer{ID: 10}, flags: record.Transactional})
	r.log.Producers().Update(&next.Header)
	r.must(r.log.Append([]Batch{{Bytes: end, Header: h}, next}))
	if aborted, err := r.log.Aborted(0, 5); err != nil || len(aborted) > 0 || len(r.log.Producers().open) != 2 {
		t.Fatal(aborted, r.log.Producers().open, err)
	}
}

// TestEpochsInOneAppend: the last batches of an epoch, its marker and the first
// batch of the next epoch are appended together, and the last of them rolls: the
// snapshot knows the older epoch as it was.
func TestEpochsInOneAppend(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 600})
	var list []Batch
	add := func(b Batch) {
		r.log.Producers().Update(&b.Header)
		list = append(list, b)
	}
	for i := range int32(5) {
		add(makeBatch(batchSpec{at: int64(i), ts: r.now.UnixMilli(), flags: record.Transactional, producer: &record.Producer{ID: 9, Sequence: i}}))
	}
	end := bytes.Clone(record.EndTxnMarker(record.Producer{ID: 9}, record.Commit, 3, r.now.UnixMilli()))
	record.Stamp(end, 5, 0)
	h, err := record.Check(end)
	r.must(err)
	list = append(list, Batch{Bytes: end, Header: h})
	add(makeBatch(batchSpec{at: 6, size: 400, ts: r.now.UnixMilli(), flags: record.Transactional, producer: &record.Producer{ID: 9, Epoch: 1}}))
	r.must(r.log.Append(list))
	r.must(r.log.Flush())
	r.must(r.home.Checkpoint())
	if first, ok := r.log.Producers().FirstUnstable(7); !ok || first != 6 {
		t.Fatal("the second transaction is open from", first, ok)
	}
	r.must(r.log.TruncateTo(6))
	for i := range int32(5) {
		again := record.Header{ProducerID: 9, BaseSequence: i, Count: 1, Attributes: record.Transactional}
		if v, err := r.log.Producers().Check(&again); err != nil || !v.Duplicate || v.Base != int64(i) {
			t.Error(i, v, err)
		}
	}
	if _, ok := r.log.Producers().FirstUnstable(6); ok || r.log.Producers().Describe()[0].CoordinatorEpoch != 3 {
		t.Error("the marker was forgotten:", r.log.Producers().Describe())
	}
}

// TestSnapshotRemembersFive: what a client may have in flight is known for a
// duplicate after a clean restart too.
func TestSnapshotRemembersFive(t *testing.T) {
	p := newProducerState()
	for i := range int32(7) {
		p.Update(head(batchID{1, 3}, 2*i, 2, int64(100+2*i), true))
	}
	q := newProducerState()
	if err := q.decode(p.encode(114)); err != nil {
		t.Fatal(err)
	}
	for i := range int32(7) {
		v, err := q.Check(head(batchID{1, 3}, 2*i, 2, 0, true))
		if i >= 2 && (err != nil || !v.Duplicate || v.Base != int64(100+2*i)) || i < 2 && err == nil {
			t.Error(i, v, err)
		}
	}
	if first, ok := q.FirstUnstable(114); !ok || first != 100 || len(q.open) != 1 {
		t.Error(first, ok, q.open)
	}
}

func TestSnapshotRefusesRot(t *testing.T) {
	p := newProducerState()
	p.Update(head(batchID{1, 0}, 0, 2, 10, false))
	good := p.encode(100)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if newProducerState().decode(bad) == nil {
			t.Fatal("byte", i)
		}
	}
	for i := range good {
		if newProducerState().decode(good[:i]) == nil {
			t.Fatal("cut at", i)
		}
	}
}

// mark ends the transaction of a producer of epoch 0.
func (r *rig) mark(id int64, how record.ControlType) {
	r.t.Helper()
	b := record.EndTxnMarker(record.Producer{ID: id}, how, 1, r.now.UnixMilli())
	record.Stamp(b, r.log.End(), 0)
	h, err := record.Check(b)
	r.must(err)
	r.must(r.log.Append([]Batch{{Bytes: b, Header: h}}))
}

// TestTransactions writes three transactions that overlap, two of them rolled
// back, over several segments, and looks at what read_committed readers need;
// the same again after a clean start, after recovery, and after truncation.
func TestTransactions(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 400})
	data := func(id int64, seq int32, n int) {
		r.must(r.produce(batchSpec{n: n, size: 20, flags: record.Transactional, producer: &record.Producer{ID: id, Sequence: seq}}))
	}
	mark := r.mark
	unstable := func(hw, want int64) {
		t.Helper()
		got, ok := r.log.Producers().FirstUnstable(hw)
		if !ok {
			got = -1
		}
		if got != want {
			t.Fatalf("first unstable offset %d, want %d", got, want)
		}
	}
	data(1, 0, 2) // 0-1
	data(2, 0, 2) // 2-3
	unstable(0, 0)
	mark(1, record.Abort) // 4
	unstable(4, 0)        // the marker is not committed yet
	unstable(5, 2)
	data(3, 0, 3)          // 5-7
	mark(3, record.Commit) // 8
	unstable(9, 2)
	mark(2, record.Abort) // 9
	unstable(9, 2)
	unstable(10, -1)
	data(1, 2, 1) // 10, stays open
	unstable(11, 10)
	r.fill(5, 2, 20) // 11-20

	check := func() {
		t.Helper()
		for _, c := range []struct {
			from, to int64
			want     string
		}{
			{0, 21, "[{1 0 4 2} {2 2 9 10}]"},
			{0, 2, "[{1 0 4 2}]"},
			{3, 21, "[{1 0 4 2} {2 2 9 10}]"},
			{5, 6, "[{2 2 9 10}]"},
			{10, 21, "[]"},
		} {
			got, err := r.log.Aborted(c.from, c.to)
			if err != nil || fmt.Sprint(got) != c.want {
				t.Fatalf("[%d,%d): %v %v, want %s", c.from, c.to, got, err, c.want)
			}
		}
		unstable(21, 10)
	}
	check()
	if len(r.log.Segments()) < 3 {
		t.Fatal("too few segments to mean anything")
	}
	r.stop()
	r.start()
	check()
	r.must(r.log.AssignEpoch(9, r.log.End())) // or the manifest would spare it the examination
	r.must(r.log.Flush())
	r.kill()
	r.start()
	if r.rec.Clean {
		t.Fatal("was killed")
	}
	check()
	r.must(r.log.TruncateTo(11))
	unstable(11, 10)
	r.must(r.log.TruncateTo(9))
	unstable(9, 2)
	if got, err := r.log.Aborted(0, 9); err != nil || fmt.Sprint(got) != "[{1 0 4 2}]" {
		t.Fatal(got, err)
	}
	r.stop()
}

func TestProducersExpire(t *testing.T) {
	p := newProducerState()
	p.Update(head(batchID{1, 0}, 0, 1, 10, false))
	p.Update(head(batchID{2, 0}, 0, 1, 20, false))
	p.Update(head(batchID{3, 0}, 0, 1, 10, true))
	p.expire(150)
	if got := p.Describe(); len(got) != 2 || got[0].ID != 2 || got[1].ID != 3 {
		t.Fatal(got)
	}
}
