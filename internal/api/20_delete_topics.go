package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// deleteTopics answers DeleteTopics (key 20, versions 1 to 6).
//
//	authorize  TOPIC_AUTHORIZATION_FAILED; by an id whose topic the client may
//	           not see UNKNOWN_TOPIC_ID, so that it does not learn of it
//	decide     see [controller.DeleteTopics]; NOT_CONTROLLER, REQUEST_TIMED_OUT
//
// Versions: 3 TOPIC_DELETION_DISABLED, 5 texts, 6 by topic id (KIP-516).
func (h *AdminHandlers) deleteTopics(c *Call, req *msg.DeleteTopicsRequest) *msg.DeleteTopicsResponse {
	var refused []msg.DeleteTopicsResponseResponse
	refuse := func(name *string, id kafka.UUID, code kafka.Code, text string) {
		refused = append(refused, msg.DeleteTopicsResponseResponse{Name: name, TopicID: id, ErrorCode: int16(code), ErrorMessage: &text})
	}
	names := req.TopicNames[:0]
	for _, name := range req.TopicNames {
		if c.Allowed(auth.Delete, auth.Topic, name) {
			names = append(names, name)
			continue
		}
		refuse(&name, kafka.UUID{}, kafka.TopicAuthorizationFailed, unauthorizedText)
	}
	req.TopicNames = names
	topics := req.Topics[:0]
	for _, t := range req.Topics {
		name := t.Name
		if name == nil {
			if found := h.Metadata.Image().TopicByID(t.TopicID); found != nil {
				name = &found.Name
			}
		}
		switch {
		case name == nil || c.Allowed(auth.Delete, auth.Topic, *name):
			topics = append(topics, t)
		case t.Name == nil && !c.Allowed(auth.Describe, auth.Topic, *name):
			refuse(nil, t.TopicID, kafka.UnknownTopicID, "This server does not host this topic ID.")
		default:
			refuse(t.Name, t.TopicID, kafka.TopicAuthorizationFailed, unauthorizedText)
		}
	}
	req.Topics = topics
	ctx, cancel := c.within(req.TimeoutMs)
	defer cancel()
	resp := h.Metadata.DeleteTopics(ctx, req, c.Version)
	resp.Responses = append(resp.Responses, refused...)
	return resp
}
