package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// initialize answers InitializeShareGroupState (key 83, version 0): the group
// coordinator begins the state of share partitions (KIP-932).
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	state      INVALID_REQUEST, FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION,
//	           NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
func (h *ShareStateHandlers) initialize(c *Call, req *msg.InitializeShareGroupStateRequest) *msg.InitializeShareGroupStateResponse {
	resp := msg.NewInitializeShareGroupStateResponse()
	all := asked[msg.InitializeShareGroupStateRequestTopic]{req.GroupID, req.Topics,
		func(t *msg.InitializeShareGroupStateRequestTopic) (kafka.UUID, int) {
			return t.TopicID, len(t.Partitions)
		}}
	all.each(c, func(id kafka.UUID, n int) {
		resp.Results = append(resp.Results, msg.InitializeShareGroupStateResponseResult{TopicID: id,
			Partitions: make([]msg.InitializeShareGroupStateResponseResultPartition, n)})
	}, func(key share.Key, t, i int, err error) {
		p := &req.Topics[t].Partitions[i]
		key.Partition = p.Partition
		if err == nil {
			err = h.State.Initialize(c.Ctx, key, p.StateEpoch, p.StartOffset)
		}
		row := msg.InitializeShareGroupStateResponseResultPartition{Partition: p.Partition}
		row.ErrorCode, row.ErrorMessage = answered(err)
		resp.Results[t].Partitions[i] = row
	})
	return &resp
}
