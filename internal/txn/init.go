package txn

import (
	"context"
	"errors"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// beginning is the wish of a producer to use a transactional id.
type beginning struct {
	had     Producer // what the producer had before, noProducer if it is new (KIP-360)
	was     int16    // the epoch that tx's producer had before, if that is known: see recovery
	timeout int32    // ms
	fresh   int64    // a producer id that nobody had, kafka.NoProducer if none was drawn
	now     int64    // ms
}

// begin decides on an InitProducerId of an id; tx is nil for one that is not
// known. It gives the next state, which is a PREPARE where a transaction has to
// be aborted first.
//
//	new id, or its epochs are used up   a fresh producer id, epoch 0
//	no producer before                  the next epoch: the last one is fenced
//	the producer of the id              the next epoch
//	the producer before that            the same epoch: its request came twice
//	another                             PRODUCER_FENCED
//
// While a transaction is being ended it is CONCURRENT_TRANSACTIONS.
func begin(tx *transaction, b beginning) (*transaction, kafka.Code) {
	if tx == nil {
		return rotate(&transaction{Producer: noProducer, next: kafka.NoProducer}, b)
	}
	recovers := b.had != noProducer
	if recovers && b.had.ID != tx.ID && (b.had.ID != tx.previous || b.had.Epoch < lastEpoch) {
		return nil, kafka.ProducerFenced
	}
	current, repeated := b.had == tx.Producer, recovers && b.was != kafka.NoProdEpoch && b.had.Epoch == b.was
	switch {
	case tx.status.preparing():
		return nil, kafka.ConcurrentTransactions
	case recovers && !current && !repeated:
		return nil, kafka.ProducerFenced
	case tx.status == Ongoing:
		return tx.fenced(b.now), kafka.None
	case tx.exhausted() && !repeated:
		return rotate(tx, b)
	}
	n := tx.to(Empty, b.now)
	n.timeout, n.started, n.client = b.timeout, -1, 0
	if !repeated {
		n.Epoch++
	}
	return n, kafka.None
}

// rotate begins with a fresh producer id.
func rotate(tx *transaction, b beginning) (*transaction, kafka.Code) {
	if b.fresh == kafka.NoProducer {
		return nil, needsID
	}
	n := tx.to(Empty, b.now)
	n.Producer = Producer{b.fresh, 0}
	if tx.Producer == noProducer {
		n.previous = b.fresh // as Kafka writes it
	}
	n.timeout, n.started, n.client = b.timeout, -1, 0
	return n, kafka.None
}

// InitProducerID answers InitProducerId (key 22) for a transactional id: it gives
// a producer that fences all who had the id before.
func (s *Service) InitProducerID(ctx context.Context, req *msg.InitProducerIDRequest) *msg.InitProducerIDResponse {
	resp := msg.NewInitProducerIDResponse()
	b := beginning{had: Producer{req.ProducerID, req.ProducerEpoch}, timeout: req.TransactionTimeoutMs, fresh: kafka.NoProducer}
	got, code := noProducer, kafka.InvalidTransactionTimeout
	if b.timeout > 0 && int64(b.timeout) <= s.cfg.MaxTimeout.Milliseconds() {
		got, code = s.begin(ctx, *req.TransactionalID, b)
	}
	resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = int16(code), got.ID, got.Epoch
	return &resp
}

func (s *Service) begin(ctx context.Context, id string, b beginning) (got Producer, code kafka.Code) {
	for {
		got, code = noProducer, kafka.None
		err := s.rt.WriteFor(ctx, id, func(sh *shard, t *coordinator.Turn) error {
			b.now = t.Now.UnixMilli()
			if got, code = sh.begin(t, id, b); code == needsID {
				t.Soft()
			}
			return nil
		})
		switch {
		case err != nil:
			return noProducer, codeOf(err)
		case code != needsID:
			return got, code
		}
		if b.fresh, code = s.fresh(ctx); code != kafka.None {
			return noProducer, code
		}
	}
}

func (sh *shard) begin(t *coordinator.Turn, id string, b beginning) (Producer, kafka.Code) {
	tx, owed := sh.find(id, b.now)
	b.was = kafka.NoProdEpoch
	if tx != nil {
		b.was = sh.recoverable(id, tx)
	}
	next, code := begin(tx, b)
	if code != kafka.None {
		return noProducer, code
	}
	sh.follow(t, id, owed, nil)
	if next.status == PrepareAbort {
		sh.fence(t, id, tx, next)
		return noProducer, kafka.ConcurrentTransactions
	}
	if b.had != noProducer {
		was := b.had.Epoch
		if tx == nil {
			was = kafka.NoProdEpoch
		}
		sh.recoveries[id] = recovery{next.Producer, was}
	} else {
		delete(sh.recoveries, id)
	}
	sh.put(t, id, next)
	return next.Producer, kafka.None
}

// fence writes the coordinator's own abort of an open transaction. Under version
// 2 it is to its producer as an end by itself: if it comes back with the epoch
// that it had, it gets the next.
func (sh *shard) fence(t *coordinator.Turn, id string, tx, next *transaction) {
	next.client = sh.s.cfg.Level()
	delete(sh.recoveries, id)
	if next.client >= version2 {
		sh.recoveries[id] = recovery{next.Producer, tx.Epoch}
	}
	sh.put(t, id, next)
}

// recoverable is the epoch from which the id's producer came to its own.
func (sh *shard) recoverable(id string, tx *transaction) int16 {
	if r, ok := sh.recoveries[id]; ok && r.now == tx.Producer {
		return r.was
	}
	return kafka.NoProdEpoch
}

// fresh draws a producer id.
func (s *Service) fresh(ctx context.Context) (int64, kafka.Code) {
	id, err := s.cfg.NewProducerID(ctx)
	switch {
	case err == nil:
		return id, kafka.None
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return 0, kafka.CoordinatorLoadInProgress
	}
	return 0, kafka.CodeOf(err)
}
