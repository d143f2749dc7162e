package commitlog

import (
	"runtime"
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
)

// What a producer id costs a partition in memory: with its last batches, and
// with a transaction after another, each in an epoch of its own. The figures
// stand in docs/performance.md.
func TestMemoryOfProducers(t *testing.T) {
	const producers = 20_000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, k := range []struct {
		name   string
		most   int // bytes, with room for another version of Go
		epochs int16
	}{{"idempotent", 400, 1}, {"an epoch for each transaction", 750, 3}} {
		before := heap()
		p := newProducerState()
		at := int64(0)
		for epoch := range k.epochs {
			for id := range int64(producers) {
				h := record.Header{BaseOffset: at, ProducerID: id, ProducerEpoch: epoch, MaxTimestamp: at}
				if k.epochs > 1 {
					h.Attributes = record.Transactional
				}
				p.Update(&h)
				at++
				if k.epochs > 1 {
					m := record.Header{BaseOffset: at, ProducerID: id, ProducerEpoch: epoch, MaxTimestamp: at, Attributes: record.Transactional | record.Control}
					p.end(&m, record.Commit, 1)
					at++
					p.FirstUnstable(at)
				}
			}
		}
		if n := len(p.Describe()); n != producers {
			t.Fatalf("%d producers", n)
		}
		each := int(heap()-before) / producers
		t.Logf("%s: %d bytes", k.name, each)
		if each > k.most {
			t.Errorf("%s: %d bytes each, %d are allowed", k.name, each, k.most)
		}
		p.expire(at + 1)
		left := max(0, int(heap())-int(before)) / producers
		t.Logf("%s: %d bytes when all have expired", k.name, left)
		if p.any() || left > 16 {
			t.Errorf("%s: %d bytes are left of each producer, some known: %v", k.name, left, p.any())
		}
		runtime.KeepAlive(p)
	}
}
