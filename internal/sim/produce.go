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

// parcel is a batch on its way: one operation of the history.
type parcel struct {
	to     tp
	values []int64
	bytes  []byte
	base   int64 // where it stands, history.Unknown while nobody said
	tried  bool  // an attempt may have reached the log
	done   bool
}

// inFlight is how many batches may be under way at once: a leader knows the last
// five of a producer again.
const inFlight = 5

// deliverWithin is how long a producer tries, as delivery.timeout.ms.
const deliverWithin = 25 * time.Second

// producer is an idempotent producer with acks=all. It sends up to five batches
// to a partition without waiting, and repeats in order what was not answered.
type producer struct {
	*agent
	parts    []tp
	id       int64 // -1: none yet
	epoch    int16
	seqs     map[tp]int32
	process  int
	pipeline int // how many batches a round has at most
	size     int // bytes of a value at most
}

func newProducer(a *agent) (func() error, func()) {
	p := &producer{agent: a, parts: a.fleet.parts(plain, wide, shared, loose), id: -1, pipeline: 1 + a.rand.IntN(inFlight), size: 1 + a.rand.IntN(400)}
	return p.round, nil
}

// begin gets a producer id, as a client does that starts or gave something up.
func (p *producer) begin() error {
	req := msg.NewInitProducerIDRequest()
	var resp msg.InitProducerIDResponse
	if err := p.ask(p.anyone(), &req, 4, &resp); err != nil {
		return err
	}
	if c := kafka.Code(resp.ErrorCode); c != kafka.None {
		return p.passing("InitProducerId", c)
	}
	p.id, p.epoch, p.seqs, p.process = resp.ProducerID, resp.ProducerEpoch, map[tp]int32{}, p.fleet.book.process()
	return nil
}

func (p *producer) round() error {
	if p.id < 0 {
		if err := p.begin(); err != nil {
			return err
		}
	}
	var queue []*parcel
	at := p.parts[p.rand.IntN(len(p.parts))]
	for range 1 + p.rand.IntN(p.pipeline) {
		if p.rand.IntN(3) == 0 {
			at = p.parts[p.rand.IntN(len(p.parts))]
		}
		queue = append(queue, p.pack(at))
	}
	err := p.deliver(queue)
	if err == nil || errors.Is(err, errRetry) {
		p.account(queue)
	}
	p.trace("sent %d batches: %v", len(queue), err)
	p.rest(20*time.Millisecond, 130*time.Millisecond)
	return err
}

func (p *producer) pack(to tp) *parcel {
	return p.seal(to, &record.Producer{ID: p.id, Epoch: p.epoch, Sequence: p.seqs[to]}, 0)
}

// seal makes a batch of new values; the sequence goes on behind it.
func (p *producer) seal(to tp, by *record.Producer, flags record.Attributes) *parcel {
	b := &parcel{to: to, base: history.Unknown}
	build := record.Builder{Producer: by, Flags: flags}
	if p.rand.IntN(4) == 0 {
		build.Codec = record.Codec(p.rand.IntN(5))
	}
	for range 1 + p.rand.IntN(3) {
		v := p.fleet.book.value()
		b.values = append(b.values, v)
		build.Append(record.Record{Key: fmt.Append(nil, v), Value: make([]byte, p.rand.IntN(p.size)), Timestamp: time.Now().UnixMilli()})
	}
	if by != nil {
		p.seqs[to] += int32(len(b.values))
	}
	b.bytes = slices.Clone(build.Bytes())
	p.fleet.book.sentBatch()
	return b
}

// account writes down what became of the parcels, in the order they were sent.
// If something is in doubt the producer goes on as another.
func (p *producer) account(queue []*parcel) {
	doubt := false
	for _, b := range queue {
		op := history.Op{Process: p.process, Outcome: history.OK}
		if !b.done {
			op.Outcome, doubt = history.Info, true
		}
		for i, v := range b.values {
			at := history.Unknown
			if b.base >= 0 {
				at = b.base + int64(i)
			}
			op.Steps = append(op.Steps, history.Step{Send: true, Sent: history.Record{Key: b.to.String(), Offset: at, Value: v}})
		}
		p.fleet.book.note(op)
	}
	if doubt {
		p.id = -1
	}
}

// deliver tries until all parcels are done or time is up, which is errRetry.
func (p *producer) deliver(queue []*parcel) error {
	until := time.Now().Add(deliverWithin)
	for {
		for _, leader := range p.leadersOf(queue) {
			if err := p.attempt(leader, queue); err != nil && !errors.Is(err, errGone) {
				return err
			}
		}
		left := slices.ContainsFunc(queue, func(b *parcel) bool { return !b.done })
		switch {
		case !left:
			return nil
		case time.Now().After(until) || p.fleet.broken():
			return fmt.Errorf("%w: not delivered in time", errRetry)
		}
		p.rest(10*time.Millisecond, 120*time.Millisecond)
		if p.rand.IntN(2) == 0 {
			_ = p.refresh() // where it fails the next round asks again
		}
	}
}

func (p *producer) leadersOf(queue []*parcel) (out []int32) {
	for _, b := range queue {
		if b.done {
			continue
		}
		if l, err := p.lead(b.to); err == nil && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// attempt sends all that waits for one leader in order, then takes the answers.
func (p *producer) attempt(leader int32, queue []*parcel) error {
	var sent []*parcel
	var repeated []bool // whether an earlier attempt may have reached the log
	line := p.line(leader)
	for _, b := range queue {
		if b.done || p.leader(b.to) != leader {
			continue
		}
		req := msg.NewProduceRequest()
		req.Acks, req.TimeoutMs = -1, 3000
		req.TopicData = []msg.ProduceRequestTopicData{{Name: b.to.topic,
			PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: b.to.part, Records: b.bytes}}}}
		repeated = append(repeated, b.tried)
		b.tried = true
		if err := line.send(&req, 11); err != nil {
			return err
		}
		sent = append(sent, b)
	}
	stuck := map[tp]bool{} // partitions of which an earlier parcel is not done
	for i, b := range sent {
		var resp msg.ProduceResponse
		if err := line.receive(&resp, 11, int32(len(sent)-1-i)); err != nil {
			return err
		}
		if err := p.answered(b, &resp, stuck, repeated[i]); err != nil {
			return err
		}
	}
	return nil
}

// answered judges the answer to a parcel.
func (p *producer) answered(b *parcel, resp *msg.ProduceResponse, stuck map[tp]bool, repeated bool) error {
	r := resp.Responses[0].PartitionResponses[0]
	c := kafka.Code(r.ErrorCode)
	p.trace("%v batch of %d: %s at %d", b.to, len(b.values), c.Name(), r.BaseOffset)
	p.learn(b.to, r.CurrentLeader.LeaderID, r.CurrentLeader.LeaderEpoch)
	switch {
	case c == kafka.None:
		b.done, b.base = true, r.BaseOffset
	case c == kafka.DuplicateSequenceNumber:
		b.done = true
	case c == kafka.OutOfOrderSequenceNumber && (stuck[b.to] || repeated):
		stuck[b.to] = true
	case c == kafka.OutOfOrderSequenceNumber:
		return fmt.Errorf("%v: what was acknowledged before this batch is not known to the leader (sequence): %w", b.to, c)
	default:
		stuck[b.to] = true
		if err := p.passing("Produce to "+b.to.String(), c); !errors.Is(err, errRetry) {
			return err
		}
	}
	return nil
}

// lazy is a producer with acks=1 and no id. What it sends may be lost, but not
// what somebody has read.
type lazy struct{ producer }

func newLazy(a *agent) (func() error, func()) {
	l := &lazy{producer{agent: a, parts: a.fleet.parts(loose), size: 200}}
	return l.round, nil
}

func (l *lazy) round() error {
	at := l.parts[l.rand.IntN(len(l.parts))]
	leader, err := l.lead(at)
	if err != nil {
		return err
	}
	b := l.seal(at, nil, 0)
	l.process = l.fleet.book.process()
	req := msg.NewProduceRequest()
	req.Acks, req.TimeoutMs = 1, 3000
	req.TopicData = []msg.ProduceRequestTopicData{{Name: at.topic,
		PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: at.part, Records: b.bytes}}}}
	var resp msg.ProduceResponse
	err = l.ask(leader, &req, 11, &resp)
	l.account([]*parcel{b}) // never done: acks=1 promises nothing over a crash
	if err != nil {
		_ = l.refresh()
		return err
	}
	c := kafka.Code(resp.Responses[0].PartitionResponses[0].ErrorCode)
	l.trace("%v acks=1: %s", at, c.Name())
	l.rest(10*time.Millisecond, 80*time.Millisecond)
	if c != kafka.None {
		_ = l.refresh()
		return l.passing("Produce with acks=1 to "+at.String(), c)
	}
	return nil
}
