package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// write answers WriteShareGroupState (key 85, versions 0 to 1): the leader of a
// partition says what became of records that a share group was given (KIP-932).
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	state      INVALID_REQUEST, FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH,
//	           UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR,
//	           COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
//
// Versions: 1 how many records are done (KIP-1226).
func (h *ShareStateHandlers) write(c *Call, req *msg.WriteShareGroupStateRequest) *msg.WriteShareGroupStateResponse {
	resp := msg.NewWriteShareGroupStateResponse()
	all := asked[msg.WriteShareGroupStateRequestTopic]{req.GroupID, req.Topics,
		func(t *msg.WriteShareGroupStateRequestTopic) (kafka.UUID, int) { return t.TopicID, len(t.Partitions) }}
	all.each(c, func(id kafka.UUID, n int) {
		resp.Results = append(resp.Results, msg.WriteShareGroupStateResponseResult{TopicID: id,
			Partitions: make([]msg.WriteShareGroupStateResponseResultPartition, n)})
	}, func(key share.Key, t, i int, err error) {
		p := &req.Topics[t].Partitions[i]
		key.Partition = p.Partition
		if err == nil {
			u := share.Update{StateEpoch: p.StateEpoch, LeaderEpoch: p.LeaderEpoch, StartOffset: p.StartOffset, DeliveryComplete: p.DeliveryCompleteCount}
			for _, b := range p.StateBatches {
				u.Batches = append(u.Batches, share.Batch{
					First: b.FirstOffset, Last: b.LastOffset, State: share.Delivery(b.DeliveryState), Count: b.DeliveryCount})
			}
			err = h.State.Write(c.Ctx, key, u)
		}
		row := msg.WriteShareGroupStateResponseResultPartition{Partition: p.Partition}
		row.ErrorCode, row.ErrorMessage = answered(err)
		resp.Results[t].Partitions[i] = row
	})
	return &resp
}
