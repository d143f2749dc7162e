package share

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

type known struct{}

func (known) Read(context.Context, Key, int32) (State, error) { return State{StartOffset: 10}, nil }
func (known) Write(context.Context, Key, Update) error        { return nil }

type still struct{}

func (still) Epoch() int32                   { return 0 }
func (still) Start() int64                   { return 0 }
func (still) OffsetFor(int64) (int64, error) { return 0, nil }

// What a share partition costs its leader in memory while no record is out, and a
// session of a member with one partition. The figures stand in
// docs/performance.md.
func TestMemoryOfSharePartitions(t *testing.T) {
	const partitions, most, mostSession = 20_000, 1500, 450
	s, err := New(Config{Persister: known{}, Open: func(kafka.UUID, int32) (Log, error) { return still{}, nil },
		Settings: func(string) Settings { return DefaultSettings() }, MaxSessions: partitions, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	tp := func(i int) TopicPartition { return TopicPartition{TopicID: kafka.UUID{15: 1}, Partition: int32(i % 4)} }
	before := heap()
	for i := range partitions {
		if _, err := s.Partition(t.Context(), fmt.Sprintf("group-%06d", i/4), tp(i)); err != nil {
			t.Fatal(err)
		}
	}
	each := int(heap()-before) / partitions
	t.Logf("share partition: %d bytes", each)
	if each > most {
		t.Errorf("%d bytes each, %d are allowed", each, most)
	}
	before = heap()
	for i := range partitions {
		m := Member{Group: fmt.Sprintf("group-%06d", i/4), ID: fmt.Sprintf("member-%06d", i)}
		if code := s.Sessions.Open(m, uint64(i), []TopicPartition{tp(i)}); code != kafka.None {
			t.Fatal(code)
		}
	}
	each = int(heap()-before) / partitions
	t.Logf("session: %d bytes", each)
	if each > mostSession {
		t.Errorf("%d bytes a session, %d are allowed", each, mostSession)
	}
	runtime.KeepAlive(s)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
