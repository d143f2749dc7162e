package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// alterUserScramCredentials answers AlterUserScramCredentials (key 51, version 0;
// KIP-554): users that log in by SCRAM are made, changed and removed.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	decide     see [controller.AlterUserScramCredentials]; NOT_CONTROLLER,
//	           REQUEST_TIMED_OUT
func (h *AdminHandlers) alterUserScramCredentials(c *Call, req *msg.AlterUserScramCredentialsRequest) *msg.AlterUserScramCredentialsResponse {
	if !c.AllowedCluster(auth.Alter) {
		return controller.RefuseScram(req, int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText))
	}
	// What the request carries lies in the frame, which goes before the wait.
	for i := range req.Upsertions {
		u := &req.Upsertions[i]
		u.Salt, u.SaltedPassword = append([]byte(nil), u.Salt...), append([]byte(nil), u.SaltedPassword...)
	}
	ctx, cancel := c.within(alterWait)
	defer cancel()
	return h.Metadata.AlterUserScramCredentials(ctx, req)
}
