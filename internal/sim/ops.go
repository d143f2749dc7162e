package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// op is something that the client, or fate, may do next.
type op struct {
	name   string
	weight int
	do     func(*play) error
}

var ops = []op{
	{"create topic", 3, (*play).createTopic},
	{"produce", 40, func(p *play) error { return p.produce(1, false) }},
	{"produce several at once", 15, func(p *play) error { return p.produce(2+p.rand.IntN(6), false) }},
	{"produce acks=1", 8, func(p *play) error { return p.produce(1, true) }},
	{"produce again", 6, (*play).produceAgain},
	{"fetch", 15, (*play).fetch},
	{"commit offset", 8, (*play).commitOffset},
	{"fetch offset", 5, (*play).fetchOffset},
	{"join, commit, leave", 3, (*play).groupRound},
	{"wait", 8, (*play).wait},
	{"plan a power cut", 4, (*play).planCut},
	{"drain and start", 1, (*play).restart},
	{"kill and start", 1, (*play).killed},
}

// moving is one more where there are several directories.
var moving = op{"move a replica", 8, (*play).move}

func (p *play) choose() *op {
	all := ops
	if p.opt.Dirs > 1 {
		all = append(slices.Clone(ops), moving)
	}
	sum := 0
	for i := range all {
		sum += all[i].weight
	}
	n := p.rand.IntN(sum)
	for i := range all {
		if n -= all[i].weight; n < 0 {
			return &all[i]
		}
	}
	panic("unreachable: the weights add up")
}

// move asks for a replica to be moved to another log directory, and does not
// wait until it is there.
func (p *play) move() error {
	to := p.somePart()
	if to == nil {
		return nil
	}
	req := msg.NewAlterReplicaLogDirsRequest()
	req.Dirs = []msg.AlterReplicaLogDirsRequestDir{{Path: dirs[p.rand.IntN(p.opt.Dirs)],
		Topics: []msg.AlterReplicaLogDirsRequestDirTopic{{Name: to.topic, Partitions: []int32{to.id}}}}}
	var resp msg.AlterReplicaLogDirsResponse
	if err := p.client.ask(&req, 2, &resp); err != nil {
		return err
	}
	code := kafka.Code(resp.Results[0].Partitions[0].ErrorCode)
	p.trace("move %s-%d to %s: %s", to.topic, to.id, req.Dirs[0].Path, code.Name())
	if code != kafka.None && code != kafka.ReplicaNotAvailable && code != kafka.KafkaStorageError {
		return fmt.Errorf("moving %s-%d: %w", to.topic, to.id, code)
	}
	return nil
}

func (p *play) wait() error {
	d := time.Duration(p.rand.Int64N(int64(8 * time.Second)))
	if p.rand.IntN(3) == 0 {
		d /= 10_000
	}
	time.Sleep(d)
	p.trace("waited")
	return nil
}

// planCut lets the power go before one of the next operations of the disk.
func (p *play) planCut() error {
	p.node.fs.StopBefore(p.node.fs.Ops() + p.rand.Int64N(40))
	return nil
}

func (p *play) createTopic() error {
	t := &topic{name: fmt.Sprintf("t%d", len(p.model.topics))}
	for i := range 1 + p.rand.IntN(3) {
		t.parts = append(t.parts, &part{topic: t.name, id: int32(i), sent: map[string]bool{}, promised: map[int64]string{}})
	}
	p.model.topics = append(p.model.topics, t)
	small := "1048576"
	req := msg.NewCreateTopicsRequest()
	req.TimeoutMs = 10000
	req.Topics = []msg.CreateTopicsRequestTopic{{Name: t.name, NumPartitions: int32(len(t.parts)), ReplicationFactor: 1,
		Configs: []msg.CreateTopicsRequestTopicConfig{{Name: "segment.bytes", Value: &small}}}}
	var resp msg.CreateTopicsResponse
	if err := p.client.ask(&req, 5, &resp); err != nil {
		return err
	}
	p.trace("created %s: %d", t.name, resp.Topics[0].ErrorCode)
	t.exists = resp.Topics[0].ErrorCode == 0
	return nil
}

// somePart is a partition of a topic that exists, nil while there is none.
func (p *play) somePart() *part {
	var all []*part
	for _, t := range p.model.topics {
		if t.exists {
			all = append(all, t.parts...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[p.rand.IntN(len(all))]
}

// sentBatch is a produce request under way.
type sentBatch struct {
	part   *part
	values []string
	bytes  []byte
	acks   int16
	idem   bool
}

// batch makes a batch of new values for a partition; now and then one that
// fills a good part of a segment.
func (p *play) batch(to *part, acks int16) *sentBatch {
	b := &sentBatch{part: to, acks: acks}
	build := record.Builder{Codec: record.Codec(p.rand.IntN(5))}
	if p.producer >= 0 && acks != 1 && p.rand.IntN(2) == 0 {
		b.idem = true
		build.Producer = &record.Producer{ID: p.producer, Sequence: p.sequences[to]}
	}
	pad := 0
	if p.rand.IntN(10) == 0 {
		pad = 200 << 10
		build.Codec = record.None
	}
	for range 1 + p.rand.IntN(4) {
		p.serial++
		v := fmt.Sprintf("v%d", p.serial)
		b.values = append(b.values, v)
		to.sent[v] = true
		build.Append(record.Record{Key: []byte(v), Value: make([]byte, pad), Timestamp: time.Now().UnixMilli()})
	}
	if b.idem {
		p.sequences[to] += int32(len(b.values))
	}
	b.bytes = append([]byte(nil), build.Bytes()...)
	return b
}

// produce sends n batches without waiting in between, then takes the answers.
func (p *play) produce(n int, lazily bool) error {
	if err := p.needProducer(); err != nil {
		return err
	}
	acks := int16(-1)
	if lazily {
		acks = 1
	}
	p.client.settle()
	var sent []*sentBatch
	var failed error
	for range n {
		to := p.somePart()
		if to == nil {
			return nil
		}
		b := p.batch(to, acks)
		sent = append(sent, b)
		if failed == nil {
			failed = p.sendBatch(b)
		}
	}
	for i, b := range sent {
		if failed == nil {
			failed = p.takeAnswer(b, int32(n-1-i))
		}
		if failed != nil && b.idem {
			p.producer = -1 // its sequence is in doubt: begin anew
		}
	}
	return failed
}

func (p *play) sendBatch(b *sentBatch) error {
	req := msg.NewProduceRequest()
	req.Acks, req.TimeoutMs = b.acks, 20000
	req.TopicData = []msg.ProduceRequestTopicData{{Name: b.part.topic,
		PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: b.part.id, Records: b.bytes}}}}
	return p.client.send(&req, 9)
}

func (p *play) takeAnswer(b *sentBatch, behind int32) error {
	var resp msg.ProduceResponse
	if err := p.client.receive(&resp, 9, behind); err != nil {
		return err
	}
	r := resp.Responses[0].PartitionResponses[0]
	p.trace("produced %d to %s-%d acks=%d idempotent=%t: %d at %d", len(b.values), b.part.topic, b.part.id, b.acks, b.idem, r.ErrorCode, r.BaseOffset)
	if r.ErrorCode != 0 {
		if b.idem {
			p.producer = -1
		}
		return p.tolerate(kafka.Code(r.ErrorCode))
	}
	if b.idem {
		p.last = b
	}
	if b.acks == 1 {
		return nil
	}
	for i, v := range b.values {
		p.promises++
		if err := b.part.promise(r.BaseOffset+int64(i), v); err != nil {
			return err
		}
	}
	return nil
}

// tolerate lets errors pass that a node may answer while its power fails; any
// other time they are a violation.
func (p *play) tolerate(c kafka.Code) error {
	if p.node.fs.Stopped() || c.Retriable() && (p.diskFails || c != kafka.KafkaStorageError) {
		return nil
	}
	return fmt.Errorf("answered %w", c)
}

// produceAgain sends an acknowledged batch of the idempotent producer a second
// time, as a client does whose connection broke: the answer is the first one's.
func (p *play) produceAgain() error {
	if p.last == nil || p.producer < 0 {
		return nil
	}
	p.client.settle()
	if err := p.sendBatch(p.last); err != nil {
		return err
	}
	var resp msg.ProduceResponse
	if err := p.client.receive(&resp, 9, 0); err != nil {
		return err
	}
	r := resp.Responses[0].PartitionResponses[0]
	p.trace("produced again: %d at %d", r.ErrorCode, r.BaseOffset)
	switch c := kafka.Code(r.ErrorCode); c {
	case kafka.None:
		return p.last.part.promise(r.BaseOffset, p.last.values[0])
	case kafka.OutOfOrderSequenceNumber, kafka.DuplicateSequenceNumber:
		return nil // more than five batches ago
	default:
		return p.tolerate(c)
	}
}

func (p *play) needProducer() error {
	if p.producer >= 0 {
		return nil
	}
	req := msg.NewInitProducerIDRequest()
	var resp msg.InitProducerIDResponse
	if err := p.client.ask(&req, 4, &resp); err != nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return p.tolerate(kafka.Code(resp.ErrorCode))
	}
	p.trace("producer id %d", resp.ProducerID)
	if p.given[resp.ProducerID] {
		return fmt.Errorf("producer id %d was given out twice", resp.ProducerID)
	}
	p.given[resp.ProducerID] = true
	p.producer = resp.ProducerID
	p.sequences, p.last = map[*part]int32{}, nil
	return nil
}
