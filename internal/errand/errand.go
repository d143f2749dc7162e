package errand

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Asker asks another broker, by its node id, and returns when resp is filled in.
// After an error nobody knows whether the broker did what it was asked.
type Asker func(ctx context.Context, node int32, req msg.Request, resp msg.Response, version int16) error

// Config says what Errands work with.
type Config struct {
	// Self is this broker's node id, Image the newest picture of the cluster.
	Self  int32
	Image func() *cluster.Image

	// Ways to other brokers: each has connections of its own, since a broker
	// answers those of one connection in turn. Markers is for the ends of
	// transactions, Coordinate for questions about transactions, States for the
	// share coordinator, Records for letters and offsets. nil: there are no others.
	Markers, Coordinate, States, Records Asker

	// Patience bounds how long an answer is waited for; 0 means 3 s. It is more
	// than it takes the cluster to see that a broker is gone.
	Patience time.Duration
}

// patience is Config.Patience unless it is set.
const patience = 3 * time.Second

// The bounds of one request.
const (
	mostMarkers = 256
	mostJoins   = 256
	mostStates  = 128
)

// Errands brings errands to where they are done. Its methods may be called at
// once from any number of goroutines.
type Errands struct {
	cfg     Config
	markers *lines[int32, *marking]
	joins   *lines[int32, *joining]
	writes  *lines[groupAt, *writing]
}

// groupAt is a group whose share state another broker keeps.
type groupAt struct {
	node  int32
	group string
}

// New makes Errands. It starts nothing.
func New(cfg Config) (*Errands, error) {
	if cfg.Image == nil {
		return nil, errors.New("errands: Image is needed")
	}
	if cfg.Patience <= 0 {
		cfg.Patience = patience
	}
	e := &Errands{cfg: cfg}
	e.markers = newLines(mostMarkers, e.carryMarkers)
	e.joins = newLines(mostJoins, e.carryJoins)
	e.writes = newLines(mostStates, e.carryWrites)
	return e, nil
}

// lookEvery is how often who waits for a broker looks whether it is still in service.
const lookEvery = 100 * time.Millisecond

// ask asks a broker and gives up after a while, or as soon as the broker is out of
// service: then others lead what it led. Its errors have a code: NETWORK_EXCEPTION,
// unless the error says better.
func (e *Errands) ask(ctx context.Context, way Asker, node int32, q question) error {
	if way == nil {
		return fmt.Errorf("broker %d: this node talks to no others: %w", node, kafka.NetworkException)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Patience)
	defer cancel()
	gone := e.watch(ctx, node, cancel)
	err := way(ctx, node, q.req, q.resp, q.version)
	if gone() && err != nil {
		return fmt.Errorf("broker %d is out of service: %w", node, kafka.NetworkException)
	}
	if err != nil && kafka.CodeOf(err) == kafka.UnknownServerError {
		return fmt.Errorf("broker %d: %w: %w", node, kafka.NetworkException, err)
	}
	return err
}

// watch ends a request to a broker that goes out of service; gone ends the watching
// and says whether it did.
func (e *Errands) watch(ctx context.Context, node int32, end func()) (gone func() bool) {
	var out atomic.Bool
	start := make(chan *time.Timer, 1)
	timer := time.AfterFunc(lookEvery, func() {
		switch t := <-start; {
		case ctx.Err() != nil:
		case !e.cfg.Image().Alive(node):
			out.Store(true)
			end()
		default:
			start <- t
			t.Reset(lookEvery)
		}
	})
	start <- timer
	return func() bool {
		timer.Stop()
		return out.Load()
	}
}

// question is a request with the place for its answer.
type question struct {
	req     msg.Request
	resp    msg.Response
	version int16
}

// leader is who leads a partition, this broker too.
//
// Errors: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE.
func (e *Errands) leader(tp kafka.TopicPartition) (int32, error) {
	img := e.cfg.Image()
	p := img.Topic(tp.Topic).Partition(tp.Partition)
	switch {
	case p == nil:
		return 0, fmt.Errorf("%s: %w", tp, kafka.UnknownTopicOrPartition)
	case p.Leader == e.cfg.Self:
		return p.Leader, nil
	case p.Leader == kafka.NoBroker || img.Broker(p.Leader) == nil:
		return 0, fmt.Errorf("%s has no leader: %w", tp, kafka.LeaderNotAvailable)
	}
	return p.Leader, nil
}

// byTopic are places in a list of partitions, by topic, in the order of the list.
type byTopic struct {
	topic  string
	places []int
}

func grouped(partitions []kafka.TopicPartition, of []int) (topics []byTopic) {
	at := map[string]int{}
	for _, i := range of {
		name := partitions[i].Topic
		n, ok := at[name]
		if !ok {
			n = len(topics)
			at[name] = n
			topics = append(topics, byTopic{topic: name})
		}
		topics[n].places = append(topics[n].places, i)
	}
	return topics
}

// What is asked of this broker's own parts.
type (
	// Coordinator is this broker's coordinator of transactions, as [txn.Service].
	Coordinator interface {
		Partition(id string) (int32, bool)
		VerifyOrAdd(ctx context.Context, j txn.Joining) []kafka.Code
	}

	// Marker writes the ends of transactions into partitions that this broker
	// leads. wait has to be called, and gives an error for each, in order.
	// lone says that the caller waits next and for nothing else.
	Marker func(ctx context.Context, m txn.Marker, partitions []kafka.TopicPartition, lone bool) (wait func() []error)
)
