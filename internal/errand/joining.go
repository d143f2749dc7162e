package errand

import (
	"context"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Transactions asks the coordinator of a transactional id, wherever it is.
type Transactions struct {
	Errands *Errands
	Here    Coordinator
}

// joinsVersion is the version of AddPartitionsToTxn that knows
// TRANSACTION_ABORTABLE.
const joinsVersion = 5

// joining is what one transaction wants of its coordinator, and the answer.
type joining struct {
	txn.Joining
	codes []kafka.Code
}

// VerifyOrAdd is [txn.Service.VerifyOrAdd] of the coordinator. Beside its codes
// there are COORDINATOR_NOT_AVAILABLE while nobody is coordinator, and
// NETWORK_EXCEPTION where there is no answer.
func (t Transactions) VerifyOrAdd(ctx context.Context, j txn.Joining) []kafka.Code {
	at, ok := t.Here.Partition(j.ID)
	if !ok {
		return t.Here.VerifyOrAdd(ctx, j) // which knows what to say
	}
	node, err := t.Errands.leader(kafka.TopicPartition{Topic: kafka.TxnTopic, Partition: at})
	switch {
	case err != nil:
		return allOf(len(j.Partitions), kafka.CoordinatorNotAvailable)
	case node == t.Errands.cfg.Self:
		return t.Here.VerifyOrAdd(ctx, j)
	}
	one := &joining{Joining: j}
	if err := t.Errands.joins.send(ctx, node, one); err != nil {
		code := kafka.CodeOf(err)
		if code == kafka.UnknownServerError { // the caller leaves
			code = kafka.NetworkException
		}
		return allOf(len(j.Partitions), code)
	}
	return one.codes
}

func allOf(n int, code kafka.Code) []kafka.Code {
	codes := make([]kafka.Code, n)
	for i := range codes {
		codes[i] = code
	}
	return codes
}

// carryJoins asks a coordinator about transactions, about all in one request.
func (e *Errands) carryJoins(ctx context.Context, node int32, load []*parcel[*joining]) {
	req, resp := msg.NewAddPartitionsToTxnRequest(), msg.NewAddPartitionsToTxnResponse()
	for _, p := range load {
		req.Transactions = append(req.Transactions, p.is.row())
	}
	err := e.ask(ctx, e.cfg.Coordinate, node, question{&req, &resp, joinsVersion})
	switch {
	case err != nil:
	case resp.ErrorCode != 0:
		err = fmt.Errorf("broker %d: %w", node, kafka.Code(resp.ErrorCode))
	case len(resp.ResultsByTransaction) != len(load):
		err = fmt.Errorf("broker %d answers %d transactions of %d: %w", node, len(resp.ResultsByTransaction), len(load), kafka.UnknownServerError)
	}
	for i, p := range load {
		if p.err = err; err == nil {
			p.err = p.is.read(&resp.ResultsByTransaction[i])
		}
	}
}

func (j *joining) row() msg.AddPartitionsToTxnRequestTransaction {
	row := msg.AddPartitionsToTxnRequestTransaction{TransactionalID: j.ID, ProducerID: j.Producer.ID, ProducerEpoch: j.Producer.Epoch,
		VerifyOnly: j.VerifyOnly}
	for _, t := range grouped(j.Partitions, each(len(j.Partitions))) {
		rt := msg.AddPartitionsToTxnRequestTopic{Name: t.topic}
		for _, i := range t.places {
			rt.Partitions = append(rt.Partitions, j.Partitions[i].Partition)
		}
		row.Topics = append(row.Topics, rt)
	}
	return row
}

// each are the places of a list of n.
func each(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// read takes in what the coordinator says.
func (j *joining) read(row *msg.AddPartitionsToTxnResponseResultsByTransaction) error {
	if row.TransactionalID != j.ID {
		return fmt.Errorf("an answer for %q, not %q: %w", row.TransactionalID, j.ID, kafka.UnknownServerError)
	}
	j.codes = allOf(len(j.Partitions), kafka.UnknownServerError)
	for _, t := range row.TopicResults {
		for _, p := range t.ResultsByPartition {
			for i, tp := range j.Partitions {
				if tp.Partition == p.PartitionIndex && tp.Topic == t.Name {
					j.codes[i] = kafka.Code(p.PartitionErrorCode)
				}
			}
		}
	}
	return nil
}
