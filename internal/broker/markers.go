package broker

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/txn"
)

// markers writes the ends of transactions into the partitions that this broker
// leads: data partitions' logs, and the group coordinator's, which has to know.
type markers struct {
	replicas *replica.Table
	offsets  offsetsMarker
	now      func() time.Time
}

// offsetsMarker ends transactions in partitions of __consumer_offsets, as
// [group.Service] does.
type offsetsMarker interface {
	CompleteTxn(ctx context.Context, partition int32, m coordinator.Marker) error
}

// fate is what became of one marker.
type fate struct {
	at  int // which of the partitions
	err error
}

// Start appends a marker to each of the partitions. wait gives, in their order,
// what became of each: nil when it is on stable storage of all in-sync replicas.
// It has to be called, and returns when the last is settled or ctx ends.
//
// All are appended before any is waited for, so that one round of the flusher
// does for them all.
func (w *markers) Start(ctx context.Context, m txn.Marker, partitions []kafka.TopicPartition) (wait func() []error) {
	return w.start(ctx, m, partitions, len(partitions) == 1)
}

// start is Start. Lone says that the caller has no other markers and calls wait
// next, which then flushes.
func (w *markers) start(ctx context.Context, m txn.Marker, partitions []kafka.TopicPartition, lone bool) (wait func() []error) {
	fates := make(chan fate, len(partitions))
	var tasks sync.WaitGroup
	typ := record.Abort
	if m.Commit {
		typ = record.Commit
	}
	marker := record.EndTxnMarker(record.Producer{ID: m.ID, Epoch: m.Epoch}, typ, m.CoordinatorEpoch, w.now().UnixMilli())
	header, err := record.Check(marker)
	var held []*replica.Replica
	for i, tp := range partitions {
		switch {
		case err != nil:
			fates <- fate{i, err}
		case tp.Topic == kafka.OffsetsTopic:
			tasks.Go(func() { fates <- fate{i, w.endOffsets(ctx, m, tp.Partition)} })
		default:
			b := replica.Batch{Bytes: bytes.Clone(marker), Header: header, Epoch: kafka.NoEpoch, Durable: true, Lone: lone,
				Origin: replica.Marker, CoordinatorEpoch: m.CoordinatorEpoch, TxnVersion: m.Version}
			if r := w.append(tp, b, func(err error) { fates <- fate{i, err} }); r != nil && lone {
				held = append(held, r)
			}
		}
	}
	return func() []error {
		replica.FlushAll(held)
		defer tasks.Wait() // which end with ctx
		return collect(ctx, fates, len(partitions))
	}
}

// append writes one marker; done is called once with what became of it.
func (w *markers) append(tp kafka.TopicPartition, b replica.Batch, done func(error)) *replica.Replica {
	r, err := w.replicas.Get(tp.Topic, tp.Partition)
	if err != nil {
		done(err)
		return nil
	}
	got, err := r.Append(b)
	if err != nil {
		done(err)
		return nil
	}
	r.AwaitCommitted(&replica.Waiter{Offset: got.Last + 1, Durable: true, Done: done})
	return r
}

func (w *markers) endOffsets(ctx context.Context, m txn.Marker, partition int32) error {
	return w.offsets.CompleteTxn(ctx, partition, coordinator.Marker{
		ProducerID: m.ID, ProducerEpoch: m.Epoch, CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Commit, Version: m.Version})
}

// collect waits for n fates. Those that ctx's end leaves open get its error.
func collect(ctx context.Context, fates <-chan fate, n int) []error {
	errs := make([]error, n)
	open := make([]bool, n)
	for i := range open {
		open[i] = true
	}
	for range n {
		//house:select whoever is cut off sends its markers again
		select {
		case f := <-fates:
			errs[f.at], open[f.at] = f.err, false
		case <-ctx.Done():
			for i := range open {
				if open[i] {
					errs[i] = ctx.Err()
				}
			}
			return errs
		}
	}
	return errs
}
