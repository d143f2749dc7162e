package commitlog

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
)

// What a reader noted before the log was cut off must not lead one astray that
// reads what was written since: batches begin elsewhere now.
func TestCursorsEndWithTheCut(t *testing.T) {
	r := newRig(t, Tunables{IndexInterval: 1 << 20})
	defer r.stop()
	write := func(n, records, size int) {
		for range n {
			r.must(r.produce(batchSpec{n: records, size: size}))
		}
	}
	readAll := func(maxBytes int) {
		t.Helper()
		for at := r.log.Start(); at < r.log.End(); {
			got, err := r.log.Read(at, maxBytes, r.log.End(), true)
			r.must(err)
			b := make([]byte, got.Len())
			_, err = got.ReadAt(b, 0)
			got.Release()
			r.must(err)
			found, ok, err := firstRecord(b[:record.Size(b)], func(rec *record.Record) bool { return rec.Offset >= at })
			if err != nil || !ok || found.Offset != at {
				t.Fatalf("a read at %d gave %d, %t, %v", at, found.Offset, ok, err)
			}
			for len(b) > 0 {
				h := headerOf(t, b)
				at, b = h.NextOffset(), b[h.Size():]
			}
		}
	}
	write(60, 3, 100)
	readAll(900)
	readAll(900)
	r.must(r.log.TruncateTo(60))
	write(40, 2, 333)
	readAll(900)
	readAll(1)
}

func headerOf(t *testing.T, b []byte) record.Header {
	t.Helper()
	h, err := record.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
