package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func listed(set Settings) string {
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&s, "%s=%q %s\n", name, set[name].Value, set[name].Origin)
	}
	return s.String()
}

func TestProperties(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "a=1\nb : 2\nc 3\n  d\t=\t4 \n", "a=\"1\" f:1\nb=\"2\" f:2\nc=\"3\" f:3\nd=\"4 \" f:4\n"},
		{"comments", "# x=1\n! y=2\n\n   # z\na=b#c\n", "a=\"b#c\" f:5\n"},
		{"continued", "a=1,\\\n   2,\\\n   3\nb=x\\\\\nc=y\n", "a=\"1,2,3\" f:1\nb=\"x\\\\\" f:4\nc=\"y\" f:5\n"},
		{"escapes", `k\=e\:y\ s=a\tb\u0041\n\q` + "\n", "k=e:y s=\"a\\tbA\\nq\" f:1\n"},
		{"empty value", "a=\nb\n", "a=\"\" f:1\nb=\"\" f:2\n"},
		{"last wins", "a=1\na=2\n", "a=\"2\" f:2\n"},
		{"CRLF", "a=1\r\nb=2\r\n", "a=\"1\" f:1\nb=\"2\" f:2\n"},
		{"continued at the end", "a=1\\", "a=\"1\" f:1\n"},
		{"bad escape", "\na=\\u00g1", "error f:2: \\u wants four hexadecimal digits, has \"00g1\""},
		{"short escape", "a=\\u00", "error f:1: \\u wants four hexadecimal digits"},
		{"not text", "a=\xff", "error f: not UTF-8 text"},
	} {
		set, err := ParseProperties("f", []byte(c.text))
		have := listed(set)
		if err != nil {
			have = "error " + err.Error()
		}
		if have != c.want {
			t.Errorf("%s:\nhave %s\nwant %s", c.name, have, c.want)
		}
	}
}

func TestYAML(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"dotted", "node.id: 1\nlog.dirs: /a,/b\n", "log.dirs=\"/a,/b\" f:2\nnode.id=\"1\" f:1\n"},
		{"nested", "log:\n  dirs: [/a, /b]\n  retention:\n    hours: 24\n  cleaner.threads: 2\n",
			"log.cleaner.threads=\"2\" f:5\nlog.dirs=\"/a,/b\" f:2\nlog.retention.hours=\"24\" f:4\n"},
		{"sequence", "listeners:\n  - PLAINTEXT://a:1\n  - CONTROLLER://a:2\n", "listeners=\"PLAINTEXT://a:1,CONTROLLER://a:2\" f:1\n"},
		{"kinds", "a: true\nb: 0.5\nc: 'x y'\nd: \"1\"\ne:\nf: ~\ng: 0x10\n",
			"a=\"true\" f:1\nb=\"0.5\" f:2\nc=\"x y\" f:3\nd=\"1\" f:4\ng=\"0x10\" f:7\n"},
		{"block text", "a: |\n  one\n  two\n", "a=\"one\\ntwo\" f:1\n"},
		{"empty", "# nothing\n", ""},
		{"twice", "log:\n  dir: /a\nlog.dir: /b\n", "error f:3: log.dir is already set at f:2"},
		{"not a mapping", "- a\n", "error f:1: want KEY: VALUE lines, found sequence"},
		{"list of lists", "a:\n  - [1]\n", "error f:2: a: a list holds plain values only"},
		{"anchor", "a: &x 1\nb: *x\n", "error f:1: a: want a value, a list or nested keys, found anchor"},
		{"merge", "<<: {a: 1}\n", "error f:1: a key must be plain text"},
		{"tag", "a: !!str 1\n", "a=\"1\" f:1\n"},
		{"complex key", "? [a]\n: b\n", "error f:2: found an invalid key for this map"},
		{"flow", "{a: {b: 1, c: [x, y]}}\n", "a.b=\"1\" f:1\na.c=\"x,y\" f:1\n"},
		{"scalar", "hello\n", "error f:1: want KEY: VALUE lines, found string"},
		{"broken", "a: 1\nb: [1\nc: 2\n", "error f:3: ',' or ']' must be specified"},
		{"two documents", "a: 1\n---\nb: 2\n", "error f:3: one document is enough"},
	} {
		set, err := ParseYAML("f", []byte(c.text))
		have := listed(set)
		if err != nil {
			have = "error " + err.Error()
		}
		if have != c.want {
			t.Errorf("%s:\nhave %s\nwant %s", c.name, have, c.want)
		}
	}
}

func TestEnv(t *testing.T) {
	read := func(path string) ([]byte, error) {
		if path == "/run/secret" {
			return []byte("hush\n"), nil
		}
		return nil, errors.New("no such file")
	}
	set, err := FromEnv([]string{
		"KAFKA_NODE_ID=3", "KAFKA_LOG_DIRS=/x", "MYELIN_LOG_DIRS=/y", "KAFKA_HEAP_OPTS=-Xmx1g", "PATH=/bin", "KAFKA_",
		"KAFKA_LISTENER_NAME_MY__LISTENER_MAX_CONNECTIONS=4", "KAFKA_A___B=c", "CLUSTER_ID=abc",
		"KAFKA_SSL_KEYSTORE_PASSWORD_FILE=/run/secret", "KAFKA_SASL_OAUTHBEARER_ASSERTION_FILE=/a",
	}, read)
	want := `a-b="c" environment KAFKA_A___B
cluster.id="abc" environment CLUSTER_ID
listener.name.my_listener.max.connections="4" environment KAFKA_LISTENER_NAME_MY__LISTENER_MAX_CONNECTIONS
log.dirs="/y" environment MYELIN_LOG_DIRS
node.id="3" environment KAFKA_NODE_ID
sasl.oauthbearer.assertion.file="/a" environment KAFKA_SASL_OAUTHBEARER_ASSERTION_FILE
ssl.keystore.password="hush" environment KAFKA_SSL_KEYSTORE_PASSWORD_FILE
`
	if have := listed(set); err != nil || have != want {
		t.Errorf("%v\nhave %s\nwant %s", err, have, want)
	}
	if _, err := FromEnv([]string{"KAFKA_SSL_KEY_PASSWORD_FILE=/nope"}, read); err == nil {
		t.Error("a secret that cannot be read is no error")
	}
}

func TestParseSet(t *testing.T) {
	for _, c := range []struct{ arg, err string }{
		{"num.partitions=3", ""},
		{"advertised.listeners=PLAINTEXT://a:1", ""},
		{"num.partitions", "--set num.partitions: want KEY=VALUE"},
		{"num.partition=3", "--set num.partition=3: unknown property num.partition; did you mean num.partitions?"},
		{"retention.ms=3", "--set retention.ms=3: retention.ms is a property of topics; for all topics of a broker it is called log.retention.ms"},
		{"write.caching=true", "--set write.caching=true: write.caching is a property of topics: set it on a topic"},
	} {
		if _, err := ParseSet([]string{c.arg}); (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %v, want %q", c.arg, err, c.err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file, _ := ParseProperties("f", []byte("node.id=1\nnum.partitions=1\nlog.dirs=/f"))
	env, _ := FromEnv([]string{"KAFKA_NUM_PARTITIONS=2", "KAFKA_LOG_DIRS=/e"}, nil)
	flags, _ := ParseSet([]string{"log.dirs=/s"})
	b := NewBroker(Merge(file, env, flags))
	if b.NodeID() != 1 || b.Int("num.partitions") != 2 || b.String("log.dirs") != "/s" {
		t.Errorf("flag > environment > file: %d %d %s", b.NodeID(), b.Int("num.partitions"), b.String("log.dirs"))
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, set, notice, err string }{
		{"defaults", "", "", ""},
		{"typo", "num.partition=3", "x: unknown property num.partition; did you mean num.partitions?", ""},
		{"foreign", "com.example.plugin=3", "x: unknown property com.example.plugin", ""},
		{"no effect", "num.io.threads=16", "x: num.io.threads has no effect: work runs on goroutines; there is no pool to size", ""},
		{"no effect, but the default", "num.io.threads=8", "", ""},
		{"refused", "authorizer.class.name=org.example.A", "", "x: authorizer.class.name=org.example.A is refused: not served yet: ACLs; ignoring it would leave the broker open"},
		{"bad value", "num.partitions=x", "", "x: Invalid value x for configuration num.partitions: Not a number of type INT"},
		{"retention of nothing", "log.retention.ms=0", "", "x: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
		{"node ids", "node.id=1 broker.id=2", "", "You must set `node.id` to the same value as `broker.id`."},
		{"listener", "listeners=PLAINTEXT", "", "listeners: unable to parse PLAINTEXT to a broker endpoint: want NAME://host:port"},
		{"port", "listeners=PLAINTEXT://:99999", "", "listeners: PLAINTEXT://:99999 has no port between 0 and 65535"},
		{"same port", "listeners=PLAINTEXT://:1,CONTROLLER://:1", "", "listeners: PLAINTEXT and CONTROLLER have the same port 1; each listener must have a different port"},
		{"same name", "listeners=PLAINTEXT://:1,PLAINTEXT://:2", "", "listeners: each listener must have a different name: PLAINTEXT"},
		{"no protocol", "listeners=IN://:1", "", "listeners: no security protocol defined for listener IN: add IN:PLAINTEXT to listener.security.protocol.map"},
		{"TLS", "listeners=SSL://:1", "", "listener SSL uses SSL: TLS is not served yet; use PLAINTEXT or SASL_PLAINTEXT on a network you trust"},
		{"advertised", "advertised.listeners=OTHER://a:1 listener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT", "", "advertised.listeners names OTHER, but listeners has PLAINTEXT"},
		{"meta address", "advertised.listeners=PLAINTEXT://0.0.0.0:1", "", "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0: use a routable IP address"},
		{"inter-broker", "inter.broker.listener.name=X", "", "inter.broker.listener.name is X, but listeners has PLAINTEXT"},
		{"beat", "group.share.max.heartbeat.interval.ms=60000 group.share.heartbeat.interval.ms=45000", "", "group.share.heartbeat.interval.ms must be less than group.share.session.timeout.ms"},
		{"tags", "group.streams.rack.aware.assignment.tags=a,b,a", "", "group.streams.rack.aware.assignment.tags has a tag twice: name each once"},
		{"protocols", "group.coordinator.rebalance.protocols=consumer,streams", "", "group.coordinator.rebalance.protocols has no classic: that protocol cannot be turned off"},
		{"order", "group.min.session.timeout.ms=10 group.max.session.timeout.ms=5", "", "group.min.session.timeout.ms (10) must be less than or equal to group.max.session.timeout.ms (5)"},
		{"heartbeat", "broker.heartbeat.interval.ms=1000", "", "broker.heartbeat.interval.ms (1000 ms) must be less than or equal to half of the broker.session.timeout.ms (1500 ms)"},
		{"slow session", "broker.session.timeout.ms=9000", "x: broker.session.timeout.ms=9000: what a broker leads is away for that long when its machine dies; the default here is 1500, not Kafka's 9000", ""},
		{"quick session", "broker.session.timeout.ms=3000", "", ""},
		{"no quorum", "process.roles=broker", "", "process.roles has no controller: name where they are in controller.quorum.bootstrap.servers or controller.quorum.voters"},
		{"whole", "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://[::1]:9093 advertised.listeners=PLAINTEXT://kafka:9092 node.id=4 process.roles=broker,controller", "", ""},
	} {
		set := Settings{}
		for _, kv := range strings.Fields(c.set) {
			k, v, _ := strings.Cut(kv, "=")
			set[k] = Setting{v, "x"}
		}
		notices, err := Check(set)
		var texts []string
		for _, n := range notices {
			if !strings.Contains(n.Text, "not served yet") { // those go as parts are built
				texts = append(texts, n.String())
			}
		}
		if have := strings.Join(texts, "\n"); have != c.notice {
			t.Errorf("%s: notice %q, want %q", c.name, have, c.notice)
		}
		have := ""
		if err != nil {
			have = err.Error()
		}
		if have != c.err {
			t.Errorf("%s: error %q, want %q", c.name, have, c.err)
		}
	}
}

func TestListeners(t *testing.T) {
	b := NewBroker(Settings{
		"listeners":                      {Value: "in://127.0.0.1:9092,OUT://[::]:9094,CONTROLLER://:9093"},
		"listener.security.protocol.map": {Value: "IN:PLAINTEXT,OUT:SASL_SSL,CONTROLLER:PLAINTEXT"},
	})
	all, err := b.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{{"IN", "127.0.0.1", 9092, "PLAINTEXT", false}, {"OUT", "::", 9094, "SASL_SSL", false}, {"CONTROLLER", "", 9093, "PLAINTEXT", true}}
	if !slices.Equal(all, want) || all[1].Address() != "[::]:9094" || !all[0].Loopback() || all[1].Loopback() || all[2].Loopback() {
		t.Errorf("%+v", all)
	}
	if adv, err := b.Advertised(); err != nil || len(adv) != 2 {
		t.Errorf("advertised: %v, %v", adv, err)
	}
}

func TestExplain(t *testing.T) {
	b := NewBroker(Settings{"log.retention.hours": {"24", "server.properties:7"}, "ssl.key.password": {"secret", "f"}})
	for _, c := range []struct{ key, want string }{
		{"broker.session.timeout.ms", "9000; differs because a dead leader is replaced"},
		{"log.retention.ms", "STATIC_BROKER_CONFIG (log.retention.hours at server.properties:7)"},
		{"log.retention.ms", "value      86400000"},
		{"retention.ms", "value      86400000"},
		{"write.caching", "no such property"},
		{"ssl.key.password", "(hidden)"},
		{"num.io.threads", "noted: work runs on goroutines"},
		{"compression.type", "(topic)"},
	} {
		text, err := b.Explain(c.key)
		if err != nil || !strings.Contains(text, c.want) || strings.Contains(text, "secret") {
			t.Errorf("explain %s: %v\n%s\nwant %q", c.key, err, text, c.want)
		}
	}
	if _, err := b.Explain("log.retention.hour"); err == nil || err.Error() != "unknown property log.retention.hour; did you mean log.retention.hours?" {
		t.Errorf("typo: %v", err)
	}
}
