package errand

import (
	"context"
	"fmt"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// own is this broker's coordinator of transactions.
type own struct {
	partitions int32
	asked      int
}

func (o *own) Partition(id string) (int32, bool) {
	if o.partitions == 0 {
		return 0, false
	}
	return kafka.CoordinatorPartition(id, o.partitions), true
}

func (o *own) VerifyOrAdd(_ context.Context, j txn.Joining) []kafka.Code {
	o.asked++
	return allOf(len(j.Partitions), kafka.CoordinatorLoadInProgress)
}

// The coordinator is asked where it is; each partition hears its own code; where
// nobody is coordinator, or none answers, all hear that.
func TestJoining(t *testing.T) {
	j := txn.Joining{ID: "id", Producer: txn.Producer{ID: 7, Epoch: 2}, Partitions: tps("a-0", "b-1", "a-2"), VerifyOnly: true, Version: 2}
	good := func(req *msg.AddPartitionsToTxnRequest, resp *msg.AddPartitionsToTxnResponse) error {
		row := msg.AddPartitionsToTxnResponseResultsByTransaction{TransactionalID: req.Transactions[0].TransactionalID}
		for _, topic := range req.Transactions[0].Topics {
			rt := msg.AddPartitionsToTxnResponseTopicResult{Name: topic.Name}
			for _, p := range topic.Partitions {
				row := msg.AddPartitionsToTxnResponsePartitionResult{PartitionIndex: p}
				if p == 1 {
					row.PartitionErrorCode = int16(kafka.TransactionAbortable)
				}
				rt.ResultsByPartition = append(rt.ResultsByPartition, row)
			}
			row.TopicResults = append(row.TopicResults, rt)
		}
		resp.ResultsByTransaction = append(resp.ResultsByTransaction, row)
		return nil
	}
	three := func(c kafka.Code) []kafka.Code { return []kafka.Code{c, c, c} }
	for name, c := range map[string]struct {
		leader int32
		answer func(req *msg.AddPartitionsToTxnRequest, resp *msg.AddPartitionsToTxnResponse) error
		want   []kafka.Code
		here   int
	}{
		"another": {2, good, []kafka.Code{0, kafka.TransactionAbortable, 0}, 0},
		"this":    {self, good, three(kafka.CoordinatorLoadInProgress), 1},
		"nobody":  {kafka.NoBroker, good, three(kafka.CoordinatorNotAvailable), 0},
		"unknown": {9, good, three(kafka.CoordinatorNotAvailable), 0},
		"down":    {2, func(*msg.AddPartitionsToTxnRequest, *msg.AddPartitionsToTxnResponse) error { return errDown }, three(kafka.NetworkException), 0},
		"not allowed": {2, func(_ *msg.AddPartitionsToTxnRequest, resp *msg.AddPartitionsToTxnResponse) error {
			resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
			return nil
		}, three(kafka.ClusterAuthorizationFailed), 0},
		"nothing": {2, func(*msg.AddPartitionsToTxnRequest, *msg.AddPartitionsToTxnResponse) error { return nil }, three(kafka.NetworkException), 0},
		"another id": {2, func(_ *msg.AddPartitionsToTxnRequest, resp *msg.AddPartitionsToTxnResponse) error {
			resp.ResultsByTransaction = make([]msg.AddPartitionsToTxnResponseResultsByTransaction, 1)
			return nil
		}, three(kafka.NetworkException), 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, map[string][]int32{kafka.TxnTopic: {c.leader}})
			r.answer = func(_ int32, req msg.Request, resp msg.Response) error {
				return c.answer(req.(*msg.AddPartitionsToTxnRequest), resp.(*msg.AddPartitionsToTxnResponse))
			}
			here := &own{partitions: 1}
			if got := (Transactions{r.e, here}).VerifyOrAdd(t.Context(), j); fmt.Sprint(got) != fmt.Sprint(c.want) || here.asked != c.here {
				t.Errorf("%v, %d asked here; want %v, %d", got, here.asked, c.want, c.here)
			}
			for _, a := range r.requests() {
				q := a.req.(*msg.AddPartitionsToTxnRequest).Transactions[0]
				if a.node != c.leader || q.ProducerID != 7 || q.ProducerEpoch != 2 || !q.VerifyOnly || q.TransactionalID != "id" ||
					fmt.Sprint(q.Topics) != "[{a [0 2]} {b [1]}]" {
					t.Errorf("broker %d was asked %+v", a.node, q)
				}
			}
		})
	}
	r, here := newRig(t, nil), &own{}
	if got := (Transactions{r.e, here}).VerifyOrAdd(t.Context(), j); here.asked != 1 || len(got) != 3 {
		t.Errorf("without %s: %v", kafka.TxnTopic, got)
	}
}

// Where this broker is the coordinator, nothing is allocated beside.
func TestJoiningHere(t *testing.T) {
	r := newRig(t, map[string][]int32{kafka.TxnTopic: {self, self, self}})
	here := Transactions{r.e, still{}}
	j := txn.Joining{ID: "id"}
	if n := testing.AllocsPerRun(100, func() { here.VerifyOrAdd(t.Context(), j) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

type still struct{}

func (still) Partition(id string) (int32, bool) { return kafka.CoordinatorPartition(id, 3), true }

func (still) VerifyOrAdd(context.Context, txn.Joining) []kafka.Code { return nil }
