package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// saslHandshake answers SaslHandshake (key 17, versions 0 and 1): the mechanism
// by which a client wants to authenticate.
//
//	state     ILLEGAL_SASL_STATE: the listener asks for no authentication, or
//	          the client is in and has no reason to come again, or too soon;
//	          an exchange is under way, and then it closes
//	mechanism UNSUPPORTED_SASL_MECHANISM, and those there are; then it closes
//
// Versions: after 0 the tokens follow bare, with their length before them; after
// 1 (KIP-152) they come in SaslAuthenticate.
func (t *Table) saslHandshake(c *Call, req *msg.SASLHandshakeRequest) *msg.SASLHandshakeResponse {
	resp := msg.NewSASLHandshakeResponse()
	if c.Conn.login.exchange != nil {
		c.Conn.login.failed = true
		resp.ErrorCode = int16(kafka.IllegalSASLState)
		return &resp
	}
	if !c.Conn.Pending && !c.Conn.login.mayRenew(c.Now()) || t.cfg.Logins == nil {
		resp.ErrorCode = int16(kafka.IllegalSASLState)
		return &resp
	}
	resp.Mechanisms = t.cfg.Logins.Mechanisms(c.Conn.Listener)
	if !slices.Contains(resp.Mechanisms, req.Mechanism) {
		resp.ErrorCode = int16(kafka.UnsupportedSASLMechanism)
		c.Conn.login.failed = true
		return &resp
	}
	c.begin(req.Mechanism)
	return &resp
}
