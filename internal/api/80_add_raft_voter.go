package api

import (
	"math"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// voterTimeout is how long a change of the quorum's members may take where the
// client does not say, in ms.
const voterTimeout = 30_000

// voterGrace is how much longer the answer of the leader is waited for than it may
// take, in ms: it says what was wrong.
const voterGrace = 1000

// addRaftVoter answers AddRaftVoter (key 80, versions 0 to 1; KIP-853): a node is to
// vote in the metadata quorum.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	add        see [metadata.Voters.Add]
//
// Version 1 has AckWhenCommitted (KIP-1186): the answer waits for the commit
// whatever it says.
func (h *ClusterHandlers) addRaftVoter(c *Call, req *msg.AddRaftVoterRequest) *msg.AddRaftVoterResponse {
	if !c.AllowedCluster(auth.Alter) {
		resp := msg.NewAddRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	timeout := req.TimeoutMs
	if timeout <= 0 {
		timeout = voterTimeout
	}
	ctx, cancel := c.within(min(timeout, math.MaxInt32-voterGrace) + voterGrace)
	defer cancel()
	return h.Metadata.Voters().Add(ctx, req, c.Version)
}
