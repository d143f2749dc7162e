package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// groupWorld is what groups see of the cluster beside their log.
type groupWorld struct {
	metadata *metadata.Metadata
	// plain are the settings of groups on which nothing was set, until the
	// broker's change; nil: nothing is kept. A heartbeat asks for two.
	plain *atomic.Pointer[groupSettings]
}

// groupSettings are the settings of one group: what was set on it, laid over the
// broker's.
type groupSettings struct {
	props *config.Broker
	own   map[string]string
	all   map[string]config.Value // what is known already
}

var _ group.Settings = (*groupSettings)(nil)

// settings are those of a group as of now.
func (w groupWorld) settings(id string) group.Settings {
	own := w.metadata.Image().Config(cluster.Resource{Kind: cluster.GroupResource, Name: id})
	props := w.metadata.Properties()
	if len(own) > 0 || w.plain == nil {
		return &groupSettings{props: props, own: own.Map()}
	}
	s := w.plain.Load()
	if s == nil || s.props != props {
		s = &groupSettings{props: props, all: map[string]config.Value{}}
		for _, d := range config.All(config.Group) {
			s.all[d.Name] = props.GroupEffective(d.Name, nil)
		}
		w.plain.Store(s)
	}
	return s
}

func (s *groupSettings) value(name string) config.Value {
	if v, ok := s.all[name]; ok {
		return v
	}
	return s.props.GroupEffective(name, s.own)
}

func (s *groupSettings) Int(name string) int       { return int(s.value(name).Int64()) }
func (s *groupSettings) Bool(name string) bool     { return s.value(name).Bool() }
func (s *groupSettings) String(name string) string { return s.value(name).Text }
func (s *groupSettings) List(name string) []string { return s.value(name).List() }

func (s *groupSettings) Millis(name string) time.Duration {
	return time.Duration(s.value(name).Int64()) * time.Millisecond
}

// createTopics makes the topics that a group asks for. One that is there already
// is no error.
func (w groupWorld) createTopics(ctx context.Context, topics []group.TopicSpec) error {
	req := msg.NewCreateTopicsRequest()
	for _, t := range topics {
		row := msg.CreateTopicsRequestTopic{}
		row.Name, row.NumPartitions, row.ReplicationFactor = t.Name, t.Partitions, t.Replication
		for _, c := range t.Configs {
			row.Configs = append(row.Configs, msg.CreateTopicsRequestTopicConfig{Name: c.Name, Value: new(c.Value)})
		}
		req.Topics = append(req.Topics, row)
	}
	var failed []error
	for _, t := range w.metadata.CreateTopics(ctx, &req).Topics {
		if c := kafka.Code(t.ErrorCode); c != kafka.None && c != kafka.TopicAlreadyExists {
			why := c.Name()
			if t.ErrorMessage != nil {
				why = *t.ErrorMessage
			}
			failed = append(failed, fmt.Errorf("topic %s: %w: %s", t.Name, c, why))
		}
	}
	return errors.Join(failed...)
}
