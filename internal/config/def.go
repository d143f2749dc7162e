package config

import (
	"slices"
	"strings"
)

// Scope says what kind of thing a property belongs to.
type Scope uint8

const (
	Topic Scope = iota
	BrokerScope
	Group
	ClientMetrics
)

// String is the word Kafka's error texts use.
func (s Scope) String() string {
	return [...]string{"topic", "broker", "group", "client metrics"}[s]
}

// Type is the type of a property, numbered as in DescribeConfigs (KIP-569).
type Type int8

const (
	UnknownType Type = iota
	Boolean
	String
	Int
	Short
	Long
	Double
	List
	Class
	Password
)

// String is the name Kafka's error texts use.
func (t Type) String() string {
	return [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}[t]
}

// Dynamic says whether a broker property changes without a restart (KIP-226).
type Dynamic uint8

const (
	ReadOnly    Dynamic = iota
	PerBroker           // an override on one broker only
	ClusterWide         // an override on one broker or as the default of all
)

// String is Kafka's word for the update mode.
func (d Dynamic) String() string {
	return [...]string{"read-only", "per-broker", "cluster-wide"}[d]
}

// Status says what setting a property does here.
type Status uint8

const (
	Noted   Status = iota // kept and reported, but without effect: Reason says why
	Served                // has the effect that Test shows
	Refused               // a value other than the default is an error: Reason says why
)

func (s Status) String() string { return [...]string{"noted", "served", "refused"}[s] }

// Source says which layer a value came from, numbered as in DescribeConfigs.
type Source int8

const (
	FromTopic          Source = 1 // override on the topic
	FromBroker         Source = 2 // override on this broker
	FromClusterDefault Source = 3 // override for all brokers
	FromStatic         Source = 4 // file, environment or flag
	FromDefault        Source = 5
	FromLogger         Source = 6
	FromClientMetrics  Source = 7
	FromGroup          Source = 8
)

// String is Kafka's name of the source.
func (s Source) String() string {
	if s < FromTopic || s > FromGroup {
		return "UNKNOWN"
	}
	return [...]string{"", "DYNAMIC_TOPIC_CONFIG", "DYNAMIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG",
		"STATIC_BROKER_CONFIG", "DEFAULT_CONFIG", "DYNAMIC_BROKER_LOGGER_CONFIG", "CLIENT_METRICS_CONFIG", "GROUP_CONFIG"}[s]
}

// Def declares one property.
type Def struct {
	Name    string
	Type    Type
	Default *string // in Kafka's canonical form; nil is null
	Valid   check   // permitted values; nil permits all of the type
	Dynamic Dynamic // of a broker property; others are always dynamic
	// Internal marks what Kafka hides from DescribeConfigs: knobs for tests.
	Internal bool
	// Own marks a property that Kafka does not have. DescribeConfigs lists it
	// only where it is set or asked for by name.
	Own bool
	// Synonyms are the broker properties that stand in for this one, in order
	// of preference, when it has no value of its own.
	Synonyms []Synonym
	// KafkaDefault is Kafka's default where ours differs, and Why is the reason.
	KafkaDefault string
	Why          string

	Owner  string // the package that serves it
	Status Status
	Reason string // of Noted and Refused
	Test   string // of Served: package.TestName that shows the effect (house_test finds it)
	Doc    string // one line

	scope Scope
}

// Synonym is a broker property and what to multiply its value with.
type Synonym struct {
	Name string
	Mul  int64 // 0 and 1: same unit; 60000: minutes to ms; 3600000: hours to ms
}

// Scope says what the property belongs to.
func (d *Def) Scope() Scope { return d.scope }

// Sensitive says whether the value must never leave the broker.
func (d *Def) Sensitive() bool { return d.Type == Password }

// DefaultText is the default for people: "(none)" for null, quotes for empty.
func (d *Def) DefaultText() string { return display(d.Default) }

// Permitted describes the permitted values, or "" if all of the type are.
func (d *Def) Permitted() string {
	if d.Valid == nil {
		return ""
	}
	return d.Valid.String()
}

// All returns the properties of a scope, ordered by name. Callers only read it.
func All(scope Scope) []*Def { return table[scope] }

// Lookup finds a property by its full name.
func Lookup(scope Scope, name string) (*Def, bool) {
	defs := table[scope]
	i, found := slices.BinarySearchFunc(defs, name, func(d *Def, name string) int { return strings.Compare(d.Name, name) })
	if found {
		return defs[i], true
	}
	if scope == BrokerScope {
		if base, ok := listenerBase(name); ok {
			return Lookup(BrokerScope, base)
		}
	}
	return nil, false
}

// table holds every property by scope and then by name. It is never written
// after the program has started.
var table = [...][]*Def{
	Topic:         arrange(Topic, topicDefs, topicOwnDefs),
	BrokerScope:   arrange(BrokerScope, brokerLogDefs, brokerNetDefs, brokerQuorumDefs, brokerGroupDefs, brokerShareDefs, brokerSecurityDefs, brokerRemoteDefs, brokerOwnDefs),
	Group:         arrange(Group, groupDefs),
	ClientMetrics: arrange(ClientMetrics, clientMetricsDefs),
}

func arrange(scope Scope, parts ...[]Def) []*Def {
	var all []*Def
	for _, part := range parts {
		for i := range part {
			part[i].scope = scope
			all = append(all, &part[i])
		}
	}
	slices.SortFunc(all, func(a, b *Def) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// listenerBase strips "listener.name.<listener>." and, for what may be set per
// SASL mechanism, the mechanism: listener.name.in.plain.sasl.jaas.config.
func listenerBase(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, ".")
	if !ok || rest == "" {
		return "", false
	}
	for _, suffix := range perMechanism {
		if strings.HasSuffix(rest, "."+suffix) {
			return suffix, true
		}
	}
	return rest, true
}

// perMechanism are the properties that a listener may set for each mechanism.
var perMechanism = []string{
	"connections.max.reauth.ms", "sasl.jaas.config", "sasl.login.callback.handler.class",
	"sasl.login.class", "sasl.server.callback.handler.class",
}

// val makes a default of the table out of its text.
func val(s string) *string { return &s }

func display(v *string) string {
	switch {
	case v == nil:
		return "(none)"
	case *v == "":
		return `""`
	}
	return *v
}
