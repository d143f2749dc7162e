package streams

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// configured is a topology with the numbers that follow from the topics there are.
type configured struct {
	tasks    map[string]int32 // by subtopology; nil if they cannot be told
	internal map[string]int32 // partitions of the internal topics
	missing  []Topic          // internal topics to make, by name
	wrong    *wrong           // nil: it is ready
}

// wrong is why a topology is not ready, as members are told.
type wrong struct {
	status int8
	detail string
}

func (w *wrong) Error() string { return w.detail }

// Topic is an internal topic that the group needs.
type Topic struct {
	Name        string
	Partitions  int32
	Replication int16 // -1: the broker's default
	Configs     []TopicConfig
}

// TopicConfig is a configuration of a topic.
type TopicConfig struct{ Name, Value string }

// configure decides how many partitions the internal topics have, and so how many
// tasks there are.
//
//	missing sources?     MISSING_SOURCE_TOPICS
//	repartition topics   as many as the most of what is written to them is read from
//	copartition groups   INCORRECTLY_PARTITIONED_TOPICS
//	changelogs           as many as their subtopology reads at most
//	those that exist     INCORRECTLY_PARTITIONED_TOPICS
//	those that do not    MISSING_INTERNAL_TOPICS
//
// Errors: STREAMS_INVALID_TOPOLOGY, when the numbers cannot follow from anything.
func configure(t *topology, topics kind.Topics) (*configured, error) {
	p := &planner{topology: t, topics: topics, decided: map[string]int32{}}
	steps := []func() error{p.sources, p.repartition, p.copartition, p.changelogs}
	for _, step := range steps {
		if err := step(); err != nil {
			return failed(err)
		}
	}
	c := &configured{tasks: map[string]int32{}, internal: map[string]int32{}}
	for i := range t.subtopologies {
		s := &t.subtopologies[i]
		c.tasks[s.SubtopologyID], _ = p.most(s)
		for _, list := range [][]topicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range list {
				c.internal[list[j].Name] = list[j].Partitions
				if list[j].Partitions == 0 {
					c.internal[list[j].Name] = p.decided[list[j].Name]
				}
			}
		}
	}
	if err := p.exist(c); err != nil {
		return failed(err)
	}
	return c, nil
}

// failed is a topology that is not ready, or an error if it never will be.
func failed(err error) (*configured, error) {
	if w, ok := err.(*wrong); ok {
		return &configured{wrong: w}, nil
	}
	return nil, err
}

type planner struct {
	topology *topology
	topics   kind.Topics
	decided  map[string]int32 // partitions of topics that are not there yet
}

// partitions is how many a topic has, or is to have.
func (p *planner) partitions(topic string) (int32, bool) {
	if t, ok := p.topics.Named(topic); ok {
		return t.Partitions, true
	}
	n, ok := p.decided[topic]
	return n, ok
}

// most is the largest number of partitions that a subtopology reads.
func (p *planner) most(s *subtopology) (int32, bool) {
	var most int32
	found := false
	for name := range sources(s) {
		if n, ok := p.partitions(name); ok {
			most, found = max(most, n), true
		}
	}
	return most, found
}

func (p *planner) sources() error {
	var missing []string
	for i := range p.topology.subtopologies {
		for _, name := range p.topology.subtopologies[i].SourceTopics {
			if _, ok := p.topics.Named(name); !ok {
				missing = append(missing, name)
			}
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	return &wrong{MissingSourceTopics, "Source topics " + summary(slices.Compact(missing)) + " are missing."}
}

// repartition decides on the topics between subtopologies, in as many rounds as
// they lie behind one another.
func (p *planner) repartition() error {
	all := p.topology.subtopologies
	counts := map[string]int32{}
	for i := range all {
		for _, t := range all[i].RepartitionSourceTopics {
			if t.Partitions != 0 {
				counts[t.Name] = t.Partitions
			}
		}
	}
	for open := true; open; {
		open = false
		progress := false
		for i := range all {
			for _, sink := range all[i].RepartitionSinkTopics {
				if _, ok := counts[sink]; ok {
					continue
				}
				n := p.written(&all[i], counts)
				if n == 0 {
					open = true
					continue
				}
				counts[sink], progress = n, true
			}
		}
		if open && !progress {
			return kind.Refuse(kafka.StreamsInvalidTopology, "The number of partitions does not follow for all repartition topics: the topology may have a loop.")
		}
	}
	for i := range all {
		for _, t := range all[i].RepartitionSourceTopics {
			if _, ok := counts[t.Name]; !ok {
				return kind.Refuse(kafka.StreamsInvalidTopology, "The number of partitions does not follow for all repartition topics: nothing writes to %s.", t.Name)
			}
		}
	}
	for name, n := range counts {
		p.decided[name] = n
	}
	return nil
}

// written is the number of partitions of what a subtopology writes to, 0 if it
// cannot be told yet.
func (p *planner) written(s *subtopology, counts map[string]int32) int32 {
	var n int32
	for _, t := range s.RepartitionSourceTopics {
		n = max(n, counts[t.Name])
	}
	for _, name := range s.SourceTopics {
		have, _ := p.partitions(name)
		n = max(n, have)
	}
	return n
}

// copartition gives the topics of each copartition group the same number of
// partitions, or finds that they cannot have it.
func (p *planner) copartition() error {
	fixed, flexible := map[string]bool{}, map[string]bool{}
	for i := range p.topology.subtopologies {
		for _, t := range p.topology.subtopologies[i].RepartitionSourceTopics {
			if t.Partitions != 0 {
				fixed[t.Name] = true
			} else {
				flexible[t.Name] = true
			}
		}
	}
	for i := range p.topology.subtopologies {
		s := &p.topology.subtopologies[i]
		for _, c := range s.CopartitionGroups {
			var names []string
			for _, at := range c.SourceTopics {
				names = append(names, s.SourceTopics[at])
			}
			for _, at := range c.RepartitionSourceTopics {
				names = append(names, s.RepartitionSourceTopics[at].Name)
			}
			slices.Sort(names)
			if err := p.enforce(slices.Compact(names), fixed, flexible); err != nil {
				return err
			}
		}
	}
	return nil
}

// enforce makes the topics of a group equal. What is not ours to decide decides:
// source topics before repartition topics with a number of their own.
func (p *planner) enforce(names []string, fixed, flexible map[string]bool) error {
	var external, internal []string
	for _, name := range names {
		switch {
		case fixed[name], flexible[name]:
			internal = append(internal, name)
		default:
			external = append(external, name)
		}
	}
	n, ok := int32(0), true
	switch {
	case len(names) == 0:
		return nil
	case len(external) > 0:
		n, ok = p.alike(external)
	case len(fixed) > 0: // all of the topology's, as in Kafka
		n, ok = p.alike(slices.Sorted(maps.Keys(fixed)))
	default:
		for _, name := range internal {
			have, _ := p.partitions(name)
			n = max(n, have)
		}
	}
	if !ok {
		slices.Sort(names)
		return &wrong{IncorrectlyPartitioned, "The topics " + strings.Join(p.counted(names), ", ") + " do not have the same number of partitions."}
	}
	for _, name := range internal {
		if have, _ := p.partitions(name); fixed[name] && have != n {
			return &wrong{IncorrectlyPartitioned, fmt.Sprintf("The repartition topic %s has %d partitions, the source topics that go with it %d.", name, have, n)}
		}
		p.decided[name] = n
	}
	return nil
}

// alike is the number of partitions that all of them have.
func (p *planner) alike(names []string) (int32, bool) {
	n, _ := p.partitions(names[0])
	for _, name := range names[1:] {
		if have, _ := p.partitions(name); have != n {
			return 0, false
		}
	}
	return n, true
}

func (p *planner) counted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		n, _ := p.partitions(name)
		out[i] = fmt.Sprintf("%s=%d", name, n)
	}
	return out
}

func (p *planner) changelogs() error {
	for i := range p.topology.subtopologies {
		s := &p.topology.subtopologies[i]
		n, ok := p.most(s)
		if !ok {
			return kind.Refuse(kafka.StreamsInvalidTopology, "The subtopology %s reads no topic.", s.SubtopologyID)
		}
		for _, t := range s.StateChangelogTopics {
			p.decided[t.Name] = n
		}
	}
	return nil
}

// exist looks which of the internal topics there are, and takes note of those that
// are to be made.
func (p *planner) exist(c *configured) error {
	infos := map[string]*topicInfo{}
	var names []string
	for i := range p.topology.subtopologies {
		s := &p.topology.subtopologies[i]
		for _, list := range [][]topicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range list {
				infos[list[j].Name] = &list[j]
				names = append(names, list[j].Name)
			}
		}
	}
	slices.Sort(names)
	var missing []string
	for _, name := range slices.Compact(names) {
		want := c.internal[name]
		if t, ok := p.topics.Named(name); ok {
			if t.Partitions != want {
				return &wrong{IncorrectlyPartitioned, fmt.Sprintf("The topic %s has %d partitions, not %d.", name, t.Partitions, want)}
			}
			continue
		}
		missing = append(missing, name)
		c.missing = append(c.missing, newTopic(infos[name], want))
	}
	if missing != nil {
		c.wrong = &wrong{MissingInternalTopics, "Internal topics are missing: " + summary(missing)}
	}
	return nil
}

func newTopic(info *topicInfo, partitions int32) Topic {
	t := Topic{Name: info.Name, Partitions: partitions, Replication: info.ReplicationFactor}
	if t.Replication == 0 {
		t.Replication = -1
	}
	for _, c := range info.TopicConfigs {
		t.Configs = append(t.Configs, TopicConfig{c.Key, c.Value})
	}
	return t
}

// summary names the first three.
func summary(names []string) string {
	if len(names) <= 3 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
}

// valid says whether there is such a task.
func (c *configured) valid(t tasks.Task) bool {
	n, ok := c.tasks[t.Subtopology]
	return ok && t.Partition >= 0 && t.Partition < n
}
