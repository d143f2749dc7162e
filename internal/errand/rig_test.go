package errand

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// The brokers of a rig are 1, which is asked, and others.
const self = 1

var errDown = errors.New("connection reset")

// rig is a picture of a cluster, and other brokers that answer as a test says.
type rig struct {
	t *testing.T
	e *Errands

	mu struct {
		sync.Mutex
		leaders map[string][]int32 // by topic
		image   *cluster.Image
		asked   []asked
	}
	answer func(node int32, req msg.Request, resp msg.Response) error
	fenced int32 // who is out of service in the next image
}

type asked struct {
	node int32
	req  msg.Request
}

func newRig(t *testing.T, leaders map[string][]int32) *rig {
	t.Helper()
	r := &rig{t: t}
	r.lead(leaders)
	var err error
	r.e, err = New(Config{Self: self, Image: r.image, Markers: r.ask, Coordinate: r.ask, States: r.ask, Records: r.ask})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func topicID(n byte) kafka.UUID { return kafka.UUID{15: n} }

// lead makes an image in which these brokers lead; topics have their ids by their
// names' last letters.
func (r *rig) lead(leaders map[string][]int32) {
	r.t.Helper()
	d := cluster.NewDelta(cluster.Empty("c"))
	var recs []state.Record
	for id := int32(1); id <= 3; id++ {
		recs = append(recs, &state.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: 1, Fenced: id == r.fenced})
	}
	for name, of := range leaders {
		id := topicID(name[len(name)-1])
		recs = append(recs, &state.TopicRecord{Name: name, TopicID: id})
		for i, leader := range of {
			recs = append(recs, &state.PartitionRecord{PartitionID: int32(i), TopicID: id, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3},
				Leader: leader, LeaderEpoch: 1, PartitionEpoch: 1})
		}
	}
	for _, rec := range recs {
		if err := d.Replay(rec); err != nil {
			r.t.Fatal(err)
		}
	}
	r.mu.Lock()
	r.mu.image = d.Apply(1, 1)
	r.mu.Unlock()
}

func (r *rig) image() *cluster.Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.image
}

// ask is an Asker: what is asked goes through its bytes.
func (r *rig) ask(ctx context.Context, node int32, req msg.Request, resp msg.Response, version int16) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	got, answer := blank(req), blankAnswer(req)
	r.through(req, got, version)
	r.mu.Lock()
	r.mu.asked = append(r.mu.asked, asked{node, got})
	r.mu.Unlock()
	if err := r.answer(node, got, answer); err != nil {
		return err
	}
	r.through(answer, resp, version)
	return nil
}

func (r *rig) through(from, to msg.Message, version int16) {
	var in wire.Reader
	in.Reset(from.Append(nil, version))
	to.Decode(&in, version)
	if err := in.Done(); err != nil {
		r.t.Errorf("%T: %v", from, err)
	}
}

func (r *rig) requests() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.asked
}

func blank(req msg.Request) msg.Request {
	switch req.(type) {
	case *msg.WriteTxnMarkersRequest:
		return new(msg.WriteTxnMarkersRequest)
	case *msg.AddPartitionsToTxnRequest:
		return new(msg.AddPartitionsToTxnRequest)
	case *msg.InitializeShareGroupStateRequest:
		return new(msg.InitializeShareGroupStateRequest)
	case *msg.ReadShareGroupStateRequest:
		return new(msg.ReadShareGroupStateRequest)
	case *msg.WriteShareGroupStateRequest:
		return new(msg.WriteShareGroupStateRequest)
	case *msg.DeleteShareGroupStateRequest:
		return new(msg.DeleteShareGroupStateRequest)
	case *msg.ReadShareGroupStateSummaryRequest:
		return new(msg.ReadShareGroupStateSummaryRequest)
	case *msg.ProduceRequest:
		return new(msg.ProduceRequest)
	}
	return new(msg.ListOffsetsRequest)
}

func blankAnswer(req msg.Request) msg.Response {
	switch req.(type) {
	case *msg.WriteTxnMarkersRequest:
		return new(msg.WriteTxnMarkersResponse)
	case *msg.AddPartitionsToTxnRequest:
		return new(msg.AddPartitionsToTxnResponse)
	case *msg.InitializeShareGroupStateRequest:
		return new(msg.InitializeShareGroupStateResponse)
	case *msg.ReadShareGroupStateRequest:
		return new(msg.ReadShareGroupStateResponse)
	case *msg.WriteShareGroupStateRequest:
		return new(msg.WriteShareGroupStateResponse)
	case *msg.DeleteShareGroupStateRequest:
		return new(msg.DeleteShareGroupStateResponse)
	case *msg.ReadShareGroupStateSummaryRequest:
		return new(msg.ReadShareGroupStateSummaryResponse)
	case *msg.ProduceRequest:
		return new(msg.ProduceResponse)
	}
	return new(msg.ListOffsetsResponse)
}
