package broker

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// isrs brings what leaders here propose of their ISRs to the controller: all that
// has come together in one request, one request at a time.
//
// A proposal is asked for again until it is certain what became of it, since
// whoever it adds counts meanwhile (see [partition.Partition.ISRRefused]). That it
// was accepted shows in the image, like every other change of the partition that
// makes it void.
type isrs struct {
	self     int32
	image    func() *cluster.Image
	alter    func(context.Context, *msg.AlterPartitionRequest) *msg.AlterPartitionResponse
	replicas *replica.Table // set before it runs
	now      func() time.Time
	logger   *slog.Logger

	wake chan struct{} // one element

	mu struct {
		sync.Mutex // memory only
		asked      map[kafka.TopicPartition]*asked
	}
}

// asked is a proposal on its way.
type asked struct {
	tp     kafka.TopicPartition
	change partition.ISRChange
	doubt  time.Time // of the last attempt whose outcome is not known
}

const (
	// askISR is how long one attempt may take, and askAgain how long the next
	// waits.
	askISR   = 5 * time.Second
	askAgain = 200 * time.Millisecond
)

// newISRs makes it; what it works with is built later.
func newISRs(b *Broker) *isrs {
	s := &isrs{self: b.self, now: b.cfg.Now, logger: b.logger.With("component", "isr"), wake: make(chan struct{}, 1),
		image: func() *cluster.Image { return b.metadata.Image() },
		alter: func(ctx context.Context, req *msg.AlterPartitionRequest) *msg.AlterPartitionResponse {
			return b.metadata.AlterPartition(ctx, req)
		}}
	s.mu.asked = map[kafka.TopicPartition]*asked{}
	return s
}

// Propose is as [partition.ISR] says. It does not wait.
func (s *isrs) Propose(tp kafka.TopicPartition, c partition.ISRChange) {
	s.mu.Lock()
	if old := s.mu.asked[tp]; old == nil || old.change.PartitionEpoch != c.PartitionEpoch || old.doubt.IsZero() {
		s.mu.asked[tp] = &asked{tp: tp, change: c}
	} else {
		old.change = c // at the same epoch one of the two is refused, and doubt about the first stays
	}
	s.mu.Unlock()
	select { //house:select two cases, one of them default
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// run is the activity that asks.
func (s *isrs) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		//house:select the loop looks at everything again
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		if list := s.due(); len(list) > 0 {
			s.ask(ctx, list)
		}
		if len(s.due()) > 0 {
			timer.Reset(askAgain)
		}
	}
}

// due lists by partition what is to be asked for. What the image has overtaken is
// forgotten.
func (s *isrs) due() []*asked {
	img := s.image()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*asked
	for tp, a := range s.mu.asked {
		p := img.Topic(tp.Topic).Partition(tp.Partition)
		if p == nil || p.Leader != s.self || p.LeaderEpoch != a.change.LeaderEpoch || p.PartitionEpoch > a.change.PartitionEpoch {
			delete(s.mu.asked, tp)
			continue
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *asked) int { return a.tp.Compare(b.tp) })
	return list
}

// ask sends one request and works through the answer.
func (s *isrs) ask(ctx context.Context, list []*asked) {
	req, changes := s.request(list)
	once, cancel := context.WithTimeout(ctx, askISR)
	resp := s.alter(once, req)
	cancel()
	codes := map[kafka.UUID]map[int32]kafka.Code{}
	if resp.ErrorCode == 0 {
		for i := range resp.Topics {
			t := &resp.Topics[i]
			codes[t.TopicID] = map[int32]kafka.Code{}
			for j := range t.Partitions {
				codes[t.TopicID][t.Partitions[j].PartitionIndex] = kafka.Code(t.Partitions[j].ErrorCode)
			}
		}
	} else {
		s.logger.Debug("a change of ISRs is not decided yet", "error", kafka.Code(resp.ErrorCode).Name())
	}
	img := s.image()
	for i, a := range list {
		code, told := kafka.UnknownServerError, false
		if t := img.Topic(a.tp.Topic); t != nil {
			code, told = lookUp(codes, t.ID, a.tp.Partition)
		}
		s.settle(a, changes[i], code, told)
	}
}

func lookUp(codes map[kafka.UUID]map[int32]kafka.Code, id kafka.UUID, p int32) (kafka.Code, bool) {
	code, ok := codes[id][p]
	return code, ok
}

// request makes the request, and gives the changes that are in it.
func (s *isrs) request(list []*asked) (*msg.AlterPartitionRequest, []partition.ISRChange) {
	img := s.image()
	req := msg.NewAlterPartitionRequest()
	req.BrokerID = s.self
	if b := img.Broker(s.self); b != nil {
		req.BrokerEpoch = b.Epoch
	}
	changes := make([]partition.ISRChange, len(list))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range list {
		changes[i] = a.change
		t := img.Topic(a.tp.Topic)
		if t == nil {
			continue
		}
		if n := len(req.Topics); n == 0 || req.Topics[n-1].TopicID != t.ID {
			req.Topics = append(req.Topics, msg.AlterPartitionRequestTopic{TopicID: t.ID})
		}
		row := msg.AlterPartitionRequestTopicPartition{PartitionIndex: a.tp.Partition,
			LeaderEpoch: a.change.LeaderEpoch, PartitionEpoch: a.change.PartitionEpoch}
		for _, m := range a.change.ISR {
			if m.Broker == s.self {
				m.Epoch = req.BrokerEpoch
			}
			row.NewISRWithEpochs = append(row.NewISRWithEpochs, msg.AlterPartitionRequestTopicPartitionNewISRWithEpoch{BrokerID: m.Broker, BrokerEpoch: m.Epoch})
		}
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, row)
	}
	return &req, changes
}

// settle takes in what became of one proposal.
func (s *isrs) settle(a *asked, sent partition.ISRChange, code kafka.Code, told bool) {
	s.mu.Lock()
	now := s.now()
	sure := a.doubt.IsZero() || now.Sub(a.doubt) > askISR
	refused := false
	switch {
	case !told:
		a.doubt = now
	case code == kafka.None && s.mu.asked[a.tp] == a:
		delete(s.mu.asked, a.tp)
	case code == kafka.IneligibleReplica || code == kafka.InvalidRequest || code == kafka.UnknownTopicOrPartition || code == kafka.UnknownTopicID:
		if refused = sure; sure && s.mu.asked[a.tp] == a {
			delete(s.mu.asked, a.tp)
		}
	}
	s.mu.Unlock()
	if !refused {
		return
	}
	s.logger.Info("a change of an ISR is refused", "partition", a.tp.String(), "error", code.Name())
	if st, ok := s.replicas.Standing(a.tp.Topic, a.tp.Partition); ok && st.Replica != nil {
		st.Replica.ISRRefused(sent.PartitionEpoch)
	}
}
