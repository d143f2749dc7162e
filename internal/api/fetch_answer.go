package api

import (
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// encode appends the answer: for a session only what is new. What was refused
// before the log was asked comes last, as in Kafka.
func (f *fetching) encode(c *Call, out *Reply, code kafka.Code) {
	topics := f.choose()
	f.hints = c.Version >= 16
	f.resp = msg.FetchResponse{ErrorCode: int16(code)}
	if f.session != nil {
		f.resp.SessionID = f.session.id
	}
	out.Buf = f.resp.AppendBeforeResponses(out.Buf, c.Version, topics)
	for p := f.from(f.set.head, false); p != nil; {
		p = f.encodeTopic(c, out, p)
	}
	if !f.follower { // who knows the brokers
		f.resp.NodeEndpoints = f.endpoints
	}
	out.Buf = f.resp.AppendAfterResponses(out.Buf, c.Version)
	if f.session != nil && !f.whole {
		f.set.rotate()
	}
}

// choose marks the partitions that go into the answer and counts the topics:
// partitions of a topic that follow each other share one.
func (f *fetching) choose() (topics int) {
	for p := f.set.head; p != nil; p = p.next {
		if p.row = f.whole || p.news(); p.row {
			p.gave = p.res.Range.Len() > 0
			p.told()
		}
	}
	var before *fetchPartition
	for p := f.from(f.set.head, false); p != nil; p = f.after(p) {
		if before == nil || before.topic != p.topic {
			topics++
		}
		before = p
	}
	return topics
}

// news says whether there is something about p that the client was not told.
func (p *fetchPartition) news() bool {
	return p.code != kafka.None || p.res.Range.Len() > 0 || p.res.Diverging != nil || p.nearer >= 0 ||
		p.res.HW != p.toldHW || p.res.LogStart != p.toldStart
}

// told notes what the client is told now. After an error it is told everything
// again.
func (p *fetchPartition) told() {
	p.toldHW, p.toldStart = p.res.HW, p.res.LogStart
	if p.code != kafka.None {
		p.toldHW = -1
	}
}

// from is p or the next after it that goes into the answer, early or not; the
// first of the early ones when the others are through.
func (f *fetching) from(p *fetchPartition, early bool) *fetchPartition {
	for ; p != nil; p = p.next {
		if p.row && p.early == early {
			return p
		}
	}
	if early {
		return nil
	}
	return f.from(f.set.head, true)
}

// after is the partition that follows p in the answer.
func (f *fetching) after(p *fetchPartition) *fetchPartition { return f.from(p.next, p.early) }

// encodeTopic appends p and what follows of the same topic, and returns the
// first partition after that.
func (f *fetching) encodeTopic(c *Call, out *Reply, p *fetchPartition) *fetchPartition {
	topic, n := p.topic, 0
	for q := p; q != nil && q.topic == topic; q = f.after(q) {
		n++
	}
	f.head.Topic, f.head.TopicID = topic.name, topic.id
	out.Buf = f.head.AppendBeforePartitions(out.Buf, c.Version, n)
	for ; n > 0; n-- {
		f.encodePartition(c, out, p)
		p = f.after(p)
	}
	out.Buf = f.head.AppendAfterPartitions(out.Buf, c.Version)
	return p
}

// encodePartition appends one row. A small range is read here, so that a read
// that fails can still become an error code.
func (f *fetching) encodePartition(c *Call, out *Reply, p *fetchPartition) {
	f.fill(p)
	if p.code != kafka.None {
		c.row.stats.Fail()
	}
	n := p.res.Range.Len()
	mark := len(out.Buf)
	out.Buf = f.part.AppendBeforeRecords(out.Buf, c.Version, n)
	if n > 0 {
		f.files = append(f.files, fileRange{p.res.Range})
		p.res.Range = commitlog.Range{} // it is the reply's now
		if err := out.AddFile(&f.files[len(f.files)-1]); err != nil {
			c.t.cfg.Logger.Error("Fetch cannot read", "topic", p.topic.name, "partition", p.index, "err", err)
			out.Buf = out.Buf[:mark]
			p.code = kafka.KafkaStorageError
			f.fill(p)
			out.Buf = f.part.AppendBeforeRecords(out.Buf, c.Version, 0)
		}
	}
	out.Buf = f.part.AppendAfterRecords(out.Buf, c.Version)
}

// fill makes the row of a partition but for its records.
func (f *fetching) fill(p *fetchPartition) {
	aborted := f.aborted[:0]
	f.part.SetDefaults()
	f.part.PartitionIndex = p.index
	f.part.HighWatermark = kafka.NoOffset
	if p.code != kafka.None {
		f.part.ErrorCode = int16(p.code)
		if f.hints {
			f.part.CurrentLeader.LeaderID, f.part.CurrentLeader.LeaderEpoch = p.leader.id, p.leader.epoch
		}
		if p.early {
			f.part.AbortedTransactions = aborted
		}
		return
	}
	f.part.HighWatermark, f.part.LastStableOffset, f.part.LogStartOffset = p.res.HW, p.res.LSO, p.res.LogStart
	if d := p.res.Diverging; d != nil {
		f.part.DivergingEpoch.Epoch, f.part.DivergingEpoch.EndOffset = d.Epoch, d.Offset
	}
	f.part.PreferredReadReplica = p.nearer
	if f.follower {
		f.part.LastStableOffset = p.durable
	}
	if f.isolate == replica.ReadCommitted {
		for _, a := range p.res.Aborted {
			aborted = append(aborted, msg.FetchResponseResponsePartitionAbortedTransaction{
				ProducerID: a.ProducerID, FirstOffset: a.First})
		}
		f.part.AbortedTransactions, f.aborted = aborted, aborted
	}
}
