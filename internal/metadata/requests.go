package metadata

import (
	"context"

	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// answer splits an error that concerns a whole request. A time-out needs no text:
// clients have words of their own for it.
func answer(err error) (code int16, text *string) {
	c := kafka.CodeOf(err)
	if c == kafka.RequestTimedOut {
		return int16(c), nil
	}
	return int16(c), new(err.Error())
}

// CreateTopics answers CreateTopics. The caller has authorized it: topics that
// must not be created are taken out before, and the settings in the answer that
// the client may not see after.
func (m *Metadata) CreateTopics(ctx context.Context, req *msg.CreateTopicsRequest) *msg.CreateTopicsResponse {
	resp, err := ask[msg.CreateTopicsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewCreateTopicsResponse())
		for i := range req.Topics {
			row := msg.NewCreateTopicsResponseTopic()
			row.Name, row.Configs = req.Topics[i].Name, []msg.CreateTopicsResponseTopicConfig{}
			row.ErrorCode, row.ErrorMessage = answer(err)
			resp.Topics = append(resp.Topics, row)
		}
	}
	return resp
}

// AutoTopic is the outcome of creating one topic on first use.
type AutoTopic struct {
	Name string
	Err  error // nil: it exists now, or did before
}

// AutoCreate makes topics that do not exist, with the broker's defaults; the
// internal ones get their own partitions, replicas and settings. The outcomes
// are in the order of names.
func (m *Metadata) AutoCreate(ctx context.Context, names []string) []AutoTopic {
	req := msg.NewAutoCreateTopicsRequest()
	req.Names = names
	resp, err := ask[msg.AutoCreateTopicsResponse](ctx, m, &req, newest(&req))
	out := make([]AutoTopic, len(names))
	for i, name := range names {
		out[i] = AutoTopic{name, err}
		if err == nil {
			out[i].Err = answered(resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage)
		}
	}
	return out
}

// DeleteTopics answers DeleteTopics of the given version.
func (m *Metadata) DeleteTopics(ctx context.Context, req *msg.DeleteTopicsRequest, version int16) *msg.DeleteTopicsResponse {
	resp, err := ask[msg.DeleteTopicsResponse](ctx, m, req, version)
	if err != nil {
		resp = new(msg.NewDeleteTopicsResponse())
		add := func(name *string, id kafka.UUID) {
			row := msg.DeleteTopicsResponseResponse{Name: name, TopicID: id}
			row.ErrorCode, row.ErrorMessage = answer(err)
			resp.Responses = append(resp.Responses, row)
		}
		for i := range req.TopicNames {
			add(&req.TopicNames[i], kafka.UUID{})
		}
		for i := range req.Topics {
			add(req.Topics[i].Name, req.Topics[i].TopicID)
		}
	}
	return resp
}

// CreatePartitions answers CreatePartitions.
func (m *Metadata) CreatePartitions(ctx context.Context, req *msg.CreatePartitionsRequest) *msg.CreatePartitionsResponse {
	resp, err := ask[msg.CreatePartitionsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewCreatePartitionsResponse())
		for i := range req.Topics {
			row := msg.CreatePartitionsResponseResult{Name: req.Topics[i].Name}
			row.ErrorCode, row.ErrorMessage = answer(err)
			resp.Results = append(resp.Results, row)
		}
	}
	return resp
}

// UpdateFeatures answers UpdateFeatures of the given version.
func (m *Metadata) UpdateFeatures(ctx context.Context, req *msg.UpdateFeaturesRequest, version int16) *msg.UpdateFeaturesResponse {
	resp, err := ask[msg.UpdateFeaturesResponse](ctx, m, req, version)
	if err != nil {
		resp = new(msg.NewUpdateFeaturesResponse())
		resp.ErrorCode, resp.ErrorMessage = answer(err)
	}
	return resp
}

// AlterConfigs answers AlterConfigs: each resource's settings are replaced.
func (m *Metadata) AlterConfigs(ctx context.Context, req *msg.AlterConfigsRequest) *msg.AlterConfigsResponse {
	resp, err := ask[msg.AlterConfigsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewAlterConfigsResponse())
		for _, r := range req.Resources {
			row := msg.AlterConfigsResponseResponse{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
			row.ErrorCode, row.ErrorMessage = answer(err)
			resp.Responses = append(resp.Responses, row)
		}
	}
	return resp
}

// IncrementalAlterConfigs answers IncrementalAlterConfigs.
func (m *Metadata) IncrementalAlterConfigs(ctx context.Context, req *msg.IncrementalAlterConfigsRequest) *msg.IncrementalAlterConfigsResponse {
	resp, err := ask[msg.IncrementalAlterConfigsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewIncrementalAlterConfigsResponse())
		for _, r := range req.Resources {
			row := msg.IncrementalAlterConfigsResponseResponse{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
			row.ErrorCode, row.ErrorMessage = answer(err)
			resp.Responses = append(resp.Responses, row)
		}
	}
	return resp
}

// AlterPartition answers AlterPartition: a leader's change of its ISR.
func (m *Metadata) AlterPartition(ctx context.Context, req *msg.AlterPartitionRequest) *msg.AlterPartitionResponse {
	resp, err := ask[msg.AlterPartitionResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewAlterPartitionResponse())
		resp.ErrorCode, _ = answer(err)
	}
	return resp
}

// AlterPartitionReassignments answers AlterPartitionReassignments.
func (m *Metadata) AlterPartitionReassignments(ctx context.Context, req *msg.AlterPartitionReassignmentsRequest) *msg.AlterPartitionReassignmentsResponse {
	resp, err := ask[msg.AlterPartitionReassignmentsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewAlterPartitionReassignmentsResponse())
		resp.ErrorCode, resp.ErrorMessage = answer(err)
	}
	return resp
}

// ListPartitionReassignments answers ListPartitionReassignments for m, as the
// leader of the quorum sees it.
func ListPartitionReassignments(ctx context.Context, m *Metadata, req *msg.ListPartitionReassignmentsRequest) *msg.ListPartitionReassignmentsResponse {
	resp, err := ask[msg.ListPartitionReassignmentsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewListPartitionReassignmentsResponse())
		resp.ErrorCode, resp.ErrorMessage = answer(err)
	}
	return resp
}

// UnregisterBroker answers UnregisterBroker.
func (m *Metadata) UnregisterBroker(ctx context.Context, req *msg.UnregisterBrokerRequest) *msg.UnregisterBrokerResponse {
	resp, err := ask[msg.UnregisterBrokerResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewUnregisterBrokerResponse())
		resp.ErrorCode, resp.ErrorMessage = answer(err)
	}
	return resp
}

// AlterUserScramCredentials answers AlterUserScramCredentials.
func (m *Metadata) AlterUserScramCredentials(ctx context.Context, req *msg.AlterUserScramCredentialsRequest) *msg.AlterUserScramCredentialsResponse {
	resp, err := ask[msg.AlterUserScramCredentialsResponse](ctx, m, req, newest(req))
	if err != nil {
		code, text := answer(err)
		resp = controller.RefuseScram(req, code, text)
	}
	return resp
}

// ElectLeaders answers ElectLeaders.
func (m *Metadata) ElectLeaders(ctx context.Context, req *msg.ElectLeadersRequest) *msg.ElectLeadersResponse {
	resp, err := ask[msg.ElectLeadersResponse](ctx, m, req, newest(req))
	if err != nil {
		code, text := answer(err)
		resp = controller.NoElections(req, kafka.Code(code), text)
	}
	return resp
}
