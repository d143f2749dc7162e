package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// withLogins are the properties of a node with a second listener, on which
// clients authenticate. Comments stand for blanks, which part the properties.
const withLogins = "listeners=PLAINTEXT://node1:9092,IN://node1:9094 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,IN:SASL_PLAINTEXT " +
	"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512 " +
	`listener.name.in.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule'required'user_alice="al"user_bob="bo"; `

// login asks for the metadata as somebody.
func (s *stand) login(who sasl.Mechanism) error {
	s.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("node1:9094"), kgo.Dialer(s.net.Host("client").Dial), kgo.SASL(who), kgo.RequestRetries(0))
	if err != nil {
		s.Fatal(err)
	}
	defer cl.Close()
	return cl.Ping(context.Background())
}

func as(user, password string) sasl.Mechanism {
	return plain.Auth{User: user, Pass: password}.AsMechanism()
}

// user makes one who logs in by SCRAM.
func (s *stand) user(name string, mechanism kadm.ScramMechanism, password string) {
	s.Helper()
	out, err := s.adm.AlterUserSCRAMs(context.Background(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: mechanism, Iterations: 4096, Password: password}})
	if err == nil {
		err = out.Error()
	}
	if err != nil {
		s.Fatal(err)
	}
}

func TestMechanisms(t *testing.T) {
	refused := func(err error) bool { return errors.Is(err, kerr.SaslAuthenticationFailed) }
	onNode(t, withLogins, func(s *stand) {
		s.user("carol", kadm.ScramSha256, "ca")
		s.user("dave", kadm.ScramSha512, "da")
		carol := func(p string) scram.Auth { return scram.Auth{User: "carol", Pass: p} }
		for name, who := range map[string]sasl.Mechanism{
			"PLAIN": as("alice", "al"), "SCRAM-SHA-256": carol("ca").AsSha256Mechanism(),
			"SCRAM-SHA-512": scram.Auth{User: "dave", Pass: "da"}.AsSha512Mechanism(),
		} {
			if err := s.login(who); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, who := range map[string]sasl.Mechanism{
			"wrong password": carol("xx").AsSha256Mechanism(), "nobody": scram.Auth{User: "nobody", Pass: "x"}.AsSha256Mechanism(),
			"the other mechanism": carol("ca").AsSha512Mechanism(), "a token": scram.Auth{User: "carol", Pass: "ca", IsToken: true}.AsSha256Mechanism(),
			"for another": scram.Auth{User: "carol", Pass: "ca", Zid: "dave"}.AsSha256Mechanism(), "PLAIN for another": plain.Auth{User: "alice", Pass: "al", Zid: "bob"}.AsMechanism(),
		} {
			if err := s.login(who); !refused(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		gone, err := s.adm.AlterUserSCRAMs(s.Context(), []kadm.DeleteSCRAM{{User: "carol", Mechanism: kadm.ScramSha256}}, nil)
		if err != nil || gone.Error() != nil {
			t.Fatal(err, gone.Error())
		}
		if err := s.login(carol("ca").AsSha256Mechanism()); !refused(err) {
			t.Errorf("one who is no more: %v", err)
		}
	})
	onNode(t, withLogins+"listener.name.in.sasl.enabled.mechanisms=SCRAM-SHA-512", func(s *stand) {
		if err := s.login(as("alice", "al")); !errors.Is(err, kerr.UnsupportedSaslMechanism) {
			t.Errorf("PLAIN, which the listener does not enable: %v", err)
		}
	})
}

func TestPlainUsers(t *testing.T) {
	onNode(t, withLogins, func(s *stand) {
		if err := s.login(as("bob", "bo")); err != nil {
			t.Errorf("bob: %v", err)
		}
		for _, who := range []sasl.Mechanism{as("bob", "al"), as("carol", "bo"), as("bob", "b"), as("bob", "boo")} {
			if err := s.login(who); !errors.Is(err, kerr.SaslAuthenticationFailed) {
				t.Errorf("a stranger: %v", err)
			}
		}
		name := "listener.name.in.plain.sasl.jaas.config"
		value := `org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="new";`
		out, err := s.adm.AlterBrokerConfigs(s.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, 1)
		if err != nil || out[0].Err != nil {
			t.Fatal(err, out)
		}
		if err := s.login(as("bob", "new")); err != nil {
			t.Errorf("bob with the password of today: %v", err)
		}
		if err := s.login(as("bob", "bo")); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("bob with the password of yesterday: %v", err)
		}
		gssapi := "GSSAPI,SCRAM-SHA-256" // of which one is not served
		out, err = s.adm.AlterBrokerConfigs(s.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "listener.name.in.sasl.enabled.mechanisms", Value: &gssapi}}, 1)
		if err != nil || out[0].Err != nil {
			t.Fatal(err, out)
		}
		r := s.raw()
		defer r.Close()
		if code := r.shake(1, "GSSAPI"); code != 33 {
			t.Errorf("a mechanism that is not served: code %d", code)
		}
	})
}

// raw is a connection to the listener that authenticates, without a client.
type raw struct {
	*testing.T
	net.Conn
}

func (s *stand) raw() *raw {
	s.Helper()
	conn, err := s.net.Host("client").Dial(context.Background(), "tcp", "node1:9094")
	if err != nil {
		s.Fatal(err)
	}
	return &raw{s.T, conn}
}

func (r *raw) write(b []byte) {
	r.Helper()
	if _, err := r.Write(append(wire.AppendInt32(nil, int32(len(b))), b...)); err != nil {
		r.Fatal(err)
	}
}

// read takes a frame, nil where the broker closed.
func (r *raw) read() []byte {
	r.Helper()
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil
	}
	b := make([]byte, wire.NewReader(size[:]).Int32())
	if _, err := io.ReadFull(r, b); err != nil {
		r.Fatal(err)
	}
	return b
}

// ask sends a request and reads its answer, false where the broker closed.
func (r *raw) ask(version int16, req msg.Request, resp msg.Response) bool {
	r.Helper()
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: 7, ClientID: new("raw")}
	r.write(req.Append(h.Append(nil, msg.RequestHeaderVersion(req.Key(), version)), version))
	b := r.read()
	if b == nil {
		return false
	}
	in := wire.NewReader(b)
	var rh msg.ResponseHeader
	rh.Decode(in, msg.ResponseHeaderVersion(req.Key(), version))
	resp.Decode(in, version)
	if err := in.Done(); err != nil {
		r.Fatal(err)
	}
	return true
}

func (r *raw) shake(version int16, mechanism string) int16 {
	r.Helper()
	resp := msg.NewSASLHandshakeResponse()
	if !r.ask(version, &msg.SASLHandshakeRequest{Mechanism: mechanism}, &resp) {
		r.Fatal("the handshake closed")
	}
	return resp.ErrorCode
}

func (r *raw) authenticate(token string) (msg.SASLAuthenticateResponse, bool) {
	r.Helper()
	resp := msg.NewSASLAuthenticateResponse()
	ok := r.ask(2, &msg.SASLAuthenticateRequest{AuthBytes: []byte(token)}, &resp)
	return resp, ok
}

// works says whether the client is served.
func (r *raw) works() bool {
	r.Helper()
	resp := msg.NewMetadataResponse()
	req := msg.NewMetadataRequest()
	return r.ask(12, &req, &resp)
}

// in logs alice in and says for how long.
func (r *raw) in() int64 {
	r.Helper()
	r.shake(1, "PLAIN")
	resp, ok := r.authenticate("\x00alice\x00al")
	if !ok || resp.ErrorCode != 0 {
		r.Fatalf("alice: %v %+v", ok, resp)
	}
	return resp.SessionLifetimeMs
}

func TestFailedLoginWaits(t *testing.T) {
	onNode(t, withLogins+"connection.failed.authentication.delay.ms=3000", func(s *stand) {
		r := s.raw()
		defer r.Close()
		r.shake(1, "PLAIN")
		began := time.Now()
		resp, ok := r.authenticate("\x00alice\x00wrong")
		if waited := time.Since(began); !ok || resp.ErrorCode != 58 || waited < 3*time.Second {
			t.Errorf("%v %+v after %v", ok, resp, waited)
		}
		if r.read() != nil {
			t.Error("the connection goes on")
		}
	})
}

func TestFrameBeforeLogin(t *testing.T) {
	onNode(t, withLogins+"sasl.server.max.receive.size=1000", func(s *stand) {
		long := strings.Repeat("x", 1000)
		r := s.raw()
		defer r.Close()
		r.shake(1, "PLAIN")
		if _, ok := r.authenticate("\x00alice\x00" + long); ok {
			t.Error("a token of more than 1000 bytes was read")
		}
		r = s.raw()
		defer r.Close()
		r.in()
		resp := msg.NewMetadataResponse()
		req := msg.NewMetadataRequest()
		req.Topics = []msg.MetadataRequestTopic{{Name: &long}}
		if !r.ask(12, &req, &resp) {
			t.Error("the limit holds after authentication too")
		}
	})
}

func TestSessionEnds(t *testing.T) {
	onNode(t, withLogins+"connections.max.reauth.ms=60000 listener.name.in.scram-sha-256.connections.max.reauth.ms=5000", func(s *stand) {
		idle := s.raw()
		defer idle.Close()
		if ms := idle.in(); ms != 60_000 {
			t.Errorf("the session lasts %d ms", ms)
		}
		r := s.raw()
		defer r.Close()
		r.in()
		if code := r.shake(1, "PLAIN"); code != 0 {
			t.Errorf("to authenticate again: code %d", code)
		}
		if resp, ok := r.authenticate("\x00alice\x00al"); !ok || resp.ErrorCode != 0 {
			t.Errorf("to authenticate again: %v %+v", ok, resp)
		}
		if code := r.shake(1, "PLAIN"); code != 34 {
			t.Errorf("twice within a second: code %d", code)
		}
		s.pass(50 * time.Second)
		r.in()
		s.pass(20 * time.Second)
		if !r.works() {
			t.Error("one who came again in time is cut off")
		}
		if idle.works() {
			t.Error("a session goes on after its end")
		}
		s.user("carol", kadm.ScramSha256, "ca")
		s.pass(2 * time.Second)
		r.shake(1, "PLAIN")
		if resp, ok := r.authenticate("\x00bob\x00bo"); !ok || !strings.HasPrefix(*resp.ErrorMessage, "Cannot change principals during re-authentication from User.alice: User.bob") {
			t.Errorf("alice comes again as bob: %v %+v", ok, resp)
		}
		if r.works() {
			t.Error("bob took over alice's connection")
		}
	})
}

// Before a client is in it can do nothing else, and afterwards it is who it said.
func TestNothingBeforeLogin(t *testing.T) {
	onNode(t, withLogins, func(s *stand) {
		for name, way := range map[string]func(*raw) bool{
			"at once":           (*raw).works,
			"after a handshake": func(r *raw) bool { r.shake(1, "PLAIN"); return r.works() },
			"between two steps": func(r *raw) bool {
				r.shake(1, "SCRAM-SHA-256")
				r.authenticate("n,,n=alice,r=x")
				return r.works()
			},
			"a token before the handshake": func(r *raw) bool { _, ok := r.authenticate("\x00alice\x00al"); return ok },
		} {
			r := s.raw()
			if way(r) {
				t.Errorf("%s: served", name)
			}
			r.Close()
		}
		r := s.raw()
		defer r.Close()
		r.in()
		if !r.works() {
			t.Error("alice is not served")
		}
		if code := r.shake(1, "PLAIN"); code != 34 {
			t.Errorf("a second handshake without a session's end: code %d", code)
		}
		if resp, ok := r.authenticate("x"); !ok || resp.ErrorCode != 34 {
			t.Errorf("a token from who is in: %v %+v", ok, resp)
		}
		if !r.works() {
			t.Error("alice is not served any more")
		}
	})
}

// Clients of long ago send their tokens bare.
func TestBareTokens(t *testing.T) {
	onNode(t, withLogins, func(s *stand) {
		r := s.raw()
		defer r.Close()
		r.shake(0, "PLAIN")
		r.write([]byte("\x00alice\x00al"))
		if b := r.read(); b == nil || len(b) != 0 {
			t.Fatalf("answer %q", b)
		}
		if !r.works() {
			t.Error("alice is not served")
		}
		r = s.raw()
		defer r.Close()
		r.shake(0, "PLAIN")
		r.write([]byte("\x00alice\x00no"))
		if b := r.read(); b != nil {
			t.Errorf("answer %q to a wrong password", b)
		}
	})
}

// What would leave clients without a way in is refused at the start.
func TestListenerThatNobodyEnters(t *testing.T) {
	for more, want := range map[string]string{
		"sasl.enabled.mechanisms=GSSAPI":                                 "is not served",
		"sasl.enabled.mechanisms=":                                       "is empty",
		"listener.name.in.plain.sasl.jaas.config=x.Other'required;":      "a quote does not end",
		"listener.name.in.plain.sasl.jaas.config=x.Other'required'":      "semicolon",
		"listener.name.in.plain.sasl.jaas.config=x.Other'required';":     "only org.apache",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,IN:SASL_SSL": "TLS is not served",
	} {
		set := config.Settings{}
		for _, kv := range strings.Fields(withLogins + more) {
			k, v, _ := strings.Cut(kv, "=")
			set[k] = config.Setting{Value: v, Origin: "test"}
		}
		if _, err := config.Check(set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", more, err, want)
		}
	}
}
