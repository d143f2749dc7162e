package persist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
)

// Service coordinates the share partitions that are kept in the partitions of
// __share_group_state which this broker leads. Its methods may be called at once
// from any number of goroutines.
//
// Errors carry a [kafka.Code]; see [Answer]. Each method gives NOT_COORDINATOR,
// COORDINATOR_NOT_AVAILABLE or COORDINATOR_LOAD_IN_PROGRESS when it is worth to
// ask again, here or elsewhere.
type Service struct {
	cfg   Config
	rt    *coordinator.Runtime[*shard]
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
	s.rt, err = coordinator.New(coordinator.Config[*shard]{
		Topic:      kafka.ShareStateTopic,
		Partitions: cfg.Partitions,
		Open:       cfg.Open,
		New:        func(int32, *coordinator.Timeline) *shard { return newShard(&s.cfg) },
		Now:        cfg.Now,
		Logger:     cfg.Logger,
		MaxBatch:   cfg.MaxBatch,
	})
	return s, err
}

// Run owns what the service does beside requests; it ends with ctx. Requests
// that still wait are answered NOT_COORDINATOR.
func (s *Service) Run(ctx context.Context) error {
	pruned := make(chan struct{})
	go func() {
		defer close(pruned)
		s.prune(ctx)
	}()
	err := s.rt.Run(ctx)
	<-pruned
	return err
}

// Elect makes this broker the coordinator of a partition of __share_group_state,
// under a leader epoch. It returns at once; until the partition is loaded
// requests are answered COORDINATOR_LOAD_IN_PROGRESS.
func (s *Service) Elect(partition, epoch int32) { s.rt.Elect(partition, epoch) }

// Resign ends what Elect began, unless it was begun under a newer epoch.
func (s *Service) Resign(partition, epoch int32) { s.rt.Resign(partition, epoch) }

// Partition is the partition of __share_group_state that keeps a share
// partition, false while the topic does not exist.
func (s *Service) Partition(key share.Key) (int32, bool) { return s.rt.Partition(key.String()) }

// Initialize begins a share partition, or begins it anew under another state
// epoch. startOffset may be [share.NoStart]: its first reader decides.
//
// Errors: INVALID_REQUEST, FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Service) Initialize(ctx context.Context, key share.Key, stateEpoch int32, startOffset int64) error {
	return s.turn(ctx, key, func(sh *shard, t *coordinator.Turn) error { return sh.initialize(t, key, stateEpoch, startOffset) })
}

// Read gives what is kept of a share partition to the leader of its topic
// partition. Who led in an older epoch is fenced from then on.
//
// Errors: INVALID_REQUEST, also of one that was not initialized;
// FENCED_LEADER_EPOCH, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Service) Read(ctx context.Context, key share.Key, leaderEpoch int32) (state share.State, err error) {
	err = s.turn(ctx, key, func(sh *shard, t *coordinator.Turn) (err error) {
		state, err = sh.read(t, key, leaderEpoch)
		return err
	})
	return state, err
}

// Write changes what is kept of a share partition and returns when that is
// committed.
//
// Errors: INVALID_REQUEST, also of one that was not initialized;
// FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Service) Write(ctx context.Context, key share.Key, u share.Update) error {
	if invariant.Planted("share/forget") {
		return nil
	}
	begun := s.cfg.Now()
	err := s.turn(ctx, key, func(sh *shard, t *coordinator.Turn) error { return sh.write(t, key, &u) })
	s.stats.wrote(s.cfg.Now().Sub(begun), err)
	return err
}

// Summary tells how far a share partition is; one that was not initialized has no
// start.
//
// Errors: INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Service) Summary(ctx context.Context, key share.Key) (sum Summary, err error) {
	err = s.turn(ctx, key, func(sh *shard, _ *coordinator.Turn) (err error) {
		sum, err = sh.summary(key)
		return err
	})
	return sum, err
}

// Delete forgets a share partition.
//
// Errors: INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION.
func (s *Service) Delete(ctx context.Context, key share.Key) error {
	return s.turn(ctx, key, func(sh *shard, t *coordinator.Turn) error { return sh.remove(t, key) })
}

// TopicsDeleted forgets the share partitions of topics that were deleted, as far
// as they are kept here.
func (s *Service) TopicsDeleted(ctx context.Context, topics []kafka.UUID) error {
	var errs []error
	for _, p := range s.rt.Owned() {
		for more := true; more; {
			more = false
			err := s.rt.Write(ctx, p, func(sh *shard, t *coordinator.Turn) error {
				more = sh.removeTopics(t, topics)
				return nil
			})
			if err != nil {
				errs = append(errs, fmt.Errorf("%s-%d: %w", kafka.ShareStateTopic, p, err))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// turn decides on a share partition and waits for the commit, and for that of all
// that it saw.
func (s *Service) turn(ctx context.Context, key share.Key, decide func(sh *shard, t *coordinator.Turn) error) error {
	p, ok := s.Partition(key)
	if !ok {
		return fmt.Errorf("%s does not exist: %w", kafka.ShareStateTopic, kafka.CoordinatorNotAvailable)
	}
	within, cancel := context.WithTimeout(ctx, s.cfg.WriteTimeout)
	defer cancel()
	err := s.rt.Write(within, p, decide)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("not committed within %v: %w", s.cfg.WriteTimeout, kafka.CoordinatorNotAvailable)
	}
	return err
}

// prune deletes from time to time what the logs need no more.
func (s *Service) prune(ctx context.Context) {
	if s.cfg.Prune == nil {
		return
	}
	pruned := map[int32]int64{}
	tick := time.NewTicker(s.cfg.PruneEvery)
	defer tick.Stop()
	for {
		//house:select the end may come before or after one more round
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range s.rt.Owned() {
			if err := s.pruneOne(ctx, p, pruned); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("a log keeps what it needs no more", "topic", kafka.ShareStateTopic, "partition", p, "err", err)
			}
		}
	}
}

// pruneOne deletes what a partition's log needs no more. What that is was decided
// on may not be committed yet, so it waits for that first.
func (s *Service) pruneOne(ctx context.Context, p int32, pruned map[int32]int64) error {
	var before int64
	err := s.rt.Write(ctx, p, func(sh *shard, _ *coordinator.Turn) error {
		before = sh.needed()
		return nil
	})
	switch kafka.CodeOf(err) {
	case kafka.NotCoordinator, kafka.CoordinatorLoadInProgress:
		delete(pruned, p)
		return nil
	case kafka.None:
	default:
		return err
	}
	if before <= pruned[p] {
		return nil
	}
	if err := s.cfg.Prune(ctx, p, before); err != nil {
		return err
	}
	pruned[p] = before
	return nil
}

// Answer is the code and the text with which a client is told of an error; nil is
// success.
func Answer(err error) (kafka.Code, *string) {
	if err == nil {
		return kafka.None, nil
	}
	code := Code(err)
	var r *refusal
	if errors.As(err, &r) {
		return code, &r.text
	}
	text := err.Error()
	return code, &text
}

// Code is the code with which a client is told of an error.
func Code(err error) kafka.Code {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return kafka.NotCoordinator
	}
	switch c := kafka.CodeOf(err); c {
	case kafka.UnknownTopicOrPartition:
		var r *refusal
		if errors.As(err, &r) {
			return c
		}
		return kafka.CoordinatorNotAvailable // of the log, not of the request
	case kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend, kafka.RequestTimedOut:
		return kafka.CoordinatorNotAvailable
	case kafka.NotLeaderOrFollower, kafka.KafkaStorageError:
		return kafka.NotCoordinator
	case kafka.MessageTooLarge, kafka.RecordListTooLarge, kafka.InvalidFetchSize:
		return kafka.UnknownServerError
	default:
		return c
	}
}

// retriable says that a coordinator may answer otherwise in a moment.
func retriable(err error) bool {
	return slices.Contains([]kafka.Code{kafka.NotCoordinator, kafka.CoordinatorNotAvailable, kafka.CoordinatorLoadInProgress}, Code(err))
}
