//go:build compat

package compat

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// logins are conversations on a listener that asks who the client is.
var logins = map[string]func(*dialogue, [2]string){
	"plain":      plainLogins,
	"scram":      scramLogins,
	"before":     beforeLogin,
	"handshakes": handshakes,
	"again":      loginAgain,
	"users":      userSettings,
}

// withLogins are the properties of a broker with a listener for clients that
// authenticate, and one where they must do so again.
func withLogins(plain, in, short int) []string {
	jaas := `org.apache.kafka.common.security.plain.PlainLoginModule required username="x" password="y" user_alice="al" user_bob="bo";`
	scram := `org.apache.kafka.common.security.scram.ScramLoginModule required;`
	props := []string{
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,IN://127.0.0.1:%d,SHORT://127.0.0.1:%d", plain, in, short),
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,IN:SASL_PLAINTEXT,SHORT:SASL_PLAINTEXT",
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512", "listener.name.short.connections.max.reauth.ms=4000",
		"sasl.server.max.receive.size=2000",
	}
	for _, l := range []string{"in", "short"} {
		props = append(props, "listener.name."+l+".plain.sasl.jaas.config="+jaas,
			"listener.name."+l+".scram-sha-256.sasl.jaas.config="+scram, "listener.name."+l+".scram-sha-512.sasl.jaas.config="+scram)
	}
	return props
}

// guarded starts a broker with those listeners, and says where they are.
func guarded(t *testing.T, start func(properties []string) string) (open, in, short string) {
	t.Helper()
	ports := [3]int{freePort(t), freePort(t), freePort(t)}
	open = start(withLogins(ports[0], ports[1], ports[2]))
	return open, fmt.Sprintf("127.0.0.1:%d", ports[1]), fmt.Sprintf("127.0.0.1:%d", ports[2])
}

func guardedMyelin(t *testing.T) (open, in, short string) {
	return guarded(t, func(properties []string) string {
		var args []string
		for _, p := range properties {
			args = append(args, "--set", p)
		}
		return startMyelin(t, t.TempDir(), "", args...).bootstrap
	})
}

func guardedKafka(t *testing.T) (open, in, short string) {
	return guarded(t, func(properties []string) string {
		list := strings.TrimPrefix(properties[0], "listeners=")
		return startKafka(t, append(properties[1:], "advertised.listeners="+list, "listeners="+list+",CONTROLLER://@controller")...).bootstrap
	})
}

// How clients authenticate, and how they fail to, goes alike on Myelin and on a
// real Kafka 4.4.
func TestWireLogins(t *testing.T) {
	list := listed(t)
	open, in, short := [2]string{}, [2]string{}, [2]string{}
	open[0], in[0], short[0] = guardedMyelin(t)
	open[1], in[1], short[1] = guardedKafka(t)
	var entry [2]*wirecmp.Peer
	for i, name := range []string{"myelin", "kafka"} {
		p := wirecmp.Dial(name, open[i])
		t.Cleanup(p.Close)
		var resp msg.AlterUserScramCredentialsResponse
		if err := p.Do(carol(), 0, &resp); err != nil || resp.Results[0].ErrorCode != 0 {
			t.Fatal(err, resp)
		}
		entry[i] = wirecmp.Dial(name, in[i])
		known := time.Now().Add(20 * time.Second)
		for !knowsCarol(t, entry[i].Again()) && time.Now().Before(known) {
		}
	}
	ran, total := 0, 0
	for name, talk := range logins {
		t.Run(name, func(t *testing.T) {
			ran++
			at := entry
			if name == "users" {
				at = [2]*wirecmp.Peer{wirecmp.Dial("myelin", open[0]), wirecmp.Dial("kafka", open[1])}
			}
			d := &dialogue{t: t, name: name, c: &comparison{peers: at, listed: list}, answers: new(int)}
			d.connect()
			talk(d, short)
			total += *d.answers
		})
	}
	t.Logf("%d answers compared in all", total)
	if ran == len(logins) {
		unseen(t, list, ofLogins)
	}
}

// carol logs in by SCRAM-SHA-256 with the password "ca".
func carol() *msg.AlterUserScramCredentialsRequest {
	r := msg.NewAlterUserScramCredentialsRequest()
	salted, _ := pbkdf2.Key(sha256.New, "ca", []byte("a salt of carol's"), 4096, 32)
	r.Upsertions = []msg.AlterUserScramCredentialsRequestUpsertion{{Name: "carol", Mechanism: 1, Iterations: 4096,
		Salt: []byte("a salt of carol's"), SaltedPassword: salted}}
	return &r
}

// knowsCarol says whether a broker has heard of carol: Kafka's tells its
// listeners of a user some time after it said that there is one.
func knowsCarol(t *testing.T, p *wirecmp.Peer) bool {
	defer p.Close()
	var shaken msg.SASLHandshakeResponse
	if err := p.Do(&msg.SASLHandshakeRequest{Mechanism: "SCRAM-SHA-256"}, 1, &shaken); err != nil {
		t.Fatal(err)
	}
	var resp msg.SASLAuthenticateResponse
	if err := p.Do(&msg.SASLAuthenticateRequest{AuthBytes: []byte("n,,n=carol,r=x")}, 2, &resp); err != nil {
		t.Fatal(err)
	}
	return resp.ErrorCode == 0
}

// again begins anew, on connections of their own.
func (d *dialogue) again() {
	for i := range d.peers {
		d.peers[i].Close()
		d.peers[i] = d.c.peers[i].Again()
	}
}

func (d *dialogue) shake(step string, version int16, mechanism string) {
	d.t.Helper()
	ask[msg.SASLHandshakeResponse](d, step, version, same(&msg.SASLHandshakeRequest{Mechanism: mechanism}))
}

// token sends a token to each broker and compares the answers, texts included.
func (d *dialogue) token(step string, version int16, token func(i int) string) [2]*msg.SASLAuthenticateResponse {
	d.t.Helper()
	got := ask[msg.SASLAuthenticateResponse](d, step, version, func(i int) msg.Request {
		return &msg.SASLAuthenticateRequest{AuthBytes: []byte(token(i))}
	})
	for _, g := range got {
		if g.ErrorMessage == nil {
			g.ErrorMessage = ptr("")
		}
	}
	if a, b := *got[0].ErrorMessage, *got[1].ErrorMessage; a != b && !allowed(d.c.listed, "SaslAuthenticate", d.name+": "+step, "ErrorMessage") {
		d.t.Errorf("%s: we say %q, Kafka %q", step, a, b)
	}
	return [2]*msg.SASLAuthenticateResponse{got[0], got[1]}
}

func text(s string) func(int) string { return func(int) string { return s } }

// over says that both have closed.
func (d *dialogue) over(step string) {
	d.t.Helper()
	d.reacts(step+": closed", frame(kafka.KeyMetadata, 1, "x", 0, 0, 0, 0))
}

// reacts is react on the connections that there are.
func (d *dialogue) reacts(step string, b []byte) {
	d.t.Helper()
	var outcomes [2]string
	for i, p := range d.peers {
		var err error
		if outcomes[i], err = p.Raw(b); err != nil {
			d.t.Fatalf("%s: %v", step, err)
		}
	}
	*d.answers++
	line := "outcome: " + outcomes[0] + " | " + outcomes[1]
	if outcomes[0] != outcomes[1] && !allowed(d.c.listed, "raw", d.name+": "+step, line) {
		d.t.Errorf("raw v0 [%s: %s] %s", d.name, step, line)
	}
}

func plainLogins(d *dialogue, _ [2]string) {
	for v := range int16(3) {
		for _, c := range [][2]string{
			{"alice", "\x00alice\x00al"}, {"alice as alice", "alice\x00alice\x00al"}, {"alice as bob", "bob\x00alice\x00al"},
			{"a wrong password", "\x00alice\x00no"}, {"nobody", "\x00nobody\x00x"}, {"nobody as alice", "alice\x00nobody\x00x"},
			{"no user", "\x00\x00x"}, {"no password", "\x00alice\x00"}, {"nothing", ""}, {"no zeros", "alice al"}, {"one zero", "alice\x00al"},
			{"four parts", "\x00alice\x00al\x00x"}, {"not UTF-8", "\x00alice\x00\xff"}, {"the broker's own", "\x00x\x00y"},
		} {
			d.again()
			d.shake("handshake", 1, "PLAIN")
			got := d.token(c[0], v, text(c[1]))
			if got[1].ErrorCode != 0 {
				d.over(c[0])
				continue
			}
			d.shake("a handshake of who is in", 1, "PLAIN")
			d.token("a token of who is in", v, text(c[1]))
			ask[msg.MetadataResponse](d, "served", 1, same(&msg.MetadataRequest{}))
		}
	}
	for _, c := range [][2]string{{"bare", "\x00alice\x00al"}, {"bare and wrong", "\x00alice\x00no"}} {
		d.again()
		d.shake("handshake 0", 0, "PLAIN")
		d.reacts(c[0], append([]byte{0, 0, 0, byte(len(c[1]))}, c[1]...))
	}
}

// proof answers a challenge as carol does.
func proof(t *testing.T, first, challenge, password string) string {
	t.Helper()
	fields := strings.Split(challenge, ",")
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[1], "s="))
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, 4096, 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	bare := "c=biws," + fields[0]
	for i, b := range mac(stored[:], first[strings.Index(first, "n="):]+","+challenge+","+bare) {
		key[i] ^= b
	}
	return bare + ",p=" + base64.StdEncoding.EncodeToString(key)
}

func scramLogins(d *dialogue, _ [2]string) {
	begin := func(step, first string) [2]*msg.SASLAuthenticateResponse {
		d.t.Helper()
		d.again()
		d.shake("handshake", 1, "SCRAM-SHA-256")
		return d.token(step, 2, text(first))
	}
	for _, first := range []string{"", "n,,n=carol", "n,,r=x,n=carol", "y,,n=carol,r=x", "p=tls-unique,,n=carol,r=x", "n,a=dave,n=carol,r=x",
		"n,,n=car=ol,r=x", "n,,n=carol,r=x,tokenauth=true", "n,,n=carol,r=x,ext", "n,,n=\xc3\xa9,r=x"} {
		begin(fmt.Sprintf("first %q", first), first)
		d.over("a bad first message")
	}
	for _, first := range []string{"n,,n=carol,r=x", "n,a=carol,n=carol,r=x", "n,,n=carol,r=x,ext=y"} {
		for _, password := range []string{"ca", "wrong"} {
			challenge := begin("first "+first, first)
			got := d.token("final of "+password, 2, func(i int) string { return proof(d.t, first, string(challenge[i].AuthBytes), password) })
			if got[1].ErrorCode != 0 {
				d.over("final of " + password)
				continue
			}
			ask[msg.MetadataResponse](d, "served", 1, same(&msg.MetadataRequest{}))
		}
	}
	for _, final := range []string{"", "c=biws", "c=biws,r=x,p=AAAA", "c=biws,r=x", "c=b,r=x,p=AAAA", "r=x,p=AAAA"} {
		begin("first", "n,,n=carol,r=x")
		d.token(fmt.Sprintf("final %q", final), 2, text(final))
		d.over("a bad final message")
	}
	challenge := begin("nobody", "n,,n=nobody,r=x")
	if challenge[0].ErrorCode != 0 || challenge[1].ErrorCode == 0 {
		d.t.Errorf("nobody is told of at the first step: we %d, Kafka %d", challenge[0].ErrorCode, challenge[1].ErrorCode)
	}
	d.again()
	d.shake("handshake 512", 1, "SCRAM-SHA-512")
	d.token("nobody of the other mechanism", 2, text("n,,n=carol,r=x"))
}

func beforeLogin(d *dialogue, _ [2]string) {
	metadata := frame(kafka.KeyMetadata, 1, "x", 0, 0, 0, 0)
	versions := frame(kafka.KeyAPIVersions, 0, "x")
	d.reacts("metadata", metadata)
	for _, key := range []int16{kafka.KeyProduce, kafka.KeyFetch, kafka.KeySASLAuthenticate, 999, -1} {
		d.again()
		d.reacts("key "+kafka.KeyName(key), frame(key, 2, "x", make([]byte, 30)...))
	}
	d.again()
	d.reacts("versions", versions)
	d.again()
	ask[msg.APIVersionsResponse](d, "versions to read", 3, same(&msg.APIVersionsRequest{ClientSoftwareName: "a", ClientSoftwareVersion: "1"}))
	d.reacts("metadata after versions", metadata)
	d.again()
	ask[msg.APIVersionsResponse](d, "versions once", 0, same(&msg.APIVersionsRequest{}))
	d.reacts("versions twice", versions)
	d.again()
	ask[msg.APIVersionsResponse](d, "versions without a name", 3, same(&msg.APIVersionsRequest{}))
	d.shake("handshake after it", 1, "PLAIN")
	d.again()
	d.shake("handshake", 1, "PLAIN")
	d.reacts("metadata after a handshake", metadata)
	d.over("metadata after a handshake")
	for _, size := range []int{1900, 2100} {
		d.again()
		d.shake("handshake", 1, "PLAIN")
		b := frame(kafka.KeySASLAuthenticate, 1, "x", append([]byte{0, 0, byte(size >> 8), byte(size)}, make([]byte, size)...)...)
		d.reacts(fmt.Sprintf("a token of %d bytes", size), b)
	}
}

func handshakes(d *dialogue, _ [2]string) {
	for v := range int16(2) {
		for _, name := range []string{"NONE", "", "plain", "GSSAPI", "OAUTHBEARER", "SCRAM-SHA-1", strings.Repeat("x", 1000)} {
			d.again()
			ask[msg.SASLHandshakeResponse](d, fmt.Sprintf("by %.20q", name), v, same(&msg.SASLHandshakeRequest{Mechanism: name}))
			d.over("by what there is not")
		}
		for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
			d.again()
			d.shake("by "+name, v, name)
		}
	}
	d.again()
	d.shake("once", 1, "PLAIN")
	d.reacts("twice", frame(kafka.KeySASLHandshake, 1, "x", 0, 5, 'P', 'L', 'A', 'I', 'N'))
	d.again()
	d.reacts("in a version to come", frame(kafka.KeySASLHandshake, 2, "x", 0, 5, 'P', 'L', 'A', 'I', 'N'))
}

// loginAgain is on listeners where a session ends after four seconds.
func loginAgain(d *dialogue, short [2]string) {
	for i, name := range []string{"myelin", "kafka"} {
		d.c.peers[i] = wirecmp.Dial(name, short[i])
	}
	in := func(step, mechanism, token string) {
		d.t.Helper()
		d.shake("handshake: "+step, 1, mechanism)
		d.token(step, 1, text(token))
	}
	served := func(step string) {
		d.t.Helper()
		ask[msg.MetadataResponse](d, step, 1, same(&msg.MetadataRequest{}))
	}
	d.again()
	in("alice", "PLAIN", "\x00alice\x00al")
	in("alice again", "PLAIN", "\x00alice\x00al")
	d.shake("a third time at once", 1, "PLAIN")
	served("served")
	wait(d.t, 1500*time.Millisecond)
	in("alice as bob", "PLAIN", "\x00bob\x00bo")
	d.over("alice as bob")
	d.again()
	in("alice", "PLAIN", "\x00alice\x00al")
	d.shake("alice by another mechanism", 1, "SCRAM-SHA-256")
	d.reacts("alice by another mechanism", frame(kafka.KeySASLAuthenticate, 1, "x", 0, 0, 0, 1, 'n'))
	d.again()
	in("alice", "PLAIN", "\x00alice\x00al")
	in("alice with a wrong password", "PLAIN", "\x00alice\x00no")
	d.over("alice with a wrong password")
	d.again()
	in("alice", "PLAIN", "\x00alice\x00al")
	wait(d.t, 4500*time.Millisecond)
	d.over("too late")
	d.again()
	in("alice", "PLAIN", "\x00alice\x00al")
	wait(d.t, 4500*time.Millisecond)
	in("alice, late", "PLAIN", "\x00alice\x00al")
	served("served, late")
}

// wait lets time pass that both brokers measure.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func userSettings(d *dialogue, _ [2]string) {
	type up = msg.AlterUserScramCredentialsRequestUpsertion
	type del = msg.AlterUserScramCredentialsRequestDeletion
	alter := func(step string, deletions []del, upsertions ...up) {
		d.t.Helper()
		for i := range upsertions {
			upsertions[i].Salt, upsertions[i].SaltedPassword = []byte("salt"), []byte("salted password")
		}
		got := ask[msg.AlterUserScramCredentialsResponse](d, step, 0, same(&msg.AlterUserScramCredentialsRequest{Deletions: deletions, Upsertions: upsertions}))
		texts := func(r *msg.AlterUserScramCredentialsResponse) map[string]string {
			m := map[string]string{}
			for _, row := range r.Results {
				if row.ErrorMessage != nil {
					m[row.User] = *row.ErrorMessage
				}
			}
			return m
		}
		if a, b := fmt.Sprint(texts(got[0])), fmt.Sprint(texts(got[1])); a != b {
			d.t.Errorf("%s: we say %s, Kafka %s", step, a, b)
		}
	}
	describe := func(step string, names ...string) {
		d.t.Helper()
		r := msg.NewDescribeUserScramCredentialsRequest()
		for _, n := range names {
			r.Users = append(r.Users, msg.DescribeUserScramCredentialsRequestUser{Name: n})
		}
		ask[msg.DescribeUserScramCredentialsResponse](d, step, 0, same(&r))
	}
	alter("two", nil, up{Name: "u1", Mechanism: 1, Iterations: 4096}, up{Name: "u2", Mechanism: 2, Iterations: 16384})
	alter("u1 by both", nil, up{Name: "u1", Mechanism: 2, Iterations: 8192})
	await[msg.DescribeUserScramCredentialsResponse](d, 0, same(&msg.DescribeUserScramCredentialsRequest{Users: []msg.DescribeUserScramCredentialsRequestUser{{Name: "u1"}}}),
		func(r *msg.DescribeUserScramCredentialsResponse) bool { return len(r.Results[0].CredentialInfos) == 2 })
	describe("u1", "u1")
	describe("u2 and nobody", "u2", "u0", "")
	describe("twice", "u2", "u2", "u1")
	describe("all")
	alter("too few", nil, up{Name: "u1", Mechanism: 1, Iterations: 4095})
	alter("too many", nil, up{Name: "u1", Mechanism: 1, Iterations: 16385})
	alter("an unknown mechanism", []del{{Name: "u2", Mechanism: 7}}, up{Name: "u1", Mechanism: 3, Iterations: 4096})
	alter("no name", []del{{Mechanism: 1}})
	alter("nobody", []del{{Name: "u9", Mechanism: 1}, {Name: "u2", Mechanism: 1}})
	alter("twice", []del{{Name: "u1", Mechanism: 1}}, up{Name: "u1", Mechanism: 1, Iterations: 4096}, up{Name: "u3", Mechanism: 1, Iterations: 4096}, up{Name: "u3", Mechanism: 2, Iterations: 4096})
	alter("twice and wrong", nil, up{Name: "u1", Mechanism: 1, Iterations: 1}, up{Name: "u1", Mechanism: 1, Iterations: 4096})
	alter("nothing", nil)
	alter("gone", []del{{Name: "u1", Mechanism: 1}, {Name: "u2", Mechanism: 2}})
	alter("gone already", []del{{Name: "u1", Mechanism: 1}})
}
