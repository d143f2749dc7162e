package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// groupWorld is what groups see of the cluster beside their log.
type groupWorld struct{ metadata *metadata.Metadata }

// groupSettings are the settings of one group: what was set on it, laid over the
// broker's.
type groupSettings struct {
	props *config.Broker
	own   map[string]string
}

var _ group.Settings = groupSettings{}

// settings are those of a group as of now.
func (w groupWorld) settings(id string) group.Settings {
	own := w.metadata.Image().Config(cluster.Resource{Kind: cluster.GroupResource, Name: id})
	return groupSettings{w.metadata.Properties(), own.Map()}
}

func (s groupSettings) value(name string) config.Value {
	return s.props.GroupEffective(name, s.own)
}

func (s groupSettings) Int(name string) int       { return int(s.value(name).Int64()) }
func (s groupSettings) Bool(name string) bool     { return s.value(name).Bool() }
func (s groupSettings) String(name string) string { return s.value(name).Text }
func (s groupSettings) List(name string) []string { return s.value(name).List() }

func (s groupSettings) Millis(name string) time.Duration {
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
