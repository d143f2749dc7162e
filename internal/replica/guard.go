package replica

import (
	"fmt"
	"math"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// A transaction may begin in a partition only after its coordinator said that
// the partition is a part of it (KIP-890): else nobody would ever end it. The
// coordinator is asked outside the partition's turn, so its word may be old when
// the batch comes: the transaction was aborted meanwhile, the marker is in the
// log already, and no other will follow. A guard is what tells: it is drawn
// before the coordinator is asked, and a marker takes it away.
//
//	Guard      ──▶ ask the coordinator ──▶ Append with the guard ──▶ Unguard
//	             ╰─ a marker is appended: the guard is none any more
//
// Inside an open transaction, nothing is asked and no guard is needed.

// Unguarded is the guard of a batch that is not to be verified, since the broker
// is told not to.
const Unguarded Guard = math.MaxUint64

// Guard names one verification of a partition; 0 is none.
type Guard uint64

// guards are the verifications under way, by producer id.
type guards struct {
	of *Replica

	held struct {
		sync.Mutex // memory only
		drawn      Guard
		open       map[int64]*verification
	}
}

type verification struct {
	guard  Guard
	epoch  int16 // of the producer
	leader int32 // leader epoch
	users  int   // requests that wait for the coordinator
	lowest int32 // of their sequences: none above it may come first
	newer  bool  // the client begins at sequence 0 where nothing is known of it
}

// Guard says whether the coordinator has to be asked before a transactional
// batch is appended. If so, it gives the guard to append with, and [Unguard] has
// to be called in the end. newer says that the client has an epoch for each
// transaction.
func (s *guards) Guard(h *record.Header, newer bool) (g Guard, ask bool) {
	ps := s.of.log().Producers()
	if ps.Inside(h.ProducerID, h.ProducerEpoch) {
		return 0, false
	}
	if dup, err := ps.Check(h); err == nil && dup.Duplicate {
		return 0, false
	}
	_, leader := s.of.Leader()
	s.held.Lock()
	defer s.held.Unlock()
	v := s.held.open[h.ProducerID]
	if v == nil || v.epoch != h.ProducerEpoch || v.leader != leader {
		s.held.drawn++
		v = &verification{guard: s.held.drawn, epoch: h.ProducerEpoch, leader: leader, lowest: h.BaseSequence, newer: newer}
		if s.held.open == nil {
			s.held.open = map[int64]*verification{}
		}
		s.held.open[h.ProducerID] = v
	}
	v.users++
	v.lowest = min(v.lowest, h.BaseSequence)
	return v.guard, true
}

// Unguard ends what Guard began.
func (s *guards) Unguard(producer int64, g Guard) {
	s.held.Lock()
	defer s.held.Unlock()
	v := s.held.open[producer]
	if v == nil || v.guard != g {
		return
	}
	if v.users--; v.users == 0 {
		delete(s.held.open, producer)
	}
}

// drop ends the verification of a producer, whose transaction a marker ends. With
// an epoch for each transaction, one in the marker's own epoch is of the next
// transaction: clients begin it before the markers of the last are everywhere.
func (s *guards) drop(marker *Batch) {
	s.held.Lock()
	defer s.held.Unlock()
	h := &marker.Header
	v := s.held.open[h.ProducerID]
	if v == nil || marker.TxnVersion >= 2 && h.ProducerEpoch < math.MaxInt16 && v.epoch >= h.ProducerEpoch {
		return
	}
	delete(s.held.open, h.ProducerID)
}

// guarded says, in the turn, whether a batch may begin or go on with a
// transaction.
func (s *guards) guarded(b *Batch) error {
	h := &b.Header
	ps := s.of.log().Producers()
	if b.Guard == Unguarded || ps.Inside(h.ProducerID, h.ProducerEpoch) {
		return nil
	}
	_, leader := s.of.Leader()
	s.held.Lock()
	defer s.held.Unlock()
	v := s.held.open[h.ProducerID]
	switch {
	case b.Guard == 0 || v == nil || v.guard != b.Guard || v.leader != leader:
		return fmt.Errorf("producer %d, epoch %d: the partition is not known to be in the transaction: %w",
			h.ProducerID, h.ProducerEpoch, kafka.InvalidTxnState)
	case h.BaseSequence > v.lowest, v.newer && h.BaseSequence != 0 && !ps.Knows(h.ProducerID):
		return fmt.Errorf("producer %d, epoch %d: sequence %d does not come first: %w",
			h.ProducerID, h.ProducerEpoch, h.BaseSequence, kafka.OutOfOrderSequenceNumber)
	}
	return nil
}

// markable says whether a marker may end a producer's transaction here. An epoch
// for each transaction means that nothing of the one that ends has the marker's
// epoch: what is open under that is the next one, and the marker comes late.
func (s *guards) markable(b *Batch) error {
	ps := s.of.log().Producers()
	if err := ps.CheckMarker(b.Header.ProducerID, b.Header.ProducerEpoch, b.CoordinatorEpoch); err != nil {
		return err
	}
	if b.TxnVersion >= 2 && b.Header.ProducerEpoch < math.MaxInt16 && ps.Inside(b.Header.ProducerID, b.Header.ProducerEpoch) {
		return fmt.Errorf("producer %d has a transaction open in the marker's own epoch %d: %w",
			b.Header.ProducerID, b.Header.ProducerEpoch, kafka.InvalidProducerEpoch)
	}
	s.drop(b)
	return nil
}
