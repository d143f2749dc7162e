package sasl

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
)

// NewPlain begins an exchange by PLAIN. password gives that of a user, false for
// one that there is not.
func NewPlain(password func(user string) (string, bool)) Exchange {
	return &plain{password: password}
}

type plain struct {
	password func(user string) (string, bool)
	user     string
}

func (p *plain) User() string { return p.user }

func (p *plain) Step(token []byte) ([]byte, bool, error) {
	if p.password == nil {
		return nil, false, ErrOver
	}
	lookup := p.password
	p.password = nil
	parts := bytes.SplitN(token, []byte{0}, 4)
	switch {
	case len(parts) != 3:
		return nil, false, refuse("Invalid SASL/PLAIN response: expected 3 tokens, got %d", len(parts))
	case len(parts[1]) == 0:
		return nil, false, refuse("Authentication failed: username not specified")
	case len(parts[2]) == 0:
		return nil, false, refuse("Authentication failed: password not specified")
	}
	acting, user := string(parts[0]), string(parts[1])
	want, known := lookup(user)
	// Of digests, so that the time does not tell the length either.
	got, must := sha256.Sum256(parts[2]), sha256.Sum256([]byte(want))
	same := subtle.ConstantTimeCompare(got[:], must[:]) == 1
	if !known || !same {
		return nil, false, refuse("Authentication failed: Invalid username or password")
	}
	if acting != "" && acting != user {
		return nil, false, errIdentity()
	}
	p.user = user
	return []byte{}, true, nil
}
