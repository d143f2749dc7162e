package api

import (
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The types of coordinators (KIP-98, KIP-932).
const (
	coordinatesGroup int8 = iota
	coordinatesTransaction
	coordinatesShare
)

// findCoordinator answers FindCoordinator (key 10, versions 0 to 6): which
// broker leads the partition of __consumer_offsets that keeps a group, of
// __transaction_state that keeps a transactional id, or of __share_group_state
// that keeps a share partition. The first who asks makes that topic.
//
//	type       INVALID_REQUEST
//	authorize  GROUP_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
//	           CLUSTER_AUTHORIZATION_FAILED for share partitions
//	locate     COORDINATOR_NOT_AVAILABLE
//
// Versions: 1 transactions, message; 3 flexible, 4 several keys (KIP-699), 6
// share groups (KIP-932).
//
// Differs from Apache Kafka: when the topic is there at once, so is the answer.
func (h *GroupHandlers) findCoordinator(c *Call, req *msg.FindCoordinatorRequest) *msg.FindCoordinatorResponse {
	resp := msg.NewFindCoordinatorResponse()
	if c.Version >= 4 {
		for _, key := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, h.locate(c, req.KeyType, key))
		}
		return &resp
	}
	if c.Version == 0 {
		req.KeyType = coordinatesGroup
	}
	one := h.locate(c, req.KeyType, req.CoordinatorKey)
	resp.ErrorCode, resp.NodeID, resp.Host, resp.Port = one.ErrorCode, one.NodeID, one.Host, one.Port
	switch code := kafka.Code(one.ErrorCode); {
	case one.ErrorMessage != nil && *one.ErrorMessage != "":
		resp.ErrorMessage = one.ErrorMessage
	case code == kafka.None:
		resp.ErrorMessage = new("NONE")
	case code == kafka.CoordinatorNotAvailable:
		resp.ErrorMessage = new("The coordinator is not available.")
	default:
		resp.ErrorMessage = new(code.Name())
	}
	return &resp
}

// locate finds the coordinator of one key.
func (h *GroupHandlers) locate(c *Call, kind int8, key string) msg.FindCoordinatorResponseCoordinator {
	r := msg.FindCoordinatorResponseCoordinator{Key: key, NodeID: kafka.NoBroker, Port: -1, ErrorMessage: new("")}
	switch kind {
	case coordinatesGroup:
		if !c.Allowed(auth.Describe, auth.Group, key) {
			r.ErrorCode = int16(kafka.GroupAuthorizationFailed)
			return r
		}
		h.leads(c, &r, kafka.OffsetsTopic, key)
	case coordinatesTransaction:
		if !c.Allowed(auth.Describe, auth.TransactionalID, key) {
			r.ErrorCode = int16(kafka.TransactionalIDAuthorizationFailed)
			return r
		}
		h.leads(c, &r, kafka.TxnTopic, key)
	case coordinatesShare:
		at, ok := shareKey(key)
		switch {
		case c.Version < 6 || !ok:
			r.ErrorCode = int16(kafka.InvalidRequest)
		case !c.AllowedCluster(auth.ClusterAction):
			r.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		default:
			h.leads(c, &r, kafka.ShareStateTopic, at.String())
		}
	default:
		r.ErrorCode = int16(kafka.InvalidRequest)
		r.ErrorMessage = new("This broker knows no such type of coordinator.")
	}
	return r
}

// shareKey reads the name of a share partition, "group:topicId:partition".
func shareKey(name string) (key share.Key, ok bool) {
	rest, partition, ok := cutLast(name)
	if !ok {
		return key, false
	}
	group, topic, ok := cutLast(rest)
	if !ok || group == "" {
		return key, false
	}
	id, err := kafka.ParseUUID(topic)
	n, bad := strconv.ParseInt(partition, 10, 32)
	return share.Key{Group: group, TopicID: id, Partition: int32(n)}, err == nil && bad == nil
}

// cutLast cuts at the last colon.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// leads fills in the leader of the partition that keeps key.
func (h *GroupHandlers) leads(c *Call, r *msg.FindCoordinatorResponseCoordinator, topic, key string) {
	r.ErrorCode = int16(kafka.CoordinatorNotAvailable)
	t := h.Image().Topic(topic)
	if t == nil {
		if made := h.Topics.AutoCreate(c.Ctx, []string{topic}); len(made) != 1 || made[0].Err != nil {
			return
		}
		t = h.Image().Topic(topic)
	}
	if t == nil || len(t.Partitions) == 0 {
		return
	}
	p := t.Partition(kafka.CoordinatorPartition(key, int32(len(t.Partitions))))
	b := h.Image().Broker(p.Leader)
	if b == nil || b.Fenced {
		return
	}
	host, port, ok := endpoint(c, b, h.Auto && b.ID == h.NodeID)
	if !ok {
		return
	}
	r.ErrorCode, r.NodeID, r.Host, r.Port = int16(kafka.None), b.ID, host, port
}
