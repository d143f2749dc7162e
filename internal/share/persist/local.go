package persist

import (
	"context"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/share"
)

// Local is the share coordinator as the leaders of share partitions and the group
// coordinator of the same process see it: it makes the topic when there is none,
// and asks again while the coordinator comes to be or moves.
type Local struct {
	Service *Service
}

var _ share.Persister = Local{}

// patience bounds how long Local asks again, and the pauses between.
const (
	patience   = 5 * time.Second
	pauseFirst = 10 * time.Millisecond
	pauseMost  = 500 * time.Millisecond
)

// Read is [Service.Read].
func (l Local) Read(ctx context.Context, key share.Key, leaderEpoch int32) (state share.State, err error) {
	err = l.try(ctx, key, func() (err error) {
		state, err = l.Service.Read(ctx, key, leaderEpoch)
		return err
	})
	return state, err
}

// Write is [Service.Write].
func (l Local) Write(ctx context.Context, key share.Key, u share.Update) error {
	return l.try(ctx, key, func() error { return l.Service.Write(ctx, key, u) })
}

// Initialize is [Service.Initialize].
func (l Local) Initialize(ctx context.Context, key share.Key, stateEpoch int32, startOffset int64) error {
	return l.try(ctx, key, func() error { return l.Service.Initialize(ctx, key, stateEpoch, startOffset) })
}

// Summary is [Service.Summary].
func (l Local) Summary(ctx context.Context, key share.Key) (sum Summary, err error) {
	err = l.try(ctx, key, func() (err error) {
		sum, err = l.Service.Summary(ctx, key)
		return err
	})
	return sum, err
}

// Delete is [Service.Delete].
func (l Local) Delete(ctx context.Context, key share.Key) error {
	return l.try(ctx, key, func() error { return l.Service.Delete(ctx, key) })
}

// try calls op until it answers something that will not change by itself, or
// patience ends. All operations may be done twice.
func (l Local) try(ctx context.Context, key share.Key, op func() error) error {
	give := time.NewTimer(patience)
	defer give.Stop()
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		err := l.once(ctx, key, op)
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

func (l Local) once(ctx context.Context, key share.Key, op func() error) error {
	if _, ok := l.Service.Partition(key); !ok && l.Service.cfg.Create != nil {
		if err := l.Service.cfg.Create(ctx); err != nil {
			return err
		}
	}
	return op()
}
