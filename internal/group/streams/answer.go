package streams

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// answer tells the member what it has, and what there is to know of the group. What
// it has is told when it changed, and again when the member says that it has
// something else: it may not have got the answer.
func (b *beat) answer() *msg.StreamsGroupHeartbeatResponse {
	g, old, next := b.g, b.old, b.next
	resp := msg.NewStreamsGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = next.id, next.epoch
	resp.HeartbeatIntervalMs = int32(b.cfg.Heartbeat.Milliseconds())
	resp.TaskOffsetIntervalMs = int32(b.cfg.TaskOffsets.Milliseconds())
	resp.AcceptableRecoveryLag = b.cfg.RecoveryLag
	other := !next.sameTasks(old)
	owned := b.owned()
	if b.joining || other || owned != nil && !owned.equal(&next.assigned) {
		resp.ActiveTasks, resp.StandbyTasks, resp.WarmupTasks = taskIDs(next.assigned.active), taskIDs(next.assigned.standby), taskIDs(next.assigned.warmup)
	}
	if moved := !same(old.endpoint, next.endpoint); moved || other && next.endpoint != nil {
		g.endpoints++
	}
	if g.endpoints != b.req.EndpointInformationEpoch {
		resp.PartitionsByUserEndpoint = b.serving()
	}
	if !g.kept { // nobody was told of a change yet
		g.endpoints = 0
	}
	resp.EndpointInformationEpoch = g.endpoints
	if b.ready.wrong != nil {
		b.tell(b.ready.wrong.status, "%s", b.ready.wrong.detail)
	}
	if b.req.ShutdownApplication && g.shutdown == "" {
		g.shutdown = next.id
	}
	if g.shutdown != "" {
		b.tell(ShutdownApplication, "The member %s met a fatal error and asks the whole application to stop.", g.shutdown)
	}
	if missing := b.missingTags(); missing != nil {
		b.tell(MissingClientTags, "The client lacks the tags %q that standbys are to be spread by; they are set with client.tag.", missing)
	}
	resp.Status = b.status
	if resp.Status == nil {
		resp.Status = []msg.StreamsGroupHeartbeatResponseStatus{}
	}
	resp.TopologyDescriptionRequired = b.wantsDescription()
	return &resp
}

func (b *beat) missingTags() (missing []string) {
	if b.who.Version < 1 {
		return nil
	}
	for _, key := range b.cfg.RackTags {
		if !b.next.tag(key) {
			missing = append(missing, key)
		}
	}
	return missing
}

func taskIDs(s set) []msg.StreamsGroupHeartbeatResponseTaskID {
	out := []msg.StreamsGroupHeartbeatResponseTaskID{}
	s.groups(func(id string, partitions []int32) {
		out = append(out, msg.StreamsGroupHeartbeatResponseTaskID{SubtopologyID: id, Partitions: partitions})
	})
	return out
}

// serving tells which member serves which partitions to queries.
func (b *beat) serving() []msg.StreamsGroupHeartbeatResponsePartitionsByUserEndpoint {
	out := []msg.StreamsGroupHeartbeatResponsePartitionsByUserEndpoint{}
	members := b.members()
	for _, id := range append(slices.DeleteFunc(b.g.order(), func(id string) bool { return members[id] == nil || id == b.next.id }), b.next.id) {
		m := members[id]
		if m.endpoint == nil {
			continue
		}
		out = append(out, msg.StreamsGroupHeartbeatResponsePartitionsByUserEndpoint{
			UserEndpoint:      msg.StreamsGroupHeartbeatResponseEndpoint{Host: m.endpoint.host, Port: m.endpoint.port},
			ActivePartitions:  b.partitions(m.assigned.active),
			StandbyPartitions: b.partitions(m.assigned.standby.plus(m.assigned.warmup)),
		})
	}
	return out
}

// partitions are the source partitions of tasks.
func (b *beat) partitions(s set) []msg.StreamsGroupHeartbeatResponseTopicPartition {
	out := []msg.StreamsGroupHeartbeatResponseTopicPartition{}
	s.groups(func(id string, of []int32) {
		for i := range b.topology.subtopologies {
			sub := &b.topology.subtopologies[i]
			if sub.SubtopologyID != id {
				continue
			}
			names := slices.Sorted(sources(sub))
			for _, name := range slices.Compact(names) {
				t, ok := b.topics.Named(name)
				if !ok {
					continue
				}
				have := slices.DeleteFunc(slices.Clone(of), func(p int32) bool { return p >= t.Partitions })
				if len(have) > 0 {
					out = append(out, msg.StreamsGroupHeartbeatResponseTopicPartition{Topic: name, Partitions: have})
				}
			}
		}
	})
	return out
}

// Check says what is wrong with a heartbeat by itself.
//
// Errors: INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY.
func Check(req *msg.StreamsGroupHeartbeatRequest) error {
	some := req.ActiveTasks != nil || req.StandbyTasks != nil || req.WarmupTasks != nil
	all := req.ActiveTasks != nil && req.StandbyTasks != nil && req.WarmupTasks != nil
	empty := func(s *string) bool { return s != nil && *s == "" }
	if err := checkSources(req.Topology); err != nil {
		return err
	}
	switch {
	case req.MemberID == "":
		return invalid("There must be a member id.")
	case req.GroupID == "":
		return invalid("There must be a group id.")
	case empty(req.InstanceID), empty(req.RackID):
		return invalid("An instance id or a rack is null or not empty.")
	case req.MemberEpoch < leavesAWhile:
		return invalid("There is no member epoch below -2.")
	case req.MemberEpoch == leavesAWhile && req.InstanceID == nil:
		return invalid("The member epoch -2 needs an instance id.")
	case req.MemberEpoch == joins && req.RebalanceTimeoutMs == -1:
		return invalid("Who joins must tell its rebalance timeout.")
	case req.MemberEpoch == joins && len(req.ActiveTasks)+len(req.StandbyTasks)+len(req.WarmupTasks) > 0:
		return invalid("Who joins has no tasks.")
	case req.MemberEpoch == joins && req.Topology == nil:
		return invalid("Who joins must tell its topology.")
	case some && !all:
		return invalid("Either all kinds of tasks are told or none.")
	case req.MemberEpoch != joins && req.Topology != nil:
		return invalid("Only who joins tells its topology.")
	case twice(req.ClientTags):
		return kind.Refuse(kafka.UnknownServerError, "A client tag is there twice.")
	case req.Topology != nil:
		return check(req.Topology)
	}
	return nil
}

func twice(tags []msg.StreamsGroupHeartbeatRequestKeyValue) bool {
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Key] {
			return true
		}
		seen[t.Key] = true
	}
	return false
}

func checkSources(t *msg.StreamsGroupHeartbeatRequestTopology) error {
	if t == nil {
		return nil
	}
	for i := range t.Subtopologies {
		if len(t.Subtopologies[i].SourceTopicRegex) > 0 {
			return invalid("Source topics by regular expression are not supported yet, as in Kafka.")
		}
	}
	return nil
}
