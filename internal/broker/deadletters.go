package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/errand"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share/letters"
)

// The properties of dead-letter topics (KIP-1191).
const (
	letterTopic   = "errors.deadletterqueue.topic.name"
	letterCopy    = "errors.deadletterqueue.copy.record.enable"
	letterAllowed = "errors.deadletterqueue.group.enable"
	letterPrefix  = "errors.deadletterqueue.topic.name.prefix"
	letterCreate  = "errors.deadletterqueue.auto.create.topics.enable"
)

// lettersFrom is the level of share.version from which on there are dead letters.
const lettersFrom = 2

// letterWait bounds how long a dead letter waits to be on all in-sync replicas
// before it is written again.
const letterWait = 30 * time.Second

// letterWorld shows the cluster to the writer of dead letters.
type letterWorld struct {
	metadata *metadata.Metadata
	replicas *replica.Table
	errands  *errand.Errands
}

var _ letters.World = letterWorld{}

func newLetters(b *Broker) (*letters.Writer, error) {
	return letters.New(letters.Config{World: letterWorld{b.metadata, b.replicas, b.errands}, Now: b.cfg.Now, Logger: b.logger.With("component", "dead letters")})
}

func (w letterWorld) Rules(id string) letters.Rules {
	own, props := groupWorld{metadata: w.metadata}.settings(id), w.metadata.Properties()
	return letters.Rules{Topic: own.String(letterTopic), Copy: own.Bool(letterCopy),
		Prefix: props.String(letterPrefix), Create: props.Bool(letterCreate)}
}

func (w letterWorld) Topic(name string) (letters.Topic, bool) {
	img := w.metadata.Image()
	t := img.Topic(name)
	if t == nil {
		return letters.Topic{}, false
	}
	c := w.metadata.Properties().Topic(img.Config(cluster.Resource{Kind: cluster.TopicResource, Name: name}).Map())
	return letters.Topic{Partitions: len(t.Partitions), Allowed: c.DeadLetters, MaxBytes: c.MaxMessageBytes}, true
}

func (w letterWorld) Name(id kafka.UUID) string {
	if t := w.metadata.Image().TopicByID(id); t != nil {
		return t.Name
	}
	return id.String()
}

// Create makes the topic with the time that each letter says, whatever the
// broker's log.message.timestamp.type is.
func (w letterWorld) Create(ctx context.Context, name string) error {
	return groupWorld{metadata: w.metadata}.createTopics(ctx, []group.TopicSpec{{Name: name, Partitions: -1, Replication: -1,
		Configs: []cluster.Pair{{Name: letterAllowed, Value: "true"}, {Name: "message.timestamp.type", Value: "CreateTime"}}}})
}

func (w letterWorld) Read(id kafka.UUID, partition int32, offset int64, maxBytes int) ([]byte, error) {
	r, err := w.replicas.GetID(id, partition)
	if err != nil {
		return nil, err
	}
	batches, _, err := r.Batches(max(offset, r.LogStart()), maxBytes, replica.ReadUncommitted)
	return batches, err
}

func (w letterWorld) Append(ctx context.Context, topic string, partition int32, batch []byte) error {
	if tp := (kafka.TopicPartition{Topic: topic, Partition: partition}); !w.errands.Leads(tp) {
		return w.errands.Append(ctx, tp, batch)
	}
	r, err := w.replicas.Get(topic, partition)
	if err != nil {
		return err
	}
	h, err := record.ParseHeader(batch)
	if err != nil {
		return err
	}
	got, err := r.Append(replica.Batch{Bytes: batch, Header: h, Epoch: kafka.NoEpoch, Durable: true})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	r.AwaitCommitted(&replica.Waiter{Offset: got.Last + 1, Durable: true, Done: func(err error) { done <- err }})
	ctx, cancel := context.WithTimeout(ctx, letterWait)
	defer cancel()
	//house:select who is too late is told so, and may write again
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s-%d: the letter is not on all in-sync replicas: %w: %w", topic, partition, context.Cause(ctx), kafka.RequestTimedOut)
	}
}
