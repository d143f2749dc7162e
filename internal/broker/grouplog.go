package broker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
)

// coordinatorLog lets a coordinator write and read a partition of its internal
// topic without knowing about replicas.
type coordinatorLog struct {
	r *replica.Replica
}

var (
	_ coordinator.Log     = coordinatorLog{}
	_ coordinator.Flusher = coordinatorLog{}
)

// readBytes is how much of a coordinator's log is read at a time while it is
// loaded: large enough for few calls, small enough for fifty at once.
const readBytes = 256 << 10

func (l coordinatorLog) Append(epoch int32, batch []byte) (int64, error) {
	return l.append(epoch, batch, false)
}

func (l coordinatorLog) AppendHeld(epoch int32, batch []byte) (int64, error) {
	return l.append(epoch, batch, true)
}

func (l coordinatorLog) Flush() { l.r.Flush() }

func (l coordinatorLog) append(epoch int32, batch []byte, lone bool) (int64, error) {
	h, err := record.ParseHeader(batch)
	if err != nil {
		return 0, err
	}
	b := replica.Batch{Bytes: batch, Header: h, Epoch: epoch, Durable: true, Lone: lone, Origin: replica.Coordinator}
	if h.Attributes.Has(record.Control) {
		b.Origin = replica.Marker
		if b.CoordinatorEpoch, err = markerEpoch(batch); err != nil {
			return 0, err
		}
	}
	a, err := l.r.Append(b)
	return a.Last + 1, err
}

// markerEpoch is the coordinator epoch in the batch of a transaction's end.
func markerEpoch(batch []byte) (epoch int32, err error) {
	var in record.Reader
	defer in.Release()
	for in.Reset(batch, record.DefaultLimit); in.Next() && err == nil; {
		_, epoch, err = record.ParseEndTxnMarker(in.Record())
	}
	return epoch, errors.Join(err, in.Err())
}

func (l coordinatorLog) Committed(end int64, done func(error)) {
	l.r.AwaitCommitted(&replica.Waiter{Offset: end, Durable: true, Done: done})
}

func (l coordinatorLog) Read(from int64) ([]byte, int64, error) {
	from = max(from, l.r.LogStart())
	res, err := l.r.Read(replica.Read{Offset: from, MaxBytes: readBytes, MinOne: true, Isolation: replica.ReadAll,
		CurrentEpoch: kafka.NoEpoch, LastFetchedEpoch: kafka.NoEpoch, FromLeader: true})
	if err != nil {
		return nil, from, err
	}
	if res.Range.Len() == 0 {
		return nil, from, nil
	}
	defer res.Range.Release()
	batches := make([]byte, res.Range.Len())
	if _, err := res.Range.ReadAt(batches, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, from, fmt.Errorf("%s: %w", l.r.TopicPartition(), err)
	}
	next := from
	for rest := batches; len(rest) > 0; {
		h, err := record.ParseHeader(rest)
		if err != nil {
			return nil, from, fmt.Errorf("%s at offset %d: %w", l.r.TopicPartition(), next, err)
		}
		next = h.LastOffset() + 1
		rest = rest[h.Size():]
	}
	return batches, next, nil
}

// openGroupLog gives the group coordinator the log of a partition that this
// broker leads.
func (b *Broker) openGroupLog(ctx context.Context, partition int32) (coordinator.Log, int32, error) {
	return openCoordinatorLog(b.replicas, kafka.OffsetsTopic, partition)
}

// openCoordinatorLog gives a coordinator the log of a partition of its topic that
// this broker leads.
func openCoordinatorLog(replicas *replica.Table, topic string, partition int32) (coordinator.Log, int32, error) {
	r, err := replicas.Get(topic, partition)
	if err != nil {
		return nil, 0, err
	}
	if !r.Leads() {
		return nil, 0, fmt.Errorf("%s-%d: %w", topic, partition, kafka.NotLeaderOrFollower)
	}
	_, epoch := r.Leader()
	return coordinatorLog{r}, epoch, nil
}
