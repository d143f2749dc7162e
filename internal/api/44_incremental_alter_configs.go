package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// incrementalAlterConfigs answers IncrementalAlterConfigs (key 44, versions 0
// and 1; KIP-339). What is asked of one resource holds whole or not at all.
//
//	authorize  TOPIC_, CLUSTER_ and GROUP_AUTHORIZATION_FAILED
//	loggers    changed here, see loggers.go
//	decide     see [controller.IncrementalAlterConfigs]; NOT_CONTROLLER,
//	           REQUEST_TIMED_OUT
func (h *AdminHandlers) incrementalAlterConfigs(c *Call, req *msg.IncrementalAlterConfigsRequest) *msg.IncrementalAlterConfigsResponse {
	asked := req.Resources
	rows := make([]msg.IncrementalAlterConfigsResponseResponse, len(asked))
	named := map[cluster.Resource]int{}
	for _, r := range asked {
		named[cluster.Resource{Kind: cluster.Kind(r.ResourceType), Name: r.ResourceName}]++
	}
	var at []int // rows that the controller fills
	req.Resources = nil
	for i, r := range asked {
		rows[i] = msg.IncrementalAlterConfigsResponseResponse{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
		res := cluster.Resource{Kind: cluster.Kind(r.ResourceType), Name: r.ResourceName}
		if err := c.denied(auth.AlterConfigs, res); err != nil {
			rows[i].ErrorCode, rows[i].ErrorMessage = int16(kafka.CodeOf(err)), new(unauthorizedText)
			continue
		}
		if res.Kind != cluster.LoggerResource {
			req.Resources = append(req.Resources, r)
			at = append(at, i)
			continue
		}
		err := h.alterLoggersOnce(&r, named[res] > 1, req.ValidateOnly)
		if err != nil {
			rows[i].ErrorCode, rows[i].ErrorMessage = int16(kafka.CodeOf(err)), new(err.Error())
		}
	}
	ctx, cancel := c.within(alterWait)
	defer cancel()
	resp := h.Metadata.IncrementalAlterConfigs(ctx, req)
	for i, r := range resp.Responses {
		rows[at[i]] = r
	}
	resp.Responses = rows
	return resp
}

func (h *AdminHandlers) alterLoggersOnce(r *msg.IncrementalAlterConfigsRequestResource, twice, validateOnly bool) error {
	if twice {
		return refuse(kafka.InvalidRequest, "Each resource must appear at most once.")
	}
	return h.alterLoggers(r, validateOnly)
}
