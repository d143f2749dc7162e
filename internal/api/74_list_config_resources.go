package api

import (
	"slices"
	"strconv"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// listable are the kinds of resources, in the order in which they are listed.
var listable = []cluster.Kind{cluster.GroupResource, cluster.ClientMetricsResource, cluster.LoggerResource,
	cluster.BrokerResource, cluster.TopicResource}

// listConfigResources answers ListConfigResources (key 74, versions 0 and 1;
// KIP-1142): what there is that has settings. Groups and subscriptions are
// listed when they have one.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	select     UNSUPPORTED_VERSION: a kind that cannot be listed
//
// Versions: 0 lists client-metrics subscriptions (KIP-714); 1 what is asked for,
// or all.
func (h *AdminHandlers) listConfigResources(c *Call, req *msg.ListConfigResourcesRequest) *msg.ListConfigResourcesResponse {
	resp := msg.NewListConfigResourcesResponse()
	if !c.AllowedCluster(auth.DescribeConfigs) {
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	kinds := listable
	switch {
	case c.Version == 0:
		kinds = []cluster.Kind{cluster.ClientMetricsResource}
	case len(req.ResourceTypes) > 0:
		kinds = nil
		for _, t := range req.ResourceTypes {
			if !slices.Contains(listable, cluster.Kind(t)) {
				resp.ErrorCode = int16(kafka.UnsupportedVersion)
				return &resp
			}
		}
		for _, k := range listable {
			if slices.Contains(req.ResourceTypes, int8(k)) {
				kinds = append(kinds, k)
			}
		}
	}
	for _, k := range kinds {
		for _, name := range h.resources(k) {
			resp.ConfigResources = append(resp.ConfigResources,
				msg.ListConfigResourcesResponseConfigResource{ResourceName: name, ResourceType: int8(k)})
		}
	}
	return &resp
}

func (h *AdminHandlers) resources(kind cluster.Kind) (names []string) {
	img := h.Metadata.Image()
	switch kind {
	case cluster.TopicResource:
		for t := range img.TopicsFrom("") {
			names = append(names, t.Name)
		}
	case cluster.BrokerResource, cluster.LoggerResource:
		for _, b := range img.Brokers() {
			names = append(names, strconv.Itoa(int(b.ID)))
		}
	default:
		for r := range img.ConfigResources() {
			if r.Kind == kind {
				names = append(names, r.Name)
			}
		}
	}
	return names
}
