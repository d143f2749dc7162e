package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Config says what a runtime works on.
type Config[M Machine] struct {
	// Topic is the internal topic's name, for errors and logs.
	Topic string

	// Partitions is the number of the topic's partitions, 0 while it does not
	// exist.
	Partitions func() int32

	// Open gives the log of a partition that this broker leads, and the leader
	// epoch to append with. It may wait until the log is ready.
	Open func(ctx context.Context, partition int32) (Log, int32, error)

	// New makes the empty machine of a partition. Its tables belong to the
	// timeline.
	New func(partition int32, tl *Timeline) M

	// Now is the wall clock, by which alarms ring and records are stamped.
	Now func() time.Time

	Logger *slog.Logger // nil: discard

	// Patience gives for how long a request may wait for a commit of a partition;
	// then it is told COORDINATOR_NOT_AVAILABLE, and what it decided may still come
	// true. 0 is as long as it takes, and so is nil.
	Patience func(partition int32) time.Duration

	// MaxBatch is the largest batch in bytes that the log takes; a turn that
	// wants more is refused with RECORD_LIST_TOO_LARGE. 0 means 1 MiB.
	MaxBatch int
}

// retryFirst and retryMost bound the pause before a partition that failed to
// load is tried again. That its replica does not lead yet is the matter of a
// moment; from retryTold on the log is told of it.
const (
	retryFirst = 10 * time.Millisecond
	retryTold  = 100 * time.Millisecond
	retryMost  = 30 * time.Second
)

// Runtime runs the machines of one internal topic's partitions, as many as this
// broker leads.
type Runtime[M Machine] struct {
	cfg   Config[M]
	tasks sync.WaitGroup // goroutines at work: loading, alarms, unloading
	stats stats
	clock sync.Pool // of timers that are stopped

	mu struct {
		sync.Mutex // memory only
		partitions map[int32]*partition[M]
		closed     bool
	}
}

// New makes a runtime that owns no partition. It starts nothing; what Elect
// starts ends with Run.
func New[M Machine](cfg Config[M]) (*Runtime[M], error) {
	if cfg.Partitions == nil || cfg.Open == nil || cfg.New == nil || cfg.Now == nil {
		return nil, fmt.Errorf("coordinator of %s: Partitions, Open, New and Now are needed", cfg.Topic)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 1 << 20
	}
	r := &Runtime[M]{cfg: cfg}
	r.mu.partitions = map[int32]*partition[M]{}
	return r, nil
}

// Run waits for ctx, then unloads all partitions and returns when the last
// goroutine is gone. Requests that still wait are answered NOT_COORDINATOR.
func (r *Runtime[M]) Run(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	r.mu.closed = true
	owned := slices.Sorted(maps.Keys(r.mu.partitions))
	r.mu.Unlock()
	for _, id := range owned {
		if p := r.drop(id, kafka.NoEpoch); p != nil {
			p.close(fmt.Errorf("broker stops: %w", kafka.NotCoordinator))
		}
	}
	r.tasks.Wait()
	return nil
}

// Elect makes this broker the coordinator of a partition under a leader epoch,
// and begins to load it. Under a new epoch it is loaded anew, since another
// leader may have written in between. An epoch not newer than the known one
// changes nothing.
func (r *Runtime[M]) Elect(id, epoch int32) {
	r.mu.Lock()
	old := r.mu.partitions[id]
	if r.mu.closed || old != nil && old.epoch >= epoch {
		r.mu.Unlock()
		return
	}
	p := &partition[M]{rt: r, id: id, epoch: epoch, turn: make(chan struct{}, 1)}
	p.ctx, p.quit = context.WithCancel(context.Background())
	r.mu.partitions[id] = p
	r.tasks.Add(1)
	r.mu.Unlock()
	go func() {
		defer r.tasks.Done()
		if old != nil {
			old.close(fmt.Errorf("%s-%d has a new leader epoch: %w", r.cfg.Topic, id, kafka.NotCoordinator))
		}
		p.load()
	}()
}

// Resign ends this broker's work for a partition. A partition known under a
// newer epoch stays; kafka.NoEpoch means whatever epoch. It returns at once.
func (r *Runtime[M]) Resign(id, epoch int32) {
	p := r.drop(id, epoch)
	if p == nil {
		return
	}
	r.spawn(func() {
		p.close(fmt.Errorf("%s-%d has moved: %w", r.cfg.Topic, id, kafka.NotCoordinator))
	})
}

func (r *Runtime[M]) drop(id, epoch int32) *partition[M] {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.mu.partitions[id]
	if p == nil || epoch != kafka.NoEpoch && p.epoch > epoch {
		return nil
	}
	delete(r.mu.partitions, id)
	p.quit() // nothing is loaded for it any more
	return p
}

// Owned lists the partitions that this broker coordinates, loaded or not, in
// order.
func (r *Runtime[M]) Owned() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.mu.partitions))
}

// Partition is the one that keeps an id, false while the topic does not exist.
func (r *Runtime[M]) Partition(id string) (int32, bool) {
	n := r.cfg.Partitions()
	if n <= 0 {
		return 0, false
	}
	return kafka.CoordinatorPartition(id, n), true
}

// WriteFor is [Runtime.Write] in the partition that keeps an id.
func (r *Runtime[M]) WriteFor(ctx context.Context, id string, decide func(m M, t *Turn) error) error {
	p, ok := r.Partition(id)
	if !ok {
		return r.homeless(id)
	}
	return r.Write(ctx, p, decide)
}

// ReadFor is [Runtime.Read] in the partition that keeps an id.
func (r *Runtime[M]) ReadFor(id string, look func(m M) error) error {
	p, ok := r.Partition(id)
	if !ok {
		return r.homeless(id)
	}
	return r.Read(p, look)
}

func (r *Runtime[M]) homeless(id string) error {
	return fmt.Errorf("%q: %s does not exist: %w", id, r.cfg.Topic, kafka.NotCoordinator)
}

// Write runs decide in a turn of a partition, appends what it put, and returns
// when that is committed. Without records it returns when all that decide could
// see is committed, unless the turn is soft.
//
// It returns what decide returns; then nothing is appended. Its own errors wrap
// NOT_COORDINATOR (not led here, or no longer), COORDINATOR_LOAD_IN_PROGRESS,
// RECORD_LIST_TOO_LARGE, COORDINATOR_NOT_AVAILABLE (not committed in time), or
// ctx's error; after the last two the decision may still come true.
func (r *Runtime[M]) Write(ctx context.Context, id int32, decide func(m M, t *Turn) error) error {
	p, err := r.find(id)
	if err != nil {
		return err
	}
	return p.write(ctx, decide)
}

// Read runs look in a turn of a partition. It may use the committed state only,
// and must not change it.
func (r *Runtime[M]) Read(id int32, look func(m M) error) error {
	p, err := r.find(id)
	if err != nil {
		return err
	}
	return p.read(look)
}

func (r *Runtime[M]) find(id int32) (*partition[M], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.mu.partitions[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s-%d is not led here: %w", r.cfg.Topic, id, kafka.NotCoordinator)
}

// spawn runs task on a goroutine that Run waits for; not after Run's end.
func (r *Runtime[M]) spawn(task func()) {
	if r.begin() {
		go func() {
			defer r.tasks.Done()
			task()
		}()
	}
}

// begin counts a goroutine in, which then must call tasks.Done; false after
// Run's end.
func (r *Runtime[M]) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return false
	}
	r.tasks.Add(1)
	return true
}
