package sasl

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
)

// ScramConfig is what an exchange by SCRAM asks of the broker.
type ScramConfig struct {
	Mechanism Scram

	// Credential finds a user's, false for one that there is not.
	Credential func(user string) (Credential, bool)

	// Secret is what [Scram.Decoy] is made of.
	Secret []byte

	// Random fills p with bytes that nobody can guess.
	Random func(p []byte)
}

// NewScram begins an exchange by SCRAM.
func NewScram(cfg ScramConfig) Exchange { return &scram{cfg: cfg} }

type scram struct {
	cfg   ScramConfig
	user  string
	step  int
	known bool // else cred is a decoy
	cred  Credential

	// What the proof is made over, and the nonce that it must name.
	clientFirst, serverFirst []byte
	nonce                    []byte
}

func (s *scram) User() string { return s.user }

func (s *scram) Step(token []byte) ([]byte, bool, error) {
	s.step++
	switch s.step {
	case 1:
		answer, err := s.first(token)
		if err != nil {
			s.step = 2
		}
		return answer, false, err
	case 2:
		answer, err := s.final(token)
		return answer, err == nil, err
	}
	return nil, false, ErrOver
}

// first reads the client's first message and challenges it.
func (s *scram) first(token []byte) ([]byte, error) {
	m, ok := parseFirst(token)
	if !ok {
		return nil, ErrMalformed
	}
	if m.token {
		return nil, ErrToken
	}
	s.user = m.user
	s.cred, s.known = s.cfg.Credential(m.user)
	if decoy := s.cfg.Mechanism.Decoy(s.cfg.Secret, m.user); !s.known {
		s.cred = decoy
	}
	if m.acting != "" && m.acting != m.user {
		return nil, errIdentity()
	}
	var drawn [24]byte
	s.cfg.Random(drawn[:])
	s.nonce = base64.StdEncoding.AppendEncode(bytes.Clone(m.nonce), drawn[:])
	s.clientFirst = bytes.Clone(m.bare)
	s.serverFirst = append([]byte("r="), s.nonce...)
	s.serverFirst = append(s.serverFirst, ",s="...)
	s.serverFirst = base64.StdEncoding.AppendEncode(s.serverFirst, s.cred.Salt)
	s.serverFirst = append(s.serverFirst, ",i="...)
	s.serverFirst = strconv.AppendInt(s.serverFirst, int64(s.cred.Iterations), 10)
	return bytes.Clone(s.serverFirst), nil
}

// final reads the client's last message and checks its proof:
//
//	message    client first , server first , client final without the proof
//	signature  HMAC(stored key, message)
//	proof      client key XOR signature, so that H(proof XOR signature) must be
//	           the stored key
func (s *scram) final(token []byte) ([]byte, error) {
	m, ok := parseFinal(token)
	if !ok {
		return nil, ErrMalformed
	}
	message := bytes.Join([][]byte{s.clientFirst, s.serverFirst, m.bare}, []byte(","))
	mech := s.cfg.Mechanism
	key := mech.mac(s.cred.StoredKey, message)
	if len(m.proof) != len(key) {
		return nil, ErrMalformed
	}
	subtle.XORBytes(key, key, m.proof)
	right := subtle.ConstantTimeCompare(mech.sum(key), s.cred.StoredKey) == 1
	fresh := subtle.ConstantTimeCompare(m.nonce, s.nonce) == 1
	if !right || !fresh || !s.known {
		return nil, ErrSecret
	}
	return base64.StdEncoding.AppendEncode([]byte("v="), mech.mac(s.cred.ServerKey, message)), nil
}

// first is the client's first message:
//
//	n,[a=authzid],n=user,r=nonce[,name=value]...
//	              ^ bare
//
// Channel binding (p=) is not offered, and an extension that must be understood
// (m=) is not.
type first struct {
	user, acting string
	nonce, bare  []byte
	token        bool // tokenauth=true: the user is the id of a delegation token
}

func parseFirst(b []byte) (m first, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte("n,"))
	if !ok {
		return m, false
	}
	acting, bare, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return m, false
	}
	if len(acting) > 0 {
		name, has := bytes.CutPrefix(acting, []byte("a="))
		if m.acting, ok = saslName(name); !has || !ok {
			return m, false
		}
	}
	m.bare = bare
	fields := bytes.Split(bare, []byte(","))
	if len(fields) < 2 {
		return m, false
	}
	name, named := bytes.CutPrefix(fields[0], []byte("n="))
	nonce, nonced := bytes.CutPrefix(fields[1], []byte("r="))
	if m.user, ok = saslName(name); !ok || !named || !nonced || !printable(nonce) {
		return m, false
	}
	m.nonce = nonce
	for _, f := range fields[2:] {
		if !extension(f) {
			return m, false
		}
		m.token = m.token || strings.EqualFold(string(f), "tokenauth=true")
	}
	return m, true
}

// last is the client's final message:
//
//	c=channel,r=nonce[,name=value]...,p=proof
//	^ bare                           ^
//
// The channel is not looked at, as in Kafka: none can be bound.
type last struct {
	nonce, bare, proof []byte
}

func parseFinal(b []byte) (m last, ok bool) {
	at := bytes.LastIndex(b, []byte(",p="))
	if at < 0 {
		return m, false
	}
	m.bare = b[:at]
	if m.proof, ok = unbase64(b[at+3:]); !ok {
		return m, false
	}
	fields := bytes.Split(m.bare, []byte(","))
	if len(fields) < 2 {
		return m, false
	}
	channel, bound := bytes.CutPrefix(fields[0], []byte("c="))
	if _, ok = unbase64(channel); !ok || !bound {
		return m, false
	}
	if m.nonce, ok = bytes.CutPrefix(fields[1], []byte("r=")); !ok || !printable(m.nonce) {
		return m, false
	}
	for _, f := range fields[2:] {
		if !extension(f) {
			return m, false
		}
	}
	return m, true
}

func unbase64(b []byte) ([]byte, bool) {
	out, err := base64.StdEncoding.Strict().AppendDecode(nil, b)
	return out, err == nil && bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0
}

// saslName undoes the escapes of a name: "=2C" is a comma, "=3D" an equals sign.
// As in Kafka, names are of ASCII.
func saslName(b []byte) (string, bool) {
	var name []byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0 || c > 0x7f:
			return "", false
		case c != '=':
			name = append(name, c)
			continue
		}
		switch {
		case bytes.HasPrefix(b[i:], []byte("=2C")):
			name = append(name, ',')
		case bytes.HasPrefix(b[i:], []byte("=3D")):
			name = append(name, '=')
		default:
			return "", false
		}
		i += 2
	}
	return string(name), len(name) > 0
}

// printable says whether b can be a nonce.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return len(b) > 0
}

// extension says whether b is name=value.
func extension(b []byte) bool {
	name, value, ok := bytes.Cut(b, []byte("="))
	if !ok || len(name) == 0 || len(value) == 0 {
		return false
	}
	for _, c := range name {
		if lower := c | 0x20; lower < 'a' || lower > 'z' {
			return false
		}
	}
	for _, c := range value {
		if c == 0 || c > 0x7f {
			return false
		}
	}
	return true
}
