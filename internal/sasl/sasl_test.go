package sasl

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// A server with one user, of the example of RFC 7677.
func rfc7677(t *testing.T) *scram {
	t.Helper()
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	salted, err := SHA256.Salted("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return NewScram(ScramConfig{Mechanism: SHA256, Secret: []byte("s"), Random: func(p []byte) {
		drawn, _ := base64.StdEncoding.DecodeString("hvYDpWUa2RaTCAfuxFIlj+hNlFAAAAAA")
		copy(p, drawn)
	}, Credential: func(user string) (Credential, bool) {
		return SHA256.Credential(salted, salt, 4096), user == "user"
	}}).(*scram)
}

// TestVector holds the keys against those of RFC 7677: with the messages of its
// example (whose nonces are of another alphabet than ours) the proof is right and
// the signature is the RFC's.
func TestVector(t *testing.T) {
	s := rfc7677(t)
	first := "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	if _, done, err := s.Step([]byte(first)); done || err != nil {
		t.Fatal(done, err)
	}
	s.nonce = []byte("rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
	s.serverFirst = []byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	answer, done, err := s.Step([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if err != nil || !done || s.User() != "user" {
		t.Fatalf("done %v, user %q, %v", done, s.User(), err)
	}
	if want := "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="; string(answer) != want {
		t.Errorf("answer %s, want %s", answer, want)
	}
	if _, _, err := s.Step(nil); !errors.Is(err, ErrOver) {
		t.Errorf("a step more: %v", err)
	}
}

// client answers a challenge as one who knows the password does.
func client(t *testing.T, m Scram, first, challenge, password string) string {
	t.Helper()
	fields := strings.Split(challenge, ",")
	salt, err := base64.StdEncoding.DecodeString(fields[1][2:])
	if err != nil {
		t.Fatal(err)
	}
	salted, err := m.Salted(password, salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	bare := "c=biws," + fields[0]
	key := m.mac(salted, []byte("Client Key"))
	sign := m.mac(m.sum(key), []byte(first[strings.Index(first, "n="):]+","+challenge+","+bare))
	for i := range key {
		key[i] ^= sign[i]
	}
	return bare + ",p=" + base64.StdEncoding.EncodeToString(key)
}

// Whoever is not there goes the way of a wrong password: the same number of
// steps, the same errors, and the same salt at each try.
func TestStrangersLearnNothing(t *testing.T) {
	for _, m := range []Scram{SHA256, SHA512} {
		salted, _ := m.Salted("right", []byte("salt"), 4096)
		begin := func() Exchange {
			return NewScram(ScramConfig{Mechanism: m, Secret: []byte("secret"), Random: func(p []byte) { p[0]++ },
				Credential: func(user string) (Credential, bool) {
					return m.Credential(salted, []byte("salt"), 4096), user == "a,=b"
				}})
		}
		try := func(user, password string) (salt string, err error) {
			s, first := begin(), "n,,n="+user+",r=abc"
			challenge, done, err := s.Step([]byte(first))
			if err != nil || done {
				t.Fatalf("%s: first step: %v %v", user, done, err)
			}
			_, done, err = s.Step([]byte(client(t, m, first, string(challenge), password)))
			if done != (err == nil) {
				t.Errorf("%s: done %v with %v", user, done, err)
			}
			return strings.Split(string(challenge), ",")[1], err
		}
		if _, err := try("a=2C=3Db", "right"); err != nil {
			t.Errorf("%s: the right password: %v", m, err)
		}
		if _, err := try("a=2C=3Db", "wrong"); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: a wrong password: %v", m, err)
		}
		one, err := try("nobody", "right")
		again, _ := try("nobody", "other")
		other, _ := try("nobodyelse", "right")
		if !errors.Is(err, ErrSecret) || one != again || one == other {
			t.Errorf("%s: nobody: %v, salts %s %s, of another %s", m, err, one, again, other)
		}
		salt, _ := base64.StdEncoding.DecodeString(one[2:])
		if n := len(salt); n < 20 || n > 26 || strings.Trim(string(salt), "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("%s: the decoy's salt %q is not like those that tools draw", m, salt)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, first := range []string{
		"", "n", "n,", "n,,", "y,,n=user,r=a", "p=tls-unique,,n=user,r=a", "n,b=x,n=user,r=a", "n,a=,n=user,r=a", "n,,m=ext,n=user,r=a",
		"n,,n=,r=a", "n,,n=us=er,r=a", "n,,n=us=2,r=a", "n,,n=user,r=", "n,,n=user,r=a b", "n,,n=user", "n,,r=a,n=user", "n,,n=\xfcser,r=a",
		"n,,n=user,r=a,", "n,,n=user,r=a,1=x", "n,,n=user,r=a,ext", "n,,n=user,r=a,ext=", "n,,n=us\x00r,r=a",
	} {
		s := rfc7677(t)
		if _, done, err := s.Step([]byte(first)); done || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v %v", first, done, err)
		}
		if _, _, err := s.Step([]byte("c=biws,r=x,p=AAAA")); !errors.Is(err, ErrOver) {
			t.Errorf("%q: a step more: %v", first, err)
		}
	}
	for _, final := range []string{
		"", "c=biws", "c=biws,r=x", "r=x,p=AAAA", "c=b,r=x,p=AAAA", "c=biws,r=,p=AAAA", "c=biws,p=AAAA", "c=biws,r=x,p=A", "c=biws,r=x,p=AAAA",
		"c=biws,r=x,ext,p=AAAA", "c=biws,r=x,p=\nAAAA", "c=biws,x=x,p=AAAA",
	} {
		s := rfc7677(t)
		if _, _, err := s.Step([]byte("n,,n=user,r=a")); err != nil {
			t.Fatal(err)
		}
		if _, done, err := s.Step([]byte(final)); done || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v %v", final, done, err)
		}
	}
	for _, token := range []string{"", "\x00", "\x00\x00", "\x00alice\x00", "\x00\x00pw", "alice\x00pw", "\x00alice\x00pw\x00", "\x00alice\x00pw\x00x"} {
		p := NewPlain(func(string) (string, bool) { return "pw", true })
		var told *Refusal
		if _, done, err := p.Step([]byte(token)); done || !errors.As(err, &told) {
			t.Errorf("PLAIN %q: %v %v", token, done, err)
		}
	}
}

// A nonce that is not the broker's, and an extension that may be there.
func TestNonceAndExtensions(t *testing.T) {
	for name, spoil := range map[string]bool{"extension": false, "nonce": true} {
		s := rfc7677(t)
		first := "n,,n=user,r=abc,ext=x"
		challenge, _, err := s.Step([]byte(first))
		if err != nil {
			t.Fatal(name, err)
		}
		if spoil { // the proof is right, over a challenge with another nonce
			challenge = bytes.Replace(challenge, []byte("r=abc"), []byte("r=xyz"), 1)
			s.serverFirst = challenge
		}
		_, done, err := s.Step([]byte(client(t, SHA256, first, string(challenge), "pencil")))
		if done == spoil || spoil != errors.Is(err, ErrSecret) {
			t.Errorf("%s: %v %v", name, done, err)
		}
	}
	s := rfc7677(t)
	if _, _, err := s.Step([]byte("n,,n=user,r=abc,tokenauth=true")); !errors.Is(err, ErrToken) {
		t.Errorf("a delegation token: %v", err)
	}
}

func FuzzScram(f *testing.F) {
	f.Add([]byte("n,,n=user,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		s := NewScram(ScramConfig{Mechanism: SHA256, Random: func([]byte) {}, Credential: func(string) (Credential, bool) { return Credential{}, false }})
		answer, done, err := s.Step(first)
		if done || (err == nil) != (answer != nil) {
			t.Errorf("%q: %q %v %v", first, answer, done, err)
		}
		if _, done, err := s.Step(final); done || err == nil {
			t.Errorf("nobody came in with %q, %q", first, final)
		}
	})
}
