package persist

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/share"
)

// What a share partition costs the share coordinator in memory: one whose records
// are all done, and one with three gaps. The figures stand in docs/performance.md.
func TestMemoryOfShareStates(t *testing.T) {
	const partitions = 20_000
	for _, k := range []struct {
		name    string
		most    int // bytes, with room for another version of Go
		batches []share.Batch
	}{
		{"all done", 450, nil},
		{"three batches in flight", 650, []share.Batch{{First: 10, Last: 12, Count: 1}, {First: 14, Last: 14, State: 2, Count: 1}, {First: 20, Last: 30, Count: 2}}},
	} {
		cfg := DefaultConfig()
		before := allocated()
		sh := newShard(&cfg)
		for i := range partitions {
			key := share.Key{Group: fmt.Sprintf("group-%06d", i/4), TopicID: topicID(1), Partition: int32(i % 4)}
			r := coordinator.Record{Key: snapshotKey(key), Value: marshalSnapshot(&kept{start: 10, batches: k.batches}), Offset: int64(i)}
			if err := sh.Replay(r); err != nil {
				t.Fatal(err)
			}
		}
		each := int(allocated()-before) / partitions
		t.Logf("%s: %d bytes", k.name, each)
		if each > k.most {
			t.Errorf("%s: %d bytes each, %d are allowed", k.name, each, k.most)
		}
		runtime.KeepAlive(sh)
	}
}

func allocated() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
