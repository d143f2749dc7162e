package cluster

import (
	"iter"
	"slices"

	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Records gives the records that make this image from an empty one, in a fixed
// order: the feature levels first, since they gate the formats of the rest.
// Index, term and cluster id are not among them; whoever stores the records
// keeps those beside them.
func (m *Image) Records() iter.Seq[state.Record] {
	return func(yield func(state.Record) bool) {
		_ = m.featureRecords(yield) && m.brokerRecords(yield) && m.topicRecords(yield) &&
			m.configRecords(yield) && m.scramRecords(yield) && m.producerRecord(yield)
	}
}

func (m *Image) featureRecords(yield func(state.Record) bool) bool {
	for _, f := range m.features {
		r := state.NewFeatureLevelRecord()
		r.Name, r.FeatureLevel = f.Name, f.Level
		if !yield(&r) {
			return false
		}
	}
	return true
}

func (m *Image) brokerRecords(yield func(state.Record) bool) bool {
	for _, b := range m.brokers {
		if !yield(b.record()) {
			return false
		}
	}
	return true
}

func (b *Broker) record() *state.RegisterBrokerRecord {
	r := state.NewRegisterBrokerRecord()
	r.BrokerID, r.IncarnationID, r.BrokerEpoch = b.ID, b.Incarnation, b.Epoch
	for _, e := range b.Endpoints {
		r.EndPoints = append(r.EndPoints, state.RegisterBrokerRecordEndPoint{
			Name: e.Listener, Host: e.Host, Port: e.Port, SecurityProtocol: e.Protocol})
	}
	for _, f := range b.Features {
		r.Features = append(r.Features, state.RegisterBrokerRecordFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	r.Rack, r.Fenced, r.InControlledShutdown = b.Rack, b.Fenced, b.InControlledShutdown
	r.LogDirs, r.CordonedLogDirs = slices.Clone(b.LogDirs), slices.Clone(b.CordonedLogDirs)
	return &r
}

func (m *Image) topicRecords(yield func(state.Record) bool) bool {
	for _, t := range m.topics.all() {
		r := state.NewTopicRecord()
		r.Name, r.TopicID = t.Name, t.ID
		if !yield(&r) {
			return false
		}
		for i := range t.Partitions {
			if !yield(t.Partitions[i].record(t)) {
				return false
			}
		}
	}
	return true
}

func (p *Partition) record(t *Topic) *state.PartitionRecord {
	r := state.NewPartitionRecord()
	r.PartitionID, r.TopicID = p.ID, t.ID
	r.Leader, r.LeaderEpoch, r.PartitionEpoch = p.Leader, p.LeaderEpoch, p.PartitionEpoch
	if p.Recovering {
		r.LeaderRecoveryState = 1
	}
	r.Replicas, r.ISR, r.AddingReplicas, r.RemovingReplicas = p.Replicas, p.ISR, p.Adding, p.Removing
	r.Directories = p.Directories
	if len(p.ELR) > 0 {
		r.EligibleLeaderReplicas = p.ELR
	}
	if len(p.LastKnownELR) > 0 {
		r.LastKnownELR = p.LastKnownELR
	}
	return &r
}

func (m *Image) configRecords(yield func(state.Record) bool) bool {
	for res, pairs := range m.configs.all() {
		for _, p := range pairs {
			r := state.NewConfigRecord()
			r.ResourceType, r.ResourceName = int8(res.Kind), res.Name
			r.Name, r.Value = p.Name, &p.Value
			if !yield(&r) {
				return false
			}
		}
	}
	return true
}

func (m *Image) producerRecord(yield func(state.Record) bool) bool {
	if m.producer == 0 {
		return true
	}
	r := state.NewProducerIDsRecord()
	r.BrokerID, r.NextProducerID = -1, m.producer
	return yield(&r)
}
