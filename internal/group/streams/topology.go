package streams

import (
	"bytes"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

type (
	subtopology = state.StreamsGroupTopologyValueSubtopology
	topicInfo   = state.StreamsGroupTopologyValueTopicInfo
	copartition = state.StreamsGroupTopologyValueSubtopologyCopartitionGroup
)

// topology is what an application says of itself.
type topology struct {
	epoch         int32
	subtopologies []subtopology // by id
	readers       map[string]int
}

func newTopology(v *state.StreamsGroupTopologyValue) *topology {
	t := &topology{epoch: v.Epoch, subtopologies: slices.Clone(v.Subtopologies), readers: map[string]int{}}
	slices.SortFunc(t.subtopologies, func(a, b subtopology) int { return strings.Compare(a.SubtopologyID, b.SubtopologyID) })
	for i := range t.subtopologies {
		for name := range sources(&t.subtopologies[i]) {
			t.readers[name] = i
		}
	}
	return t
}

// equal says whether two are the same up to the order of subtopologies.
func (t *topology) equal(o *topology) bool {
	same := func(t *topology) []byte {
		return (&state.StreamsGroupTopologyValue{Epoch: t.epoch, Subtopologies: t.subtopologies}).Append(nil, 0)
	}
	return bytes.Equal(same(t), same(o))
}

// reader is the subtopology that reads a topic, nil if none does.
func (t *topology) reader(topic string) *subtopology {
	if i, ok := t.readers[topic]; ok {
		return &t.subtopologies[i]
	}
	return nil
}

// sources goes through the topics that a subtopology reads.
func sources(s *subtopology) func(yield func(name string) bool) {
	return func(yield func(name string) bool) {
		for _, name := range s.SourceTopics {
			if !yield(name) {
				return
			}
		}
		for i := range s.RepartitionSourceTopics {
			if !yield(s.RepartitionSourceTopics[i].Name) {
				return
			}
		}
	}
}

// required are the names of the topics that it cannot do without.
func (t *topology) required() []string {
	var names []string
	for i := range t.subtopologies {
		s := &t.subtopologies[i]
		names = slices.AppendSeq(names, sources(s))
		for j := range s.StateChangelogTopics {
			names = append(names, s.StateChangelogTopics[j].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// topologyValue makes the record's value of a request's topology.
func topologyValue(t *msg.StreamsGroupHeartbeatRequestTopology) *state.StreamsGroupTopologyValue {
	v := state.NewStreamsGroupTopologyValue()
	v.Epoch = t.Epoch
	infos := func(in []msg.StreamsGroupHeartbeatRequestTopicInfo) []topicInfo {
		out := make([]topicInfo, 0, len(in))
		for _, i := range in {
			o := topicInfo{Name: i.Name, Partitions: i.Partitions, ReplicationFactor: i.ReplicationFactor}
			for _, c := range i.TopicConfigs {
				o.TopicConfigs = append(o.TopicConfigs, state.StreamsGroupTopologyValueTopicConfig{Key: c.Key, Value: c.Value})
			}
			out = append(out, o)
		}
		return out
	}
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		o := subtopology{
			SubtopologyID: s.SubtopologyID, SourceTopics: s.SourceTopics, SourceTopicRegex: s.SourceTopicRegex,
			StateChangelogTopics: infos(s.StateChangelogTopics), RepartitionSinkTopics: s.RepartitionSinkTopics,
			RepartitionSourceTopics: infos(s.RepartitionSourceTopics),
		}
		for _, c := range s.CopartitionGroups {
			o.CopartitionGroups = append(o.CopartitionGroups, copartition{
				SourceTopics: c.SourceTopics, SourceTopicRegex: c.SourceTopicRegex, RepartitionSourceTopics: c.RepartitionSourceTopics,
			})
		}
		v.Subtopologies = append(v.Subtopologies, o)
	}
	return &v
}

// check says what is wrong with a request's topology by itself.
//
// Errors: INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY.
func check(t *msg.StreamsGroupHeartbeatRequestTopology) error {
	seen := map[string]bool{}
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		for j := range s.StateChangelogTopics {
			if c := &s.StateChangelogTopics[j]; c.Partitions != 0 {
				return kind.Refuse(kafka.StreamsInvalidTopology, "The changelog topic %s says that it has %d partitions, which is the group's to decide.", c.Name, c.Partitions)
			}
		}
		if seen[s.SubtopologyID] {
			return kind.Refuse(kafka.UnknownServerError, "The subtopology %s is there twice.", s.SubtopologyID)
		}
		seen[s.SubtopologyID] = true
		for j := range s.RepartitionSourceTopics {
			if r := &s.RepartitionSourceTopics[j]; r.Partitions < 0 {
				return kind.Refuse(kafka.UnknownServerError, "The repartition topic %s has %d partitions.", r.Name, r.Partitions)
			}
		}
		for _, c := range s.CopartitionGroups {
			if !inside(c.SourceTopics, len(s.SourceTopics)) || !inside(c.RepartitionSourceTopics, len(s.RepartitionSourceTopics)) {
				return kind.Refuse(kafka.UnknownServerError, "A copartition group of the subtopology %s names a topic that is not there.", s.SubtopologyID)
			}
		}
	}
	return nil
}

func inside(indexes []int16, n int) bool {
	return !slices.ContainsFunc(indexes, func(i int16) bool { return i < 0 || int(i) >= n })
}

func (g scribe) topologyRecord(v *state.StreamsGroupTopologyValue) coordinator.Record {
	return put(&state.StreamsGroupTopologyKey{GroupID: g.id}, v)
}
