package compact

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// BenchmarkClean cleans a log of 200,000 keys with values of 1 KiB on the
// machine's disk, of which half is dirty and writes every key anew.
func BenchmarkClean(b *testing.B) {
	const keys = 200_000
	value := make([]byte, 1024)
	for b.Loop() {
		b.StopTimer()
		home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: vfs.OS(), Path: b.TempDir(), Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		log, _, err := commitlog.Open(commitlog.Config{Home: home, Topic: "t", TopicID: kafka.UUID{1},
			Tunables: commitlog.Tunables{SegmentBytes: 50 << 20, RetentionAge: -1}})
		if err != nil {
			b.Fatal(err)
		}
		c := Cleaner{Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2))}
		clean := func() Stats {
			s, _, err := c.Clean(b.Context(), Target{Log: log, Stable: log.End(), HW: log.End()})
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
		write := func(step int) {
			build := record.Builder{}
			for i := 0; i < keys; i += 60 {
				build.Reset()
				build.BaseOffset = log.End()
				for j := i; j < min(i+60, keys); j++ {
					build.Append(record.Record{Key: fmt.Appendf(nil, "%012d", j*step%keys), Value: value, Timestamp: 1})
				}
				bytes := build.Bytes()
				h, err := record.ParseHeader(bytes)
				if err == nil {
					err = log.Append([]commitlog.Batch{{Bytes: bytes, Header: h}})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := log.Flush(); err != nil {
				b.Fatal(err)
			}
		}
		write(1)
		clean()
		write(7919)
		b.StartTimer()
		s := clean()
		b.StopTimer()
		b.SetBytes(s.ReadBytes)
		if err := log.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
