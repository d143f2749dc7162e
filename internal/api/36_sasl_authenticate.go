package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// saslAuthenticate answers SaslAuthenticate (key 36, versions 0 to 2; KIP-152):
// a token of the mechanism that the handshake agreed on.
//
//	state  ILLEGAL_SASL_STATE: no handshake came before
//	step   SASL_AUTHENTICATION_FAILED, after a pause; then it closes
//
// Versions: 1 how long the session lasts (KIP-368), 2 flexible.
func (t *Table) saslAuthenticate(c *Call, req *msg.SASLAuthenticateRequest) *msg.SASLAuthenticateResponse {
	resp := msg.NewSASLAuthenticateResponse()
	if c.Conn.login.exchange == nil {
		resp.ErrorCode = int16(kafka.IllegalSASLState)
		resp.ErrorMessage = new("SaslAuthenticate request received after successful authentication")
		return &resp
	}
	answer, session, err := c.step(req.AuthBytes)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.SASLAuthenticationFailed), new(err.Error())
		return &resp
	}
	resp.ErrorMessage = new("")
	resp.AuthBytes, resp.SessionLifetimeMs = answer, session.Milliseconds()
	return &resp
}

// saslRows are the keys by which a client says who it is, and the row of tokens
// that come without them.
func (t *Table) saslRows() []Row {
	handshake := row(kafka.KeySASLHandshake, guard(cold(t.saslHandshake)))
	authenticate := row(kafka.KeySASLAuthenticate, guard(cold(t.saslAuthenticate)))
	t.bare = row(kafka.KeySASLAuthenticate, guard(bareToken))
	t.bare.stats = t.cfg.Metrics.Request(authenticate.Name)
	return []Row{handshake, authenticate}
}
