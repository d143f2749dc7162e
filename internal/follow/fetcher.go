package follow

import (
	"context"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
)

// fetcher fetches from one leader. What is above the line belongs to everybody,
// the rest to its goroutine.
type fetcher struct {
	f    *Follow
	lane lane
	wake chan struct{} // one element: changes came, or a flush ended

	mu struct {
		sync.Mutex // memory only
		changes    []change
	}
}

// change is a partition that comes or, without a replica, goes.
type change struct {
	tp kafka.TopicPartition
	r  *replica.Replica
}

func newFetcher(f *Follow, at lane) *fetcher {
	return &fetcher{f: f, lane: at, wake: make(chan struct{}, 1)}
}

func (x *fetcher) post(c change) {
	x.mu.Lock()
	x.mu.changes = append(x.mu.changes, c)
	x.mu.Unlock()
	x.ring()
}

func (x *fetcher) ring() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *fetcher) run(ctx context.Context) { <-ctx.Done() }
