package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeUserScramCredentials answers DescribeUserScramCredentials (key 50,
// version 0; KIP-554): who logs in by SCRAM. Salts and keys are never told.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	describe   RESOURCE_NOT_FOUND, DUPLICATE_RESOURCE
func (h *AdminHandlers) describeUserScramCredentials(c *Call, req *msg.DescribeUserScramCredentialsRequest) *msg.DescribeUserScramCredentialsResponse {
	if !c.AllowedCluster(auth.Describe) {
		resp := msg.NewDescribeUserScramCredentialsResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		for _, u := range req.Users {
			resp.Results = append(resp.Results, msg.DescribeUserScramCredentialsResponseResult{
				User: u.Name, ErrorCode: resp.ErrorCode, ErrorMessage: resp.ErrorMessage})
		}
		return &resp
	}
	return controller.DescribeUserScramCredentials(h.Metadata.Image(), req)
}
