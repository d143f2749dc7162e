package follow

import (
	"context"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Conn asks one broker, as [peer.Conn] does. The bytes of resp may lie in *buf,
// which is used again for the next answer.
type Conn interface {
	DoInto(ctx context.Context, req msg.Request, resp msg.Response, version int16, buf *[]byte) error
}

// Config is what a Follow needs. Self, Connect, Epoch, Settings and Now must be
// set.
type Config struct {
	// Self is this broker's id.
	Self int32
	// Connect gives the connection of a fetcher: by the leader's id, and the
	// fetcher's number among those for this leader.
	Connect func(leader int32, lane int) Conn
	// Epoch is the broker epoch under which this broker is registered, -1 before
	// (KIP-903).
	Epoch func() int64
	// Settings are read before each fetch.
	Settings func() Settings
	Now      func() time.Time
	Logger   *slog.Logger
}

// Settings are the properties that rule how it is fetched.
type Settings struct {
	Fetchers      int           // per leader (num.replica.fetchers); for partitions that come from then on
	MaxWait       time.Duration // replica.fetch.wait.max.ms
	Backoff       time.Duration // replica.fetch.backoff.ms: the longest rest of a partition after an error
	MinBytes      int32         // replica.fetch.min.bytes
	MaxBytes      int32         // of one partition (replica.fetch.max.bytes)
	ResponseBytes int32         // of all (replica.fetch.response.max.bytes)
	// Rate is how many bytes per second throttled partitions may take together
	// (follower.replication.throttled.rate); 0 is no limit. Throttled says which
	// they are (follower.replication.throttled.replicas); nil: none.
	Rate      int64
	Throttled func(kafka.TopicPartition) bool
}

// Follow fills partitions. [Follow.Changed] tells it which.
type Follow struct {
	cfg   Config
	fresh chan struct{} // one element: fetchers that are not started
	pace  pace

	mu struct {
		sync.Mutex // memory only
		fetchers   map[lane]*fetcher
		unstarted  []*fetcher
		at         map[kafka.TopicPartition]*fetcher // who has a partition
	}
}

// lane names a fetcher.
type lane struct {
	leader int32
	n      int
}

// New makes a Follow that has nothing to do.
func New(cfg Config) *Follow {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follow{cfg: cfg, fresh: make(chan struct{}, 1)}
	f.mu.fetchers = map[lane]*fetcher{}
	f.mu.at = map[kafka.TopicPartition]*fetcher{}
	return f
}

// Changed tells that the role, the leader or the epoch of a replica changed: it is
// what [replica.Config.Roled] calls. It does not wait.
func (f *Follow) Changed(r *replica.Replica) {
	tp := r.TopicPartition()
	leader, _, ok := replica.Follower{Replica: r}.Following()
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.mu.at[tp]
	var next *fetcher
	if ok && leader != f.cfg.Self {
		next = f.fetcherLocked(lane{leader, laneOf(tp, f.cfg.Settings().Fetchers)})
	}
	if old != nil && old != next {
		old.post(change{tp, nil})
	}
	if next == nil {
		delete(f.mu.at, tp)
		return
	}
	f.mu.at[tp] = next
	next.post(change{tp, r})
}

// laneOf spreads partitions over the fetchers of a leader.
func laneOf(tp kafka.TopicPartition, fetchers int) int {
	if fetchers <= 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(tp.Topic))
	return int((h.Sum32() + uint32(tp.Partition)) % uint32(fetchers))
}

func (f *Follow) fetcherLocked(at lane) *fetcher {
	x := f.mu.fetchers[at]
	if x == nil {
		x = newFetcher(f, at)
		f.mu.fetchers[at] = x
		f.mu.unstarted = append(f.mu.unstarted, x)
		select {
		case f.fresh <- struct{}{}:
		default:
		}
	}
	return x
}

// Run fetches until ctx ends.
func (f *Follow) Run(ctx context.Context) error {
	var fetchers sync.WaitGroup
	defer fetchers.Wait()
	for {
		f.mu.Lock()
		list := f.mu.unstarted
		f.mu.unstarted = nil
		f.mu.Unlock()
		for _, x := range list {
			fetchers.Go(func() { x.run(ctx) })
		}
		//house:select fetchers that begin at the end end at once
		select {
		case <-f.fresh:
		case <-ctx.Done():
			return nil
		}
	}
}
