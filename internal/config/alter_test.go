package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// alterCases are answers of a real Kafka 4.4.0, word for word, to
// IncrementalAlterConfigs: resource, changes ("set k=v", "del k", "app k=v",
// "sub k=v"), code, text. Changes that succeed hold for the next case of the
// same resource.
var alterCases = []struct {
	scope   Scope
	name    string
	changes string
	code    kafka.Code
	text    string
}{
	{Topic, "t", "set retention.ms=x", 40, "Invalid value x for configuration retention.ms: Not a number of type LONG"},
	{Topic, "t", "set retention.ms=-5", 40, "Invalid value -5 for configuration retention.ms: Value must be at least -1"},
	{Topic, "t", "set retention.ms=", 40, "Invalid value  for configuration retention.ms: Not a number of type LONG"},
	{Topic, "t", "set retention.ms=1.5", 40, "Invalid value 1.5 for configuration retention.ms: Not a number of type LONG"},
	{Topic, "t", "set retention.ms=99999999999999999999", 40, "Invalid value 99999999999999999999 for configuration retention.ms: Not a number of type LONG"},
	{Topic, "t", "set retention.ms=+5", 0, ""},
	{Topic, "t", "set segment.bytes=10", 40, "Invalid value 10 for configuration segment.bytes: Value must be at least 1048576"},
	{Topic, "t", "set segment.bytes=99999999999", 40, "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT"},
	{Topic, "t", "set cleanup.policy=foo", 40, "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"},
	{Topic, "t", "set cleanup.policy=compact,compact", 0, ""},
	{Topic, "t", "set cleanup.policy=", 0, ""},
	{Topic, "t", "set cleanup.policy=compact,,delete", 40, "Configuration 'cleanup.policy' values must not be empty."},
	{Topic, "t", "set cleanup.policy=,", 40, "Configuration 'cleanup.policy' values must not be empty."},
	{Topic, "t", "set leader.replication.throttled.replicas=*,0:1", 40, "Invalid value [*, 0:1] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
	{Topic, "t", "del cleanup.policy", 0, ""},
	{Topic, "t", "set min.cleanable.dirty.ratio=2", 40, "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
	{Topic, "t", "set min.cleanable.dirty.ratio=x", 40, "Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
	{Topic, "t", "set min.cleanable.dirty.ratio=1e-1", 0, ""},
	{Topic, "t", "set min.cleanable.dirty.ratio=0.5f", 0, ""},
	{Topic, "t", "set min.cleanable.dirty.ratio=0x1p-1", 0, ""},
	{Topic, "t", "set min.cleanable.dirty.ratio=NaN", 0, ""},
	{Topic, "t", "set min.cleanable.dirty.ratio=nan", 40, "Invalid value nan for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
	{Topic, "t", "set min.cleanable.dirty.ratio=0.5ff", 40, "Invalid value 0.5ff for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
	{Topic, "t", "set segment.bytes=0x100000", 40, "Invalid value 0x100000 for configuration segment.bytes: Not a number of type INT"},
	{Topic, "t", "set preallocate=yes", 40, "Invalid value yes for configuration preallocate: Expected value to be either true or false"},
	{Topic, "t", "set preallocate=TRUE", 0, ""},
	{Topic, "t", "set compression.type=GZIP", 40, "Invalid value GZIP for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
	{Topic, "t", "set compression.gzip.level=0", 40, "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
	{Topic, "t", "set compression.lz4.level=18", 40, "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17"},
	{Topic, "t", "set compression.zstd.level=-200000", 40, "Invalid value -200000 for configuration compression.zstd.level: Value must be at least -131072"},
	{Topic, "t", "set message.timestamp.type=x", 40, "Invalid value x for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime"},
	{Topic, "t", "set min.compaction.lag.ms=100 set max.compaction.lag.ms=10", 40, "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (10)"},
	{Topic, "t", "set leader.replication.throttled.replicas=x", 40, "Invalid value [x] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
	{Topic, "t", "set leader.replication.throttled.replicas=*", 0, ""},
	{Topic, "t", "set leader.replication.throttled.replicas=0:1,1:2", 0, ""},
	{Topic, "t", "set remote.storage.enable=true", 40, "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."},
	{Topic, "t", "set max.decompressed.message.bytes=2147483640", 40, "Invalid value 2147483640 for configuration max.decompressed.message.bytes: Value must be no more than 2147483639"},
	{Topic, "t", "set foo=bar", 40, "Unknown topic config name: foo"},
	{Topic, "t", "set foo=bar set baz=1", 40, "Unknown topic config name: foo"},
	{Topic, "t", "del foo", 0, ""},
	{Topic, "t", "app retention.ms=5", 40, "Can't APPEND to key retention.ms because its type is not LIST."},
	{Topic, "t", "sub retention.ms=5", 40, "Can't SUBTRACT to key retention.ms because its type is not LIST."},
	{Topic, "t", "app foo=bar", 40, "Can't APPEND to key foo because its type is not LIST."},
	{Topic, "t", "set retention.ms=5 set retention.ms=6", 42, "Error due to duplicate config keys"},
	{Topic, "t", "set retention.ms", 42, "Null value not supported for : retention.ms"},
	{Topic, "t", "app cleanup.policy=foo", 40, "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"},
	{Topic, "t", "sub cleanup.policy=foo", 0, ""},
	{Topic, "__consumer_offsets", "set write.caching=true", 40, "write.caching=true is refused on internal topics: what they acknowledge must be durable"}, // ours
	{Topic, "t", "set write.caching=true", 0, ""},

	{BrokerScope, "1", "set foo.bar=1", 0, ""},
	{BrokerScope, "", "set foo.bar=1", 0, ""},
	{BrokerScope, "1", "set num.partitions=3", 42, "Cannot update these configs dynamically: [num.partitions]"},
	{BrokerScope, "", "set log.retention.hours=5", 42, "Cannot update these configs dynamically: [log.retention.hours]"},
	{BrokerScope, "1", "set num.io.threads=x", 42, "Invalid value x for configuration num.io.threads: Not a number of type INT"},
	{BrokerScope, "1", "set num.io.threads=1000", 42, "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.io.threads=1000, value should not be greater than double the current value 8 for configuration Invalid dynamic configuration"},
	{BrokerScope, "1", "set num.io.threads=9", 0, ""},
	{BrokerScope, "", "set log.cleaner.threads=100", 42, "Invalid value org.apache.kafka.common.config.ConfigException: Log cleaner threads cannot be increased to more than double the current value 1 for configuration Invalid dynamic configuration"},
	{BrokerScope, "1", "set max.connections=0", 42, "Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connections 0 for configuration Invalid dynamic configuration"},
	{BrokerScope, "1", "set max.connections.per.ip.overrides=127.0.0.1:5", 0, ""},
	{BrokerScope, "1", "set max.connections.per.ip.overrides=foo", 42, "requirement failed: max.connections.per.ip.overrides: foo is no host:count pair"}, // ours
	{BrokerScope, "", "set listeners=PLAINTEXT://:9", 42, "Cannot update these configs at default cluster level, broker id must be specified: [listeners]"},
	{BrokerScope, "", "set message.max.bytes=-1", 42, "Invalid value -1 for configuration message.max.bytes: Value must be at least 0"},
	{BrokerScope, "", "set log.retention.ms=0", 42, "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
	{BrokerScope, "", "set log.roll.ms=-5", 42, "requirement failed: log.roll.ms must be greater than or equal to 1"},
	{BrokerScope, "", "app log.cleanup.policy=compact", 0, ""},
	{BrokerScope, "1", "set ssl.keystore.password=secret", 42, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.password]"},
	{BrokerScope, "1", "del ssl.keystore.password", 0, ""},
	{BrokerScope, "1", "set listener.name.plaintext.ssl.keystore.type=JKS", 0, ""},
	{BrokerScope, "", "del min.insync.replicas", 40, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."},
	{BrokerScope, "", "set min.insync.replicas=2", 0, ""},
	{BrokerScope, "1", "set min.insync.replicas=1", 40, "Broker-level min.insync.replicas cannot be altered while ELR is enabled."},
	{BrokerScope, "", "set leader.replication.throttled.rate=5", 0, ""},

	{Group, "g", "set consumer.session.timeout.ms=5", 40, "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."},
	{Group, "g", "set consumer.session.timeout.ms=x", 40, "Invalid value x for configuration consumer.session.timeout.ms: Not a number of type INT"},
	{Group, "g", "set streams.rack.aware.assignment.tags=a,b,a", 40, "streams.rack.aware.assignment.tags must not contain duplicate tag keys."},
	{Group, "g", "set streams.rack.aware.assignment.tags=a,b", 0, ""},
	{Group, "g", "set foo=1", 40, "Unknown group config name: foo"},
	{Group, "g", "set share.auto.offset.reset=by_duration:PT1H", 0, ""},
	{Group, "g", "set share.auto.offset.reset=by_duration:P1DT2.5S", 0, ""},
	{Group, "g", "set share.auto.offset.reset=by_duration:xx", 40, "Invalid value by_duration:xx for configuration share.auto.offset.reset: Invalid value `by_duration:xx` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."},
	{Group, "g", "set share.isolation.level=x", 40, "Invalid value x for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted"},
	{Group, "g", "set errors.deadletterqueue.topic.name=__x", 40, "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'"},
	{Group, "g", "set errors.deadletterqueue.topic.name=dlq.x", 0, ""},
	{Group, "g", "set share.heartbeat.interval.ms=15000", 0, ""},
	{Group, "g", "set streams.num.standby.replicas=3", 40, "streams.num.standby.replicas must be less than or equal to 2"},
	{Group, "g", "set streams.assignment.interval.ms=15001", 40, "streams.assignment.interval.ms must be in the range 0 to 15000 inclusive."},
	{Group, "g", "set streams.heartbeat.interval.ms=4999", 40, "streams.heartbeat.interval.ms must be in the range 5000 to 15000 inclusive."},
	{Group, "g", "set streams.heartbeat.interval.ms=15001", 40, "streams.heartbeat.interval.ms must be in the range 5000 to 15000 inclusive."},
	{Group, "g", "set streams.session.timeout.ms=44999", 40, "streams.session.timeout.ms must be in the range 45000 to 60000 inclusive."},
	{Group, "g", "set streams.session.timeout.ms=60001", 40, "streams.session.timeout.ms must be in the range 45000 to 60000 inclusive."},
	{Group, "g", "set streams.task.offset.interval.ms=14999", 40, "streams.task.offset.interval.ms must be greater than or equal to 15000"},
	{Group, "g", "set streams.assignor.name=x", 40, "streams.assignor.name 'x' is not a registered task assignor. Registered assignors are: [sticky]."},
	{Group, "g", "app streams.rack.aware.assignment.tags=a", 40, "Can't APPEND to key streams.rack.aware.assignment.tags because its type is not LIST."},

	{ClientMetrics, "m", "set interval.ms=5", 42, "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)"},
	{ClientMetrics, "m", "set interval.ms=x", 40, "Invalid value x for configuration interval.ms: Not a number of type INT"},
	{ClientMetrics, "m", "set foo=1", 42, "Unknown client metrics configuration: foo"},
	{ClientMetrics, "m", "set match=client_id=x,bogus=1", 40, "Illegal client matching pattern: bogus=1"},
	{ClientMetrics, "m", "set match=client_id=[", 40, "Illegal client matching pattern: client_id=["},
	{ClientMetrics, "m", "set match=client_id", 40, "Illegal client matching pattern: client_id"},
	{ClientMetrics, "m", "set match=client_id=a", 0, ""},
}

func changesOf(text string) []Change {
	var out []Change
	f := strings.Fields(text)
	for i := 0; i+1 < len(f); i += 2 {
		c := Change{Op: map[string]Op{"set": Set, "del": Delete, "app": Append, "sub": Subtract}[f[i]]}
		k, v, ok := strings.Cut(f[i+1], "=")
		if c.Name = k; ok {
			c.Value = &v
		}
		out = append(out, c)
	}
	return out
}

func TestAlter(t *testing.T) {
	b := NewBroker(nil)
	state := map[Resource]map[string]string{}
	for _, c := range alterCases {
		r := Resource{c.scope, c.name}
		deltas, err := b.Alter(r, state[r], changesOf(c.changes))
		if c.code == 0 {
			if err != nil {
				t.Errorf("%v %s: %v", r, c.changes, err)
			}
			state[r] = applied(state[r], deltas)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code || e.Message != c.text {
			t.Errorf("%v %s:\nhave  %v\nKafka %d %s", r, c.changes, err, c.code, c.text)
		}
	}
}

func applied(current map[string]string, deltas []Delta) map[string]string {
	next := maps.Clone(current)
	if next == nil {
		next = map[string]string{}
	}
	for _, d := range deltas {
		delete(next, d.Name)
		if d.Value != nil {
			next[d.Name] = *d.Value
		}
	}
	return next
}

// TestAppendSubtract follows one list through a sequence seen on a real Kafka:
// the first APPEND starts from the default.
func TestAppendSubtract(t *testing.T) {
	b, r, cur := NewBroker(nil), Resource{Topic, "t"}, map[string]string{}
	for _, c := range []struct{ change, want string }{
		{"app cleanup.policy=compact", "delete,compact"},
		{"app cleanup.policy=compact", "delete,compact"},
		{"sub cleanup.policy=compact", "delete"},
		{"sub cleanup.policy=delete", ""},
		{"sub cleanup.policy=delete", ""},
		{"app cleanup.policy=", ""},
		{"app cleanup.policy=compact,delete", "compact,delete"},
	} {
		deltas, err := b.Alter(r, cur, changesOf(c.change))
		cur = applied(cur, deltas)
		if err != nil || cur["cleanup.policy"] != c.want {
			t.Errorf("%s: %q, %v; want %q", c.change, cur["cleanup.policy"], err, c.want)
		}
	}
}

func TestReplace(t *testing.T) {
	b, r := NewBroker(nil), Resource{Topic, "t"}
	cur := map[string]string{"retention.ms": "5", "segment.ms": "7", "flush.ms": "9"}
	deltas, err := b.Replace(r, cur, changesOf("set flush.ms=9 set retention.ms=6"))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, d := range deltas {
		got = append(got, d.Name+"="+display(d.Value))
	}
	if want := []string{"retention.ms=6", "segment.ms=(none)"}; !slices.Equal(got, want) {
		t.Errorf("Replace: %v, want %v", got, want)
	}
	if _, err := b.Replace(r, cur, changesOf("set foo=9")); err == nil {
		t.Error("Replace takes an unknown name")
	}
}

func TestNewTopic(t *testing.T) {
	b := NewBroker(nil)
	set, err := b.NewTopic("t", changesOf("set retention.ms=5"))
	if err != nil || set["retention.ms"] != "5" {
		t.Errorf("NewTopic: %v, %v", set, err)
	}
	if _, err := b.NewTopic("t", changesOf("set foo=5")); kafka.CodeOf(err) != kafka.InvalidConfig {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := b.NewTopic("t", changesOf("set foo")); err == nil || err.Error() != "Null value not supported for topic configs: foo" {
		t.Errorf("null value: %v", err)
	}
}
