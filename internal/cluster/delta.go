package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Delta collects records over an image. It belongs to one goroutine; the base
// stays as it is. After [Delta.Apply] it only tells what changed.
type Delta struct {
	base *Image
	next Image

	topics  *edit[string, *Topic]
	names   *edit[kafka.UUID, string]
	configs *edit[Resource, Configs]
	scram   *edit[ScramKey, *Scram]

	touched   map[kafka.UUID]*TopicChange
	brokers   map[int32]*Broker // as they were in the base, nil for new ones
	resources map[Resource]bool
	features  bool
	users     bool // a credential changed
}

// NewDelta begins a change of base.
func NewDelta(base *Image) *Delta {
	return &Delta{
		base:      base,
		next:      *base,
		topics:    base.topics.edit(),
		names:     base.names.edit(),
		configs:   base.configs.edit(),
		scram:     base.scram.edit(),
		touched:   map[kafka.UUID]*TopicChange{},
		brokers:   map[int32]*Broker{},
		resources: map[Resource]bool{},
	}
}

// Base is the image that the delta began with.
func (d *Delta) Base() *Image { return d.base }

// Apply gives the image with all records replayed, as of the given place in the
// metadata log. No record may be replayed after it.
func (d *Delta) Apply(index, term int64) *Image {
	next := d.next
	next.topics = d.topics.done()
	next.names = d.names.done()
	next.configs = d.configs.done()
	next.scram = d.scram.done()
	next.index, next.term = index, term
	d.topics, d.names, d.configs, d.scram = nil, nil, nil, nil
	return &next
}

// Empty says whether nothing changed.
func (d *Delta) Empty() bool {
	return len(d.touched) == 0 && len(d.brokers) == 0 && len(d.resources) == 0 && !d.features && !d.users &&
		d.next.producer == d.base.producer
}

// TopicChange is what happened to one topic: created when Old is nil, deleted
// when New is nil.
type TopicChange struct {
	Old, New *Topic
	parts    map[int32]bool
}

// Partitions are the numbers of the partitions that were added or changed,
// ascending. It is empty for a deleted topic.
func (c *TopicChange) Partitions() []int32 { return slices.Sorted(maps.Keys(c.parts)) }

func (c *TopicChange) name() string {
	if c.New != nil {
		return c.New.Name
	}
	return c.Old.Name
}

// Topics are the topics that changed, deleted ones first, then by name: a topic
// that was deleted and created again under its name comes in the order in which
// it has to be acted on.
func (d *Delta) Topics() []*TopicChange {
	var all []*TopicChange
	for _, c := range d.touched {
		if c.Old != nil || c.New != nil { // else created and deleted in one delta
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *TopicChange) int {
		if (a.New == nil) != (b.New == nil) {
			if a.New == nil {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name(), b.name())
	})
	return all
}

// Brokers are the ids of the brokers that were registered, changed or removed,
// ascending.
func (d *Delta) Brokers() []int32 { return slices.Sorted(maps.Keys(d.brokers)) }

// Resources are the resources whose dynamic settings changed, in order. Those
// of a deleted topic are among them.
func (d *Delta) Resources() []Resource {
	return slices.SortedFunc(maps.Keys(d.resources), Resource.Compare)
}

// Features says whether a feature level changed.
func (d *Delta) Features() bool { return d.features }

// Users says whether a credential of a user changed.
func (d *Delta) Users() bool { return d.users }

// topic gives the topic as it now stands, for change in place. The partitions
// are copied on the first change in this delta.
func (d *Delta) topic(id kafka.UUID) *TopicChange {
	if c := d.touched[id]; c != nil {
		return c
	}
	name, ok := d.names.get(id)
	if !ok {
		return nil
	}
	old, _ := d.topics.get(name)
	mine := *old
	mine.Partitions = slices.Clone(old.Partitions)
	c := &TopicChange{Old: old, New: &mine, parts: map[int32]bool{}}
	d.touched[id] = c
	d.topics.put(name, c.New)
	return c
}

// broker gives a copy of a registered broker for change in place, nil when
// there is none under that epoch.
func (d *Delta) broker(id int32, epoch int64) *Broker {
	old := d.next.Broker(id)
	if old == nil || old.Epoch != epoch {
		return nil
	}
	mine := *old
	d.putBroker(&mine)
	return &mine
}

func (d *Delta) putBroker(b *Broker) {
	d.noteBroker(b.ID)
	brokers := slices.Clone(d.next.brokers)
	i, ok := d.next.seekBroker(b.ID)
	if ok {
		brokers[i] = b
	} else {
		brokers = slices.Insert(brokers, i, b)
	}
	d.next.brokers = brokers
}

func (d *Delta) removeBroker(id int32) {
	d.noteBroker(id)
	if i, ok := d.next.seekBroker(id); ok {
		d.next.brokers = slices.Delete(slices.Clone(d.next.brokers), i, i+1)
	}
}

func (d *Delta) noteBroker(id int32) {
	if _, seen := d.brokers[id]; !seen {
		d.brokers[id] = d.base.Broker(id)
	}
}

func (d *Delta) putFeature(name string, level int16) {
	d.features = true
	next := slices.Clone(d.next.features)
	i, ok := slices.BinarySearchFunc(next, name, func(f Feature, n string) int { return cmp.Compare(f.Name, n) })
	switch {
	case level == 0 && ok:
		next = slices.Delete(next, i, i+1)
	case level == 0:
	case ok:
		next[i].Level = level
	default:
		next = slices.Insert(next, i, Feature{name, level})
	}
	d.next.features = next
}

func (d *Delta) putConfig(r Resource, name string, value *string) {
	d.resources[r] = true
	old, _ := d.configs.get(r)
	next := old.with(name, value)
	if len(next) == 0 {
		d.configs.remove(r)
		return
	}
	d.configs.put(r, next)
}
