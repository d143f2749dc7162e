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
	began  time.Time
	tried  bool // an attempt may have reached the log
	done   bool
}

// inFlight is how many batches may be under way at once: a leader knows the last
// five of a producer again.
const inFlight = 5

// deliverWithin is how long a producer tries, as delivery.timeout.ms.
const deliverWithin = 25 * time.Second

// producer is an idempotent producer with acks=all. It has up to five batches
// under way to each partition, and repeats in order what was not answered. It
// writes so many batches a second, and makes up for what it could not write
// while something was down.
type producer struct {
	*agent
	parts   []tp
	id      int64 // -1: none yet
	epoch   int16
	seqs    map[tp]int32
	process int
	size    int     // bytes of a value at most
	rate    float64 // batches a second
	owed    float64 // batches that are due
	paid    time.Time
	queue   []*parcel // what is not accounted for, in the order of its sequence
}

// burst is how many batches one round adds at most.
const burst = 24

// newProducer makes one of as many as share the load of the whole play.
func newProducer(of int) func(*agent) (func() error, func()) {
	return func(a *agent) (func() error, func()) {
		p := &producer{agent: a, parts: a.fleet.parts(plain, wide, shared, loose), id: -1, size: 1 + a.rand.IntN(400)}
		p.rate = load / float64(of) * (0.5 + a.rand.Float64())
		return p.round, nil
	}
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

// round sends what is due and what was not answered. It went well if nothing is
// left.
func (p *producer) round() error {
	if p.id < 0 {
		if err := p.begin(); err != nil {
			return err
		}
	}
	p.fill()
	for _, leader := range p.leadersOf(p.queue) {
		if err := p.attempt(leader, p.queue); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	p.account(time.Now().Add(-deliverWithin))
	left := len(p.queue)
	p.trace("%d batches are left", left)
	if left == 0 {
		p.rest(20*time.Millisecond, 130*time.Millisecond)
		return nil
	}
	if p.rand.IntN(2) == 0 {
		_ = p.refresh() // where it fails the next round asks again
	}
	return fmt.Errorf("%w: %d batches are not delivered, the first to %v", errRetry, left, p.queue[0].to)
}

// fill puts what is due into the queue, for partitions that have room.
func (p *producer) fill() {
	now := time.Now()
	if !p.paid.IsZero() {
		p.owed = min(p.owed+p.rate*now.Sub(p.paid).Seconds(), 60*p.rate)
	}
	p.paid = now
	waiting := map[tp]int{}
	for _, b := range p.queue {
		waiting[b.to]++
	}
	for added := 0; p.owed >= 1 && added < burst; added++ {
		at := p.parts[p.rand.IntN(len(p.parts))]
		if waiting[at] == inFlight {
			continue
		}
		waiting[at]++
		p.owed--
		p.queue = append(p.queue, p.pack(at))
	}
}

func (p *producer) pack(to tp) *parcel {
	return p.seal(to, &record.Producer{ID: p.id, Epoch: p.epoch, Sequence: p.seqs[to]}, 0)
}

// seal makes a batch of new values; the sequence goes on behind it.
func (p *producer) seal(to tp, by *record.Producer, flags record.Attributes) *parcel {
	b := &parcel{to: to, base: history.Unknown, began: time.Now()}
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

// account writes down what became of the parcels that are done, of each partition
// in order. If one that began before the given time is not, all that is under way
// is in doubt and the producer goes on as another.
func (p *producer) account(before time.Time) {
	late := slices.ContainsFunc(p.queue, func(b *parcel) bool { return !b.done && b.began.Before(before) })
	stuck := map[tp]bool{}
	var left []*parcel
	for _, b := range p.queue {
		if !b.done {
			stuck[b.to] = true
		}
		if stuck[b.to] && !late {
			left = append(left, b)
		} else {
			p.note(b)
		}
	}
	if p.queue = left; late {
		p.trace("gives up")
		p.id = -1
	}
}

// note writes down what became of one.
func (p *producer) note(b *parcel) {
	op := history.Op{Process: p.process, Outcome: history.OK}
	if !b.done {
		op.Outcome = history.Info
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

// shipment is a produce request under way: a batch each for some partitions.
type shipment struct {
	req  msg.ProduceRequest
	load []*parcel
	// again says of each whether an earlier attempt may have reached the log.
	again []bool
}

// attempt sends all that waits for one leader in order, then takes the answers.
func (p *producer) attempt(leader int32, queue []*parcel) error {
	line := p.line(leader)
	out := p.ship(leader, queue)
	for _, s := range out {
		if err := line.send(&s.req, 11); err != nil {
			return err
		}
		for _, b := range s.load {
			b.tried = true
		}
	}
	stuck := map[tp]bool{} // partitions of which an earlier parcel is not done
	for i, s := range out {
		var resp msg.ProduceResponse
		if err := line.receive(&resp, 11, int32(len(out)-1-i)); err != nil {
			return err
		}
		if err := p.arrived(s, &resp, stuck); err != nil {
			return err
		}
	}
	return nil
}

// ship puts what waits for a leader into requests: one batch of a partition in
// each, in order.
func (p *producer) ship(leader int32, queue []*parcel) (out []*shipment) {
	before := map[tp]int{}
	for _, b := range queue {
		if b.done || p.leader(b.to) != leader {
			continue
		}
		n := before[b.to]
		before[b.to]++
		if n == len(out) {
			s := &shipment{req: msg.NewProduceRequest()}
			s.req.Acks, s.req.TimeoutMs = -1, 3000
			out = append(out, s)
		}
		out[n].put(b)
	}
	return out
}

func (s *shipment) put(b *parcel) {
	s.load, s.again = append(s.load, b), append(s.again, b.tried)
	part := msg.ProduceRequestTopicDataPartitionData{Index: b.to.part, Records: b.bytes}
	for i := range s.req.TopicData {
		if t := &s.req.TopicData[i]; t.Name == b.to.topic {
			t.PartitionData = append(t.PartitionData, part)
			return
		}
	}
	s.req.TopicData = append(s.req.TopicData, msg.ProduceRequestTopicData{Name: b.to.topic, PartitionData: []msg.ProduceRequestTopicDataPartitionData{part}})
}

// arrived judges the answer to a request: there is one for each of its batches.
func (p *producer) arrived(s *shipment, resp *msg.ProduceResponse, stuck map[tp]bool) error {
	answers := 0
	for _, t := range resp.Responses {
		for i := range t.PartitionResponses {
			r := &t.PartitionResponses[i]
			at := slices.IndexFunc(s.load, func(b *parcel) bool { return b.to == tp{t.Name, r.Index} })
			if at < 0 {
				return fmt.Errorf("a Produce was answered for %s-%d, of which nothing was sent", t.Name, r.Index)
			}
			answers++
			if err := p.answered(s.load[at], r, stuck, s.again[at]); err != nil {
				return err
			}
		}
	}
	if answers != len(s.load) {
		return fmt.Errorf("a Produce of %d partitions has %d answers", len(s.load), answers)
	}
	return nil
}

// answered judges what was said of one batch.
func (p *producer) answered(b *parcel, r *msg.ProduceResponseResponsePartitionResponse, stuck map[tp]bool, repeated bool) error {
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
	l.note(b) // never done: acks=1 promises nothing over a crash
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
