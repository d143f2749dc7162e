package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// summary answers ReadShareGroupStateSummary (key 87, versions 0 to 1): how far
// share partitions are, without their records (KIP-932). One that was not
// initialized has no start offset.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	state      INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR,
//	           COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
//
// Versions: 1 how many records are done (KIP-1226).
func (h *ShareStateHandlers) summary(c *Call, req *msg.ReadShareGroupStateSummaryRequest) *msg.ReadShareGroupStateSummaryResponse {
	resp := msg.NewReadShareGroupStateSummaryResponse()
	all := asked[msg.ReadShareGroupStateSummaryRequestTopic]{req.GroupID, req.Topics,
		func(t *msg.ReadShareGroupStateSummaryRequestTopic) (kafka.UUID, int) {
			return t.TopicID, len(t.Partitions)
		}}
	all.each(c, func(id kafka.UUID, n int) {
		resp.Results = append(resp.Results, msg.ReadShareGroupStateSummaryResponseResult{TopicID: id,
			Partitions: make([]msg.ReadShareGroupStateSummaryResponseResultPartition, n)})
	}, func(key share.Key, t, i int, err error) {
		key.Partition = req.Topics[t].Partitions[i].Partition
		row := msg.NewReadShareGroupStateSummaryResponseResultPartition()
		row.Partition = key.Partition
		if err == nil {
			s, bad := h.State.Summary(c.Ctx, key)
			if err = bad; err == nil {
				row.StateEpoch, row.LeaderEpoch = s.StateEpoch, s.LeaderEpoch
				row.StartOffset, row.DeliveryCompleteCount = s.StartOffset, s.DeliveryComplete
			}
		}
		row.ErrorCode, row.ErrorMessage = answered(err)
		resp.Results[t].Partitions[i] = row
	})
	return &resp
}
