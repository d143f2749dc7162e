package txn

import (
	"context"
	"slices"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Joining is partitions that a producer wants to write in its transaction.
type Joining struct {
	ID         string // transactional
	Producer   Producer
	Partitions []kafka.TopicPartition
	// VerifyOnly asks whether they are in the transaction already. Otherwise they
	// are put into it, which a client of version 2 leaves to the partitions'
	// leaders.
	VerifyOnly bool
	Version    int16 // of the transaction, as the client speaks it
}

// VerifyOrAdd is what a partition's leader asks before it takes the first batch
// of a transaction (KIP-890). Its answer is one code for each partition, and when
// that is NONE the record that names the partition is durable.
//
//	INVALID_PRODUCER_ID_MAPPING  the id has another producer, or is not known
//	PRODUCER_FENCED              it has another epoch
//	CONCURRENT_TRANSACTIONS      the one before is still being ended
//	TRANSACTION_ABORTABLE        not in the transaction (VerifyOnly)
//	INVALID_REQUEST              no id
//
// and NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE.
func (s *Service) VerifyOrAdd(ctx context.Context, j Joining) []kafka.Code {
	codes := make([]kafka.Code, len(j.Partitions))
	var code kafka.Code
	switch {
	case j.ID == "":
		code = kafka.InvalidRequest
	case j.VerifyOnly:
		code = s.verify(ctx, &j, codes)
	default:
		code = s.add(ctx, &j)
	}
	if code != kafka.None {
		for i := range codes {
			codes[i] = code
		}
	}
	return codes
}

// verify fills in codes, unless it gives one for all.
func (s *Service) verify(ctx context.Context, j *Joining, codes []kafka.Code) kafka.Code {
	return s.change(ctx, j.ID, func(_ *shard, tx *transaction, _ int64) (*transaction, kafka.Code) {
		if code := tx.admit(j.Producer); code != kafka.None {
			return nil, code
		}
		if tx.status.preparing() {
			return nil, kafka.ConcurrentTransactions
		}
		for i := range j.Partitions {
			if !tx.has(j.Partitions[i : i+1]) {
				codes[i] = kafka.TransactionAbortable
			}
		}
		return nil, kafka.None
	})
}

// add puts the partitions into the transaction. While the one before is being
// ended it waits, as long as the configuration says.
func (s *Service) add(ctx context.Context, j *Joining) kafka.Code {
	until := s.cfg.Now().Add(s.cfg.Patience)
	for {
		var done chan struct{}
		code := s.change(ctx, j.ID, func(sh *shard, tx *transaction, now int64) (*transaction, kafka.Code) {
			next, code := tx.add(j.Producer, j.Partitions, j.Version, now)
			if code == kafka.ConcurrentTransactions {
				done = make(chan struct{})
				sh.waiting[j.ID] = append(sh.waiting[j.ID], done)
			}
			return next, code
		})
		if code != kafka.ConcurrentTransactions || !s.wait(ctx, done, until) {
			return code
		}
	}
}

// AddPartitions answers AddPartitionsToTxn (key 24) for one transaction, with a
// code for all of the partitions.
func (s *Service) AddPartitions(ctx context.Context, j Joining) kafka.Code {
	if j.ID == "" {
		return kafka.InvalidRequest
	}
	return s.add(ctx, &j)
}

// EndTxn answers EndTxn (key 26). Its answer leaves when the outcome is durable;
// the markers are on their way by then.
//
// From version 5 on it tells the producer's next epoch, which under an exhausted
// producer id comes with another id.
func (s *Service) EndTxn(ctx context.Context, req *msg.EndTxnRequest, version int16) *msg.EndTxnResponse {
	resp := msg.NewEndTxnResponse()
	e := ending{Producer: Producer{req.ProducerID, req.ProducerEpoch}, commit: req.Committed, fresh: kafka.NoProducer}
	if version >= 5 {
		e.client = version2
	}
	got, code := noProducer, kafka.InvalidRequest
	if req.TransactionalID != "" {
		got, code = s.end(ctx, req.TransactionalID, e)
	}
	resp.ErrorCode = int16(code)
	if code == kafka.None && e.client >= version2 {
		resp.ProducerID, resp.ProducerEpoch = got.ID, got.Epoch
	}
	return &resp
}

func (s *Service) end(ctx context.Context, id string, e ending) (got Producer, code kafka.Code) {
	for {
		code = s.change(ctx, id, func(sh *shard, tx *transaction, now int64) (*transaction, kafka.Code) {
			e.now = now
			next, code := tx.end(e)
			got = tx.after()
			if next != nil {
				got = next.after()
				if e.client >= version2 {
					sh.recoveries[id] = recovery{got, tx.Epoch}
				}
			}
			return next, code
		})
		if code != needsID {
			return got, code
		}
		if e.fresh, code = s.fresh(ctx); code != kafka.None {
			return noProducer, code
		}
	}
}

// Describe answers DescribeTransactions (key 65) for one id. It tells what is
// committed.
func (s *Service) Describe(id string) msg.DescribeTransactionsResponseTransactionState {
	r := msg.DescribeTransactionsResponseTransactionState{TransactionalID: id}
	err := error(kafka.InvalidRequest)
	if id != "" {
		err = s.rt.ReadFor(id, func(sh *shard) error {
			tx, ok := sh.ids.Committed(id)
			if !ok {
				return kafka.TransactionalIDNotFound
			}
			r.TransactionState = tx.status.String()
			r.TransactionTimeoutMs, r.TransactionStartTimeMs = tx.timeout, tx.started
			r.ProducerID, r.ProducerEpoch = tx.ID, tx.Epoch
			for _, t := range byTopic(tx.partitions) {
				r.Topics = append(r.Topics, msg.DescribeTransactionsResponseTransactionStateTopic{
					Topic: t.Topic, Partitions: slices.Clone(t.PartitionIDs)})
			}
			return nil
		})
	}
	r.ErrorCode = int16(codeOf(err))
	return r
}

var _ coordinator.Machine = (*shard)(nil)
