package config

import (
	"fmt"
	"strings"
	"testing"
)

func shown(rows []Row) string {
	var s strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&s, "%s=%s src=%d ro=%v sens=%v type=%d syn=", r.Name, text(r.Value), r.Source, r.ReadOnly, r.Sensitive, r.Type)
		for _, n := range r.Synonyms {
			fmt.Fprintf(&s, " {%d %s=%s}", n.Source, n.Name, text(n.Value))
		}
		s.WriteString("\n")
	}
	return s.String()
}

func text(v *string) string {
	if v == nil {
		return "null"
	}
	return *v
}

// TestDescribe holds rows against those of a real Kafka 4.4.0 that was started
// with these static settings and given these overrides. The text is that of a
// probe: sources and types by number.
func TestDescribe(t *testing.T) {
	b := NewBroker(Settings{
		"log.retention.hours": {Value: "24"}, "log.retention.minutes": {Value: "100"}, "log.roll.hours": {Value: "10"},
		"log.flush.scheduler.interval.ms": {Value: "7000"}, "foo.custom": {Value: "1"}, "ssl.key.password": {Value: "abc"},
		"log.cleanup.policy": {Value: "compact"}, "log.segment.bytes": {Value: "2097152"},
		"listener.name.plaintext.max.connections": {Value: "50"}, "log.index.interval.bytes": {Value: "5000 "},
		"num.io.threads": {Value: "4"}, "node.id": {Value: "1"},
	})
	over := b.With(map[string]string{"log.cleanup.policy": "delete,compact"}, map[string]string{"log.cleanup.policy": "delete"})
	retention := NewBroker(nil).With(nil, map[string]string{"log.retention.ms": "100000"})
	own := NewBroker(nil).With(map[string]string{"foo.bar": "1", "leader.replication.throttled.rate": "5"},
		map[string]string{"foo.bar": "1", "leader.replication.throttled.rate": "5"})
	for _, c := range []struct {
		name string
		have []Row
		want string
	}{
		{"topic, static", b.DescribeTopic(nil, strings.Fields("cleanup.policy flush.ms segment.bytes retention.ms index.interval.bytes segment.ms")), `
cleanup.policy=compact src=4 ro=false sens=false type=7 syn= {4 log.cleanup.policy=compact} {5 log.cleanup.policy=delete}
flush.ms=7000 src=5 ro=false sens=false type=5 syn=
index.interval.bytes=5000 src=4 ro=false sens=false type=3 syn= {4 log.index.interval.bytes=5000 } {5 log.index.interval.bytes=4096}
retention.ms=6000000 src=5 ro=false sens=false type=5 syn=
segment.bytes=2097152 src=4 ro=false sens=false type=3 syn= {4 log.segment.bytes=2097152} {5 log.segment.bytes=1073741824}
segment.ms=36000000 src=5 ro=false sens=false type=5 syn=
`},
		{"topic, override", NewBroker(nil).DescribeTopic(map[string]string{"cleanup.policy": ""}, []string{"cleanup.policy", "foo"}), `
cleanup.policy= src=1 ro=false sens=false type=7 syn= {1 cleanup.policy=} {5 log.cleanup.policy=delete}
`},
		{"topic, override in other words", NewBroker(nil).DescribeTopic(map[string]string{"min.cleanable.dirty.ratio": "0.50"}, []string{"min.cleanable.dirty.ratio"}), `
min.cleanable.dirty.ratio=0.5 src=1 ro=false sens=false type=6 syn= {1 min.cleanable.dirty.ratio=0.5} {5 log.cleaner.min.cleanable.ratio=0.5}
`},
		{"topic, cluster default", retention.DescribeTopic(nil, []string{"retention.ms"}), `
retention.ms=100000 src=3 ro=false sens=false type=5 syn= {3 log.retention.ms=100000} {5 log.retention.hours=168}
`},
		{"broker", b.DescribeBroker(strings.Fields("foo.custom listener.name.plaintext.max.connections log.flush.interval.ms max.connections log.retention.hours " +
			"log.roll.ms log.retention.minutes num.io.threads log.retention.ms ssl.key.password node.id")), `
foo.custom=null src=4 ro=true sens=true type=0 syn= {4 foo.custom=null}
listener.name.plaintext.max.connections=50 src=4 ro=true sens=false type=3 syn= {4 listener.name.plaintext.max.connections=50} {5 max.connections=2147483647}
log.flush.interval.ms=null src=5 ro=false sens=false type=5 syn=
log.retention.hours=24 src=4 ro=true sens=false type=3 syn= {4 log.retention.hours=24} {5 log.retention.hours=168}
log.retention.minutes=100 src=4 ro=true sens=false type=3 syn= {4 log.retention.minutes=100} {4 log.retention.hours=24} {5 log.retention.hours=168}
log.retention.ms=null src=5 ro=false sens=false type=5 syn=
log.roll.ms=null src=5 ro=false sens=false type=5 syn=
max.connections=2147483647 src=5 ro=false sens=false type=3 syn= {5 max.connections=2147483647}
node.id=1 src=4 ro=true sens=false type=3 syn= {4 node.id=1}
num.io.threads=4 src=4 ro=false sens=false type=3 syn= {4 num.io.threads=4} {5 num.io.threads=8}
ssl.key.password=null src=4 ro=false sens=true type=9 syn= {4 ssl.key.password=null}
`},
		{"broker, three layers", over.DescribeBroker([]string{"log.cleanup.policy"}), `
log.cleanup.policy=delete,compact src=2 ro=false sens=false type=7 syn= {2 log.cleanup.policy=delete,compact} {3 log.cleanup.policy=delete} {4 log.cleanup.policy=compact} {5 log.cleanup.policy=delete}
`},
		{"broker, overrides", own.DescribeBroker([]string{"foo.bar", "leader.replication.throttled.rate"}), `
foo.bar=null src=2 ro=true sens=true type=0 syn= {2 foo.bar=null} {3 foo.bar=null}
leader.replication.throttled.rate=5 src=2 ro=false sens=false type=5 syn= {2 leader.replication.throttled.rate=5} {3 leader.replication.throttled.rate=5}
`},
		{"cluster default", own.DescribeClusterDefault(nil), `
foo.bar=null src=3 ro=true sens=true type=0 syn= {3 foo.bar=null}
leader.replication.throttled.rate=5 src=3 ro=false sens=false type=5 syn= {3 leader.replication.throttled.rate=5}
`},
		{"group", NewBroker(nil).DescribeGroup(map[string]string{"share.auto.offset.reset": "by_duration:PT1H"},
			strings.Fields("consumer.session.timeout.ms streams.assignor.name share.auto.offset.reset")), `
consumer.session.timeout.ms=45000 src=5 ro=false sens=false type=3 syn= {5 group.consumer.session.timeout.ms=45000}
share.auto.offset.reset=by_duration:PT1H src=8 ro=false sens=false type=2 syn= {8 share.auto.offset.reset=by_duration:PT1H} {5 share.auto.offset.reset=latest}
streams.assignor.name=sticky src=5 ro=false sens=false type=2 syn= {5 group.streams.assignors=sticky}
`},
		{"client metrics", NewBroker(nil).DescribeClientMetrics(map[string]string{"match": "client_id=a"}, nil), `
interval.ms=300000 src=5 ro=false sens=false type=3 syn=
match=client_id=a src=7 ro=false sens=false type=7 syn= {7 match=client_id=a}
metrics= src=5 ro=false sens=false type=7 syn=
`},
		{"ours, when set", NewBroker(nil).DescribeTopic(map[string]string{"write.caching": "true"}, nil)[37:], `
write.caching=true src=1 ro=false sens=false type=1 syn= {1 write.caching=true}
`},
	} {
		if have := shown(c.have); have != strings.TrimPrefix(c.want, "\n") {
			t.Errorf("%s:\n%s\nKafka:%s", c.name, have, c.want)
		}
	}
}

func TestEffectiveValues(t *testing.T) {
	for _, c := range []struct {
		set   string
		name  string
		topic string
		want  int64
	}{
		{"", "log.retention.ms", "retention.ms", 604800000},
		{"log.retention.hours=1", "log.retention.ms", "retention.ms", 3600000},
		{"log.retention.hours=1 log.retention.minutes=2", "log.retention.ms", "retention.ms", 120000},
		{"log.retention.hours=1 log.retention.minutes=2 log.retention.ms=3", "log.retention.ms", "retention.ms", 3},
		{"log.retention.hours=-1", "log.retention.ms", "retention.ms", -1},
		{"log.roll.hours=2", "log.roll.ms", "segment.ms", 7200000},
		{"log.roll.jitter.hours=2 log.roll.jitter.ms=4", "log.roll.jitter.ms", "segment.jitter.ms", 4},
		{"", "log.roll.jitter.ms", "segment.jitter.ms", 0},
		{"", "log.flush.interval.ms", "flush.ms", 9223372036854775807},
		{"log.flush.interval.ms=5 log.flush.scheduler.interval.ms=7", "log.flush.interval.ms", "flush.ms", 5},
		{"message.max.bytes=77", "message.max.bytes", "max.message.bytes", 77},
	} {
		set, err := ParseSet(strings.Fields(c.set))
		if err != nil {
			t.Fatal(err)
		}
		b := NewBroker(set)
		v, _ := b.TopicValue(c.topic, nil)
		if b.Int64(c.name) != c.want || v.Int64() != c.want {
			t.Errorf("%s: %s=%d %s=%d, want %d", c.set, c.name, b.Int64(c.name), c.topic, v.Int64(), c.want)
		}
	}
	c := NewBroker(nil).Topic(map[string]string{"cleanup.policy": "compact,delete", "internal.segment.bytes": "100", "retention.ms": "rubbish"})
	if !c.Compact || !c.Delete || c.SegmentBytes != 100 || c.RetentionMs != 604800000 || c.Compression != "producer" || c.MaxMessageBytes != 1048588 {
		t.Errorf("topic view: %+v", c)
	}
	if b := NewBroker(Settings{"node.id": {Value: "7"}}); b.Int64("broker.id") != 7 || !b.IsSet("broker.id") {
		t.Errorf("broker.id %d under node.id 7", b.Int64("broker.id"))
	}
	if b := NewBroker(Settings{"broker.id": {Value: "7"}, "log.dirs": {Value: "/a, /b"}}); b.NodeID() != 7 || len(b.DataDirs()) != 2 {
		t.Errorf("node %d, dirs %v", b.NodeID(), b.DataDirs())
	}
}

func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{0.5: "0.5", 1: "1.0", 0.05: "0.05", 1e-4: "1.0E-4", 1.7976931348623157e308: "1.7976931348623157E308", 1e7: "1.0E7", 0: "0.0", 123456.75: "123456.75"} {
		if got := javaDouble(f); got != want {
			t.Errorf("%g: %s, Java %s", f, got, want)
		}
	}
}
