package api

import (
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// createWait bounds how long Metadata waits for a topic that it creates.
const createWait = 5 * time.Second

// metadata answers Metadata (key 3, versions 0 to 13).
//
//	select     all topics, those named or those with an id: INVALID_REQUEST
//	authorize  TOPIC_AUTHORIZATION_FAILED; in "all" such topics are left out
//	create     topics that are asked for by name and may be made on first use:
//	           INVALID_TOPIC_EXCEPTION, INVALID_REPLICATION_FACTOR
//	describe   UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, and per partition
//	           LEADER_NOT_AVAILABLE, LISTENER_NOT_FOUND
//
// Versions: 1 an empty list is none and null all; 4 auto-creation can be
// declined; 5 offline replicas; 7 leader epochs; 8 to 10 authorized operations of
// the cluster, from 8 on of topics (KIP-430); 10 topic ids are told, 12 asked for
// (KIP-516); 13 top-level error (KIP-1102).
//
// Differs from Apache Kafka: a topic that is made on first use is described in
// the same answer, not from the next request on.
func (h *ClusterHandlers) metadata(c *Call, req *msg.MetadataRequest) *msg.MetadataResponse {
	resp := msg.NewMetadataResponse()
	all := req.Topics == nil || c.Version == 0 && len(req.Topics) == 0
	byID := false
	for i := range req.Topics {
		t := &req.Topics[i]
		byID = byID || !t.TopicID.IsZero()
		if c.Version < 12 && !t.TopicID.IsZero() || t.Name == nil && t.TopicID.IsZero() {
			return refuseMetadata(req)
		}
	}
	var rows []msg.MetadataResponseTopic
	switch {
	case all:
		rows = h.allTopics(c)
	case byID:
		rows = h.topicsByID(c, req)
	default:
		rows = h.topicsByName(c, req)
	}
	if req.IncludeTopicAuthorizedOperations {
		for i := range rows {
			if t := &rows[i]; t.ErrorCode == 0 {
				t.TopicAuthorizedOperations = c.AuthorizedOperations(auth.Topic, *t.Name)
			}
		}
	}
	img := h.Metadata.Image()
	for _, b := range img.Brokers() {
		if host, port, ok := h.endpoint(c, b); ok && !b.Fenced {
			resp.Brokers = append(resp.Brokers, msg.MetadataResponseBroker{NodeID: b.ID, Host: host, Port: port, Rack: b.Rack})
		}
	}
	resp.ClusterID, resp.ControllerID, resp.Topics = new(img.ClusterID()), img.ControllerID(), rows
	if req.IncludeClusterAuthorizedOperations && c.Version >= 8 && c.Version <= 10 {
		resp.ClusterAuthorizedOperations = 0
		if c.AllowedCluster(auth.Describe) {
			resp.ClusterAuthorizedOperations = c.AuthorizedOperations(auth.Cluster, auth.ClusterName)
		}
	}
	return &resp
}

// refuseMetadata answers a request that asks for what its version cannot name.
func refuseMetadata(req *msg.MetadataRequest) *msg.MetadataResponse {
	resp := msg.NewMetadataResponse()
	resp.ErrorCode = int16(kafka.InvalidRequest)
	for _, t := range req.Topics {
		row := msg.NewMetadataResponseTopic()
		row.ErrorCode, row.Name, row.TopicID = int16(kafka.InvalidRequest), t.Name, t.TopicID
		if row.Name == nil {
			row.Name = new("")
		}
		resp.Topics = append(resp.Topics, row)
	}
	return &resp
}

func (h *ClusterHandlers) allTopics(c *Call) []msg.MetadataResponseTopic {
	img := h.Metadata.Image()
	var rows []msg.MetadataResponseTopic
	for t := range img.TopicsFrom("") {
		if c.Allowed(auth.Describe, auth.Topic, t.Name) {
			rows = append(rows, h.topicRow(c, img, t))
		}
	}
	return rows
}

func (h *ClusterHandlers) topicsByID(c *Call, req *msg.MetadataRequest) []msg.MetadataResponseTopic {
	img := h.Metadata.Image()
	var rows []msg.MetadataResponseTopic
	seen := map[kafka.UUID]bool{}
	for _, asked := range req.Topics {
		if asked.TopicID.IsZero() || seen[asked.TopicID] {
			continue
		}
		seen[asked.TopicID] = true
		t := img.TopicByID(asked.TopicID)
		switch {
		case t == nil:
			rows = append(rows, msg.MetadataResponseTopic{ErrorCode: int16(kafka.UnknownTopicID), TopicID: asked.TopicID,
				TopicAuthorizedOperations: NotAsked})
		case !c.Allowed(auth.Describe, auth.Topic, t.Name): // the name is not told
			rows = append(rows, msg.MetadataResponseTopic{ErrorCode: int16(kafka.TopicAuthorizationFailed), TopicID: asked.TopicID,
				TopicAuthorizedOperations: NotAsked})
		default:
			rows = append(rows, h.topicRow(c, img, t))
		}
	}
	return rows
}

func (h *ClusterHandlers) topicsByName(c *Call, req *msg.MetadataRequest) []msg.MetadataResponseTopic {
	var names []string
	refused := map[string]kafka.Code{}
	for _, asked := range req.Topics {
		name := *asked.Name
		if _, seen := refused[name]; seen {
			continue
		}
		names = append(names, name)
		refused[name] = kafka.None
		if !c.Allowed(auth.Describe, auth.Topic, name) {
			refused[name] = kafka.TopicAuthorizationFailed
		}
	}
	if req.AllowAutoTopicCreation && h.Metadata.Properties().Bool("auto.create.topics.enable") {
		h.create(c, names, refused)
	}
	img := h.Metadata.Image()
	rows := make([]msg.MetadataResponseTopic, 0, len(names))
	for _, name := range names {
		t := img.Topic(name)
		code := refused[name]
		switch {
		case code == kafka.None && t != nil:
			rows = append(rows, h.topicRow(c, img, t))
			continue
		case code == kafka.None && controller.CheckTopicName(name) != nil:
			code = kafka.InvalidTopicException
		case code == kafka.None:
			code = kafka.UnknownTopicOrPartition
		}
		rows = append(rows, msg.MetadataResponseTopic{ErrorCode: int16(code), Name: &name,
			IsInternal: kafka.IsInternalTopic(name), TopicAuthorizedOperations: NotAsked})
	}
	return rows
}

// create makes the topics that are not there and may be, and notes why not in
// refused.
func (h *ClusterHandlers) create(c *Call, names []string, refused map[string]kafka.Code) {
	img := h.Metadata.Image()
	var missing []string
	for _, name := range names {
		switch {
		case refused[name] != kafka.None || img.Topic(name) != nil:
		case !c.AllowedCluster(auth.Create) && !c.Allowed(auth.Create, auth.Topic, name):
			refused[name] = kafka.TopicAuthorizationFailed
		default:
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return
	}
	ctx, cancel := c.within(int32(createWait / time.Millisecond))
	defer cancel()
	for _, out := range h.Metadata.AutoCreate(ctx, missing) {
		code := kafka.CodeOf(out.Err)
		switch code {
		case kafka.NotController, kafka.RequestTimedOut: // clients try again on this one
			code = kafka.LeaderNotAvailable
		case kafka.InvalidRequest:
			code = kafka.UnknownTopicOrPartition
		}
		refused[out.Name] = code
	}
}

func (h *ClusterHandlers) topicRow(c *Call, img *cluster.Image, t *cluster.Topic) msg.MetadataResponseTopic {
	row := msg.MetadataResponseTopic{Name: &t.Name, TopicID: t.ID, IsInternal: t.Internal, TopicAuthorizedOperations: NotAsked}
	row.Partitions = make([]msg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		leader, offline, code := h.partitionState(c, img, p, c.Version >= 6)
		row.Partitions[i] = msg.MetadataResponseTopicPartition{
			ErrorCode: int16(code), PartitionIndex: p.ID, LeaderID: leader, LeaderEpoch: p.LeaderEpoch,
			ReplicaNodes: p.Replicas, ISRNodes: p.ISR, OfflineReplicas: offline,
		}
	}
	return row
}
