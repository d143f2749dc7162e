package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/history"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// copier copies one partition of plain to copied, exactly once: what it read,
// what it wrote and how far it came are one transaction.
//
// Half of the copiers are clients of today (transaction version 2: an epoch for
// each transaction, partitions added by Produce), half are older ones.
type copier struct {
	producer
	cursor
	from   tp
	out    []tp
	tid    string
	group  string
	modern bool
	ready  bool // has an epoch and a position
	moved  []string
}

func newCopier(a *agent, i int) (func() error, func()) {
	c := &copier{producer: producer{agent: a, id: -1, size: 100}, cursor: cursor{agent: a, at: map[tp]int64{}},
		from: tp{plain, int32(i)}, out: a.fleet.parts(copied), tid: fmt.Sprintf("copier-%d", i), group: "copiers", modern: i%2 == 0}
	return c.round, c.end
}

func (c *copier) trace(format string, args ...any) { c.producer.trace(format, args...) }

func (c *copier) round() error {
	if !c.ready {
		if err := c.prepare(); err != nil {
			return err
		}
	}
	got, err := c.poll([]tp{c.from}, 8<<10)
	if err != nil || len(got) == 0 {
		c.producer.rest(10*time.Millisecond, 100*time.Millisecond)
		return err
	}
	err = c.transaction(got)
	c.producer.rest(20*time.Millisecond, 200*time.Millisecond)
	return err
}

// end leaves no transaction open behind.
func (c *copier) end() {
	for range 20 {
		if c.ready || c.prepare() == nil || c.fleetBroken() {
			return
		}
		c.producer.rest(50*time.Millisecond, 200*time.Millisecond)
	}
}

func (c *copier) fleetBroken() bool { return c.producer.fleet.broken() }

// prepare fences whoever was the producer before, and finds out how far it came.
func (c *copier) prepare() error {
	a := c.producer.agent
	req := msg.NewInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMs = &c.tid, 10000
	var resp msg.InitProducerIDResponse
	if err := a.askCoordinator(ofTxn, c.tid, &req, 4, &resp); err != nil {
		return err
	}
	if code := kafka.Code(resp.ErrorCode); code != kafka.None {
		return a.coordinated(ofTxn, c.tid, "InitProducerId of "+c.tid, code)
	}
	at, err := a.committed(c.group, c.from, "", -1)
	if err != nil {
		return err
	}
	if c.process == 0 {
		c.process = a.fleet.book.process()
	}
	c.id, c.epoch, c.seqs = resp.ProducerID, resp.ProducerEpoch, map[tp]int32{}
	c.at[c.from] = max(0, at)
	c.moved = []string{c.from.String()}
	c.ready = true
	c.trace("is producer %d epoch %d, goes on at %d", c.id, c.epoch, c.at[c.from])
	return nil
}

// transaction copies what was polled.
//
//	write    the copies
//	offsets  how far this comes
//	end      commit, or abort
func (c *copier) transaction(got []history.Record) error {
	a := c.producer.agent
	op := history.Op{Process: c.process, Outcome: history.Fail, Steps: []history.Step{{Polled: got}}, Moved: c.moved}
	begin := got[0].Offset
	commit := a.rand.IntN(6) != 0
	late := !commit && a.rand.IntN(2) == 0
	sent, err := c.write(got, late)
	for _, b := range sent {
		for _, v := range b.values {
			op.Steps = append(op.Steps, history.Step{Send: true, Sent: history.Record{Key: b.to.String(), Offset: history.Unknown, Value: v}})
		}
	}
	if err == nil && !late {
		err = c.offsets(c.at[c.from])
	}
	if err == nil && a.rand.IntN(40) == 0 {
		err = fmt.Errorf("%w: the copier dies", errRetry)
		c.trace("dies within a transaction")
	} else if err == nil {
		if err = c.endTxn(commit); commit && err == nil {
			op.Outcome = history.OK
		} else if commit {
			op.Outcome = history.Info // whether it was committed nobody knows
		}
	}
	if op.Outcome != history.OK || err != nil {
		c.ready = false                        // begin from what is committed, under a new epoch
		if err == nil && (c.modern || !late) { // an older client takes a new epoch where a batch is in doubt
			c.ready, c.at[c.from], c.moved = true, begin, []string{c.from.String()}
		}
	} else {
		c.moved = nil
		a.fleet.book.committedOK(groupKey(c.group, c.from), c.at[c.from])
	}
	a.fleet.book.note(op)
	c.trace("copied %d from %d commit=%t: %v, %v", len(got), begin, commit, op.Outcome, err)
	if errors.Is(err, kafka.InvalidProducerEpoch) || errors.Is(err, kafka.ProducerFenced) || errors.Is(err, kafka.InvalidTxnState) ||
		errors.Is(err, kafka.InvalidProducerIDMapping) || errors.Is(err, kafka.OutOfOrderSequenceNumber) || errors.Is(err, kafka.TransactionAbortable) {
		return fmt.Errorf("%w: %w", errRetry, err)
	}
	return err
}

// write sends a batch to each partition that gets one of the copies.
// With late the last of them is sent and held up on its way, for somebody who has
// no patience and aborts (KIP-890).
func (c *copier) write(got []history.Record, late bool) (sent []*parcel, err error) {
	build := map[tp]*record.Builder{}
	for _, r := range got {
		to := c.out[int(r.Value)%len(c.out)]
		b := build[to]
		if b == nil {
			b = &record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: c.id, Epoch: c.epoch, Sequence: c.seqs[to]}}
			build[to] = b
			sent = append(sent, &parcel{to: to, base: history.Unknown})
		}
		p := sent[slices.IndexFunc(sent, func(p *parcel) bool { return p.to == to })]
		v := c.producer.fleet.book.value()
		c.producer.fleet.book.copied(v, c.from, r.Offset)
		p.values = append(p.values, v)
		b.Append(record.Record{Key: fmt.Append(nil, v), Timestamp: time.Now().UnixMilli()})
		c.seqs[to]++
	}
	if !c.modern {
		if err := c.addPartitions(sent); err != nil {
			return sent, err
		}
	}
	for i, p := range sent {
		p.bytes = slices.Clone(build[p.to].Bytes())
		c.producer.fleet.book.sentBatch()
		if late && i == len(sent)-1 {
			c.writeLate(p)
		} else if err := c.writeOne(p); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// writeLate sends a batch that arrives seconds later, on a connection that nobody
// listens to any more.
func (c *copier) writeLate(p *parcel) {
	a := c.producer.agent
	leader, err := a.lead(p.to)
	if err != nil {
		return
	}
	net, from, to := a.fleet.net, a.name, nodeHost(int(leader))
	req, version := c.batch(p)
	line := a.line(leader)
	if line.conn == nil && a.ask(leader, &msg.APIVersionsRequest{}, 0, &msg.APIVersionsResponse{}) != nil {
		return
	}
	net.Hold(from, to)
	_ = line.send(req, version)
	line.close()
	wait := time.Duration(a.rand.Int64N(int64(3 * time.Second)))
	if a.rand.IntN(2) == 0 {
		wait /= 100 // before the next transaction
	}
	a.fleet.late.Go(func() {
		time.Sleep(wait)
		net.Release(from, to)
	})
	c.trace("a batch to %v comes %v late", p.to, wait)
}

// batch is the request with a batch, and its version.
func (c *copier) batch(p *parcel) (*msg.ProduceRequest, int16) {
	req := msg.NewProduceRequest()
	req.TransactionalID, req.Acks, req.TimeoutMs = &c.tid, -1, 3000
	topic := msg.ProduceRequestTopicData{Name: p.to.topic, PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: p.to.part, Records: p.bytes}}}
	req.TopicData = []msg.ProduceRequestTopicData{topic}
	if c.modern {
		return &req, 12
	}
	return &req, 11
}

func (c *copier) writeOne(p *parcel) error {
	a := c.producer.agent
	req, version := c.batch(p)
	return c.again(func() error {
		leader, err := a.lead(p.to)
		if err != nil {
			return err
		}
		var resp msg.ProduceResponse
		if err := a.ask(leader, req, version, &resp); err != nil {
			_ = a.refresh()
			return err
		}
		r := resp.Responses[0].PartitionResponses[0]
		a.learn(p.to, r.CurrentLeader.LeaderID, r.CurrentLeader.LeaderEpoch)
		if code := kafka.Code(r.ErrorCode); code != kafka.None && code != kafka.DuplicateSequenceNumber {
			_ = a.refresh()
			return a.passing("Produce of "+c.tid+" to "+p.to.String(), code)
		}
		return nil
	})
}

// again repeats what may be repeated, some seconds long.
func (c *copier) again(do func() error) error {
	for until := time.Now().Add(6 * time.Second); ; {
		err := do()
		if err == nil || time.Now().After(until) || !errors.Is(err, errGone) && !errors.Is(err, errRetry) {
			return err
		}
		c.producer.rest(20*time.Millisecond, 100*time.Millisecond)
	}
}

func (c *copier) addPartitions(to []*parcel) error {
	a := c.producer.agent
	var req msg.AddPartitionsToTxnRequest
	req.V3AndBelowTransactionalID, req.V3AndBelowProducerID, req.V3AndBelowProducerEpoch = c.tid, c.id, c.epoch
	topic := msg.AddPartitionsToTxnRequestTopic{Name: copied}
	for _, p := range to {
		topic.Partitions = append(topic.Partitions, p.to.part)
	}
	req.V3AndBelowTopics = []msg.AddPartitionsToTxnRequestTopic{topic}
	return c.again(func() error {
		var resp msg.AddPartitionsToTxnResponse
		if err := a.askCoordinator(ofTxn, c.tid, &req, 3, &resp); err != nil {
			return err
		}
		for _, r := range resp.ResultsByTopicV3AndBelow[0].ResultsByPartition {
			if code := kafka.Code(r.PartitionErrorCode); code != kafka.None {
				return a.coordinated(ofTxn, c.tid, "AddPartitionsToTxn of "+c.tid, code)
			}
		}
		return nil
	})
}

// offsets makes the position part of the transaction.
func (c *copier) offsets(next int64) error {
	a := c.producer.agent
	if !c.modern {
		req := msg.NewAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.GroupID = c.tid, c.id, c.epoch, c.group
		err := c.again(func() error {
			var resp msg.AddOffsetsToTxnResponse
			if err := a.askCoordinator(ofTxn, c.tid, &req, 3, &resp); err != nil {
				return err
			}
			if code := kafka.Code(resp.ErrorCode); code != kafka.None {
				return a.coordinated(ofTxn, c.tid, "AddOffsetsToTxn of "+c.tid, code)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	a.fleet.book.committing(groupKey(c.group, c.from), next)
	req := msg.NewTxnOffsetCommitRequest()
	req.TransactionalID, req.GroupID, req.ProducerID, req.ProducerEpoch, req.GenerationIDOrMemberEpoch = c.tid, c.group, c.id, c.epoch, -1
	cp := msg.NewTxnOffsetCommitRequestTopicPartition()
	cp.PartitionIndex, cp.CommittedOffset, cp.CommittedLeaderEpoch = c.from.part, next, a.view.read[c.from]
	req.Topics = []msg.TxnOffsetCommitRequestTopic{{Name: c.from.topic, Partitions: []msg.TxnOffsetCommitRequestTopicPartition{cp}}}
	version := int16(3)
	if c.modern {
		version = 5
	}
	return c.again(func() error {
		var resp msg.TxnOffsetCommitResponse
		if err := a.askCoordinator(ofGroup, c.group, &req, version, &resp); err != nil {
			return err
		}
		if code := kafka.Code(resp.Topics[0].Partitions[0].ErrorCode); code != kafka.None {
			return a.coordinated(ofGroup, c.group, "TxnOffsetCommit of "+c.tid, code)
		}
		return nil
	})
}

func (c *copier) endTxn(commit bool) error {
	a := c.producer.agent
	req := msg.NewEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Committed = c.tid, c.id, c.epoch, commit
	version := int16(3)
	if c.modern {
		version = 5
	}
	return c.again(func() error {
		var resp msg.EndTxnResponse
		if err := a.askCoordinator(ofTxn, c.tid, &req, version, &resp); err != nil {
			return err
		}
		if code := kafka.Code(resp.ErrorCode); code != kafka.None {
			return a.coordinated(ofTxn, c.tid, "EndTxn of "+c.tid, code)
		}
		if c.modern {
			if resp.ProducerEpoch <= c.epoch && resp.ProducerID == c.id {
				return fmt.Errorf("EndTxn of %s: the epoch was %d and is %d: it must grow with each transaction", c.tid, c.epoch, resp.ProducerEpoch)
			}
			c.id, c.epoch, c.seqs = resp.ProducerID, resp.ProducerEpoch, map[tp]int32{}
		}
		return nil
	})
}
