package share

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Settle writes down what came of wishes: partitions that were initialized may be
// assigned; those that were not are asked for with the next heartbeat.
func (g *Group) Settle(done, failed []Wish) kind.Step {
	next := g.states.copy()
	changed := false
	for _, w := range done {
		busy := next.initializing[w.Topic]
		if !slices.Contains(busy.partitions, w.Partition) {
			continue // the topic has gone, or the group's state has, meanwhile
		}
		take(next.initializing, w.Topic, []int32{w.Partition})
		add(next.initialized, w.Topic, topicState{busy.name, []int32{w.Partition}})
		changed = true
	}
	for _, w := range failed {
		if slices.Contains(next.initializing[w.Topic].partitions, w.Partition) {
			take(next.initializing, w.Topic, []int32{w.Partition})
			changed = true
		}
	}
	return g.become(&next, changed)
}

// become is the step that changes the states.
func (g *Group) become(next *states, changed bool) kind.Step {
	step := kind.Step{Wake: g.wake()}
	if changed {
		var out records
		out.putStates(g.id, next)
		step.Records = out
	}
	return step
}

// Known are the partitions that were initialized.
func (g *Group) Known() assign.Set {
	var out assign.Set
	for _, id := range inOrder(g.states.initialized) {
		out = append(out, assign.TopicPartitions{Topic: id, Partitions: g.states.initialized[id].partitions})
	}
	return out
}

// notEmpty is the refusal of what only groups without members may be asked.
func (g *Group) notEmpty() error {
	if g.Empty() {
		return nil
	}
	return kind.Refuse(kafka.NonEmptyGroup, "The group is not empty.")
}

const noPartition = "This server does not host this topic-partition."

// Alter sets start offsets of a group without members: it says what to initialize
// anew. The group may be one that nobody has joined yet.
//
// Errors: NON_EMPTY_GROUP.
func (g *Group) Alter(now time.Time, req *msg.AlterShareGroupOffsetsRequest, topics kind.Topics) (Altered, error) {
	if err := g.notEmpty(); err != nil {
		return Altered{}, err
	}
	next := g.states.copy()
	var a Altered
	for _, t := range req.Topics {
		row := msg.AlterShareGroupOffsetsResponseResponse{TopicName: t.TopicName, Partitions: []msg.AlterShareGroupOffsetsResponseResponsePartition{}}
		info, ok := topics.Named(t.TopicName)
		if ok {
			row.TopicID = info.ID
		}
		for _, p := range t.Partitions {
			one := msg.AlterShareGroupOffsetsResponseResponsePartition{PartitionIndex: p.PartitionIndex}
			if !ok || p.PartitionIndex < 0 || p.PartitionIndex >= info.Partitions {
				one.ErrorCode, one.ErrorMessage = int16(kafka.UnknownTopicOrPartition), new(noPartition)
			} else {
				a.Wishes = append(a.Wishes, Wish{Topic: info.ID, Partition: p.PartitionIndex, StateEpoch: g.epoch, Start: p.StartOffset})
				add(next.initializing, info.ID, topicState{t.TopicName, []int32{p.PartitionIndex}})
				delete(next.deleting, info.ID)
				g.asked[info.ID] = now
			}
			row.Partitions = append(row.Partitions, one)
		}
		a.Responses = append(a.Responses, row)
	}
	a.Step = g.become(&next, len(a.Wishes) > 0)
	return a, nil
}

// Altered is what comes of Alter.
type Altered struct {
	Responses []msg.AlterShareGroupOffsetsResponseResponse // if the wishes come true
	Wishes    []Wish
	Step      kind.Step
}

// Drop takes topics out of a group without members: it says what the share
// coordinator is to delete. Errors: NON_EMPTY_GROUP.
func (g *Group) Drop(req *msg.DeleteShareGroupOffsetsRequest, topics kind.Topics) (Dropped, error) {
	if err := g.notEmpty(); err != nil {
		return Dropped{}, err
	}
	next := g.states.copy()
	var d Dropped
	if g.states.empty() {
		d.Step = g.become(nil, false)
		return d, nil
	}
	changed := false
	for _, t := range req.Topics {
		info, ok := topics.Named(t.TopicName)
		done, isDone := next.initialized[info.ID]
		_, going := next.deleting[info.ID]
		refuse := msg.DeleteShareGroupOffsetsResponseResponse{TopicName: t.TopicName, ErrorCode: int16(kafka.UnknownTopicOrPartition)}
		switch {
		case !ok:
			refuse.ErrorMessage = new(noPartition)
			d.Refused = append(d.Refused, refuse)
		case isDone:
			d.Delete = append(d.Delete, assign.TopicPartitions{Topic: info.ID, Partitions: done.partitions})
			delete(next.initialized, info.ID)
			next.deleting[info.ID] = info.Name
			changed = true
		case going:
			d.Delete = append(d.Delete, assign.TopicPartitions{Topic: info.ID, Partitions: upTo(info.Partitions)})
		default:
			refuse.ErrorMessage = new("There is no offset information to delete.")
			d.Refused = append(d.Refused, refuse)
		}
	}
	d.Step = g.become(&next, changed)
	return d, nil
}

// Dropped is what comes of Drop and Dissolve.
type Dropped struct {
	Delete  []assign.TopicPartitions // by the share coordinator; then Forget
	Refused []msg.DeleteShareGroupOffsetsResponseResponse
	Step    kind.Step
}

// Forget ends the deletion of topics.
func (g *Group) Forget(topics []kafka.UUID) kind.Step {
	next := g.states.copy()
	before := len(next.deleting)
	maps.DeleteFunc(next.deleting, func(id kafka.UUID, _ string) bool { return slices.Contains(topics, id) })
	return g.become(&next, len(next.deleting) != before)
}

// Dissolve takes all topics out of a group without members that is to be deleted.
// Errors: NON_EMPTY_GROUP.
func (g *Group) Dissolve(topics kind.Topics) (Dropped, error) {
	if err := g.notEmpty(); err != nil {
		return Dropped{}, err
	}
	all := map[kafka.UUID]topicState{}
	for _, from := range []map[kafka.UUID]topicState{g.states.initialized, g.states.initializing} {
		for id, t := range from {
			add(all, id, t)
		}
	}
	next := newStates()
	for id := range g.states.deleting {
		if info, ok := topics.ByID(id); ok {
			add(all, id, topicState{info.Name, upTo(info.Partitions)})
		}
	}
	var d Dropped
	for _, id := range inOrder(all) {
		next.deleting[id] = all[id].name
		if _, ok := topics.ByID(id); ok { // of topics that are no more the share coordinator forgets by itself
			d.Delete = append(d.Delete, assign.TopicPartitions{Topic: id, Partitions: all[id].partitions})
		}
	}
	d.Step = g.become(&next, len(g.states.initialized) > 0 || len(g.states.initializing) > 0)
	return d, nil
}

// TopicsGone are the records that forget topics which were deleted.
func (g *Group) TopicsGone(topics []kafka.UUID) []coordinator.Record {
	next := g.states.copy()
	for _, id := range topics {
		delete(next.initializing, id)
		delete(next.initialized, id)
		delete(next.deleting, id)
	}
	same := len(next.initializing) == len(g.states.initializing) && len(next.initialized) == len(g.states.initialized) &&
		len(next.deleting) == len(g.states.deleting)
	return g.become(&next, !same).Records
}

// Describe is the group as ShareGroupDescribe shows it.
func (g *Group) Describe(topics kind.Topics) msg.ShareGroupDescribeResponseGroup {
	d := msg.NewShareGroupDescribeResponseGroup()
	d.GroupID, d.GroupState, d.AssignorName = g.id, g.State(), AssignorName
	d.GroupEpoch, d.AssignmentEpoch = g.epoch, g.assignmentEpoch
	d.Members = []msg.ShareGroupDescribeResponseGroupMember{}
	for _, m := range g.list() {
		row := msg.ShareGroupDescribeResponseGroupMember{
			MemberID: m.id, RackID: m.rack, MemberEpoch: m.epoch, ClientID: m.clientID, ClientHost: m.clientHost,
			SubscribedTopicNames: append([]string{}, m.topics...),
		}
		row.Assignment.TopicPartitions = []msg.ShareGroupDescribeResponseTopicPartition{}
		for _, t := range m.assigned {
			if info, ok := topics.ByID(t.Topic); ok {
				row.Assignment.TopicPartitions = append(row.Assignment.TopicPartitions,
					msg.ShareGroupDescribeResponseTopicPartition{TopicID: t.Topic, TopicName: info.Name, Partitions: t.Partitions})
			}
		}
		d.Members = append(d.Members, row)
	}
	return d
}
