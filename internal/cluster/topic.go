package cluster

import (
	"cmp"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Feature is a finalized level of one feature (KIP-584).
type Feature struct {
	Name  string
	Level int16
}

// FeatureRange is what a broker supports of a feature.
type FeatureRange struct {
	Name     string
	Min, Max int16
}

// Endpoint is where a broker is reached on one of its listeners.
type Endpoint struct {
	Listener string
	Host     string
	Port     uint16
	Protocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// Broker is one registered broker.
type Broker struct {
	ID                   int32
	Epoch                int64      // grows with every registration
	Incarnation          kafka.UUID // drawn by the process
	Endpoints            []Endpoint // by listener, as registered
	Features             []FeatureRange
	Rack                 *string
	Fenced               bool // leads nothing, joins no ISR, unknown to clients
	InControlledShutdown bool
	LogDirs              []kafka.UUID // sorted
	CordonedLogDirs      []kafka.UUID
}

// HasDirectory says whether a replica that the metadata puts into this directory
// can be used on the broker: one that is not placed yet can, one that is lost
// cannot. A broker that registered no directories has any (KIP-858).
func (b *Broker) HasDirectory(dir kafka.UUID) bool {
	switch {
	case dir == kafka.DirLost:
		return false
	case dir == kafka.DirUnassigned, dir == kafka.DirMigrating, len(b.LogDirs) == 0:
		return true
	}
	return slices.Contains(b.LogDirs, dir)
}

// Endpoint finds the broker's address on a listener.
func (b *Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return Endpoint{}, false
}

// Topic is one topic; partition i stands at Partitions[i].
type Topic struct {
	Name       string
	ID         kafka.UUID
	Internal   bool
	Partitions []Partition
}

// Partition finds a partition by number, nil when there is none.
func (t *Topic) Partition(id int32) *Partition {
	if t == nil || id < 0 || int(id) >= len(t.Partitions) {
		return nil
	}
	return &t.Partitions[id]
}

// Partition is the state of one partition as the controller decided it.
type Partition struct {
	ID             int32
	Leader         int32 // -1 when no replica can lead
	LeaderEpoch    int32 // grows with every choice of a leader
	PartitionEpoch int32 // grows with every change
	Recovering     bool  // the leader was chosen uncleanly and may miss records
	Replicas       []int32
	ISR            []int32
	Adding         []int32 // replicas that a reassignment adds
	Removing       []int32 // replicas that a reassignment takes away
	ELR            []int32 // out of the ISR, yet hold all that is committed (KIP-966)
	LastKnownELR   []int32
	Directories    []kafka.UUID // log directory of each replica, in the order of Replicas
}

// HasReplica says whether the broker holds a copy of the partition.
func (p *Partition) HasReplica(broker int32) bool { return slices.Contains(p.Replicas, broker) }

// Reassigning says whether brokers are being added to the replicas or taken from
// them (KIP-455).
func (p *Partition) Reassigning() bool { return len(p.Adding)+len(p.Removing) > 0 }

// Target are the replicas that there will be when a reassignment is through; all
// of them when none is under way. The slice is new where it differs.
func (p *Partition) Target() []int32 {
	if len(p.Removing) == 0 {
		return p.Replicas
	}
	return slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return slices.Contains(p.Removing, id) })
}

// DirectoryOf is the log directory that the metadata names for a broker's copy;
// zero when it names none.
func (p *Partition) DirectoryOf(broker int32) kafka.UUID {
	if at := slices.Index(p.Replicas, broker); at >= 0 && at < len(p.Directories) {
		return p.Directories[at]
	}
	return kafka.UUID{}
}

// Kind says what sort of thing a dynamic setting belongs to; the numbers are
// the protocol's.
type Kind int8

// The kinds of resources that have dynamic settings.
const (
	TopicResource         Kind = 2
	BrokerResource        Kind = 4
	LoggerResource        Kind = 8
	ClientMetricsResource Kind = 16
	GroupResource         Kind = 32
)

// String is Kafka's name of the kind.
func (k Kind) String() string {
	switch k {
	case TopicResource:
		return "TOPIC"
	case BrokerResource:
		return "BROKER"
	case LoggerResource:
		return "BROKER_LOGGER"
	case ClientMetricsResource:
		return "CLIENT_METRICS"
	case GroupResource:
		return "GROUP"
	}
	return "UNKNOWN"
}

// Resource names a thing that has dynamic settings. A broker's name is its
// number, or empty for the default of all brokers.
type Resource struct {
	Kind Kind
	Name string
}

// Compare orders by kind, then by name.
func (r Resource) Compare(o Resource) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), strings.Compare(r.Name, o.Name))
}

// Pair is one setting.
type Pair struct{ Name, Value string }

// Configs are the dynamic settings of one resource, by name. It must not be
// written to.
type Configs []Pair

// Get finds a setting by name.
func (c Configs) Get(name string) (string, bool) {
	i, ok := c.seek(name)
	if !ok {
		return "", false
	}
	return c[i].Value, true
}

func (c Configs) seek(name string) (int, bool) {
	return slices.BinarySearchFunc(c, name, func(p Pair, n string) int { return strings.Compare(p.Name, n) })
}

// with gives the settings with one changed; nil removes it. c stays as it is.
func (c Configs) with(name string, value *string) Configs {
	i, ok := c.seek(name)
	next := slices.Clone(c)
	switch {
	case value == nil && ok:
		return slices.Delete(next, i, i+1)
	case value == nil:
		return c
	case ok:
		next[i].Value = *value
		return next
	}
	return slices.Insert(next, i, Pair{name, *value})
}

// Map is a copy as a map, as package config takes settings; nil when there are
// none.
func (c Configs) Map() map[string]string {
	if len(c) == 0 {
		return nil
	}
	m := make(map[string]string, len(c))
	for _, p := range c {
		m[p.Name] = p.Value
	}
	return m
}
