package txn

import (
	"context"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// The pause before markers that a partition did not take are sent again.
const (
	retryFirst = 20 * time.Millisecond
	retryMost  = time.Second
)

// send brings the markers of an id's committed PREPARE on their way.
func (sh *shard) send(id string) {
	tx, ok := sh.ids.Get(id)
	if !ok || !tx.status.preparing() || sh.sending[id] == tx {
		return
	}
	sh.sending[id] = tx
	m := Marker{Producer: tx.Producer, CoordinatorEpoch: sh.epoch, Commit: tx.status == PrepareCommit, Version: tx.client}
	sh.s.tasks.Add(1)
	go func() {
		defer sh.s.tasks.Done()
		sh.s.deliver(sh, id, tx, m)
	}()
}

// deliver sends markers until every partition has its own, and then completes
// the transaction. It gives up when the shard is unloaded: who loads it next
// begins again.
func (s *Service) deliver(sh *shard, id string, tx *transaction, m Marker) {
	left := tx.partitions
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		if len(left) > 0 {
			left = s.mark(sh.ctx, id, m, left)
		}
		if len(left) == 0 && s.finish(sh, id, tx) {
			return
		}
		timer := time.NewTimer(pause)
		//house:select with both ready one more try finds the shard unloaded
		select {
		case <-timer.C:
		case <-sh.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// mark sends markers once and gives the partitions that have to get theirs
// again.
func (s *Service) mark(ctx context.Context, id string, m Marker, partitions []kafka.TopicPartition) []kafka.TopicPartition {
	var again []kafka.TopicPartition
	for i, err := range s.cfg.Markers.Write(ctx, m, partitions) {
		switch code := kafka.CodeOf(err); {
		case code == kafka.None:
		case ctx.Err() != nil:
			return partitions
		case code == kafka.InvalidProducerEpoch:
			// A newer epoch has written there, which it could only after the marker
			// of this one.
			s.cfg.Logger.Warn("a marker comes late and is not needed", "transactional_id", id, "partition", partitions[i].String(),
				"producer", m.ID, "epoch", m.Epoch, "err", err)
		default:
			s.cfg.Logger.Info("a marker has to be sent again", "transactional_id", id, "partition", partitions[i].String(),
				"producer", m.ID, "epoch", m.Epoch, "err", err)
			again = append(again, partitions[i])
		}
	}
	return again
}

// linger is how long a COMPLETE waits for the next record of its id, which then
// takes it along: one flush does for both.
const linger = 5 * time.Millisecond

// finish ends a transaction that has all its markers. Nobody waits for its
// COMPLETE, since what the PREPARE says is final: whoever wants to go on with the
// id may do so at once, and writes the COMPLETE with what comes next. False: it
// has to be tried again.
func (s *Service) finish(sh *shard, id string, tx *transaction) bool {
	if err := s.mine(sh, id, tx, func(t *coordinator.Turn) {
		t.Soft()
		sh.marked[id] = tx
		sh.wake(id)
	}); err != nil {
		return false
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	//house:select with both ready the turn finds the shard unloaded
	select {
	case <-timer.C:
	case <-sh.ctx.Done():
	}
	if invariant.Planted("txn/twice") {
		s.mark(sh.ctx, id, Marker{Producer: tx.Producer, CoordinatorEpoch: sh.epoch, Commit: tx.status == PrepareCommit, Version: tx.client}, tx.partitions)
	}
	return s.mine(sh, id, tx, func(t *coordinator.Turn) { sh.put(t, id, tx.complete(t.Now.UnixMilli())) }) == nil
}

// mine runs do in a turn of the shard if it still has this PREPARE to end.
func (s *Service) mine(sh *shard, id string, tx *transaction, do func(t *coordinator.Turn)) error {
	return s.rt.Write(sh.ctx, sh.partition, func(now *shard, t *coordinator.Turn) error {
		if now != sh || sh.sending[id] != tx {
			t.Soft()
			return nil
		}
		do(t)
		return nil
	})
}
