package controller

import (
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// maxBatch is the most partitions that one request may add; a decision is
// replayed whole, so it must not grow without bound.
const maxBatch = 10000

// metadataTopic is the name of the quorum's log, which is not a topic.
const metadataTopic = "__cluster_metadata"

// CreateTopics decides on new topics, each for itself:
//
//	names     INVALID_REQUEST for a name given twice, INVALID_TOPIC_EXCEPTION,
//	          TOPIC_ALREADY_EXISTS
//	settings  INVALID_CONFIG
//	replicas  INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR,
//	          INVALID_REPLICA_ASSIGNMENT
//
// With ValidateOnly the answer is the same and nothing is written.
func CreateTopics(s *State, req *msg.CreateTopicsRequest) (Records, *msg.CreateTopicsResponse) {
	resp := msg.NewCreateTopicsResponse()
	if err := s.tooMany(req); err != nil {
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, refusedTopic(req.Topics[i].Name, err))
		}
		return nil, &resp
	}
	var recs Records
	placer := newPlacer(s.Image, s.Rand)
	var plain []msg.CreateTopicsResponseTopicConfig // what topics without settings have
	twice, last := apart(req.Topics)
	for i := range req.Topics {
		t := &req.Topics[i]
		if twice[t.Name] || t.Name == metadataTopic {
			continue
		}
		plan, err := s.planTopic(t, placer)
		if err != nil {
			resp.Topics = append(resp.Topics, refusedTopic(t.Name, err))
			continue
		}
		recs = append(recs, plan.records()...)
		row := plan.row()
		switch {
		case len(plan.configs) > 0:
			row.Configs = s.describe(plan.configs)
		case plain == nil:
			plain = s.describe(nil)
			fallthrough
		default:
			row.Configs = plain
		}
		resp.Topics = append(resp.Topics, row)
	}
	for _, name := range last {
		resp.Topics = append(resp.Topics, refusedTopic(name, notThisOne(name, twice[name])))
	}
	if req.ValidateOnly {
		recs = nil
	}
	return recs, &resp
}

func (s *State) tooMany(req *msg.CreateTopicsRequest) error {
	total := 0
	for i := range req.Topics {
		switch t := &req.Topics[i]; {
		case len(t.Assignments) > 0:
			total += len(t.Assignments)
		case t.NumPartitions == -1:
			total += s.Config.Int("num.partitions")
		default:
			total += int(t.NumPartitions)
		}
	}
	if total > maxBatch {
		return refuse(kafka.PolicyViolation, "Excessively large number of partitions per request.")
	}
	return nil
}

// apart finds the names that are refused whatever else is asked of them, in the
// order in which they are answered, after all others.
func apart(topics []msg.CreateTopicsRequestTopic) (twice map[string]bool, last []string) {
	seen := map[string]bool{}
	twice = map[string]bool{}
	prohibited := false
	for i := range topics {
		name := topics[i].Name
		if seen[name] && !twice[name] {
			twice[name] = true
			last = append(last, name)
		}
		seen[name] = true
		prohibited = prohibited || name == metadataTopic
	}
	if prohibited && !twice[metadataTopic] {
		last = append(last, metadataTopic)
	}
	return twice, last
}

func notThisOne(name string, twice bool) error {
	if twice {
		return refuse(kafka.InvalidRequest, "Duplicate topic name.")
	}
	return refuse(kafka.InvalidRequest, "Creation of internal topic %s is prohibited.", name)
}

func refusedTopic(name string, err error) msg.CreateTopicsResponseTopic {
	row := msg.NewCreateTopicsResponseTopic()
	row.Name = name
	row.ErrorCode, row.ErrorMessage = answer(err)
	row.Configs = []msg.CreateTopicsResponseTopicConfig{}
	return row
}

// topicPlan is a topic that will be.
type topicPlan struct {
	name       string
	id         kafka.UUID
	configs    map[string]string
	partitions []*state.PartitionRecord
}

func (s *State) planTopic(t *msg.CreateTopicsRequestTopic, placer *placer) (*topicPlan, error) {
	if err := s.checkName(t.Name); err != nil {
		return nil, err
	}
	p := &topicPlan{name: t.Name}
	var err error
	if len(t.Configs) > 0 {
		pairs := make([]config.Change, 0, len(t.Configs))
		for _, c := range t.Configs {
			pairs = append(pairs, config.Change{Name: c.Name, Value: c.Value})
		}
		if p.configs, err = s.Config.NewTopic(t.Name, pairs); err != nil {
			return nil, err
		}
	}
	if len(t.Assignments) > 0 {
		err = p.assigned(s, t)
	} else {
		err = p.placed(s, t, placer)
	}
	if err != nil {
		return nil, err
	}
	p.id = s.newID()
	for _, r := range p.partitions {
		r.TopicID = p.id
	}
	return p, nil
}

func (s *State) checkName(name string) error {
	if err := CheckTopicName(name); err != nil {
		return err
	}
	if s.Image.Topic(name) != nil {
		return refuse(kafka.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if other := collision(s.Image, "", name, name); other != "" {
		return refuse(kafka.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

// CheckTopicName says what is wrong with a topic's name, in Kafka's words.
func CheckTopicName(name string) error {
	const head = "Topic name is invalid: "
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	switch {
	case name == "":
		return refuse(kafka.InvalidTopicException, head+"the empty string is not allowed")
	case name == "." || name == "..":
		return refuse(kafka.InvalidTopicException, head+"'%s' is not allowed", name)
	case len(name) > kafka.MaxTopicName:
		return refuse(kafka.InvalidTopicException, head+"the length of '%s' is longer than the max allowed length %d", name, kafka.MaxTopicName)
	case strings.IndexFunc(name, bad) >= 0:
		return refuse(kafka.InvalidTopicException,
			head+"'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return nil
}

// collision finds a topic that differs from name in dots and underscores only:
// in the names of metrics the two would be one. It tries both characters at each
// place but goes on only where some topic begins so.
func collision(m *cluster.Image, done, rest, name string) string {
	i := strings.IndexAny(rest, "._")
	if i < 0 {
		if full := done + rest; full != name && m.Topic(full) != nil {
			return full
		}
		return ""
	}
	for _, c := range []string{".", "_"} {
		prefix := done + rest[:i] + c
		for t := range m.TopicsFrom(prefix) {
			if strings.HasPrefix(t.Name, prefix) {
				if other := collision(m, prefix, rest[i+1:], name); other != "" {
					return other
				}
			}
			break
		}
	}
	return ""
}

// placed lets the controller choose the replicas.
func (p *topicPlan) placed(s *State, t *msg.CreateTopicsRequestTopic, placer *placer) error {
	factor, count := int(t.ReplicationFactor), int(t.NumPartitions)
	switch {
	case factor < -1 || factor == 0:
		return refuse(kafka.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case count < -1 || count == 0:
		return refuse(kafka.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	if factor == -1 {
		factor = s.Config.Int("default.replication.factor")
	}
	if count == -1 {
		count = s.Config.Int("num.partitions")
	}
	if err := placer.check(factor); err != nil {
		return err
	}
	for id := range count {
		p.partitions = append(p.partitions, s.newPartition(int32(id), placer.replicas(id, factor)))
	}
	return nil
}

// newPartition is the record of a partition that begins.
func (s *State) newPartition(id int32, replicas []*cluster.Broker) *state.PartitionRecord {
	r := state.NewPartitionRecord()
	r.PartitionID, r.LeaderEpoch, r.PartitionEpoch = id, 0, 0
	r.RemovingReplicas, r.AddingReplicas = []int32{}, []int32{}
	for _, b := range replicas {
		r.Replicas = append(r.Replicas, b.ID)
		r.Directories = append(r.Directories, directoryOf(b))
		if s.Image.Active(b.ID) {
			r.ISR = append(r.ISR, b.ID)
		}
	}
	r.Leader = r.ISR[0]
	return &r
}

// directoryOf is where a broker will put a replica: in its only log directory.
// With several it chooses itself, see [AssignReplicasToDirs] (KIP-858).
func directoryOf(b *cluster.Broker) kafka.UUID {
	if len(b.LogDirs) == 1 {
		return b.LogDirs[0]
	}
	return kafka.DirUnassigned
}

// assigned takes the replicas from the request.
func (p *topicPlan) assigned(s *State, t *msg.CreateTopicsRequestTopic) error {
	switch {
	case t.ReplicationFactor != -1:
		return refuse(kafka.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case t.NumPartitions != -1:
		return refuse(kafka.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	factor := 0
	seen := map[int32]bool{}
	for _, a := range t.Assignments {
		if seen[a.PartitionIndex] {
			return refuse(kafka.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.PartitionIndex)
		}
		seen[a.PartitionIndex] = true
		brokers, err := s.manual(a.BrokerIDs, factor)
		if err != nil {
			return err
		}
		factor = len(brokers)
		if !slices.ContainsFunc(brokers, func(b *cluster.Broker) bool { return s.Image.Active(b.ID) }) {
			return refuse(kafka.InvalidReplicaAssignment,
				"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", a.PartitionIndex)
		}
		p.partitions = append(p.partitions, s.newPartition(a.PartitionIndex, brokers))
	}
	slices.SortFunc(p.partitions, func(a, b *state.PartitionRecord) int { return int(a.PartitionID) - int(b.PartitionID) })
	for i, r := range p.partitions {
		if r.PartitionID != int32(i) {
			return refuse(kafka.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
	}
	return nil
}

// manual checks one list of replicas that a client chose; factor is how many
// the partitions before it have, 0 for the first.
func (s *State) manual(ids []int32, factor int) ([]*cluster.Broker, error) {
	if len(ids) == 0 {
		return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	var brokers []*cluster.Broker
	for _, id := range slices.Sorted(slices.Values(ids)) {
		b := s.Image.Broker(id)
		switch {
		case b == nil:
			return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		case slices.Contains(brokers, b):
			return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
		brokers = append(brokers, b)
	}
	if factor > 0 && len(ids) != factor {
		return nil, refuse(kafka.InvalidReplicaAssignment,
			"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(ids), factor)
	}
	for i, id := range ids {
		brokers[i] = s.Image.Broker(id)
	}
	return brokers, nil
}

func (p *topicPlan) records() Records {
	r := state.NewTopicRecord()
	r.Name, r.TopicID = p.name, p.id
	recs := Records{&r}
	for _, name := range sortedKeys(p.configs) {
		recs = append(recs, configRecord(cluster.Resource{Kind: cluster.TopicResource, Name: p.name}, name, new(p.configs[name])))
	}
	for _, part := range p.partitions {
		recs = append(recs, part)
	}
	return recs
}

// row is the answer for a topic that was created, but for its settings.
func (p *topicPlan) row() msg.CreateTopicsResponseTopic {
	row := msg.NewCreateTopicsResponseTopic()
	row.Name, row.TopicID = p.name, p.id
	row.NumPartitions, row.ReplicationFactor = int32(len(p.partitions)), int16(len(p.partitions[0].Replicas))
	return row
}

// describe lists all settings of a topic as the answer has them.
func (s *State) describe(configs map[string]string) []msg.CreateTopicsResponseTopicConfig {
	rows := []msg.CreateTopicsResponseTopicConfig{}
	for _, c := range s.Config.DescribeTopic(configs, nil) {
		rows = append(rows, msg.CreateTopicsResponseTopicConfig{
			Name: c.Name, Value: c.Value, ReadOnly: c.ReadOnly, ConfigSource: int8(c.Source), IsSensitive: c.Sensitive})
	}
	return rows
}
