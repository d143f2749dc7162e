package replica

import (
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// unguarded lets a transactional batch in that nobody verified.
func unguarded(b Batch) Batch {
	b.Guard = Unguarded
	return b
}

// inTxn is a batch of one record in a transaction of producer 9.
func inTxn(t *testing.T, epoch int16, seq int32) Batch {
	b := record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: 9, Epoch: epoch, Sequence: seq}}
	b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("in")})
	return client(t, append([]byte(nil), b.Bytes()...), true)
}

// ended is the marker of producer 9.
func ended(t *testing.T, epoch, version int16) Batch {
	m := record.EndTxnMarker(record.Producer{ID: 9, Epoch: epoch}, record.Abort, 5, time.Now().UnixMilli())
	h, err := record.Check(m)
	if err != nil {
		t.Fatal(err)
	}
	return Batch{Bytes: m, Header: h, Epoch: kafka.NoEpoch, Origin: Marker, CoordinatorEpoch: 5, TxnVersion: version}
}

func refused(t *testing.T, p *Replica, b Batch, want kafka.Code) {
	t.Helper()
	if _, err := p.Append(b); kafka.CodeOf(err) != want {
		t.Fatalf("got %v, want %s", err, want.Name())
	}
}

// TestGuard goes through the verifications of one producer.
func TestGuard(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold()
		first := inTxn(t, 1, 0)
		refused(t, p, first, kafka.InvalidTxnState)

		// Verified, it begins a transaction, in which nobody asks any more.
		g, ask := p.Guard(&first.Header, true)
		if !ask || g == 0 {
			t.Fatal("the first batch needs no guard")
		}
		first.Guard = g
		must(t, p, first)
		p.Unguard(9, g)
		next := inTxn(t, 1, 1)
		if _, ask := p.Guard(&next.Header, true); ask {
			t.Fatal("the second batch of a transaction has to be verified")
		}
		must(t, p, next)

		// A marker under way while the coordinator is asked: its word is old, if the
		// producer keeps its epoch.
		late := inTxn(t, 1, 2)
		must(t, p, ended(t, 1, 1))
		if g, ask = p.Guard(&late.Header, false); !ask {
			t.Fatal("the transaction is over")
		}
		must(t, p, ended(t, 1, 1))
		late.Guard = g
		refused(t, p, late, kafka.InvalidTxnState)
		p.Unguard(9, g)

		// With an epoch for each transaction, the marker is of the one before.
		late = inTxn(t, 2, 0)
		g, _ = p.Guard(&late.Header, true)
		must(t, p, ended(t, 2, 2))
		late.Guard = g
		must(t, p, late)
		p.Unguard(9, g)
		must(t, p, ended(t, 3, 2))

		// Nor does a zombie of the epoch before come in.
		refused(t, p, unguarded(inTxn(t, 1, 2)), kafka.InvalidProducerEpoch)

		// A marker in the epoch of what is open comes late for the transaction before.
		late = inTxn(t, 3, 0)
		late.Guard, _ = p.Guard(&late.Header, true)
		must(t, p, late)
		p.Unguard(9, late.Guard)
		refused(t, p, ended(t, 3, 2), kafka.InvalidProducerEpoch)
		must(t, p, ended(t, 3, 0)) // an older client's, or an administrator's
		must(t, p, ended(t, 4, 2))
		must(t, p, ended(t, 4, 2)) // sent twice

		// A guard of an epoch that a marker passes is none any more.
		late = inTxn(t, 4, 0)
		late.Guard, _ = p.Guard(&late.Header, true)
		must(t, p, ended(t, 5, 2))
		refused(t, p, late, kafka.InvalidProducerEpoch)
		if p.held.open[9] != nil {
			t.Error("the guard was kept")
		}
		p.Unguard(9, late.Guard)
		if n := len(p.held.open); n != 0 {
			t.Errorf("%d guards are left", n)
		}
	})
}

// TestGuardOrder has two requests of one producer verified at once: the one that
// comes first in sequence has to come first.
func TestGuardOrder(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold()
		a, b := inTxn(t, 1, 0), inTxn(t, 1, 1)
		a.Guard, _ = p.Guard(&a.Header, false)
		b.Guard, _ = p.Guard(&b.Header, false)
		if a.Guard != b.Guard {
			t.Fatal("two verifications of one transaction")
		}
		refused(t, p, b, kafka.OutOfOrderSequenceNumber)
		must(t, p, a)
		p.Unguard(9, a.Guard)
		must(t, p, b)
		p.Unguard(9, b.Guard)

		// Of a producer that is not known, a newer client begins at 0.
		c := inTxn(t, 1, 7)
		c.Header.ProducerID = 10
		c.Guard, _ = p.Guard(&c.Header, true)
		refused(t, p, c, kafka.OutOfOrderSequenceNumber)
	})
}

// TestGuardEndsWithLeadership: who leads anew knows nothing of what an earlier
// leader verified.
func TestGuardEndsWithLeadership(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold()
		a := inTxn(t, 1, 0)
		a.Guard, _ = p.Guard(&a.Header, true)
		_, epoch := p.Leader()
		p.lead.Store(pack(p.env.self, epoch+1))
		refused(t, p, a, kafka.InvalidTxnState)
		if g, ask := p.Guard(&a.Header, true); !ask || g == a.Guard {
			t.Error("the old guard is given again")
		}
	})
}
