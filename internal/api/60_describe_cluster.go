package api

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The kinds of endpoints that DescribeCluster can be asked for (KIP-919).
const (
	brokerEndpoints     int8 = 1
	controllerEndpoints int8 = 2
)

// describeCluster answers DescribeCluster (key 60, versions 0 to 2).
//
//	endpoint  MISMATCHED_ENDPOINT_TYPE, UNSUPPORTED_ENDPOINT_TYPE
//
// Versions: 1 endpoint type (KIP-919), 2 fenced brokers (KIP-1073).
func (h *ClusterHandlers) describeCluster(c *Call, req *msg.DescribeClusterRequest) *msg.DescribeClusterResponse {
	resp := msg.NewDescribeClusterResponse()
	here, name := brokerEndpoints, "BROKER"
	if slices.Contains(h.Metadata.Properties().List("controller.listener.names"), c.Conn.Listener) {
		here, name = controllerEndpoints, "CONTROLLER"
	}
	switch {
	case req.EndpointType != brokerEndpoints && req.EndpointType != controllerEndpoints:
		resp.ErrorCode = int16(kafka.UnsupportedEndpointType)
		resp.ErrorMessage = new(fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType))
		return &resp
	case req.EndpointType != here:
		resp.ErrorCode = int16(kafka.MismatchedEndpointType)
		resp.ErrorMessage = new(fmt.Sprintf("The request was sent to an endpoint of type %s, but we wanted an endpoint of type %s",
			name, map[int8]string{brokerEndpoints: "BROKER", controllerEndpoints: "CONTROLLER"}[req.EndpointType]))
		return &resp
	}
	img := h.Metadata.Image()
	resp.EndpointType, resp.ClusterID, resp.ControllerID = here, img.ClusterID(), img.ControllerID()
	for _, b := range img.Brokers() {
		host, port, ok := h.endpoint(c, b)
		if ok && (!b.Fenced || req.IncludeFencedBrokers) {
			resp.Brokers = append(resp.Brokers, msg.DescribeClusterResponseBroker{
				BrokerID: b.ID, Host: host, Port: port, Rack: b.Rack, IsFenced: b.Fenced})
		}
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = 0
		if c.AllowedCluster(auth.Describe) {
			resp.ClusterAuthorizedOperations = c.AuthorizedOperations(auth.Cluster, auth.ClusterName)
		}
	}
	return &resp
}
