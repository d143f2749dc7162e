package api

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeConfigs answers DescribeConfigs (key 32, versions 1 to 4). A broker's
// own settings are told by that broker only.
//
//	authorize  TOPIC_, CLUSTER_ and GROUP_AUTHORIZATION_FAILED
//	locate     INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION,
//	           INVALID_REQUEST
//	describe   all settings, or those named; where each value comes from. What is
//	           secret is null.
//
// Versions: 1 source and synonyms (KIP-226), 3 types and documentation (KIP-569).
func (h *AdminHandlers) describeConfigs(c *Call, req *msg.DescribeConfigsRequest) *msg.DescribeConfigsResponse {
	resp := msg.NewDescribeConfigsResponse()
	for _, r := range req.Resources {
		out := msg.DescribeConfigsResponseResult{ResourceType: r.ResourceType, ResourceName: r.ResourceName, ErrorMessage: new("")}
		names := r.ConfigurationKeys
		if len(names) == 0 {
			names = nil
		}
		res := cluster.Resource{Kind: cluster.Kind(r.ResourceType), Name: r.ResourceName}
		rows, err := h.describeResource(c, res, names)
		if err != nil {
			out.ErrorCode, out.ErrorMessage = int16(kafka.CodeOf(err)), new(textOf(err))
		}
		for i := range rows {
			out.Configs = append(out.Configs, describedRow(&rows[i], req))
		}
		resp.Results = append(resp.Results, out)
	}
	return &resp
}

// refusal is an error with the text that a response carries.
type refusal struct {
	kafka.Code
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.Code }

func refuse(code kafka.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// textOf is the text of an error in a response: none for a code alone.
func textOf(err error) string {
	var code kafka.Code
	if errors.As(err, &code) && err == error(code) {
		return ""
	}
	return err.Error()
}

// denied is the refusal of a kind of resource, nil if the caller may do op.
func (c *Call) denied(op auth.Operation, res cluster.Resource) error {
	switch res.Kind {
	case cluster.TopicResource:
		if !c.Allowed(op, auth.Topic, res.Name) {
			return kafka.TopicAuthorizationFailed
		}
	case cluster.GroupResource:
		if !c.Allowed(op, auth.Group, res.Name) {
			return kafka.GroupAuthorizationFailed
		}
	default:
		if !c.AllowedCluster(op) {
			return kafka.ClusterAuthorizationFailed
		}
	}
	return nil
}

func (h *AdminHandlers) describeResource(c *Call, res cluster.Resource, names []string) ([]config.Row, error) {
	if err := c.denied(auth.DescribeConfigs, res); err != nil {
		return nil, err
	}
	img, props := h.Metadata.Image(), h.Metadata.Properties()
	set := img.Config(res).Map()
	switch res.Kind {
	case cluster.TopicResource:
		if err := controller.CheckTopicName(res.Name); err != nil {
			return nil, err
		}
		if img.Topic(res.Name) == nil {
			return nil, kafka.UnknownTopicOrPartition
		}
		return props.DescribeTopic(set, names), nil
	case cluster.BrokerResource:
		if res.Name == "" {
			return props.DescribeClusterDefault(names), nil
		}
		if err := h.isSelf(res.Name, "Unexpected broker id, expected %d or empty string, but received %s"); err != nil {
			return nil, err
		}
		return props.DescribeBroker(names), nil
	case cluster.LoggerResource:
		if res.Name == "" {
			return nil, refuse(kafka.InvalidRequest, "Broker id must not be empty")
		}
		if err := h.isSelf(res.Name, "Unexpected broker id, expected %d but received %s"); err != nil {
			return nil, err
		}
		return h.describeLoggers(names), nil
	case cluster.GroupResource:
		if res.Name == "" {
			return nil, refuse(kafka.InvalidRequest, "Group name must not be empty")
		}
		return props.DescribeGroup(set, names), nil
	case cluster.ClientMetricsResource:
		if res.Name == "" {
			return nil, refuse(kafka.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return props.DescribeClientMetrics(set, names), nil
	}
	return nil, refuse(kafka.InvalidRequest, "Unknown resource type %d", res.Kind)
}

// isSelf says whether a resource's name is this broker's id.
func (h *AdminHandlers) isSelf(name, format string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return refuse(kafka.InvalidRequest, "Broker id must be an integer, but it is: %s", name)
	case int32(id) != h.NodeID:
		return refuse(kafka.InvalidRequest, format, h.NodeID, name)
	}
	return nil
}

func describedRow(r *config.Row, req *msg.DescribeConfigsRequest) msg.DescribeConfigsResponseResultConfig {
	out := msg.DescribeConfigsResponseResultConfig{
		Name: r.Name, Value: r.Value, ReadOnly: r.ReadOnly, ConfigSource: int8(r.Source),
		IsSensitive: r.Sensitive, ConfigType: int8(r.Type),
	}
	if req.IncludeSynonyms {
		for _, s := range r.Synonyms {
			out.Synonyms = append(out.Synonyms, msg.DescribeConfigsResponseResultConfigSynonym{
				Name: s.Name, Value: s.Value, Source: int8(s.Source)})
		}
	}
	if req.IncludeDocumentation || r.Source == config.FromLogger {
		out.Documentation = &r.Doc
	}
	return out
}
