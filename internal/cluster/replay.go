package cluster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// ErrReplay is wrapped by every error of [Delta.Replay]: the record does not fit
// the state it meets. The log was not written by a controller of this format,
// or is damaged; there is no way on from here.
var ErrReplay = errors.New("metadata record does not fit")

func misfit(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrReplay}, args...)...)
}

// Replay lets one record act. Records come in the order of the log, and those
// of one decision together.
func (d *Delta) Replay(rec state.Record) error {
	switch r := rec.(type) {
	case *state.TopicRecord:
		return d.replayTopic(r)
	case *state.RemoveTopicRecord:
		return d.replayRemoveTopic(r)
	case *state.PartitionRecord:
		return d.replayPartition(r)
	case *state.PartitionChangeRecord:
		return d.replayPartitionChange(r)
	case *state.ConfigRecord:
		d.putConfig(Resource{Kind(r.ResourceType), r.ResourceName}, r.Name, r.Value)
	case *state.FeatureLevelRecord:
		d.putFeature(r.Name, r.FeatureLevel)
	case *state.RegisterBrokerRecord:
		d.putBroker(brokerOf(r))
	case *state.BrokerRegistrationChangeRecord:
		return d.replayBrokerChange(r)
	case *state.FenceBrokerRecord:
		return d.fence(r.ID, r.Epoch, true)
	case *state.UnfenceBrokerRecord:
		return d.fence(r.ID, r.Epoch, false)
	case *state.UnregisterBrokerRecord:
		if b := d.next.Broker(r.BrokerID); b == nil || b.Epoch != r.BrokerEpoch {
			return misfit("broker %d is not registered under epoch %d", r.BrokerID, r.BrokerEpoch)
		}
		d.removeBroker(r.BrokerID)
	case *state.ProducerIDsRecord:
		if r.NextProducerID < d.next.producer {
			return misfit("producer ids go back from %d to %d", d.next.producer, r.NextProducerID)
		}
		d.next.producer = r.NextProducerID
	case *state.UserScramCredentialRecord:
		d.replayScram(r)
	case *state.RemoveUserScramCredentialRecord:
		return d.replayRemoveScram(r)
	case *state.NoOpRecord:
	default:
		return misfit("%T is unknown to this version", rec)
	}
	return nil
}

func (d *Delta) replayTopic(r *state.TopicRecord) error {
	if _, ok := d.topics.get(r.Name); ok {
		return misfit("topic %s exists", r.Name)
	}
	if _, ok := d.names.get(r.TopicID); ok || d.touched[r.TopicID] != nil {
		return misfit("topic id %s was used before", r.TopicID)
	}
	t := &Topic{Name: r.Name, ID: r.TopicID, Internal: kafka.IsInternalTopic(r.Name)}
	d.touched[t.ID] = &TopicChange{New: t, parts: map[int32]bool{}}
	d.topics.put(t.Name, t)
	d.names.put(t.ID, t.Name)
	return nil
}

// replayRemoveTopic forgets the topic and all that hangs on it. Its settings go
// here and not by records of their own: a topic created later under the same
// name must not find them, however the log is cut into snapshots.
func (d *Delta) replayRemoveTopic(r *state.RemoveTopicRecord) error {
	c := d.topic(r.TopicID)
	if c == nil || c.New == nil {
		return misfit("topic id %s does not exist", r.TopicID)
	}
	name := c.New.Name
	d.next.partitions -= len(c.New.Partitions)
	d.topics.remove(name)
	d.names.remove(r.TopicID)
	res := Resource{TopicResource, name}
	if _, ok := d.configs.get(res); ok {
		d.configs.remove(res)
		d.resources[res] = true
	}
	c.New, c.parts = nil, nil
	return nil
}

func (d *Delta) replayPartition(r *state.PartitionRecord) error {
	c := d.topic(r.TopicID)
	if c == nil || c.New == nil {
		return misfit("partition %d of topic id %s, which does not exist", r.PartitionID, r.TopicID)
	}
	p := Partition{
		ID: r.PartitionID, Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		Recovering: r.LeaderRecoveryState == 1,
		Replicas:   r.Replicas, ISR: r.ISR, Adding: r.AddingReplicas, Removing: r.RemovingReplicas,
		ELR: r.EligibleLeaderReplicas, LastKnownELR: r.LastKnownELR, Directories: r.Directories,
	}
	switch n := len(c.New.Partitions); {
	case p.ID < 0 || int(p.ID) > n:
		return misfit("partition %d of topic %s, which has %d", p.ID, c.New.Name, n)
	case int(p.ID) == n:
		c.New.Partitions = append(c.New.Partitions, p)
		d.next.partitions++
	default:
		c.New.Partitions[p.ID] = p
	}
	c.parts[p.ID] = true
	return nil
}

// The values by which a PartitionChangeRecord says that nothing changed.
const (
	leaderUnchanged   = -2
	recoveryUnchanged = -1
)

func (d *Delta) replayPartitionChange(r *state.PartitionChangeRecord) error {
	c := d.topic(r.TopicID)
	if c == nil || c.New == nil || c.New.Partition(r.PartitionID) == nil {
		return misfit("partition %d of topic id %s does not exist", r.PartitionID, r.TopicID)
	}
	p := &c.New.Partitions[r.PartitionID]
	if r.Leader != leaderUnchanged {
		p.Leader = r.Leader
		if !invariant.Planted("controller/epoch") {
			p.LeaderEpoch++
		}
	}
	if r.LeaderRecoveryState != recoveryUnchanged {
		p.Recovering = r.LeaderRecoveryState == 1
	}
	change(&p.Replicas, r.Replicas)
	change(&p.ISR, r.ISR)
	change(&p.Adding, r.AddingReplicas)
	change(&p.Removing, r.RemovingReplicas)
	change(&p.ELR, r.EligibleLeaderReplicas)
	change(&p.LastKnownELR, r.LastKnownELR)
	change(&p.Directories, r.Directories)
	p.PartitionEpoch++
	c.parts[p.ID] = true
	return nil
}

// change sets a list that the record names; nil means unchanged, empty empty.
func change[T any](to *[]T, from []T) {
	if from != nil {
		*to = from
	}
}

func brokerOf(r *state.RegisterBrokerRecord) *Broker {
	b := &Broker{
		ID: r.BrokerID, Epoch: r.BrokerEpoch, Incarnation: r.IncarnationID, Rack: r.Rack,
		Fenced: r.Fenced, InControlledShutdown: r.InControlledShutdown,
		LogDirs: sortedIDs(r.LogDirs), CordonedLogDirs: sortedIDs(r.CordonedLogDirs),
	}
	for _, e := range r.EndPoints {
		b.Endpoints = append(b.Endpoints, Endpoint{Listener: e.Name, Host: e.Host, Port: e.Port, Protocol: e.SecurityProtocol})
	}
	for _, f := range r.Features {
		b.Features = append(b.Features, FeatureRange{Name: f.Name, Min: f.MinSupportedVersion, Max: f.MaxSupportedVersion})
	}
	return b
}

func sortedIDs(ids []kafka.UUID) []kafka.UUID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareUUID)
	return ids
}

func (d *Delta) replayBrokerChange(r *state.BrokerRegistrationChangeRecord) error {
	b := d.broker(r.BrokerID, r.BrokerEpoch)
	if b == nil {
		return misfit("broker %d is not registered under epoch %d", r.BrokerID, r.BrokerEpoch)
	}
	switch r.Fenced {
	case 1:
		b.Fenced = true
	case -1:
		b.Fenced = false
	}
	if r.InControlledShutdown == 1 {
		b.InControlledShutdown = true
	}
	if len(r.LogDirs) > 0 {
		b.LogDirs = sortedIDs(r.LogDirs)
	}
	if r.CordonedLogDirs != nil {
		b.CordonedLogDirs = sortedIDs(r.CordonedLogDirs)
	}
	return nil
}

func (d *Delta) fence(id int32, epoch int64, fenced bool) error {
	b := d.broker(id, epoch)
	if b == nil {
		return misfit("broker %d is not registered under epoch %d", id, epoch)
	}
	b.Fenced = fenced
	return nil
}
