package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"
)

// Scram is a mechanism of the SCRAM family, numbered as in Kafka's requests and
// records.
type Scram int8

// The mechanisms of Kafka 4.4.
const (
	SHA256 Scram = 1
	SHA512 Scram = 2
)

// How often a password may be hashed (KIP-554): fewer is too easy to guess, more
// would let whoever may set passwords keep clients busy.
const (
	MinIterations = 4096
	MaxIterations = 16384
)

// String is the mechanism's name, such as "SCRAM-SHA-256".
func (s Scram) String() string {
	switch s {
	case SHA256:
		return "SCRAM-SHA-256"
	case SHA512:
		return "SCRAM-SHA-512"
	}
	return "UNKNOWN"
}

// Valid says whether there is such a mechanism.
func (s Scram) Valid() bool { return s == SHA256 || s == SHA512 }

// ScramOf finds a mechanism by its name.
func ScramOf(name string) (Scram, bool) {
	for _, s := range []Scram{SHA256, SHA512} {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

func (s Scram) hash() func() hash.Hash {
	if s == SHA512 {
		return sha512.New
	}
	return sha256.New
}

func (s Scram) sum(p []byte) []byte {
	h := s.hash()()
	h.Write(p)
	return h.Sum(nil)
}

func (s Scram) mac(key, text []byte) []byte {
	m := hmac.New(s.hash(), key)
	m.Write(text)
	return m.Sum(nil)
}

// Credential is what the broker keeps of a user (RFC 5802, section 3). It is not
// to be changed, and never told: who has StoredKey and listens to one login can
// log in.
type Credential struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int32
}

// Salted is SaltedPassword of RFC 5802: what the password becomes on the client.
func (s Scram) Salted(password string, salt []byte, iterations int) ([]byte, error) {
	return pbkdf2.Key(s.hash(), password, salt, iterations, s.hash()().Size())
}

// Credential makes what is kept out of a salted password.
func (s Scram) Credential(salted, salt []byte, iterations int32) Credential {
	return Credential{
		Salt:       salt,
		StoredKey:  s.sum(s.mac(salted, []byte("Client Key"))),
		ServerKey:  s.mac(salted, []byte("Server Key")),
		Iterations: iterations,
	}
}

// Decoy is the credential of a user that there is not, by which a client is
// challenged like any other and always fails. The same secret gives the same
// one, whenever and on whichever broker; the salt looks like those that Kafka's
// tools draw: a number of 130 bits in base 36.
func (s Scram) Decoy(secret []byte, user string) Credential {
	text := []byte(s.String() + "\x00" + user)
	drawn := SHA512.mac(secret, text)
	n := new(big.Int).SetBytes(drawn[:17])
	n.Rsh(n, 6)
	return Credential{
		Salt:       []byte(n.Text(36)),
		StoredKey:  s.mac(secret, append(text, " stored"...)),
		ServerKey:  s.mac(secret, append(text, " server"...)),
		Iterations: MinIterations,
	}
}
