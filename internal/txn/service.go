package txn

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Service coordinates the transactions of the partitions of __transaction_state
// that this broker leads. Its methods may be called at once from any number of
// goroutines.
type Service struct {
	cfg   Config
	rt    *coordinator.Runtime[*shard]
	tasks sync.WaitGroup // markers under way
	stats Stats
}

// New makes a service that coordinates nothing yet. It starts nothing.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg}
	var err error
	s.rt, err = coordinator.New(s.runs())
	return s, err
}

// runs says what the runtime runs.
func (s *Service) runs() coordinator.Config[*shard] {
	return coordinator.Config[*shard]{
		Topic:      kafka.TxnTopic,
		Partitions: s.cfg.Partitions,
		Open:       s.cfg.Open,
		New:        func(p int32, tl *coordinator.Timeline) *shard { return newShard(s, p, tl) },
		Now:        s.cfg.Now,
		Logger:     s.cfg.Logger,
		Patience:   s.cfg.CommitPatience,
		MaxBatch:   s.cfg.MaxBatch,
	}
}

// Run owns what the service does beside requests; it ends with ctx. Requests
// that still wait are answered NOT_COORDINATOR.
func (s *Service) Run(ctx context.Context) error {
	err := s.rt.Run(ctx)
	s.tasks.Wait() // nothing is added any more: every shard is closed
	return err
}

// Elect makes this broker the coordinator of the ids of a partition of
// __transaction_state, under a leader epoch. It returns at once; until the
// partition is loaded its ids answer COORDINATOR_LOAD_IN_PROGRESS.
func (s *Service) Elect(partition, epoch int32) { s.rt.Elect(partition, epoch) }

// Resign ends what Elect began, unless it was begun under a newer epoch.
func (s *Service) Resign(partition, epoch int32) { s.rt.Resign(partition, epoch) }

// Partition is the partition of __transaction_state that keeps a transactional
// id, false while the topic does not exist.
func (s *Service) Partition(id string) (int32, bool) { return s.rt.Partition(id) }

// change decides on one id, which must be known, and writes what comes out.
// decide gives the next state, nil to leave it; a code other than NONE is the
// answer.
func (s *Service) change(ctx context.Context, id string, decide func(sh *shard, tx *transaction, now int64) (*transaction, kafka.Code)) kafka.Code {
	code := kafka.None
	err := s.rt.WriteFor(ctx, id, func(sh *shard, t *coordinator.Turn) error {
		now := t.Now.UnixMilli()
		tx, owed := sh.find(id, now)
		if tx == nil {
			code = kafka.InvalidProducerIDMapping
			return nil
		}
		var next *transaction
		switch next, code = decide(sh, tx, now); code {
		case needsID:
			t.Soft()
		case kafka.None:
			sh.follow(t, id, owed, next)
		}
		return nil
	})
	if err != nil {
		return codeOf(err)
	}
	return code
}

// wait waits for the end of the transaction that an id is ending, for as long as
// a partition may wait that wants to join the next. False: it did not come.
func (s *Service) wait(ctx context.Context, done <-chan struct{}, until time.Time) bool {
	timer := time.NewTimer(until.Sub(s.cfg.Now()))
	defer timer.Stop()
	//house:select whichever it is, the id is looked at anew, or the caller hears CONCURRENT_TRANSACTIONS
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// codeOf is what a client is told of an error of the runtime or its log. Who is
// cut off by a drain asks the next coordinator.
func codeOf(err error) kafka.Code {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return kafka.NotCoordinator
	}
	switch c := kafka.CodeOf(err); c {
	case kafka.UnknownTopicOrPartition, kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend, kafka.RequestTimedOut:
		return kafka.CoordinatorNotAvailable
	case kafka.NotLeaderOrFollower, kafka.KafkaStorageError:
		return kafka.NotCoordinator
	case kafka.MessageTooLarge, kafka.RecordListTooLarge, kafka.InvalidFetchSize:
		return kafka.UnknownServerError
	default:
		return c
	}
}
