package group

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Service coordinates the groups of the partitions that this broker leads. Its
// methods may be called at once from any number of goroutines.
type Service struct {
	cfg   Config
	rt    *coordinator.Runtime[*shard]
	ids   ids
	stats Stats

	shares *Shares
}

// Client is who asks.
type Client struct {
	ID      string // the client id of the request
	Host    string // "/127.0.0.1"
	Version int16  // of the request
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
	s.ids.rand = cfg.Rand
	s.shares = newShares(s)
	constructors(&s.cfg) // which completes the kinds' settings
	var err error
	s.rt, err = coordinator.New(s.runs())
	return s, err
}

// runs says what the runtime runs.
func (s *Service) runs() coordinator.Config[*shard] {
	return coordinator.Config[*shard]{
		Topic:      kafka.OffsetsTopic,
		Partitions: s.cfg.Partitions,
		Open:       s.cfg.Open,
		New:        func(_ int32, tl *coordinator.Timeline) *shard { return newShard(&s.cfg, &s.stats, tl) },
		Now:        s.cfg.Now,
		Logger:     s.cfg.Logger,
		Patience:   s.cfg.CommitPatience,
		MaxBatch:   s.cfg.MaxBatch,
	}
}

// Run owns what the service does beside requests; it ends with ctx. Requests
// that still wait are answered NOT_COORDINATOR.
func (s *Service) Run(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.shares.run(ctx)
	}()
	err := s.rt.Run(ctx)
	<-ended
	return err
}

// Elect makes this broker the coordinator of the groups of a partition of
// __consumer_offsets, under a leader epoch. It returns at once; until the
// partition is loaded its groups answer COORDINATOR_LOAD_IN_PROGRESS.
func (s *Service) Elect(partition, epoch int32) { s.rt.Elect(partition, epoch) }

// Resign ends what Elect began, unless it was begun under a newer epoch.
func (s *Service) Resign(partition, epoch int32) { s.rt.Resign(partition, epoch) }

// CompleteTxn ends a producer's transaction in a partition of __consumer_offsets,
// as WriteTxnMarkers asks: the offsets it committed there become visible, or
// vanish. Errors are those of the runtime, INVALID_PRODUCER_EPOCH for a marker of a
// transaction before the one that is open, and TRANSACTION_COORDINATOR_FENCED.
func (s *Service) CompleteTxn(ctx context.Context, partition int32, m coordinator.Marker) error {
	return s.rt.Write(ctx, partition, func(sh *shard, t *coordinator.Turn) error {
		if sh.pending.late(m) {
			return fmt.Errorf("producer %d has a transaction open in the marker's own epoch %d: %w", m.ProducerID, m.ProducerEpoch,
				kafka.InvalidProducerEpoch)
		}
		t.Mark(m)
		return nil
	})
}

// Partition is the partition of __consumer_offsets that keeps a group, false
// while the topic does not exist.
func (s *Service) Partition(group string) (int32, bool) { return s.rt.Partition(group) }

// code is what a client is told of an error of the runtime or its log. Who is
// cut off by a drain asks the next coordinator.
func code(err error) kafka.Code {
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

// ids draws the random part of member ids.
type ids struct {
	mu   sync.Mutex
	rand *rand.Rand
}

// uuid is a random UUID (version 4).
func (d *ids) uuid() kafka.UUID {
	var b kafka.UUID
	d.mu.Lock()
	hi, lo := d.rand.Uint64(), d.rand.Uint64()
	d.mu.Unlock()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return b
}

// next is a random UUID in its usual text form.
func (d *ids) next() string {
	b := d.uuid()
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
