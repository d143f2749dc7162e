package txn

import (
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Status is where the transaction of an id stands. The numbers stand in records,
// the names in DescribeTransactions.
type Status int8

// Dead and PrepareEpochFence exist in Kafka's memory only: here an id that
// expires is gone with its tombstone, and fencing is a part of the abort.
const (
	Empty Status = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
	Dead
	PrepareEpochFence
)

// statusNames are by status.
var statusNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort",
	"Dead", "PrepareEpochFence"}

// String is Kafka's name.
func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "Unknown"
	}
	return statusNames[s]
}

// preparing says that the outcome is decided and markers are on their way.
func (s Status) preparing() bool { return s == PrepareCommit || s == PrepareAbort }

// Producer is who writes: an id, and the epoch that tells it from those who had
// the id before.
type Producer struct {
	ID    int64
	Epoch int16
}

// noProducer is what stands in answers without one.
var noProducer = Producer{kafka.NoProducer, kafka.NoProdEpoch}

// The versions of transactions: what transaction.version is finalized at, and
// what a client speaks.
const (
	version1 = 1 // flexible records
	version2 = 2 // an epoch for each transaction (KIP-890)
)

// lastEpoch is the highest epoch that a producer is told. One more is left for
// the coordinator, so that it can always fence.
const lastEpoch = math.MaxInt16 - 1

// transaction is what the newest record of a transactional id says. It is never
// changed once it stands in a table.
type transaction struct {
	Producer
	previous   int64 // the producer id before this record
	next       int64 // the id that follows when the epochs of this one are used up
	timeout    int32 // ms
	status     Status
	partitions []kafka.TopicPartition // sorted; what is open, or is being ended
	started    int64                  // ms; -1: no transaction yet
	updated    int64                  // ms
	client     int16                  // version of the transaction
}

// exhausted says that the producer can have no further epoch under its id.
func (tx *transaction) exhausted() bool { return tx.Epoch >= lastEpoch }

// has says whether all of the partitions are in the transaction.
func (tx *transaction) has(partitions []kafka.TopicPartition) bool {
	for _, tp := range partitions {
		if _, ok := slices.BinarySearchFunc(tx.partitions, tp, kafka.TopicPartition.Compare); !ok {
			return false
		}
	}
	return true
}

// to is a copy that goes on in another status.
func (tx *transaction) to(s Status, now int64) *transaction {
	n := *tx
	n.status, n.previous, n.updated = s, tx.ID, now
	return &n
}

// add puts partitions into a transaction, which begins with the first. It gives
// nil and no code where there is nothing to change.
func (tx *transaction) add(p Producer, partitions []kafka.TopicPartition, client int16, now int64) (*transaction, kafka.Code) {
	switch code := tx.admit(p); {
	case code != kafka.None:
		return nil, code
	case tx.status.preparing():
		return nil, kafka.ConcurrentTransactions
	case tx.status == Ongoing && tx.has(partitions):
		return nil, kafka.None
	}
	n := tx.to(Ongoing, now)
	if tx.status != Ongoing {
		n.started = now
	}
	n.partitions = slices.Concat(tx.partitions, partitions)
	slices.SortFunc(n.partitions, kafka.TopicPartition.Compare)
	n.partitions = slices.Clip(slices.Compact(n.partitions))
	n.client = client
	return n, kafka.None
}

// admit says whether p is the producer of the id.
func (tx *transaction) admit(p Producer) kafka.Code {
	switch {
	case tx.ID != p.ID:
		return kafka.InvalidProducerIDMapping
	case tx.Epoch != p.Epoch && !invariant.Planted("txn/zombie"):
		return kafka.ProducerFenced
	}
	return kafka.None
}

// ending is the wish to end a transaction.
type ending struct {
	Producer       // who asks
	commit   bool  // else abort
	client   int16 // the version that who asks speaks
	fresh    int64 // a producer id that nobody had, kafka.NoProducer if none was drawn
	now      int64 // ms
}

// needsID says that the decision can be made only with a fresh producer id.
const needsID = kafka.Code(math.MinInt16)

// end decides on an EndTxn. It gives the PREPARE that is to be written; or nil
// with NONE where the producer repeats what is complete; or a code.
//
// Of a client of version 2, with the epoch that the record has (current) or the
// one before (repeated):
//
//	                 abort, repeated  abort, current  commit, repeated  commit, current
//	Empty            fenced           PREPARE         fenced            invalid
//	Ongoing          fenced           PREPARE         fenced            PREPARE
//	PrepareAbort     concurrent       concurrent      invalid           concurrent
//	PrepareCommit    invalid          concurrent      concurrent        concurrent
//	CompleteAbort    NONE             PREPARE         invalid           invalid
//	CompleteCommit   invalid          PREPARE         NONE              invalid
//
// An abort with nothing to abort is a way to a new epoch. While the markers of the
// last transaction are on their way, a client that has heard of its new epoch may
// well end the next one already, without a record in it: Kafka fences it then, for
// good; here it comes again. Older clients have one
// epoch, so a repeated request cannot be told from one of the next transaction:
// they get NONE for the outcome that a complete transaction has.
func (tx *transaction) end(e ending) (*transaction, kafka.Code) {
	if e.client >= version2 {
		return tx.endNewer(e)
	}
	if code := tx.admit(e.Producer); code != kafka.None {
		return nil, code
	}
	switch {
	case tx.status == Ongoing:
		n := tx.to(outcome(e.commit), e.now)
		n.client = e.client
		return n, kafka.None
	case tx.status == outcome(e.commit):
		return nil, kafka.ConcurrentTransactions
	case tx.status == completed(outcome(e.commit)):
		return nil, kafka.None
	}
	return nil, kafka.InvalidTxnState
}

// endNewer is end for clients of version 2.
func (tx *transaction) endNewer(e ending) (*transaction, kafka.Code) {
	// The epochs were used up, so the repeated request has the id before.
	wrapped := tx.previous == e.ID && tx.ID != e.ID && e.Epoch == lastEpoch && tx.Epoch == 0
	repeated := wrapped || tx.ID == e.ID && tx.Epoch > 0 && tx.Epoch-1 == e.Epoch
	current := tx.ID == e.ID && tx.Epoch == e.Epoch
	switch {
	case tx.ID != e.ID && !wrapped:
		return nil, kafka.InvalidProducerIDMapping
	case tx.status.preparing() && current:
		return nil, kafka.ConcurrentTransactions
	case tx.status.preparing() && !repeated, (tx.status == Empty || tx.status == Ongoing) && !current, !repeated && !current:
		return nil, kafka.ProducerFenced
	}
	want := outcome(e.commit)
	switch {
	case tx.status == want:
		return nil, kafka.ConcurrentTransactions
	case tx.status == completed(want) && repeated:
		return nil, kafka.None
	case tx.status == Ongoing:
	case e.commit || tx.status.preparing() || repeated:
		return nil, kafka.InvalidTxnState
	}
	n := tx.to(want, e.now)
	if tx.status != Ongoing {
		n.started = e.now
	}
	if tx.exhausted() {
		if e.fresh == kafka.NoProducer {
			return nil, needsID
		}
		n.next = e.fresh
	}
	n.Epoch++
	n.client = e.client
	return n, kafka.None
}

// fenced aborts what is open, for the coordinator itself, under an epoch that the
// producer does not have.
func (tx *transaction) fenced(now int64) *transaction {
	n := tx.to(PrepareAbort, now)
	if n.Epoch < math.MaxInt16 {
		n.Epoch++
	}
	return n
}

// complete follows a PREPARE once every partition has its marker.
func (tx *transaction) complete(now int64) *transaction {
	n := tx.to(completed(tx.status), now)
	n.Producer, n.next = tx.after(), kafka.NoProducer
	n.partitions = nil
	return n
}

// after is the producer as it is when the transaction is complete, which is what
// an EndTxn of version 2 is told.
func (tx *transaction) after() Producer {
	if tx.next != kafka.NoProducer {
		return Producer{tx.next, 0}
	}
	return tx.Producer
}

// overdue says that the transaction has been open for longer than its timeout.
func (tx *transaction) overdue(now int64) bool {
	return tx.status == Ongoing && now-tx.started > int64(tx.timeout)
}

// idle says that nothing happened for so long that the id may be forgotten.
func (tx *transaction) idle(now, expiration int64) bool {
	switch tx.status {
	case Empty, CompleteCommit, CompleteAbort:
		return now-tx.updated >= expiration
	}
	return false
}

// outcome is the PREPARE of a commit or abort.
func outcome(commit bool) Status {
	if commit {
		return PrepareCommit
	}
	return PrepareAbort
}

// completed is what follows a PREPARE.
func completed(s Status) Status { return s + CompleteCommit - PrepareCommit }
