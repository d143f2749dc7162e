package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// read answers ReadShareGroupState (key 84, version 0): the leader of a partition
// takes over what is kept of it for a share group (KIP-932).
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	state      INVALID_REQUEST, FENCED_LEADER_EPOCH, UNKNOWN_TOPIC_OR_PARTITION,
//	           NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
func (h *ShareStateHandlers) read(c *Call, req *msg.ReadShareGroupStateRequest) *msg.ReadShareGroupStateResponse {
	resp := msg.NewReadShareGroupStateResponse()
	all := asked[msg.ReadShareGroupStateRequestTopic]{req.GroupID, req.Topics,
		func(t *msg.ReadShareGroupStateRequestTopic) (kafka.UUID, int) { return t.TopicID, len(t.Partitions) }}
	all.each(c, func(id kafka.UUID, n int) {
		resp.Results = append(resp.Results, msg.ReadShareGroupStateResponseResult{TopicID: id,
			Partitions: make([]msg.ReadShareGroupStateResponseResultPartition, n)})
	}, func(key share.Key, t, i int, err error) {
		p := &req.Topics[t].Partitions[i]
		key.Partition = p.Partition
		var s share.State
		if err == nil {
			s, err = h.State.Read(c.Ctx, key, p.LeaderEpoch)
		}
		row := msg.ReadShareGroupStateResponseResultPartition{Partition: p.Partition}
		row.ErrorCode, row.ErrorMessage = answered(err)
		if err == nil {
			row.StateEpoch, row.StartOffset = s.StateEpoch, s.StartOffset
			for _, b := range s.Batches {
				row.StateBatches = append(row.StateBatches, msg.ReadShareGroupStateResponseResultPartitionStateBatch{
					FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count})
			}
		}
		resp.Results[t].Partitions[i] = row
	})
	return &resp
}
