package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// remove answers DeleteShareGroupState (key 86, version 0): the group coordinator
// takes down the state of share partitions (KIP-932). What is not there is
// deleted already.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	state      INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR,
//	           COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
func (h *ShareStateHandlers) remove(c *Call, req *msg.DeleteShareGroupStateRequest) *msg.DeleteShareGroupStateResponse {
	resp := msg.NewDeleteShareGroupStateResponse()
	all := asked[msg.DeleteShareGroupStateRequestTopic]{req.GroupID, req.Topics,
		func(t *msg.DeleteShareGroupStateRequestTopic) (kafka.UUID, int) { return t.TopicID, len(t.Partitions) }}
	all.each(c, func(id kafka.UUID, n int) {
		resp.Results = append(resp.Results, msg.DeleteShareGroupStateResponseResult{TopicID: id,
			Partitions: make([]msg.DeleteShareGroupStateResponseResultPartition, n)})
	}, func(key share.Key, t, i int, err error) {
		key.Partition = req.Topics[t].Partitions[i].Partition
		if err == nil {
			err = h.State.Delete(c.Ctx, key)
		}
		row := msg.DeleteShareGroupStateResponseResultPartition{Partition: key.Partition}
		row.ErrorCode, row.ErrorMessage = answered(err)
		resp.Results[t].Partitions[i] = row
	})
	return &resp
}
