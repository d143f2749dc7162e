package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// offsetFetch answers OffsetFetch (key 9, versions 1 to 10).
//
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED for a
//	           topic that is named; one that is not is left out
//	locate     UNKNOWN_TOPIC_ID
//	fetch      NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS; of a member
//	           UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH; of a partition
//	           UNSTABLE_OFFSET_COMMIT
//
// What was never committed reads as -1 without an error, even of a topic that
// does not exist.
//
// Versions: 2 null topics mean all, an error for the whole; 5 leader epoch, 6
// flexible, 7 require stable (KIP-447), 8 several groups (KIP-709), 9 member
// epoch (KIP-848; classic groups have none), 10 topic ids.
func (h *GroupHandlers) offsetFetch(c *Call, req *msg.OffsetFetchRequest) *msg.OffsetFetchResponse {
	if c.Version >= 8 {
		resp := msg.NewOffsetFetchResponse()
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, h.fetchGroup(c, &req.Groups[i], req.RequireStable))
		}
		return &resp
	}
	one := msg.NewOffsetFetchRequestGroup()
	one.GroupID = req.GroupID
	if req.Topics != nil {
		one.Topics = make([]msg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		one.Topics[i] = msg.OffsetFetchRequestGroupTopic{Name: t.Name, PartitionIndexes: t.PartitionIndexes}
	}
	return singleFetch(c, &one, h.fetchGroup(c, &one, req.RequireStable))
}

// singleFetch brings the answer for one group into the form of the versions
// before 8. Version 1 has no place for an error but the partitions.
func singleFetch(c *Call, req *msg.OffsetFetchRequestGroup, got msg.OffsetFetchResponseGroup) *msg.OffsetFetchResponse {
	resp := msg.NewOffsetFetchResponse()
	resp.ErrorCode = got.ErrorCode
	if c.Version < 2 && got.ErrorCode != 0 {
		got.Topics = nil
		for i := range req.Topics {
			got.Topics = append(got.Topics, refuseFetch(&req.Topics[i], kafka.Code(got.ErrorCode)))
		}
	}
	for _, t := range got.Topics {
		old := msg.OffsetFetchResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			old.Partitions = append(old.Partitions, msg.OffsetFetchResponseTopicPartition(p))
		}
		resp.Topics = append(resp.Topics, old)
	}
	return &resp
}

// fetchGroup answers for one group; topics that are refused come last.
func (h *GroupHandlers) fetchGroup(c *Call, req *msg.OffsetFetchRequestGroup, stable bool) msg.OffsetFetchResponseGroup {
	if !c.Allowed(auth.Describe, auth.Group, req.GroupID) {
		return msg.OffsetFetchResponseGroup{GroupID: req.GroupID, ErrorCode: int16(kafka.GroupAuthorizationFailed)}
	}
	var refused []msg.OffsetFetchResponseGroupTopic
	ask := *req
	if req.Topics != nil {
		ask.Topics = make([]msg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
	}
	for i := range req.Topics {
		t := req.Topics[i]
		if c.Version >= 10 {
			topic := h.Image().TopicByID(t.TopicID)
			if topic == nil {
				refused = append(refused, refuseFetch(&t, kafka.UnknownTopicID))
				continue
			}
			t.Name = topic.Name
		}
		if !c.Allowed(auth.Describe, auth.Topic, t.Name) {
			refused = append(refused, refuseFetch(&t, kafka.TopicAuthorizationFailed))
			continue
		}
		ask.Topics = append(ask.Topics, t)
	}
	got := h.Groups.Fetch(c.Ctx, caller(c), &ask, stable)
	if req.Topics == nil {
		got.Topics = h.visible(c, got.Topics)
	}
	if got.ErrorCode == 0 {
		got.Topics = append(got.Topics, refused...)
	}
	return got
}

// visible leaves out topics that the caller may not see and, where topics go by
// id, those that have none any more.
func (h *GroupHandlers) visible(c *Call, topics []msg.OffsetFetchResponseGroupTopic) []msg.OffsetFetchResponseGroupTopic {
	image := h.Image()
	for i := range topics {
		if t := image.Topic(topics[i].Name); t != nil {
			topics[i].TopicID = t.ID
		}
	}
	return slices.DeleteFunc(topics, func(t msg.OffsetFetchResponseGroupTopic) bool {
		return c.Version >= 10 && t.TopicID.IsZero() || !c.Allowed(auth.Describe, auth.Topic, t.Name)
	})
}

func refuseFetch(t *msg.OffsetFetchRequestGroupTopic, code kafka.Code) msg.OffsetFetchResponseGroupTopic {
	rt := msg.OffsetFetchResponseGroupTopic{Name: t.Name, TopicID: t.TopicID}
	for _, p := range t.PartitionIndexes {
		rt.Partitions = append(rt.Partitions, msg.OffsetFetchResponseGroupTopicPartition{
			PartitionIndex: p, CommittedOffset: kafka.NoOffset, CommittedLeaderEpoch: kafka.NoEpoch,
			Metadata: new(""), ErrorCode: int16(code),
		})
	}
	return rt
}
