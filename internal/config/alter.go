package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Op is what IncrementalAlterConfigs does to a property (KIP-339).
type Op int8

const (
	Set Op = iota
	Delete
	Append
	Subtract
)

func (o Op) String() string {
	if o < Set || o > Subtract {
		return fmt.Sprintf("UNKNOWN(%d)", int8(o))
	}
	return [...]string{"SET", "DELETE", "APPEND", "SUBTRACT"}[o]
}

// Change is one wish of an alteration.
type Change struct {
	Name  string
	Op    Op
	Value *string
}

// Resource is what an alteration concerns.
type Resource struct {
	Scope Scope
	Name  string // a broker's is its node id; "" is the default of all brokers
}

// Delta is one property after an alteration: a new value, or nil for none.
type Delta struct {
	Name  string
	Value *string
}

// Alter applies changes to the overrides that a resource has, and judges what
// comes out. It returns what differs, in the order of the changes.
//
// An error is an [*Error] with Kafka's code and text: INVALID_REQUEST for a
// malformed request and for anything wrong with a broker's properties,
// INVALID_CONFIG for the rest. Either all changes hold or none.
func (b *Broker) Alter(r Resource, current map[string]string, changes []Change) ([]Delta, error) {
	if err := wellFormed(changes); err != nil {
		return nil, err
	}
	next := maps.Clone(current)
	if next == nil {
		next = map[string]string{}
	}
	for _, c := range changes {
		if err := apply(r.Scope, next, c); err != nil {
			return nil, err
		}
	}
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Name
	}
	if err := judge(b, r, next, names); err != nil {
		return nil, err
	}
	return delta(current, next, names), nil
}

// Replace makes pairs the only overrides of a resource (AlterConfigs, which
// old tools still use): what they do not name returns to its default.
func (b *Broker) Replace(r Resource, current map[string]string, pairs []Change) ([]Delta, error) {
	if err := wellFormed(pairs); err != nil {
		return nil, err
	}
	next, names := map[string]string{}, []string{}
	for _, c := range pairs {
		next[c.Name] = *c.Value
		names = append(names, c.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(current)) {
		if _, kept := next[name]; !kept {
			names = append(names, name)
		}
	}
	if err := judge(b, r, next, names); err != nil {
		return nil, err
	}
	return delta(current, next, names), nil
}

// NewTopic judges the overrides of a topic that is about to be created.
func (b *Broker) NewTopic(topic string, pairs []Change) (map[string]string, error) {
	var null []string
	set := map[string]string{}
	for _, c := range pairs {
		if c.Value == nil {
			null = append(null, c.Name)
			continue
		}
		set[c.Name] = *c.Value
	}
	if null != nil {
		return nil, badConfig("Null value not supported for topic configs: " + strings.Join(null, ","))
	}
	names := make([]string, len(pairs))
	for i, c := range pairs {
		names[i] = c.Name
	}
	return set, judge(b, Resource{Topic, topic}, set, names)
}

func wellFormed(changes []Change) error {
	seen := map[string]bool{}
	var null []string
	for _, c := range changes {
		if seen[c.Name] {
			return badRequest("Error due to duplicate config keys")
		}
		seen[c.Name] = true
		if c.Value == nil && c.Op != Delete {
			null = append(null, c.Name)
		}
	}
	if null != nil {
		return badRequest("Null value not supported for : " + strings.Join(null, ","))
	}
	return nil
}

func apply(scope Scope, next map[string]string, c Change) error {
	switch c.Op {
	case Set:
		next[c.Name] = *c.Value
	case Delete:
		delete(next, c.Name)
	case Append, Subtract:
		d, ok := Lookup(scope, c.Name)
		if !ok || d.Type != List || scope != Topic && scope != BrokerScope {
			return badConfig(fmt.Sprintf("Can't %s to key %s because its type is not LIST.", c.Op, c.Name))
		}
		text, set := next[c.Name]
		if !set && d.Default != nil {
			text = *d.Default
		}
		list := slices.Clone(splitList(strings.TrimSpace(text)))
		for _, part := range splitList(strings.TrimSpace(*c.Value)) {
			at := slices.Index(list, part)
			switch {
			case c.Op == Append && at < 0:
				list = append(list, part)
			case c.Op == Subtract && at >= 0:
				list = slices.Delete(list, at, at+1)
			}
		}
		next[c.Name] = strings.Join(list, ",")
	default:
		return badRequest(fmt.Sprintf("Unknown operation type %d for configuration %s", int8(c.Op), c.Name))
	}
	return nil
}

func delta(current, next map[string]string, names []string) []Delta {
	var out []Delta
	for _, name := range names {
		was, had := current[name]
		is, has := next[name]
		if had == has && was == is {
			continue
		}
		d := Delta{Name: name}
		if has {
			d.Value = &is
		}
		out = append(out, d)
	}
	return out
}

// judge says whether next may be the overrides of r. names are those that the
// request touched.
func judge(b *Broker, r Resource, next map[string]string, names []string) error {
	switch r.Scope {
	case Topic:
		return judgeTopic(b, r.Name, next, names)
	case BrokerScope:
		return judgeBroker(b, r.Name, next, names)
	case Group:
		return judgeGroup(b, next, names)
	}
	return judgeClientMetrics(next)
}

// parseAll looks for names that nobody knows, first in the order of the request,
// and then for values that are not permitted.
func parseAll(scope Scope, next map[string]string, names []string, unknown func(name string) error) error {
	sorted := slices.Sorted(maps.Keys(next))
	for _, name := range append(slices.Clone(names), sorted...) {
		if _, kept := next[name]; !kept {
			continue
		}
		if _, ok := Lookup(scope, name); !ok {
			return unknown(name)
		}
	}
	for _, name := range sorted {
		d, _ := Lookup(scope, name)
		if _, err := Parse(d, next[name]); err != nil {
			return err
		}
	}
	return nil
}

func judgeTopic(b *Broker, topic string, next map[string]string, names []string) error {
	err := parseAll(Topic, next, names, func(name string) error { return badConfig("Unknown topic config name: " + name) })
	if err != nil {
		return err
	}
	c := b.Topic(next)
	switch {
	case c.MinCompactionLagMs > c.MaxCompactionLagMs:
		return badConfig(fmt.Sprintf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", c.MinCompactionLagMs, c.MaxCompactionLagMs))
	case c.RemoteStorage:
		return badConfig("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
	case c.WriteCaching && kafka.IsInternalTopic(topic):
		return badConfig("write.caching=true is refused on internal topics: what they acknowledge must be durable")
	}
	return nil
}

// groupBounds are group properties that a broker keeps between two of its own.
var groupBounds = []struct{ name, min, max string }{
	{"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
	{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	{"share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{"share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{"share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
	{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{"streams.num.standby.replicas", "", "group.streams.max.standby.replicas"},
	{"streams.num.warmup.replicas", "", "group.streams.max.warmup.replicas"},
	{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{"streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms", ""},
}

// groupSessions are the sessions of groups, which last longer than the time between
// two heartbeats; the broker's defaults of both are called the same behind "group.".
var groupSessions = []struct{ session, beat string }{
	{"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"},
	{"share.session.timeout.ms", "share.heartbeat.interval.ms"},
	{"streams.session.timeout.ms", "streams.heartbeat.interval.ms"},
}

// doubled says whether a list, as it was written, has an element twice.
func doubled(text string) bool {
	all := strings.Split(text, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
		if slices.Contains(all[:i], all[i]) {
			return true
		}
	}
	return false
}

func judgeGroup(b *Broker, next map[string]string, names []string) error {
	err := parseAll(Group, next, names, func(name string) error { return badConfig("Unknown group config name: " + name) })
	if err != nil {
		return err
	}
	for _, bound := range groupBounds {
		if _, set := next[bound.name]; !set {
			continue
		}
		v, _ := b.GroupValue(bound.name, next)
		n := v.Int64()
		switch {
		case bound.min == "" && n > b.Int64(bound.max):
			return badConfig(fmt.Sprintf("%s must be less than or equal to %d", bound.name, b.Int64(bound.max)))
		case bound.max == "" && n < b.Int64(bound.min):
			return badConfig(fmt.Sprintf("%s must be greater than or equal to %d", bound.name, b.Int64(bound.min)))
		case bound.min != "" && bound.max != "" && (n < b.Int64(bound.min) || n > b.Int64(bound.max)):
			return badConfig(fmt.Sprintf("%s must be in the range %d to %d inclusive.", bound.name, b.Int64(bound.min), b.Int64(bound.max)))
		}
	}
	for _, p := range groupSessions {
		_, session := next[p.session]
		_, beat := next[p.beat]
		long, _ := b.GroupValue(p.session, next)
		short, _ := b.GroupValue(p.beat, next)
		if (session || beat) && long.Int64() <= short.Int64() {
			return badConfig(fmt.Sprintf("%s must be greater than %s", p.session, p.beat))
		}
	}
	if tags, set := next["streams.rack.aware.assignment.tags"]; set {
		if doubled(tags) {
			return badConfig("streams.rack.aware.assignment.tags must not contain duplicate tag keys.")
		}
	}
	if strings.HasPrefix(next["errors.deadletterqueue.topic.name"], "__") {
		return badConfig("errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'")
	}
	if name, set := next["streams.assignor.name"]; set && !slices.Contains(b.List("group.streams.assignors"), name) {
		return badConfig(fmt.Sprintf("streams.assignor.name '%s' is not a registered task assignor. Registered assignors are: [%s].",
			name, strings.Join(b.List("group.streams.assignors"), ", ")))
	}
	return nil
}

// matchers are what a client-metrics subscription may select clients by.
var matchers = []string{"client_id", "client_instance_id", "client_software_name", "client_software_version",
	"client_source_address", "client_source_port"}
