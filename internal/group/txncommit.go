package group

import (
	"context"
	"math"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// implicitAdd is the first version of TxnOffsetCommit that makes the partition
// part of the transaction (KIP-890).
const implicitAdd = 5

// TxnOffsetCommit answers TxnOffsetCommit (key 28): offsets that count from the
// commit marker of the producer's transaction on. Topics are taken by name; an
// id beside it is stored with the offset.
//
//	verify  what the coordinator of transactions says, see Config.Verify
//	check   the group fences members by id, instance, generation or epoch
//	        (KIP-447); who names none of them commits from outside
//	append  INVALID_PRODUCER_EPOCH
func (s *Service) TxnOffsetCommit(ctx context.Context, c Client, req *msg.TxnOffsetCommitRequest) *msg.TxnOffsetCommitResponse {
	topics := make([]msg.OffsetCommitRequestTopic, len(req.Topics))
	for i, t := range req.Topics {
		topics[i] = msg.OffsetCommitRequestTopic{Name: t.Name, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			topics[i].Partitions = append(topics[i].Partitions, msg.OffsetCommitRequestTopicPartition(p))
		}
	}
	codes, bad := s.txnCommit(ctx, c, req, topics)
	resp := msg.NewTxnOffsetCommitResponse()
	for i, t := range req.Topics {
		rt := msg.TxnOffsetCommitResponseTopic{Name: t.Name, TopicID: t.TopicID}
		for j, p := range t.Partitions {
			code := bad
			if bad == kafka.None {
				code = codes[i][j]
			}
			rt.Partitions = append(rt.Partitions, msg.TxnOffsetCommitResponseTopicPartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: int16(code),
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return &resp
}

// txnCommit returns the codes of the partitions, or one for all of them.
func (s *Service) txnCommit(ctx context.Context, c Client, req *msg.TxnOffsetCommitRequest, topics []msg.OffsetCommitRequestTopic) (
	codes [][]kafka.Code, bad kafka.Code) {
	if req.GroupID == "" {
		return nil, kafka.InvalidGroupID
	}
	guard, err := s.verify(ctx, c, req)
	if err != nil {
		return nil, verdict(c, code(err))
	}
	err = s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		if !sh.release(req.ProducerID, guard) {
			// The transaction ended after it was asked about: another commit of this
			// epoch would open one that nobody ends.
			bad = kafka.InvalidTxnState
			t.Soft()
			return nil
		}
		who := kind.Committer{
			Member: req.MemberID, Instance: req.GroupInstanceID, Epoch: req.GenerationIDOrMemberEpoch, Version: c.Version, Txn: true,
		}
		if bad = sh.checkCommit(t, req.GroupID, who, topics); bad != kafka.None {
			t.Soft()
			return nil
		}
		codes = sh.commit(t, req.GroupID, topics, -1)
		t.As(req.ProducerID, req.ProducerEpoch)
		return nil
	})
	if err != nil {
		bad = commitCode(err)
	}
	return codes, bad
}

// verdict is what a client is told of what the coordinator of transactions says,
// in codes that its version of the request knows.
func verdict(c Client, code kafka.Code) kafka.Code {
	switch {
	case code == kafka.ProducerFenced:
		return kafka.InvalidProducerEpoch
	case code == kafka.NetworkException: // clients that know no such answer ask again after this one
		return kafka.CoordinatorLoadInProgress
	case code == kafka.TransactionAbortable && c.Version < 4:
		return kafka.InvalidTxnState
	}
	return code
}

// guard is given out before the coordinator of transactions is asked about a
// producer, and void once a marker has come that ends its transaction.
type guard struct {
	epoch int16 // of the producer
	users int
}

// voids says whether a marker ends the transaction that the guard is for. With an
// epoch for each, it has one above the transaction's; one in the transaction's own
// is of the transaction before, and comes late.
func (g *guard) voids(m coordinator.Marker) bool {
	return m.Version < 2 || m.ProducerEpoch > g.epoch || m.ProducerEpoch == math.MaxInt16
}

// release gives a guard back and says whether it is good; nil is.
func (sh *shard) release(producer int64, g *guard) bool {
	if g == nil {
		return true
	}
	if sh.verified[producer] != g {
		return false
	}
	if g.users--; g.users == 0 {
		delete(sh.verified, producer)
	}
	return true
}

// verify asks the coordinator of transactions whether this partition of
// __consumer_offsets is part of the producer's transaction, or makes it so. It
// need not ask when the transaction has offsets here already; the guard is nil
// then.
func (s *Service) verify(ctx context.Context, c Client, req *msg.TxnOffsetCommitRequest) (*guard, error) {
	partition, ok := s.Partition(req.GroupID)
	if !ok {
		return nil, kafka.NotCoordinator
	}
	var g *guard
	err := s.rt.Read(partition, func(sh *shard) error {
		if s.cfg.Verify == nil || sh.pending.ongoing(coordinator.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}) {
			return nil
		}
		if g = sh.verified[req.ProducerID]; g == nil || g.epoch != req.ProducerEpoch {
			g = &guard{epoch: req.ProducerEpoch}
			sh.verified[req.ProducerID] = g
		}
		g.users++
		return nil
	})
	if err != nil || g == nil {
		return nil, err
	}
	who := TxnProducer{TransactionalID: req.TransactionalID, ID: req.ProducerID, Epoch: req.ProducerEpoch}
	if err = s.cfg.Verify(ctx, who, partition, c.Version >= implicitAdd); err != nil {
		_ = s.rt.Read(partition, func(sh *shard) error { // one that is not led here any more has no guards
			sh.release(req.ProducerID, g)
			return nil
		})
	}
	return g, err
}
