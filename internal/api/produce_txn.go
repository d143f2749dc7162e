package api

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// addsFrom is the version of Produce from which on the broker puts partitions
// into a transaction; before, the client does it first. errorsFrom is the one
// from which on clients know TRANSACTION_ABORTABLE (KIP-890).
const (
	addsFrom   = 12
	errorsFrom = 11
)

// joined is one partition of a Produce with transactional records: whether its
// coordinator says that it is in the transaction.
type joined struct {
	data     *msg.ProduceRequestTopicDataPartitionData
	replica  *replica.Replica
	producer int64
	guard    replica.Guard
	asked    bool
	err      error
}

// transactional says whether a request has transactional records.
func (p *producing) transactional() bool {
	for i := range p.req.TopicData {
		for j := range p.req.TopicData[i].PartitionData {
			if _, ok := inTransaction(p.req.TopicData[i].PartitionData[j].Records); ok {
				return true
			}
		}
	}
	return false
}

// inTransaction reads the header of a transactional batch.
func inTransaction(records []byte) (record.Header, bool) {
	h, err := record.ParseHeader(records)
	return h, err == nil && h.Magic == record.Magic && h.Attributes.Has(record.Transactional)
}

// join asks the coordinator about those partitions of a request in which a
// transaction would begin, all at once, and waits for its word: this connection
// waits, no partition does. It puts into p.joined what append needs, and gives an
// error for the request as a whole.
//
//	authorize  TRANSACTIONAL_ID_AUTHORIZATION_FAILED, no id included
//	version    UNSUPPORTED_VERSION: the listener wants newer transactions
//	shape      INVALID_PRODUCER_ID_MAPPING: several producers
func (h *DataHandlers) join(c *Call, p *producing) error {
	id := p.req.TransactionalID
	switch {
	case id == nil, !c.Allowed(auth.Write, auth.TransactionalID, *id), h.Txns == nil:
		return kafka.TransactionalIDAuthorizationFailed
	case c.Version < addsFrom && !speaks(c, h.MinVersion, olderVersion):
		return kafka.UnsupportedVersion
	}
	j := txn.Joining{ID: *id, Producer: txn.Producer{ID: kafka.NoProducer}, VerifyOnly: c.Version < addsFrom, Version: 2}
	if err := h.findJoining(c, p, &j); err != nil {
		return err
	}
	if len(j.Partitions) == 0 {
		return nil
	}
	codes := h.Txns.VerifyOrAdd(c.Ctx, j)
	for i := range p.joined {
		if p.joined[i].asked {
			p.joined[i].err = joinError(codes[0], c.Version)
			codes = codes[1:]
		}
	}
	return nil
}

// findJoining lists the transactional partitions of a request in p.joined, and
// in j those that the coordinator has to be asked about. What will be refused
// anyway is passed over.
func (h *DataHandlers) findJoining(c *Call, p *producing, j *txn.Joining) error {
	for i := range p.req.TopicData {
		t := &p.req.TopicData[i]
		ref := topicRef{name: t.Name, id: t.TopicID, byID: c.Version >= 13}
		for k := range t.PartitionData {
			d := &t.PartitionData[k]
			head, ok := inTransaction(d.Records)
			if !ok {
				continue
			}
			who := txn.Producer{ID: head.ProducerID, Epoch: head.ProducerEpoch}
			if j.Producer.ID != kafka.NoProducer && j.Producer != who {
				return kafka.InvalidProducerIDMapping
			}
			j.Producer = who
			r, err := h.writable(c, &ref, d.Index)
			if err != nil {
				continue
			}
			in := joined{data: d, replica: r, producer: head.ProducerID, guard: replica.Unguarded}
			if !j.VerifyOnly || h.Verify == nil || h.Verify() {
				in.guard, in.asked = r.Guard(&head, !j.VerifyOnly)
			}
			if in.asked {
				j.Partitions = append(j.Partitions, r.TopicPartition())
			}
			p.joined = append(p.joined, in)
		}
	}
	return nil
}

// guardOf is what join found for a partition.
func (p *producing) guardOf(d *msg.ProduceRequestTopicDataPartitionData) (replica.Guard, error) {
	for i := range p.joined {
		if in := &p.joined[i]; in.data == d {
			return in.guard, in.err
		}
	}
	return 0, nil
}

// leave ends the verifications of a request.
func (p *producing) leave() {
	for i := range p.joined {
		if in := &p.joined[i]; in.asked {
			in.replica.Unguard(in.producer, in.guard)
		}
	}
	clear(p.joined)
	p.joined = p.joined[:0]
}

// joinError is what a client hears of the coordinator's word. Clients of older
// versions do not know all codes: what they can only try again comes as
// NOT_ENOUGH_REPLICAS, which has them do so without asking who leads.
func joinError(code kafka.Code, version int16) error {
	switch code {
	case kafka.None:
		return nil
	case kafka.ProducerFenced:
		return kafka.InvalidProducerEpoch
	case kafka.TransactionAbortable:
		if version < errorsFrom {
			return explain(kafka.InvalidTxnState, "Partition was not added to the transaction")
		}
	case kafka.ConcurrentTransactions:
		if version < addsFrom {
			return unverified(code)
		}
	case kafka.NetworkException, kafka.CoordinatorLoadInProgress, kafka.CoordinatorNotAvailable, kafka.NotCoordinator:
		return unverified(code)
	}
	return code
}

func unverified(code kafka.Code) error {
	return explain(kafka.NotEnoughReplicas, "Unable to verify the partition has been added to the transaction. Underlying error: "+code.Name())
}

// explained is a code with a text for its row.
type explained struct {
	kafka.Code
	text string
}

func (e *explained) Error() string { return fmt.Sprintf("%s: %s", e.Code.Name(), e.text) }
func (e *explained) Unwrap() error { return e.Code }

func explain(code kafka.Code, text string) error { return &explained{code, text} }
