package api

import (
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/group/streams"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// streamsGroupHeartbeat answers StreamsGroupHeartbeat (key 88, versions 0 to 1),
// by which a member of a Kafka Streams application joins, tells its topology and
// its tasks, learns what tasks it is to have, and leaves (KIP-1071).
//
//	feature    UNSUPPORTED_VERSION unless the protocol is on and streams.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED if one of
//	           the topology's topics may not be described
//	topics     STREAMS_INVALID_TOPOLOGY: Kafka's own topics, or names that are none
//	check      INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY
//	find       GROUP_ID_NOT_FOUND, also if the group is of another kind
//	decide     see [streams.Group.Heartbeat]
//	create     internal topics, if the client may
//
// Versions: 1 descriptions of topologies (KIP-1331), a status for client tags.
//
// Differs from Apache Kafka: the topics are there when the answer comes, unless
// that takes too long.
func (h *GroupHandlers) streamsGroupHeartbeat(c *Call, req *msg.StreamsGroupHeartbeatRequest) *msg.StreamsGroupHeartbeatResponse {
	refuse := func(bad kafka.Code, text string) *msg.StreamsGroupHeartbeatResponse {
		resp := msg.NewStreamsGroupHeartbeatResponse()
		resp.ErrorCode, resp.Status = int16(bad), []msg.StreamsGroupHeartbeatResponseStatus{}
		if text != "" {
			resp.ErrorMessage = &text
		}
		return &resp
	}
	switch {
	case !h.streaming():
		return refuse(kafka.UnsupportedVersion, "")
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		return refuse(kafka.GroupAuthorizationFailed, "")
	}
	names := topologyTopics(req.Topology)
	if own := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !kafka.IsInternalTopic(n) }); len(own) > 0 {
		return refuse(kafka.StreamsInvalidTopology, "The topics "+strings.Join(own, ", ")+" are the brokers' own.")
	}
	if bad := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return kafka.CheckTopicName(n) == "" }); len(bad) > 0 {
		return refuse(kafka.StreamsInvalidTopology, "These are no names of topics: "+strings.Join(bad, ", "))
	}
	for _, n := range names {
		if !c.Allowed(auth.Describe, auth.Topic, n) {
			return refuse(kafka.TopicAuthorizationFailed, "")
		}
	}
	resp, missing := h.Groups.StreamsGroupHeartbeat(c.Ctx, caller(c), req)
	if len(missing) > 0 {
		h.createStreamsTopics(c, req.GroupID, resp, missing)
	}
	return resp
}

// topologyTopics are the names of all topics of a topology, in order.
func topologyTopics(t *msg.StreamsGroupHeartbeatRequestTopology) (names []string) {
	if t == nil {
		return nil
	}
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		names = slices.Concat(names, s.SourceTopics, s.RepartitionSinkTopics)
		for _, list := range [][]msg.StreamsGroupHeartbeatRequestTopicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range list {
				names = append(names, list[j].Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// createStreamsTopics makes the internal topics that a group lacks, or says in the
// status of the answer why not.
func (h *GroupHandlers) createStreamsTopics(c *Call, id string, resp *msg.StreamsGroupHeartbeatResponse, missing []group.TopicSpec) {
	var why string
	if !c.Allowed(auth.Create, auth.Cluster, auth.ClusterName) {
		var denied []string
		for i := range missing {
			if !c.Allowed(auth.Create, auth.Topic, missing[i].Name) {
				denied = append(denied, missing[i].Name)
			}
		}
		if denied != nil {
			why = "the client may not create " + strings.Join(denied, ", ")
		}
	}
	if why == "" {
		if err := h.Groups.CreateStreamsTopics(c.Ctx, id, missing); err != nil {
			why = "they cannot be created: " + err.Error()
		}
	}
	for i := range resp.Status {
		if s := &resp.Status[i]; s.StatusCode == streams.MissingInternalTopics && why != "" {
			s.StatusDetail += "; " + why
		}
	}
}
