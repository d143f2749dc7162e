package metadata

import (
	"context"

	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// ElectLeaders answers ElectLeaders.
func (m *Metadata) ElectLeaders(ctx context.Context, req *msg.ElectLeadersRequest) *msg.ElectLeadersResponse {
	var resp *msg.ElectLeadersResponse
	err := m.decide(ctx, func(s *controller.State) (recs controller.Records) {
		recs, resp = controller.ElectLeaders(s, req)
		return recs
	})
	if err == nil {
		return resp
	}
	resp = new(msg.NewElectLeadersResponse())
	var text *string
	resp.ErrorCode, text = answer(err)
	for _, t := range req.TopicPartitions {
		out := msg.ElectLeadersResponseReplicaElectionResult{Topic: t.Topic}
		for _, id := range t.Partitions {
			out.PartitionResult = append(out.PartitionResult, msg.ElectLeadersResponseReplicaElectionResultPartitionResult{
				PartitionID: id, ErrorCode: resp.ErrorCode, ErrorMessage: text})
		}
		resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, out)
	}
	return resp
}
