package controller

import (
	"maps"
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// DeleteTopics decides on the end of topics, by name or, from version 6, by id
// (KIP-516). version is the request's: how a refused deletion is told depends on
// it.
func DeleteTopics(s *State, req *msg.DeleteTopicsRequest, version int16) (Records, *msg.DeleteTopicsResponse) {
	resp := msg.NewDeleteTopicsResponse()
	asked := slices.Clone(req.Topics)
	for _, name := range req.TopicNames {
		asked = append(asked, msg.DeleteTopicsRequestTopic{Name: &name})
	}
	named := map[string]int{}
	for _, a := range asked {
		named[deletionKey(a)]++
	}
	both := s.byNameAndID(asked, named)
	var recs Records
	for _, a := range asked {
		key := deletionKey(a)
		if named[key] == 0 {
			continue // told already
		}
		row := msg.DeleteTopicsResponseResponse{Name: a.Name, TopicID: a.TopicID}
		t, err := s.toDelete(a, named[key] > 1, version)
		named[key] = 0
		if err == nil && both[t.ID] {
			if a.Name == nil {
				continue // told with the name
			}
			row.TopicID = t.ID
			err = refuse(kafka.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
		}
		if err == nil {
			row.Name, row.TopicID = &t.Name, t.ID
			r := state.NewRemoveTopicRecord()
			r.TopicID = t.ID
			recs = append(recs, &r)
		}
		row.ErrorCode, row.ErrorMessage = answer(err)
		resp.Responses = append(resp.Responses, row)
	}
	return recs, &resp
}

// byNameAndID are the topics that are asked for by name and by id as well, which
// is refused once, under the name. named counts the deletion keys.
func (s *State) byNameAndID(asked []msg.DeleteTopicsRequestTopic, named map[string]int) map[kafka.UUID]bool {
	ids := map[kafka.UUID]bool{}
	for _, a := range asked {
		if a.Name == nil {
			ids[a.TopicID] = true
		}
	}
	both := map[kafka.UUID]bool{}
	for _, a := range asked {
		if a.Name == nil || !a.TopicID.IsZero() || named[deletionKey(a)] > 1 {
			continue
		}
		if t := s.Image.Topic(*a.Name); t != nil && ids[t.ID] {
			both[t.ID] = true
		}
	}
	return both
}

// deletionKey is what must not be named twice: a name, or an id without one.
func deletionKey(a msg.DeleteTopicsRequestTopic) string {
	if a.Name != nil {
		return "name " + *a.Name
	}
	return "id " + a.TopicID.String()
}

func (s *State) toDelete(a msg.DeleteTopicsRequestTopic, twice bool, version int16) (*cluster.Topic, error) {
	switch {
	case !s.Config.Bool("delete.topic.enable") && version < 3:
		return nil, refuse(kafka.InvalidRequest, "Topic deletion is disabled.")
	case !s.Config.Bool("delete.topic.enable"):
		return nil, refuse(kafka.TopicDeletionDisabled, "Topic deletion is disabled.")
	case a.Name == nil && a.TopicID.IsZero():
		return nil, refuse(kafka.InvalidRequest, "Neither topic name nor id were specified.")
	case a.Name != nil && !a.TopicID.IsZero():
		return nil, refuse(kafka.InvalidRequest, "You may not specify both topic name and topic id.")
	case a.Name != nil && twice:
		return nil, refuse(kafka.InvalidRequest, "Duplicate topic name.")
	case twice:
		return nil, refuse(kafka.InvalidRequest, "Duplicate topic id.")
	}
	if a.Name != nil {
		if t := s.Image.Topic(*a.Name); t != nil {
			return t, nil
		}
		return nil, refuse(kafka.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	if t := s.Image.TopicByID(a.TopicID); t != nil {
		return t, nil
	}
	return nil, refuse(kafka.UnknownTopicID, "This server does not host this topic ID.")
}

// CreatePartitions decides on partitions that existing topics get in addition;
// the count asked for is the new total. Every topic that is named is answered.
func CreatePartitions(s *State, req *msg.CreatePartitionsRequest) (Records, *msg.CreatePartitionsResponse) {
	resp := msg.NewCreatePartitionsResponse()
	count := map[string]int{}
	added := 0
	for i := range req.Topics {
		rt := &req.Topics[i]
		count[rt.Name]++
		if t := s.Image.Topic(rt.Name); t != nil {
			added += int(rt.Count) - len(t.Partitions)
		}
	}
	row := func(name string, err error) {
		r := msg.CreatePartitionsResponseResult{Name: name}
		r.ErrorCode, r.ErrorMessage = answer(err)
		resp.Results = append(resp.Results, r)
	}
	if added > maxBatch {
		for i := range req.Topics {
			row(req.Topics[i].Name, refuse(kafka.PolicyViolation, "Excessively large number of additional partitions per request."))
		}
		return nil, &resp
	}
	var recs Records
	placer := newPlacer(s.Image, s.Rand)
	for i := range req.Topics {
		rt := &req.Topics[i]
		switch n := count[rt.Name]; {
		case n > 1:
			row(rt.Name, refuse(kafka.InvalidRequest, "Duplicate topic name."))
			count[rt.Name] = 0
		case n == 1:
			more, err := s.addPartitions(rt, placer)
			recs = append(recs, more...)
			row(rt.Name, err)
		}
	}
	if req.ValidateOnly {
		recs = nil
	}
	return recs, &resp
}

func (s *State) addPartitions(rt *msg.CreatePartitionsRequestTopic, placer *placer) (Records, error) {
	t := s.Image.Topic(rt.Name)
	if t == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "")
	}
	has := len(t.Partitions)
	more := int(rt.Count) - has
	factor := len(t.Partitions[0].Replicas)
	switch {
	case more == 0:
		return nil, refuse(kafka.InvalidPartitions, "Topic already has %d partition(s).", has)
	case more < 0:
		return nil, refuse(kafka.InvalidPartitions,
			"The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, has, rt.Count)
	case rt.Assignments != nil && len(rt.Assignments) != more:
		return nil, refuse(kafka.InvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(rt.Assignments))
	}
	if rt.Assignments == nil {
		if err := placer.check(factor); err != nil {
			return nil, err
		}
	}
	var recs Records
	for i := range more {
		id := has + i
		var brokers []*cluster.Broker
		if rt.Assignments == nil {
			brokers = placer.replicas(id, factor)
		} else {
			var err error
			if brokers, err = s.manual(rt.Assignments[i].BrokerIDs, factor); err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(brokers, func(b *cluster.Broker) bool { return s.Image.Active(b.ID) }) {
				return nil, refuse(kafka.InvalidReplicaAssignment,
					"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", id)
			}
		}
		r := s.newPartition(int32(id), brokers)
		r.TopicID = t.ID
		recs = append(recs, r)
	}
	return recs, nil
}

// AutoCreate decides on topics that are made because somebody used them: with
// the defaults, or as what the broker itself needs an internal one to be (D8).
// The errors are in the order of names; nil also for a topic that exists.
func AutoCreate(s *State, names []string) (Records, []error) {
	var recs Records
	errs := make([]error, len(names))
	seen := map[string]bool{}
	placer := newPlacer(s.Image, s.Rand)
	for i, name := range names {
		if seen[name] || s.Image.Topic(name) != nil {
			continue
		}
		seen[name] = true
		if name == metadataTopic {
			errs[i] = refuse(kafka.InvalidRequest, "Creation of internal topic %s is prohibited.", name)
			continue
		}
		plan, err := s.planTopic(s.autoTopic(name), placer)
		if err != nil {
			errs[i] = err
			continue
		}
		recs = append(recs, plan.records()...)
	}
	return recs, errs
}

// internalTopic says which settings of the broker shape an internal topic.
type internalTopic struct{ partitions, factor, segment, minISR string }

var internalTopics = map[string]internalTopic{
	kafka.OffsetsTopic: {"offsets.topic.num.partitions", "offsets.topic.replication.factor", "offsets.topic.segment.bytes", ""},
	kafka.TxnTopic: {"transaction.state.log.num.partitions", "transaction.state.log.replication.factor",
		"transaction.state.log.segment.bytes", "transaction.state.log.min.isr"},
	kafka.ShareStateTopic: {"share.coordinator.state.topic.num.partitions", "share.coordinator.state.topic.replication.factor",
		"share.coordinator.state.topic.segment.bytes", "share.coordinator.state.topic.min.isr"},
}

func (s *State) autoTopic(name string) *msg.CreateTopicsRequestTopic {
	t := &msg.CreateTopicsRequestTopic{Name: name, NumPartitions: -1, ReplicationFactor: -1}
	shape, internal := internalTopics[name]
	if !internal {
		return t
	}
	t.NumPartitions, t.ReplicationFactor = int32(s.Config.Int(shape.partitions)), int16(s.factor(shape.factor))
	set := func(name, value string) {
		t.Configs = append(t.Configs, msg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	switch name {
	case kafka.TxnTopic:
		set("cleanup.policy", "compact")
		set("compression.type", "uncompressed")
		set("unclean.leader.election.enable", "false")
	case kafka.ShareStateTopic: // whose coordinator deletes what it needs no more
		set("cleanup.policy", "delete")
		set("compression.type", "producer")
		set("retention.ms", "-1")
	default:
		set("cleanup.policy", "compact")
		set("compression.type", "producer")
	}
	set("segment.bytes", s.Config.String(shape.segment))
	if shape.minISR != "" && s.Config.IsSet(shape.minISR) {
		set(MinISR, s.Config.String(shape.minISR))
	}
	return t
}

// factor is how often an internal topic is replicated: as the settings say, or,
// if they say nothing, three times where there are so many brokers.
func (s *State) factor(name string) int {
	if s.Config.IsSet(name) {
		return s.Config.Int(name)
	}
	active := 0
	for _, b := range s.Image.Brokers() {
		if s.Image.Active(b.ID) {
			active++
		}
	}
	return max(1, min(3, active))
}

func configRecord(res cluster.Resource, name string, value *string) *state.ConfigRecord {
	r := state.NewConfigRecord()
	r.ResourceType, r.ResourceName, r.Name, r.Value = int8(res.Kind), res.Name, name, value
	return &r
}

// scopes maps the kinds of resources to the tables that judge them.
var scopes = map[cluster.Kind]config.Scope{
	cluster.TopicResource:         config.Topic,
	cluster.BrokerResource:        config.BrokerScope,
	cluster.GroupResource:         config.Group,
	cluster.ClientMetricsResource: config.ClientMetrics,
}
