package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// streamsGroupDescribe answers StreamsGroupDescribe (key 89, versions 0 to 1).
//
//	feature    UNSUPPORTED_VERSION unless the protocol is on and streams.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED
//	find       INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, also if the group is of
//	           another kind
//	show       TOPIC_AUTHORIZATION_FAILED if the topology has a topic that may not
//	           be described
//
// Versions: 1 the description of the topology and the assignor (KIP-1331).
func (h *GroupHandlers) streamsGroupDescribe(c *Call, req *msg.StreamsGroupDescribeRequest) *msg.StreamsGroupDescribeResponse {
	resp := msg.NewStreamsGroupDescribeResponse()
	var ids []string
	for _, id := range req.GroupIDs {
		bad := kafka.GroupAuthorizationFailed
		if !h.streaming() {
			bad = kafka.UnsupportedVersion
		} else if c.Allowed(auth.Describe, auth.Group, id) {
			ids = append(ids, id)
			continue
		}
		g := msg.NewStreamsGroupDescribeResponseGroup()
		g.GroupID, g.ErrorCode = id, int16(bad)
		resp.Groups = append(resp.Groups, g)
	}
	for _, g := range h.Groups.StreamsGroupDescribe(c.Ctx, ids, req.IncludeTopologyDescription) {
		if g.ErrorCode == 0 && req.IncludeAuthorizedOperations {
			g.AuthorizedOperations = c.AuthorizedOperations(auth.Group, g.GroupID)
		}
		if g.Topology != nil && hiddenTopology(c, g.Topology) {
			id := g.GroupID
			g = msg.NewStreamsGroupDescribeResponseGroup()
			g.GroupID, g.ErrorCode = id, int16(kafka.TopicAuthorizationFailed)
			g.ErrorMessage = new("The group uses topics that the client may not describe.")
		}
		resp.Groups = append(resp.Groups, g)
	}
	return &resp
}

// hiddenTopology says whether a topology has a topic that the client may not
// describe.
func hiddenTopology(c *Call, t *msg.StreamsGroupDescribeResponseGroupTopology) bool {
	hidden := func(name string) bool { return !c.Allowed(auth.Describe, auth.Topic, name) }
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		for _, names := range [][]string{s.SourceTopics, s.RepartitionSinkTopics} {
			for _, n := range names {
				if hidden(n) {
					return true
				}
			}
		}
		for _, list := range [][]msg.StreamsGroupDescribeResponseTopicInfo{s.StateChangelogTopics, s.RepartitionSourceTopics} {
			for j := range list {
				if hidden(list[j].Name) {
					return true
				}
			}
		}
	}
	return false
}
