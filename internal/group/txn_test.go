package group

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// txnCommit reads a TxnOffsetCommit: producer=1 epoch=0, the rest as in commit.
func (d *dialogue) txnCommit(c *script.Cmd, group, member string) msg.Request {
	r := msg.NewTxnOffsetCommitRequest()
	r.TransactionalID, r.GroupID = c.Key("txn", "x"), group
	r.ProducerID, r.ProducerEpoch = c.IntKey("producer", 1), int16(c.IntKey("epoch", 0))
	r.MemberID, r.GroupInstanceID = member, optional(c, "instance")
	r.GenerationIDOrMemberEpoch = int32(c.IntKey("gen", -1))
	for _, t := range d.commits(c) {
		rt := msg.TxnOffsetCommitRequestTopic{Name: t.Name}
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, msg.TxnOffsetCommitRequestTopicPartition(p))
		}
		r.Topics = append(r.Topics, rt)
	}
	return &r
}

// mark ends a producer's transaction: mark commit producer=1 epoch=0 version=0.
func mark(c *script.Cmd, s *Service) string {
	err := s.CompleteTxn(context.Background(), 0, coordinator.Marker{
		ProducerID: c.IntKey("producer", 1), ProducerEpoch: int16(c.IntKey("epoch", 0)), Commit: c.Arg(0) == "commit",
		Version: int16(c.IntKey("version", 0)),
	})
	return kafka.CodeOf(err).Name()
}

// A transaction that ends between the question whether it is open and the commit
// of its offsets must not be begun again by them: nobody would end it.
func TestTxnEndsBehindVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		asked, said := make(chan bool), make(chan error)
		log := slicelog.New(1)
		s, wait := open(ctx, t, log, func(c *Config) {
			c.Verify = func(_ context.Context, who TxnProducer, partition int32, add bool) error {
				if who != (TxnProducer{"x", 7, 3}) || partition != 0 {
					t.Errorf("asked about %+v in %d", who, partition)
				}
				asked <- add
				return <-said
			}
		})
		s.Elect(0, 1)
		synctest.Wait()
		p := &local{t: t, s: s, ctx: ctx}
		commit := msg.NewTxnOffsetCommitRequest()
		commit.TransactionalID, commit.GroupID, commit.ProducerID, commit.ProducerEpoch = "x", "g", 7, 3
		commit.Topics = []msg.TxnOffsetCommitRequestTopic{{Name: "t", Partitions: []msg.TxnOffsetCommitRequestTopicPartition{{CommittedOffset: 5}}}}
		try := func(version int16, adds bool, verdict error, marker bool, want kafka.Code) {
			t.Helper()
			ch := p.send(&commit, version)
			if add := <-asked; add != adds {
				t.Errorf("version %d: add is %v", version, add)
			}
			if marker {
				if err := s.CompleteTxn(ctx, 0, coordinator.Marker{ProducerID: 7, ProducerEpoch: 3}); err != nil {
					t.Error(err)
				}
			}
			said <- verdict
			got := (<-ch).(*msg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
			if got != int16(want) {
				t.Errorf("version %d, marker %v, verdict %v: %s, want %s", version, marker, verdict, kafka.Code(got).Name(), want.Name())
			}
		}
		try(4, false, kafka.InvalidTxnState, false, kafka.InvalidTxnState)
		try(4, false, nil, true, kafka.InvalidTxnState)
		try(5, true, kafka.InvalidProducerIDMapping, false, kafka.InvalidProducerIDMapping)
		try(5, true, nil, false, kafka.None)
		got := (<-p.send(&commit, 5)).(*msg.TxnOffsetCommitResponse) // it is open here: nobody is asked
		if got.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Error(show(got))
		}
		err := s.rt.Read(0, func(sh *shard) error {
			if len(sh.verified) != 0 {
				t.Errorf("%d guards are left", len(sh.verified))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		stop()
		wait()
	})
}
