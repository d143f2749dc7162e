package config

import (
	"strings"
	"testing"
)

// TestGroupEffective has groups with settings from a time when the broker's bounds
// were wider: they work by the nearest that is still allowed, and what was set is
// still told.
func TestGroupEffective(t *testing.T) {
	b := NewBroker(Settings{"group.consumer.max.session.timeout.ms": {Value: "50000"}, "group.streams.max.standby.replicas": {Value: "1"},
		"group.consumer.session.timeout.ms": {Value: "48000"}})
	for _, c := range []struct{ name, own, want, told string }{
		{"consumer.session.timeout.ms", "60000", "50000", "60000"},
		{"consumer.session.timeout.ms", "1000", "45000", "1000"},
		{"consumer.session.timeout.ms", "49000", "49000", "49000"},
		{"consumer.session.timeout.ms", "", "48000", "48000"},
		{"streams.num.standby.replicas", "2", "1", "2"},
		{"streams.task.offset.interval.ms", "1", "15000", "1"},
		{"share.auto.offset.reset", "earliest", "earliest", "earliest"},
	} {
		own := map[string]string{}
		if c.own != "" {
			own[c.name] = c.own
		}
		if v := b.GroupEffective(c.name, own); v.Text != c.want {
			t.Errorf("%s=%s works as %s, want %s", c.name, c.own, v.Text, c.want)
		}
		if v, _ := b.GroupValue(c.name, own); v.Text != c.told {
			t.Errorf("%s=%s is told as %s, want %s", c.name, c.own, v.Text, c.told)
		}
	}
}

// TestGroupSessions sets sessions of groups no longer than the time between two
// heartbeats, which the default bounds do not allow anyway.
func TestGroupSessions(t *testing.T) {
	b := NewBroker(Settings{"group.consumer.min.session.timeout.ms": {Value: "100"}, "group.consumer.min.heartbeat.interval.ms": {Value: "10"}})
	for _, c := range []struct {
		set map[string]string
		ok  bool
	}{
		{map[string]string{"consumer.session.timeout.ms": "5000"}, false},
		{map[string]string{"consumer.session.timeout.ms": "5001"}, true},
		{map[string]string{"consumer.session.timeout.ms": "600", "consumer.heartbeat.interval.ms": "600"}, false},
		{map[string]string{"consumer.session.timeout.ms": "600", "consumer.heartbeat.interval.ms": "100"}, true},
	} {
		var names []string
		for name := range c.set {
			names = append(names, name)
		}
		err := judgeGroup(b, c.set, names)
		if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms") {
			t.Errorf("%v: %v", c.set, err)
		}
	}
}
