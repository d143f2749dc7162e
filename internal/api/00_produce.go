package api

import (
	"errors"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// adminClientID is the client id that may write internal topics.
const adminClientID = "__admin_client"

// producing is what a connection needs to answer Produce; it is used for one
// request after the other, so that none allocates.
type producing struct {
	r    wire.Reader
	req  msg.ProduceRequest
	resp msg.ProduceResponse
	head msg.ProduceResponseResponse
	row  msg.ProduceResponseResponsePartitionResponse

	topic  topicRef // at work
	slot   *Slot
	bad    bool               // a partition was refused
	joined []joined           // of a transaction
	alone  bool               // see lone
	held   []*replica.Replica // to be flushed by this connection
}

// produce answers Produce (key 0, versions 3 to 13; 0 to 2 are advertised only).
//
// Each partition takes these steps, and every error a client can see comes from
// one:
//
//	authorize  TOPIC_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER
//	join       of transactional records only, see join and
//	           [txn.Service.VerifyOrAdd]; NOT_ENOUGH_REPLICAS where older clients
//	           can only try again
//	check      INVALID_RECORD, CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE,
//	           INVALID_REQUIRED_ACKS, INVALID_TOPIC_EXCEPTION
//	append     see package replica
//	await      REQUEST_TIMED_OUT, NOT_LEADER_OR_FOLLOWER    under acks=all, later
//
// The answer is encoded as if all that was appended will be committed. Under
// acks=all it then waits in a [Slot], which puts in the error codes that come.
// Under acks=0 there is no answer, and an error closes the connection.
//
// Versions: 5 log start offset, 7 zstd, 8 record errors (KIP-467), 9 flexible, 10
// current leader (KIP-951), 11 TRANSACTION_ABORTABLE, 12 transactions without
// AddPartitionsToTxn (KIP-890), 13 topic ids (KIP-516).
//
// Differs from Apache Kafka: null records are refused; Kafka never answers them.
func (h *DataHandlers) produce(c *Call, out *Reply) {
	p := c.producing()
	p.r.Reset(c.Body)
	p.req.Decode(&p.r, c.Version)
	if p.r.Failed() {
		c.undecodable(p.r.Err())
		out.Refuse()
		return
	}
	h.answerProduce(c, p, out)
	switch {
	case p.req.Acks == 0 && p.bad:
		c.t.cfg.Logger.Info("closing a connection: Produce failed under acks=0", "peer", c.Conn.Peer, "client", c.ClientID)
		out.Refuse()
	case p.req.Acks == 0:
		out.Drop()
	}
	if p.bad {
		c.row.stats.Fail()
	}
	p.forget()
}

// producing returns the connection's.
func (c *Call) producing() *producing {
	if c.forProduce == nil {
		c.forProduce = new(producing)
	}
	p := c.forProduce
	p.slot, p.bad, p.alone = nil, false, false
	return p
}

// forget drops what points into the frame, and what an unusual request left.
func (p *producing) forget() {
	p.slot = nil
	if len(p.req.TopicData) > 16 {
		p.req = msg.ProduceRequest{}
		return
	}
	for i := range p.req.TopicData {
		t := &p.req.TopicData[i]
		if len(t.PartitionData) > 64 {
			t.PartitionData = nil
		}
		for j := range t.PartitionData {
			t.PartitionData[j].Records = nil
		}
	}
}

func (h *DataHandlers) answerProduce(c *Call, p *producing, out *Reply) {
	if !p.simple() {
		p.merge()
	}
	var refused error
	if p.transactional() {
		refused = h.join(c, p)
		defer p.leave()
	}
	p.alone = p.lone(c)
	p.resp.NodeEndpoints = p.resp.NodeEndpoints[:0]
	out.Buf = p.resp.AppendBeforeResponses(out.Buf, c.Version, len(p.req.TopicData))
	for i := range p.req.TopicData {
		t := &p.req.TopicData[i]
		p.topic = topicRef{name: t.Name, id: t.TopicID, byID: c.Version >= 13}
		p.head.Name, p.head.TopicID = t.Name, t.TopicID
		out.Buf = p.head.AppendBeforePartitionResponses(out.Buf, c.Version, len(t.PartitionData))
		for j := range t.PartitionData {
			h.producePartition(c, p, out, partitionBatch{&p.topic, &t.PartitionData[j], refused})
		}
		out.Buf = p.head.AppendAfterPartitionResponses(out.Buf, c.Version)
	}
	replica.FlushAll(p.held)
	clear(p.held)
	p.held = p.held[:0]
	out.Mute = c.Charge(quota.Produce, int64(c.Size))
	p.resp.ThrottleTimeMs = millis(out.Mute)
	out.Buf = p.resp.AppendAfterResponses(out.Buf, c.Version)
}

// partitionBatch is what goes to one partition.
type partitionBatch struct {
	topic   *topicRef
	data    *msg.ProduceRequestTopicDataPartitionData
	refused error // of the request as a whole
}

// producePartition appends one partition's batch and its row of the answer.
func (h *DataHandlers) producePartition(c *Call, p *producing, out *Reply, b partitionBatch) {
	p.row = msg.ProduceResponseResponsePartitionResponse{Index: b.data.Index, BaseOffset: kafka.NoOffset,
		LogAppendTimeMs: kafka.NoTimestamp, LogStartOffset: kafka.NoOffset}
	p.row.CurrentLeader.SetDefaults()
	r, got, err := h.appendBatch(c, p, &b)
	errorAt := out.At() + 4
	if err != nil {
		p.bad = true
		h.refuseRow(c, &p.row, &b, r, err)
	} else {
		p.row.BaseOffset, p.row.LogAppendTimeMs, p.row.LogStartOffset = got.Base, got.AppendTime, got.LogStart
	}
	out.Buf = p.row.Append(out.Buf, c.Version)
	if err != nil || p.req.Acks != -1 {
		return
	}
	if p.slot == nil {
		p.slot = c.Later(out, c.Time.Add(time.Duration(p.req.TimeoutMs)*time.Millisecond))
		p.slot.guide = guide{h, c.Conn.Listener}
	}
	a := p.slot.ack(errorAt)
	a.w.Offset, a.w.Durable = got.Last+1, got.Duplicate
	r.AwaitCommitted(&a.w)
	if p.alone {
		p.held = append(p.held, r)
	}
}

// lone says whether the connection has nothing to do but to wait for these few
// batches to be durable. It then flushes by itself: to have it done by another
// goroutine and be woken takes longer than some disks. A stalled disk delays
// REQUEST_TIMED_OUT too.
func (p *producing) lone(c *Call) bool {
	n := 0
	for i := range p.req.TopicData {
		n += len(p.req.TopicData[i].PartitionData)
	}
	return c.Lone && p.req.Acks == -1 && n <= replica.FlushMost
}

// appendBatch is the way of one batch into the log. The replica comes back with
// an error too, if it was found.
func (h *DataHandlers) appendBatch(c *Call, p *producing, b *partitionBatch) (*replica.Replica, replica.Appended, error) {
	none := replica.Appended{}
	r, err := h.writable(c, b.topic, b.data.Index)
	switch {
	case err != nil:
		return nil, none, err
	case b.refused != nil:
		return nil, none, b.refused
	}
	header, err := record.CheckClient(b.data.Records)
	if err == nil && c.Version < 7 && header.Attributes.Codec() == record.Zstd {
		err = kafka.UnsupportedCompressionType
	}
	if err != nil {
		return r, none, err
	}
	if !validAcks(p.req.Acks) {
		return nil, none, kafka.InvalidRequiredAcks
	}
	if kafka.IsInternalTopic(r.TopicPartition().Topic) && c.ClientID != adminClientID {
		return nil, none, kafka.InvalidTopicException
	}
	var guard replica.Guard
	if len(p.joined) > 0 {
		if guard, err = p.guardOf(b.data); err != nil {
			return nil, none, err
		}
	}
	got, err := r.Append(replica.Batch{Bytes: b.data.Records[:header.Size()], Header: header, Epoch: kafka.NoEpoch,
		Durable: p.req.Acks == -1, Lone: p.alone, Origin: replica.Client, Guard: guard})
	return r, got, err
}

func validAcks(acks int16) bool { return acks >= -1 && acks <= 1 }

// writable finds the replica of a partition that the caller may write.
func (h *DataHandlers) writable(c *Call, t *topicRef, partition int32) (*replica.Replica, error) {
	if !t.byID && !c.Allowed(auth.Write, auth.Topic, t.name) {
		return nil, kafka.TopicAuthorizationFailed
	}
	r, err := h.find(t, partition)
	if err != nil {
		return nil, err
	}
	if t.byID && !c.Allowed(auth.Write, auth.Topic, r.TopicPartition().Topic) {
		return nil, kafka.TopicAuthorizationFailed
	}
	return r, nil
}

// refuseRow fills in a row for an error. Where the log itself refused the batch,
// the row tells the log's start offset; where it was refused before, -1.
func (h *DataHandlers) refuseRow(c *Call, row *msg.ProduceResponseResponsePartitionResponse, b *partitionBatch,
	r *replica.Replica, err error) {
	code := kafka.CodeOf(err)
	row.ErrorCode = int16(code)
	var why *explained
	if errors.As(err, &why) {
		row.ErrorMessage = &why.text
	}
	var refusal *record.Refusal
	inLog := r != nil
	if errors.As(err, &refusal) {
		inLog = inLog && refusal.Logged
		if refusal.Records != nil {
			message := refusal.Message
			row.ErrorMessage = &message
			for i := range refusal.Records {
				e := &refusal.Records[i]
				row.RecordErrors = append(row.RecordErrors, msg.ProduceResponseResponsePartitionResponseRecordError{
					BatchIndex: e.Index, BatchIndexErrorMessage: &e.Message})
			}
		}
	}
	switch code {
	case kafka.NotLeaderOrFollower:
		row.CurrentLeader.LeaderID, row.CurrentLeader.LeaderEpoch = h.leader(b.topic, b.data.Index)
		c.forProduce.resp.NodeEndpoints = h.endpoint(c.forProduce.resp.NodeEndpoints, row.CurrentLeader.LeaderID, c.Conn.Listener)
	case kafka.KafkaStorageError:
		message := err.Error() // it says what to do about a full disk
		row.ErrorMessage = &message
	case kafka.UnknownTopicOrPartition, kafka.UnknownTopicID, kafka.MessageTooLarge, kafka.RecordListTooLarge,
		kafka.CorruptMessage, kafka.UnsupportedCompressionType:
	case kafka.UnknownServerError:
		c.t.cfg.Logger.Warn("Produce failed", "partition", b.data.Index, "topic", b.topic.name, "err", err)
		fallthrough
	default:
		if inLog {
			row.LogStartOffset = r.LogStart()
		}
	}
}

// simple says whether there is nothing to merge, which is nearly always so.
func (p *producing) simple() bool {
	if len(p.req.TopicData) > 1 {
		return false
	}
	for i := range p.req.TopicData {
		parts := p.req.TopicData[i].PartitionData
		if len(parts) == 0 {
			return false
		}
		for j := 1; j < len(parts); j++ {
			if parts[j].Index <= parts[j-1].Index {
				return false
			}
		}
	}
	return true
}

// merge makes one entry of a topic that is listed twice, none of one without
// partitions, and of a partition that is listed twice takes the last, as Kafka
// does.
func (p *producing) merge() {
	type key struct {
		name string
		id   kafka.UUID
	}
	at := make(map[key]int, len(p.req.TopicData))
	kept := p.req.TopicData[:0]
	for _, t := range p.req.TopicData {
		if len(t.PartitionData) == 0 {
			continue
		}
		k := key{t.Name, t.TopicID}
		if i, ok := at[k]; ok {
			kept[i].PartitionData = append(kept[i].PartitionData, t.PartitionData...)
			continue
		}
		at[k] = len(kept)
		kept = append(kept, t)
	}
	clear(p.req.TopicData[len(kept):])
	p.req.TopicData = kept
	for i := range kept {
		parts := kept[i].PartitionData
		last := make(map[int32]int, len(parts))
		for j := range parts {
			last[parts[j].Index] = j
		}
		kept[i].PartitionData = parts[:0]
		for j, d := range parts {
			if last[d.Index] == j {
				kept[i].PartitionData = append(kept[i].PartitionData, d)
			}
		}
		clear(parts[len(kept[i].PartitionData):])
	}
}
