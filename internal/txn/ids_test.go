package txn

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// A transactional id may be all that a string can hold. Each is one of its own, has
// its transaction, and is the same when it is loaded again. What all APIs answer to
// such ids the wire comparison with Kafka shows.
func TestOddIDs(t *testing.T) {
	ids := []string{strings.Repeat("x", wire.MaxString), "a\x00b", "a\x00c", "two\nlines", " ", "\xff\xfe", "\xff\xff", "caf\u00e9", "../.."}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		partition := []kafka.TopicPartition{{Topic: "t", Partition: 0}}
		for i, id := range ids {
			req := msg.NewInitProducerIDRequest()
			req.TransactionalID, req.TransactionTimeoutMs = &id, 1000
			r := b.s.InitProducerID(t.Context(), &req)
			who := Producer{r.ProducerID, r.ProducerEpoch}
			if r.ErrorCode != 0 || who != (Producer{101 + int64(i), 0}) {
				t.Fatalf("%.10q: %+v", id, r)
			}
			if code := b.s.AddPartitions(t.Context(), Joining{ID: id, Producer: who, Partitions: partition, Version: 2}); code != kafka.None {
				t.Fatalf("%.10q: %s", id, code.Name())
			}
		}
		for _, status := range []string{"Ongoing", "CompleteCommit"} {
			time.Sleep(2 * linger) // a COMPLETE is not written at once
			b.reload()
			list := msg.NewListTransactionsRequest()
			var listed []string
			for _, tx := range b.s.List(t.Context(), &list).TransactionStates {
				listed = append(listed, tx.TransactionalID)
			}
			if !slices.Equal(listed, slices.Sorted(slices.Values(ids))) {
				t.Errorf("%.10q", listed)
			}
			for i, id := range ids {
				if d := b.s.Describe(id); d.TransactionState != status || d.ProducerID != 101+int64(i) {
					t.Errorf("%.10q: %+v", id, d)
				}
				end := msg.EndTxnRequest{TransactionalID: id, ProducerID: 101 + int64(i), Committed: true}
				if r := b.s.EndTxn(t.Context(), &end, 5); r.ErrorCode != 0 || r.ProducerEpoch != 1 { // the second comes late
					t.Errorf("%.10q: %+v", id, r)
				}
			}
		}
		b.stop()
	})
}

// A coordinator that is loading says so to everybody, whatever they ask.
func TestLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		id := "x"
		begin := msg.NewInitProducerIDRequest()
		begin.TransactionalID, begin.TransactionTimeoutMs = &id, 1000
		b.log.Hold()
		begun := make(chan *msg.InitProducerIDResponse, 1)
		go func() { begun <- b.s.InitProducerID(t.Context(), &begin) }()
		synctest.Wait()
		b.reload() // and is not loaded before the commit is
		<-begun
		join := Joining{ID: id, Producer: Producer{101, 0}, Partitions: []kafka.TopicPartition{{Topic: "t", Partition: 0}}, Version: 2}
		verify := join
		verify.VerifyOnly = true
		list := msg.NewListTransactionsRequest()
		codes := func() map[string]kafka.Code {
			return map[string]kafka.Code{
				"begin":    kafka.Code(b.s.InitProducerID(t.Context(), &begin).ErrorCode),
				"join":     b.s.AddPartitions(t.Context(), join),
				"verify":   b.s.VerifyOrAdd(t.Context(), verify)[0],
				"end":      kafka.Code(b.s.EndTxn(t.Context(), &msg.EndTxnRequest{TransactionalID: id, ProducerID: 101}, 5).ErrorCode),
				"describe": kafka.Code(b.s.Describe(id).ErrorCode),
				"list":     kafka.Code(b.s.List(t.Context(), &list).ErrorCode),
			}
		}
		for what, code := range codes() {
			if code != kafka.CoordinatorLoadInProgress {
				t.Errorf("%s: %s", what, code.Name())
			}
		}
		b.log.Commit()
		synctest.Wait()
		for what, code := range codes() {
			if code == kafka.CoordinatorLoadInProgress {
				t.Errorf("%s: %s", what, code.Name())
			}
		}
		b.stop()
	})
}
