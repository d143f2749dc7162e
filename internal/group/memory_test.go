package group

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// What an idle group costs in memory bounds how many a broker can keep. The
// figures stand in docs/performance.md.
func TestMemoryOfIdleGroups(t *testing.T) {
	const groups = 20_000
	tp := kafka.TopicPartition{Topic: "orders", Partition: 3}
	o := offset{Offset: 17, LeaderEpoch: 4, Committed: 1, Expires: -1}
	kinds := []struct {
		name string
		most int // bytes, with room for another version of Go
		put  func(sh *shard, id string) error
	}{
		{"offsets only", 900, func(*shard, string) error { return nil }},
		{"classic, empty", 1050, func(sh *shard, id string) error {
			return sh.Replay(coordinator.Record{Key: groupKey(id), Value: state.MarshalValue(new(state.NewGroupMetadataValue()), groupVersion)})
		}},
		{"consumer, empty", 1300, func(sh *shard, id string) error {
			v := state.NewConsumerGroupMetadataValue()
			return sh.Replay(coordinator.Record{Key: state.MarshalKey(&state.ConsumerGroupMetadataKey{GroupID: id}), Value: state.MarshalValue(&v, 0)})
		}},
	}
	for _, k := range kinds {
		cfg := DefaultConfig()
		cfg.Now = time.Now
		before := heap()
		sh := newShard(&cfg, new(Stats), coordinator.NewTimeline())
		for i := range groups {
			id := fmt.Sprintf("group-%06d", i)
			if err := k.put(sh, id); err != nil {
				t.Fatal(err)
			}
			if err := sh.Replay(coordinator.Record{Key: offsetKey(id, tp), Value: o.marshal()}); err != nil {
				t.Fatal(err)
			}
		}
		each := int(heap()-before) / groups
		t.Logf("%s, one offset: %d bytes", k.name, each)
		if each > k.most {
			t.Errorf("%s: %d bytes each, %d are allowed", k.name, each, k.most)
		}
		runtime.KeepAlive(sh)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
