package group

import (
	"context"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/group/streams"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// newStreams makes the groups of Kafka Streams applications.
func (c *Config) newStreams() func(id string) kind.Group {
	return func(id string) kind.Group {
		return streams.New(id, func() streams.Config { return c.streamsConfig(id) })
	}
}

// streamsConfig are the settings of a streams group as of now.
func (c *Config) streamsConfig(group string) streams.Config {
	out := c.Streams
	if c.Settings == nil {
		return out
	}
	s := c.Settings(group)
	out.Session = s.Millis("streams.session.timeout.ms")
	out.Heartbeat = s.Millis("streams.heartbeat.interval.ms")
	out.InitialDelay = s.Millis("streams.initial.rebalance.delay.ms")
	out.Between = s.Millis("streams.assignment.interval.ms")
	out.TaskOffsets = s.Millis("streams.task.offset.interval.ms")
	out.RecoveryLag = int64(s.Int("streams.acceptable.recovery.lag"))
	out.Standbys = s.Int("streams.num.standby.replicas")
	out.RackTags = s.List("streams.rack.aware.assignment.tags")
	out.Assignor = s.String("streams.assignor.name")
	return out
}

// StreamsGroupHeartbeat answers StreamsGroupHeartbeat (key 88), and tells which
// internal topics the group lacks, for [Service.CreateStreamsTopics].
func (s *Service) StreamsGroupHeartbeat(
	ctx context.Context, c Client, req *msg.StreamsGroupHeartbeatRequest,
) (*msg.StreamsGroupHeartbeatResponse, []TopicSpec) {
	var beat streams.Beat
	err := streams.Check(req)
	if err == nil {
		who := streams.Who{ClientID: c.ID, Host: c.Host, Version: c.Version}
		join := req.MemberEpoch == 0
		err = s.decide(ctx, req.GroupID, kind.Streams, join, func(g kind.Group, now time.Time, topics kind.Topics) (kind.Step, error) {
			var step kind.Step
			var err error
			beat, step, err = g.(*streams.Group).Heartbeat(now, who, req, topics)
			return step, err
		})
	}
	if err != nil {
		bad := msg.NewStreamsGroupHeartbeatResponse()
		bad.ErrorCode = int16(code(err))
		if code(err) != kafka.UnknownServerError { // Kafka keeps the reason to itself
			bad.ErrorMessage = new(kind.Text(err))
		}
		bad.Status = []msg.StreamsGroupHeartbeatResponseStatus{}
		return &bad, nil
	}
	var missing []TopicSpec
	for _, t := range beat.Create {
		spec := TopicSpec{Name: t.Name, Partitions: t.Partitions, Replication: t.Replication}
		for _, c := range t.Configs {
			spec.Configs = append(spec.Configs, cluster.Pair{Name: c.Name, Value: c.Value})
		}
		missing = append(missing, spec)
	}
	return beat.Response, missing
}

// CreateStreamsTopics makes the internal topics that a group lacks, in the name of
// the broker. It takes no longer than two heartbeats of the group.
func (s *Service) CreateStreamsTopics(ctx context.Context, group string, missing []TopicSpec) error {
	if s.cfg.CreateTopics == nil {
		return kafka.UnknownServerError
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.streamsConfig(group).Heartbeat)
	defer cancel()
	return s.cfg.CreateTopics(ctx, missing)
}

// StreamsGroupDescribe answers StreamsGroupDescribe (key 89). With topology it
// tells of the topologies' descriptions.
func (s *Service) StreamsGroupDescribe(ctx context.Context, ids []string, topology bool) []msg.StreamsGroupDescribeResponseGroup {
	groups := make([]msg.StreamsGroupDescribeResponseGroup, 0, len(ids))
	for _, id := range ids {
		var d msg.StreamsGroupDescribeResponseGroup
		err := error(kafka.InvalidGroupID)
		if id != "" {
			err = s.look(ctx, id, kind.Streams, func(g kind.Group, _ kind.Topics) error {
				d = g.(*streams.Group).Describe(topology)
				return nil
			})
		}
		if err != nil {
			d = msg.NewStreamsGroupDescribeResponseGroup()
			d.GroupID, d.ErrorCode = id, int16(code(err))
			if code(err) == kafka.GroupIDNotFound {
				d.ErrorMessage = new(kind.Text(err))
			}
		}
		groups = append(groups, d)
	}
	return groups
}

// StreamsGroupTopologyDescriptionUpdate answers the request of this name (key 93),
// which comes when a heartbeat asked for it.
func (s *Service) StreamsGroupTopologyDescriptionUpdate(
	ctx context.Context, req *msg.StreamsGroupTopologyDescriptionUpdateRequest,
) *msg.StreamsGroupTopologyDescriptionUpdateResponse {
	resp := msg.NewStreamsGroupTopologyDescriptionUpdateResponse()
	err := s.checkDescription(req)
	if err == nil {
		err = s.decide(ctx, req.GroupID, kind.Streams, false, func(g kind.Group, _ time.Time, _ kind.Topics) (kind.Step, error) {
			return g.(*streams.Group).SetDescription(req)
		})
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(code(err)), new(kind.Text(err))
	}
	return &resp
}

func (s *Service) checkDescription(req *msg.StreamsGroupTopologyDescriptionUpdateRequest) error {
	switch {
	case !s.cfg.Streams.KeepTopologies:
		return kind.Refuse(kafka.UnsupportedVersion, "This broker keeps no descriptions of topologies.")
	case req.MemberID == "":
		return kind.Refuse(kafka.InvalidRequest, "There must be a member id.")
	case req.GroupID == "":
		return kind.Refuse(kafka.InvalidRequest, "There must be a group id.")
	}
	return nil
}
