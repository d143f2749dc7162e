package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// alterWait bounds how long a change of settings waits for the controller, in
// ms; these requests carry no time of their own.
const alterWait = 30_000

// alterConfigs answers AlterConfigs (key 33, versions 0 to 2; KIP-133): the
// settings given become the only ones of a resource.
//
//	authorize  TOPIC_, CLUSTER_ and GROUP_AUTHORIZATION_FAILED
//	decide     see [controller.AlterConfigs]; NOT_CONTROLLER, REQUEST_TIMED_OUT
//
// Differs from Apache Kafka: a resource that is listed twice is refused; Kafka
// never answers.
func (h *AdminHandlers) alterConfigs(c *Call, req *msg.AlterConfigsRequest) *msg.AlterConfigsResponse {
	asked := req.Resources
	rows := make([]msg.AlterConfigsResponseResponse, len(asked))
	var at []int // rows that the controller fills
	req.Resources = nil
	for i, r := range asked {
		rows[i] = msg.AlterConfigsResponseResponse{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
		res := cluster.Resource{Kind: cluster.Kind(r.ResourceType), Name: r.ResourceName}
		if err := c.denied(auth.AlterConfigs, res); err != nil {
			rows[i].ErrorCode, rows[i].ErrorMessage = int16(kafka.CodeOf(err)), new(unauthorizedText)
			continue
		}
		req.Resources = append(req.Resources, r)
		at = append(at, i)
	}
	ctx, cancel := c.within(alterWait)
	defer cancel()
	resp := h.Metadata.AlterConfigs(ctx, req)
	for i, r := range resp.Responses {
		rows[at[i]] = r
	}
	resp.Responses = rows
	return resp
}
