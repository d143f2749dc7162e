package api

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
)

// fakeMarkers takes every marker, but of a topic that is not there.
type fakeMarkers struct{}

func (m *fakeMarkers) Start(ctx context.Context, marker txn.Marker, partitions []kafka.TopicPartition) func() []error {
	return func() []error { return m.Write(ctx, marker, partitions) }
}

func (*fakeMarkers) Write(_ context.Context, _ txn.Marker, partitions []kafka.TopicPartition) []error {
	errs := make([]error, len(partitions))
	for i, tp := range partitions {
		if tp.Topic == "gone" {
			errs[i] = kafka.UnknownTopicOrPartition
		}
	}
	return errs
}

// coordinator is one of transactions on a log in memory. It ends with ctx.
func (a *adminScript) coordinator(ctx context.Context) *txn.Service {
	cfg := txn.DefaultConfig()
	log := &memLog{}
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return log, 1, nil }
	cfg.NewProducerID = a.meta.NextProducerID
	cfg.Markers = &fakeMarkers{}
	cfg.Level = func() int16 { return 2 }
	cfg.Now = time.Now
	s, err := txn.New(cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	go func() { _ = s.Run(ctx) }()
	s.Elect(0, 1)
	synctest.Wait()
	return s
}
