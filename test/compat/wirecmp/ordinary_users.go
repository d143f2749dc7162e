package wirecmp

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// User logs in by SCRAM-SHA-256 after Setup, and is described only.
const User = "wire-user"

// setupUsers makes the users that the cases start from.
func (p *Peer) setupUsers() error {
	var resp msg.AlterUserScramCredentialsResponse
	if err := p.Do(upsert(User), 0, &resp); err != nil {
		return err
	}
	for _, r := range resp.Results {
		if r.ErrorCode != 0 {
			return fmt.Errorf("%s: making user %s: %w", p.Name, r.User, kafka.Code(r.ErrorCode))
		}
	}
	return nil
}

func upsert(user string) *msg.AlterUserScramCredentialsRequest {
	r := msg.NewAlterUserScramCredentialsRequest()
	r.Upsertions = []msg.AlterUserScramCredentialsRequestUpsertion{{Name: user, Mechanism: 1, Iterations: 4096,
		Salt: []byte("0123456789abcdef"), SaltedPassword: []byte("0123456789abcdef0123456789abcdef")}}
	return &r
}

func userRequests(m map[int16]Build) {
	m[kafka.KeySASLHandshake] = func(string) msg.Request { return &msg.SASLHandshakeRequest{Mechanism: "PLAIN"} }
	m[kafka.KeySASLAuthenticate] = func(string) msg.Request {
		return &msg.SASLAuthenticateRequest{AuthBytes: []byte("\x00user\x00password")}
	}
	m[kafka.KeyDescribeUserScramCredentials] = func(string) msg.Request {
		r := msg.NewDescribeUserScramCredentialsRequest()
		r.Users = []msg.DescribeUserScramCredentialsRequestUser{{Name: User}}
		return &r
	}
	m[kafka.KeyAlterUserScramCredentials] = func(string) msg.Request {
		r := upsert("wire-other")
		r.Deletions = []msg.AlterUserScramCredentialsRequestDeletion{{Name: "wire-nobody", Mechanism: 2}}
		return r
	}
	m[kafka.KeyDescribeClientQuotas] = func(string) msg.Request {
		r := msg.NewDescribeClientQuotasRequest()
		r.Components = []msg.DescribeClientQuotasRequestComponent{{EntityType: "user", Match: ptr(User)}, {EntityType: "client-id", MatchType: 2}}
		return &r
	}
}
