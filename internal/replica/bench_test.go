package replica

import (
	"fmt"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			r := start(b, vfs.OS(), b.TempDir())
			p := r.hold(config(func(c *TopicConfig) { c.Log.SegmentBytes = 256 << 20 }))
			batch := client(b, slices.Clone((&record.Builder{}).Append(record.Record{Value: make([]byte, size)}).Bytes()), false)
			b.SetBytes(int64(len(batch.Bytes)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Append(batch); err != nil {
					b.Fatal(err)
				}
				if p.LogStart()+10_000 < p.LogEnd() {
					if _, err := p.DeleteRecords(-1); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
