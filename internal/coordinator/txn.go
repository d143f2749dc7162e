package coordinator

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// Producer is who writes in a transaction.
type Producer struct {
	ID    int64
	Epoch int16
}

// Marker is the end of a transaction in one partition.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32 // of the transaction coordinator that decided
	Commit           bool  // else it is rolled back

	// Version is the transaction's, as whoever sends the marker says: from 2 on the
	// producer has an epoch for each, and what it writes has a lower one than the
	// marker. It is not in the log, and 0 in what is loaded from there.
	Version int16
}

// Observer is a machine that wants to know of transactions while they are open.
// One that is not gets the records of a transaction through Replay, at its
// commit.
//
// The two methods are to a transaction's records what Replay is to others.
type Observer interface {
	// ReplayTxn applies one record that counts only if a commit marker follows.
	ReplayTxn(p Producer, r Record) error

	// Marker ends the producer's transaction, of which there may be no records.
	Marker(m Marker) error
}

// As says that the turn's records stand in a transactional batch of a producer,
// and so count from its commit marker on. The machine must be an [Observer]. The
// log may refuse them with INVALID_PRODUCER_EPOCH or INVALID_TXN_STATE.
//
// The batch's sequence is 0, as Kafka's: a coordinator's batches are not checked
// by it.
func (t *Turn) As(producerID int64, epoch int16) { t.as = &Producer{producerID, epoch} }

// Mark ends a producer's transaction: it has the control batch appended, instead of
// records. A producer without a transaction here gets its marker all the same, as
// in any partition. The machine must be an [Observer]. The log may refuse the
// marker with INVALID_PRODUCER_EPOCH or TRANSACTION_COORDINATOR_FENCED.
func (t *Turn) Mark(m Marker) { t.marker = &m }

// batch is what the turn wants appended.
func (t *Turn) batch(build *record.Builder) []byte {
	ms := t.Now.UnixMilli()
	if m := t.marker; m != nil {
		typ := record.Abort
		if m.Commit {
			typ = record.Commit
		}
		return record.EndTxnMarker(record.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, typ, m.CoordinatorEpoch, ms)
	}
	build.Reset()
	build.Flags, build.Producer = 0, nil
	if t.as != nil {
		build.Flags = record.Transactional
		build.Producer = &record.Producer{ID: t.as.ID, Epoch: t.as.Epoch}
	}
	for _, r := range t.records {
		build.Append(record.Record{Timestamp: ms, Key: r.Key, Value: r.Value})
	}
	return build.Bytes()
}

// place tells the records where they stand in the log, of which end is the end.
func (t *Turn) place(end int64) {
	for i := range t.records {
		t.records[i].Offset = end - int64(len(t.records)-i)
	}
}

// replay applies what the turn has appended.
func (t *Turn) replay(m Machine) error {
	observer, ok := m.(Observer)
	switch {
	case t.as == nil && t.marker == nil:
		for _, r := range t.records {
			if err := m.Replay(r); err != nil {
				return err
			}
		}
		return nil
	case !ok:
		return fmt.Errorf("%T does not know transactions: %w", m, kafka.UnknownServerError)
	case t.marker != nil:
		return observer.Marker(*t.marker)
	}
	for _, r := range t.records {
		if err := observer.ReplayTxn(*t.as, r); err != nil {
			return err
		}
	}
	return nil
}
