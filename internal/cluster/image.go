package cluster

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Image is the cluster as of one point of the metadata log. It never changes;
// its values may be kept and shared, and must not be written to.
//
// Lists come in a fixed order: topics by name, partitions, brokers and replicas
// by number or by preference, settings by name.
type Image struct {
	clusterID  string
	controller int32
	index      int64
	term       int64

	features   []Feature
	brokers    []*Broker // by id
	topics     sorted[string, *Topic]
	names      sorted[kafka.UUID, string] // topic names by id
	configs    sorted[Resource, Configs]
	scram      sorted[ScramKey, *Scram]
	partitions int // how many partitions there are
	producer   int64
}

// Empty is the image before the first record.
func Empty(clusterID string) *Image {
	return &Image{
		clusterID:  clusterID,
		controller: kafka.NoBroker,
		topics:     newSorted[string, *Topic](strings.Compare),
		names:      newSorted[kafka.UUID, string](compareUUID),
		configs:    newSorted[Resource, Configs](Resource.Compare),
		scram:      newSorted[ScramKey, *Scram](ScramKey.Compare),
	}
}

func compareUUID(a, b kafka.UUID) int { return slices.Compare(a[:], b[:]) }

// Index is the place in the metadata log of the last entry that the image
// holds, 0 before the first.
func (m *Image) Index() int64 { return m.index }

// Term is the leader epoch of the entry at [Image.Index].
func (m *Image) Term() int64 { return m.term }

// ClusterID is the cluster's id as clients see it.
func (m *Image) ClusterID() string { return m.clusterID }

// ControllerID is the node that decides, or [kafka.NoBroker] while none is
// known. It does not come from records: see [Image.WithController].
func (m *Image) ControllerID() int32 { return m.controller }

// WithController is the same cluster led by another node.
func (m *Image) WithController(id int32) *Image {
	if m.controller == id {
		return m
	}
	next := *m
	next.controller = id
	return &next
}

// Features are the finalized feature levels, by name; the level of
// "metadata.version" gates the formats of everything else.
func (m *Image) Features() []Feature { return m.features }

// Feature is one finalized level, 0 when the feature is not enabled.
func (m *Image) Feature(name string) int16 {
	i, ok := slices.BinarySearchFunc(m.features, name, func(f Feature, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return 0
	}
	return m.features[i].Level
}

// Brokers are all registered brokers by id, the fenced ones included.
func (m *Image) Brokers() []*Broker { return m.brokers }

// Broker finds a registered broker, nil when there is none.
func (m *Image) Broker(id int32) *Broker {
	i, ok := m.seekBroker(id)
	if !ok {
		return nil
	}
	return m.brokers[i]
}

func (m *Image) seekBroker(id int32) (int, bool) {
	return slices.BinarySearchFunc(m.brokers, id, func(b *Broker, id int32) int { return cmp.Compare(b.ID, id) })
}

// Alive says whether the broker is registered and not fenced.
func (m *Image) Alive(id int32) bool {
	b := m.Broker(id)
	return b != nil && !b.Fenced
}

// Active says whether the broker may be given work: alive and not shutting down.
func (m *Image) Active(id int32) bool {
	b := m.Broker(id)
	return b != nil && !b.Fenced && !b.InControlledShutdown
}

// Topic finds a topic by name, nil when there is none.
func (m *Image) Topic(name string) *Topic {
	t, _ := m.topics.get(name)
	return t
}

// TopicByID finds a topic by id, nil when there is none.
func (m *Image) TopicByID(id kafka.UUID) *Topic {
	name, ok := m.names.get(id)
	if !ok {
		return nil
	}
	return m.Topic(name)
}

// Topics are all topics by name, in a new slice.
func (m *Image) Topics() []*Topic {
	all := make([]*Topic, 0, m.topics.size)
	for _, t := range m.topics.all() {
		all = append(all, t)
	}
	return all
}

// TopicsFrom gives the topics whose name is not below name, by name.
func (m *Image) TopicsFrom(name string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range m.topics.from(name) {
			if !yield(t) {
				return
			}
		}
	}
}

// TopicCount is the number of topics.
func (m *Image) TopicCount() int { return m.topics.size }

// PartitionCount is the number of partitions of all topics together.
func (m *Image) PartitionCount() int { return m.partitions }

// Config is what was set on a resource dynamically, by name; empty when nothing
// was.
func (m *Image) Config(r Resource) Configs {
	c, _ := m.configs.get(r)
	return c
}

// ConfigResources gives every resource on which something is set.
func (m *Image) ConfigResources() iter.Seq2[Resource, Configs] { return m.configs.all() }

// NextProducerID is the first producer id that no block was given out of yet.
func (m *Image) NextProducerID() int64 { return m.producer }

// Offline lists the replicas of p that no living broker holds in a directory
// that works, in p's order, nil when there is none.
func (m *Image) Offline(p *Partition) []int32 {
	var off []int32
	for _, id := range p.Replicas {
		if !m.Alive(id) || !m.Broker(id).HasDirectory(p.DirectoryOf(id)) {
			off = append(off, id)
		}
	}
	return off
}

// At is the same cluster at another place in the metadata log.
func (m *Image) At(index int64) *Image {
	next := *m
	next.index = index
	return &next
}
