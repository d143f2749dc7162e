package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// older is a client as it was before KIP-890: it has one epoch for all its
// transactions.
func older(s *stand) *kgo.Client {
	v := kversion.Stable()
	v.SetMaxKeyVersion(0, 10)
	v.SetMaxKeyVersion(24, 3)
	v.SetMaxKeyVersion(26, 4)
	v.SetMaxKeyVersion(28, 4)
	return s.client(kgo.MaxVersions(v))
}

// inits gives a producer for transactional id "x".
func inits(s *stand, cl *kgo.Client, timeoutMillis int32) *kmsg.InitProducerIDResponse {
	s.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = kmsg.StringPtr("x"), timeoutMillis, -1, -1
	resp, err := req.RequestWith(s.Context(), cl)
	if err != nil {
		s.Fatal(err)
	}
	return resp
}

// producesInTxn writes one record to t-0 in the transaction of a producer.
func producesInTxn(s *stand, cl *kgo.Client, id int64, epoch int16, sequence int32) error {
	s.Helper()
	build := record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: id, Epoch: epoch, Sequence: sequence}}
	build.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("in")})
	topics, err := s.adm.ListTopics(s.Context(), "t")
	if err != nil {
		s.Fatal(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = kmsg.StringPtr("x"), -1, 5000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = "t", [16]byte(topics["t"].ID)
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = build.Bytes()
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(s.Context(), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// joins puts t-0 into the transaction, as older clients do.
func joins(s *stand, cl *kgo.Client, id int64, epoch int16) error {
	s.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = "x", id, epoch
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{0}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(s.Context(), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func ends(s *stand, cl *kgo.Client, id int64, epoch int16) error {
	s.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "x", id, epoch, true
	resp, err := req.RequestWith(s.Context(), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func state(s *stand) string {
	s.Helper()
	all, err := s.adm.DescribeTransactions(s.Context(), "x")
	if err != nil {
		s.Fatal(err)
	}
	if d := all["x"]; d.Err == nil {
		return d.State
	}
	return all["x"].Err.Error()
}

func TestTransactionProperties(t *testing.T) {
	showAll(t, []nodeEffect{
		{"transaction.max.timeout.ms=30000", func(s *stand) {
			s.want("30 s", inits(s, s.cl, 30_000).ErrorCode, int16(0))
			s.want("31 s", inits(s, s.cl, 31_000).ErrorCode, kerr.InvalidTransactionTimeout.Code)
		}},
		{"transaction.abort.timed.out.transaction.cleanup.interval.ms=1000", func(s *stand) {
			s.create("t", "")
			p := inits(s, s.cl, 2000)
			s.wantErr("produce", producesInTxn(s, s.cl, p.ProducerID, p.ProducerEpoch, 0), nil)
			s.pass(1500 * time.Millisecond)
			s.want("after 1.5 s", state(s), "Ongoing")
			s.pass(2 * time.Second)
			s.want("after 3.5 s", state(s), "CompleteAbort")
		}},
		{"transactional.id.expiration.ms=60000 transaction.remove.expired.transaction.cleanup.interval.ms=1000", func(s *stand) {
			inits(s, s.cl, 2000)
			s.pass(58 * time.Second)
			s.want("after 58 s", state(s), "Empty")
			s.pass(4 * time.Second)
			s.want("after 62 s", strings.HasPrefix(state(s), "TRANSACTIONAL_ID_NOT_FOUND"), true)
		}},
		{"transaction.state.log.num.partitions=3 transaction.state.log.segment.bytes=2000000 transaction.state.log.min.isr=1", func(s *stand) {
			inits(s, s.cl, 2000)
			details, err := s.adm.ListTopicsWithInternal(s.Context(), "__transaction_state")
			s.wantErr("list", err, nil)
			s.want("partitions", len(details["__transaction_state"].Partitions), 3)
			configs, err := s.adm.DescribeTopicConfigs(s.Context(), "__transaction_state")
			s.wantErr("configs", err, nil)
			seen := map[string]string{}
			for _, c := range configs[0].Configs {
				seen[c.Key] = c.MaybeValue()
			}
			s.want("segment.bytes", seen["segment.bytes"], "2000000")
			s.want("min.insync.replicas", seen["min.insync.replicas"], "1")
			s.want("cleanup.policy", seen["cleanup.policy"], "compact")
		}},
		{"transaction.state.log.replication.factor=2", func(s *stand) {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorType, req.CoordinatorKeys = 1, []string{"x"}
			resp, err := req.RequestWith(s.Context(), s.cl)
			s.wantErr("find", err, nil)
			s.want("code", resp.Coordinators[0].ErrorCode, kerr.CoordinatorNotAvailable.Code)
		}},
		{"transaction.partition.verification.enable=true", func(s *stand) {
			s.create("t", "")
			cl := older(s)
			defer cl.Close()
			p := inits(s, cl, 60_000)
			s.wantErr("not added", producesInTxn(s, cl, p.ProducerID, p.ProducerEpoch, 0), kerr.InvalidTxnState)
			s.alterNode(kadm.SetConfig, "transaction.partition.verification.enable", "false")
			s.wantErr("not verified", producesInTxn(s, cl, p.ProducerID, p.ProducerEpoch, 0), nil)
		}},
		{"add.partitions.to.txn.retry.backoff.max.ms=5000", func(s *stand) { s.wantErr("patient", joinsWhileEnding(s), nil) }},
		{"add.partitions.to.txn.retry.backoff.max.ms=10", func(s *stand) {
			s.wantErr("impatient", joinsWhileEnding(s), kerr.ConcurrentTransactions)
		}},
	})
}

// joinsWhileEnding begins a transaction while the markers of the one before are
// on a slow disk.
func joinsWhileEnding(s *stand) error {
	s.create("t", "")
	cl := older(s)
	defer cl.Close()
	p := inits(s, cl, 60_000)
	s.wantErr("join", joins(s, cl, p.ProducerID, p.ProducerEpoch), nil)
	s.wantErr("produce", producesInTxn(s, cl, p.ProducerID, p.ProducerEpoch, 0), nil)
	s.fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == vfs.OpSync && strings.Contains(op.Name, "/t-0/") {
			v.Delay = 2 * time.Second
		}
		return v
	})
	defer s.fs.SetHook(nil)
	s.wantErr("end", ends(s, cl, p.ProducerID, p.ProducerEpoch), nil)
	return joins(s, cl, p.ProducerID, p.ProducerEpoch)
}

// TestTransactionMinVersion: where it is 2, clients whose late requests cannot be
// told from those of the next transaction have no transactions. The listener's
// own value counts.
func TestTransactionMinVersion(t *testing.T) {
	refused := func(s *stand) {
		s.create("t", "")
		old := older(s)
		defer old.Close()
		p := inits(s, old, 60_000)
		s.wantErr("older join", joins(s, old, p.ProducerID, p.ProducerEpoch), kerr.UnsupportedVersion)
		s.wantErr("older produce", producesInTxn(s, old, p.ProducerID, p.ProducerEpoch, 0), kerr.UnsupportedVersion)
		s.wantErr("newer produce", producesInTxn(s, s.cl, p.ProducerID, p.ProducerEpoch, 0), nil)
		s.wantErr("older end", ends(s, old, p.ProducerID, p.ProducerEpoch), kerr.UnsupportedVersion)
		s.wantErr("newer end", ends(s, s.cl, p.ProducerID, p.ProducerEpoch), nil)
	}
	taken := func(s *stand) {
		s.create("t", "")
		old := older(s)
		defer old.Close()
		p := inits(s, old, 60_000)
		s.wantErr("older join", joins(s, old, p.ProducerID, p.ProducerEpoch), nil)
	}
	showAll(t, []nodeEffect{
		{"transaction.min.version=2", refused},
		{"listener.name.plaintext.transaction.min.version=2", refused},
		{"transaction.min.version=2 listener.name.plaintext.transaction.min.version=1", taken},
	})
}
