package errand

import (
	"context"
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/share/persist"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Versions of the APIs of the share coordinator: those that know how many records
// are done (KIP-1226), where there is a choice.
const (
	initializeVersion = 0
	readVersion       = 0
	writeVersion      = 1
	deleteVersion     = 0
	summaryVersion    = 1
)

// States finds the share coordinator of a partition of __share_group_state for
// [persist.Coordinator]: nil if it is this broker's.
func (e *Errands) States(partition int32) (persist.Operations, error) {
	node, err := e.leader(kafka.TopicPartition{Topic: kafka.ShareStateTopic, Partition: partition})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", kafka.CoordinatorNotAvailable, err)
	case node == e.cfg.Self:
		return nil, nil
	}
	return states{e, node}, nil
}

// states is the share coordinator at another broker.
type states struct {
	*Errands
	node int32
}

var _ persist.Operations = states{}

// row is the part that all answers have.
type row struct {
	topic     kafka.UUID
	partition int32
	code      int16
	text      *string
}

// said is what an answer says of the one share partition that was asked about; n is
// how many rows it has.
func (s states) said(key share.Key, n int, r row) error {
	if n != 1 || r.topic != key.TopicID || r.partition != key.Partition {
		return fmt.Errorf("broker %d does not answer for %s: %w", s.node, key, kafka.UnknownServerError)
	}
	return persist.Refused(kafka.Code(r.code), r.text)
}

// askState asks the coordinator. Who is not there will be, or another.
func (e *Errands) askState(ctx context.Context, node int32, q question) error {
	err := e.ask(ctx, e.cfg.States, node, q)
	if kafka.CodeOf(err) == kafka.NetworkException {
		return fmt.Errorf("%w: %w", kafka.CoordinatorNotAvailable, err)
	}
	return err
}

func (s states) Initialize(ctx context.Context, key share.Key, stateEpoch int32, startOffset int64) error {
	req, resp := msg.NewInitializeShareGroupStateRequest(), msg.NewInitializeShareGroupStateResponse()
	req.GroupID = key.Group
	req.Topics = []msg.InitializeShareGroupStateRequestTopic{{TopicID: key.TopicID,
		Partitions: []msg.InitializeShareGroupStateRequestTopicPartition{{Partition: key.Partition, StateEpoch: stateEpoch, StartOffset: startOffset}}}}
	if err := s.askState(ctx, s.node, question{&req, &resp, initializeVersion}); err != nil {
		return err
	}
	n, r := 0, row{}
	for _, t := range resp.Results {
		for _, p := range t.Partitions {
			n, r = n+1, row{t.TopicID, p.Partition, p.ErrorCode, p.ErrorMessage}
		}
	}
	return s.said(key, n, r)
}

func (s states) Read(ctx context.Context, key share.Key, leaderEpoch int32) (share.State, error) {
	req, resp := msg.NewReadShareGroupStateRequest(), msg.NewReadShareGroupStateResponse()
	req.GroupID = key.Group
	req.Topics = []msg.ReadShareGroupStateRequestTopic{{TopicID: key.TopicID,
		Partitions: []msg.ReadShareGroupStateRequestTopicPartition{{Partition: key.Partition, LeaderEpoch: leaderEpoch}}}}
	if err := s.askState(ctx, s.node, question{&req, &resp, readVersion}); err != nil {
		return share.State{}, err
	}
	n, r, state := 0, row{}, share.State{}
	for _, t := range resp.Results {
		for _, p := range t.Partitions {
			n, r = n+1, row{t.TopicID, p.Partition, p.ErrorCode, p.ErrorMessage}
			state = share.State{StateEpoch: p.StateEpoch, StartOffset: p.StartOffset}
			for _, b := range p.StateBatches {
				state.Batches = append(state.Batches, share.Batch{First: b.FirstOffset, Last: b.LastOffset,
					State: share.Delivery(b.DeliveryState), Count: b.DeliveryCount})
			}
		}
	}
	if err := s.said(key, n, r); err != nil {
		return share.State{}, err
	}
	return state, nil
}

func (s states) Summary(ctx context.Context, key share.Key) (persist.Summary, error) {
	req, resp := msg.NewReadShareGroupStateSummaryRequest(), msg.NewReadShareGroupStateSummaryResponse()
	req.GroupID = key.Group
	req.Topics = []msg.ReadShareGroupStateSummaryRequestTopic{{TopicID: key.TopicID,
		Partitions: []msg.ReadShareGroupStateSummaryRequestTopicPartition{{Partition: key.Partition, LeaderEpoch: kafka.NoEpoch}}}}
	if err := s.askState(ctx, s.node, question{&req, &resp, summaryVersion}); err != nil {
		return persist.Summary{}, err
	}
	n, r, sum := 0, row{}, persist.Summary{}
	for _, t := range resp.Results {
		for _, p := range t.Partitions {
			n, r = n+1, row{t.TopicID, p.Partition, p.ErrorCode, p.ErrorMessage}
			sum = persist.Summary{StateEpoch: p.StateEpoch, LeaderEpoch: p.LeaderEpoch, StartOffset: p.StartOffset,
				DeliveryComplete: p.DeliveryCompleteCount}
		}
	}
	if err := s.said(key, n, r); err != nil {
		return persist.Summary{}, err
	}
	return sum, nil
}

func (s states) Delete(ctx context.Context, key share.Key) error {
	req, resp := msg.NewDeleteShareGroupStateRequest(), msg.NewDeleteShareGroupStateResponse()
	req.GroupID = key.Group
	req.Topics = []msg.DeleteShareGroupStateRequestTopic{{TopicID: key.TopicID,
		Partitions: []msg.DeleteShareGroupStateRequestTopicPartition{{Partition: key.Partition}}}}
	if err := s.askState(ctx, s.node, question{&req, &resp, deleteVersion}); err != nil {
		return err
	}
	n, r := 0, row{}
	for _, t := range resp.Results {
		for _, p := range t.Partitions {
			n, r = n+1, row{t.TopicID, p.Partition, p.ErrorCode, p.ErrorMessage}
		}
	}
	return s.said(key, n, r)
}

// writing is a change of one share partition.
type writing struct {
	key share.Key
	share.Update
}

// Write goes with those of the group that others want meanwhile.
func (s states) Write(ctx context.Context, key share.Key, u share.Update) error {
	u.Batches = slices.Clone(u.Batches) // who carries may still read them when this caller is gone
	return s.writes.send(ctx, groupAt{s.node, key.Group}, &writing{key, u})
}

// carryWrites sends changes of one group's share partitions, all in one request.
func (e *Errands) carryWrites(ctx context.Context, to groupAt, load []*parcel[*writing]) {
	req, resp := msg.NewWriteShareGroupStateRequest(), msg.NewWriteShareGroupStateResponse()
	req.GroupID = to.group
	for _, p := range load {
		// A topic for each: two changes of one partition would otherwise look alike.
		req.Topics = append(req.Topics, msg.WriteShareGroupStateRequestTopic{TopicID: p.is.key.TopicID,
			Partitions: []msg.WriteShareGroupStateRequestTopicPartition{p.is.row()}})
	}
	err := e.askState(ctx, to.node, question{&req, &resp, writeVersion})
	if err == nil && len(resp.Results) != len(load) {
		err = fmt.Errorf("broker %d answers %d changes of %d: %w", to.node, len(resp.Results), len(load), kafka.UnknownServerError)
	}
	at := states{e, to.node}
	for i, p := range load {
		if p.err = err; err == nil {
			t, r := &resp.Results[i], row{}
			for _, a := range t.Partitions {
				r = row{t.TopicID, a.Partition, a.ErrorCode, a.ErrorMessage}
			}
			p.err = at.said(p.is.key, len(t.Partitions), r)
		}
	}
}

func (w *writing) row() msg.WriteShareGroupStateRequestTopicPartition {
	r := msg.WriteShareGroupStateRequestTopicPartition{Partition: w.key.Partition, StateEpoch: w.StateEpoch, LeaderEpoch: w.LeaderEpoch,
		StartOffset: w.StartOffset, DeliveryCompleteCount: w.DeliveryComplete}
	for _, b := range w.Batches {
		r.StateBatches = append(r.StateBatches, msg.WriteShareGroupStateRequestTopicPartitionStateBatch{
			FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count})
	}
	return r
}
