package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// consumerGroupHeartbeat answers ConsumerGroupHeartbeat (key 68, versions 0 to
// 1), by which a member of a consumer group joins, keeps its place, learns what
// to read, tells what it gave up, and leaves (KIP-848).
//
//	feature    UNSUPPORTED_VERSION unless the protocol is on and group.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED if one of
//	           the topics may not be described
//	check      INVALID_REQUEST, UNSUPPORTED_ASSIGNOR
//	find       GROUP_ID_NOT_FOUND, also if the group is of another kind
//	decide     see [consumer.Group.Heartbeat]
//
// Versions: 1 patterns, and the client draws the member id.
func (h *GroupHandlers) consumerGroupHeartbeat(c *Call, req *msg.ConsumerGroupHeartbeatRequest) *msg.ConsumerGroupHeartbeatResponse {
	refuse := func(bad kafka.Code) *msg.ConsumerGroupHeartbeatResponse {
		resp := msg.NewConsumerGroupHeartbeatResponse()
		resp.ErrorCode = int16(bad)
		return &resp
	}
	switch {
	case !h.consuming():
		return refuse(kafka.UnsupportedVersion)
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		return refuse(kafka.GroupAuthorizationFailed)
	}
	for _, t := range req.SubscribedTopicNames {
		if !c.Allowed(auth.Describe, auth.Topic, t) {
			return refuse(kafka.TopicAuthorizationFailed)
		}
	}
	return h.Groups.ConsumerGroupHeartbeat(c.Ctx, caller(c), req, c.describer)
}

// describer says which topics the caller may describe, also when the call is
// over.
func (c *Call) describer() func(topic string) bool {
	subject, authorizer := c.Conn.Subject, c.t.cfg.Authorizer
	return func(topic string) bool { return authorizer.Allow(&subject, auth.Describe, auth.Topic, topic) }
}
