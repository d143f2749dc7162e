package persist

import (
	"context"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/share"
)

// Operations are what one coordinator does: a [Service], or one at another broker.
// Their errors are as a Service's.
type Operations interface {
	share.Persister
	Initialize(ctx context.Context, key share.Key, stateEpoch int32, startOffset int64) error
	Summary(ctx context.Context, key share.Key) (Summary, error)
	Delete(ctx context.Context, key share.Key) error
}

// Coordinator is the share coordinator, wherever it is, as the leaders of share
// partitions and the group coordinator see it: it makes the topic when there is
// none, and asks again while the coordinator comes to be or moves.
type Coordinator struct {
	Service *Service

	// Elsewhere gives the coordinator of a partition of __share_group_state that
	// another broker leads, nil where this one does; nil: it always does. It fails
	// while nobody does: COORDINATOR_NOT_AVAILABLE.
	Elsewhere func(partition int32) (Operations, error)
}

var (
	_ Operations = Coordinator{}
	_ Operations = (*Service)(nil)
)

// patience bounds how long a Coordinator asks again, and the pauses between.
const (
	patience   = 5 * time.Second
	pauseFirst = 10 * time.Millisecond
	pauseMost  = 500 * time.Millisecond
)

// Read is [Service.Read].
func (c Coordinator) Read(ctx context.Context, key share.Key, leaderEpoch int32) (state share.State, err error) {
	err = c.try(ctx, key, func(at Operations) (err error) {
		state, err = at.Read(ctx, key, leaderEpoch)
		return err
	})
	return state, err
}

// Write is [Service.Write].
func (c Coordinator) Write(ctx context.Context, key share.Key, u share.Update) error {
	return c.try(ctx, key, func(at Operations) error { return at.Write(ctx, key, u) })
}

// Initialize is [Service.Initialize].
func (c Coordinator) Initialize(ctx context.Context, key share.Key, stateEpoch int32, startOffset int64) error {
	return c.try(ctx, key, func(at Operations) error { return at.Initialize(ctx, key, stateEpoch, startOffset) })
}

// Summary is [Service.Summary].
func (c Coordinator) Summary(ctx context.Context, key share.Key) (sum Summary, err error) {
	err = c.try(ctx, key, func(at Operations) (err error) {
		sum, err = at.Summary(ctx, key)
		return err
	})
	return sum, err
}

// Delete is [Service.Delete].
func (c Coordinator) Delete(ctx context.Context, key share.Key) error {
	return c.try(ctx, key, func(at Operations) error { return at.Delete(ctx, key) })
}

// try calls op until it answers something that will not change by itself, or
// patience ends. All operations may be done twice.
func (c Coordinator) try(ctx context.Context, key share.Key, op func(at Operations) error) error {
	give := time.NewTimer(patience)
	defer give.Stop()
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		err := c.once(ctx, key, op)
		if err == nil || !retriable(err) {
			return err
		}
		again := time.NewTimer(pause)
		//house:select whoever comes first: one more try does no harm, one less is what patience means
		select {
		case <-again.C:
		case <-give.C:
			again.Stop()
			return err
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func (c Coordinator) once(ctx context.Context, key share.Key, op func(at Operations) error) error {
	partition, ok := c.Service.Partition(key)
	if !ok && c.Service.cfg.Create != nil {
		if err := c.Service.cfg.Create(ctx); err != nil {
			return err
		}
		partition, ok = c.Service.Partition(key)
	}
	if !ok || c.Elsewhere == nil {
		return op(c.Service)
	}
	switch at, err := c.Elsewhere(partition); {
	case err != nil:
		return err
	case at != nil:
		return op(at)
	}
	return op(c.Service)
}
