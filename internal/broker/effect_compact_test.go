package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/record"
)

// TestCompactionProperties shows the effect of each topic property that has to
// do with compaction, first set on a topic, then on the node for all topics.
func TestCompactionProperties(t *testing.T) { showOnTopic(t, compactionEffects) }

const compacted = "cleanup.policy=compact" + inSegmentsOf1K

var compactionEffects = []effect{
	{topic: compacted, show: func(s *stand) {
		s.overwrite("t", 10)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 1)
	}},
	{topic: "cleanup.policy=delete" + inSegmentsOf1K, show: func(s *stand) {
		s.overwrite("t", 10)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 10)
	}},
	{topic: "cleanup.policy=compact,delete retention.ms=600000" + inSegmentsOf1K, node: checkOften, show: func(s *stand) {
		s.overwrite("t", 10)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 1)
		s.pass(time.Hour)
		s.want("values of key k", s.values("t", "k"), 0)
	}},
	{topic: compacted + " min.cleanable.dirty.ratio=0.9", show: func(s *stand) {
		s.pass(time.Second) // the first look is over
		s.overwrite("t", 10)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 1) // all was dirty
		s.overwrite("t", 2)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 3) // less than 90 % is
	}},
	{topic: compacted + " min.compaction.lag.ms=600000", show: func(s *stand) {
		s.overwrite("t", 10)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 10)
		s.pass(10 * time.Minute)
		s.want("values of key k", s.values("t", "k"), 1)
	}},
	{topic: compacted + " max.compaction.lag.ms=600000 min.cleanable.dirty.ratio=1", show: func(s *stand) {
		s.overwrite("t", 10)
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 10)
		s.pass(10 * time.Minute)
		s.want("values of key k", s.values("t", "k"), 1)
		s.keyed("t", "k", "after the lag the active segment is rolled")
		s.pass(11 * time.Minute)
		s.keyed("t", "k", "also for one that is small")
		s.pass(time.Minute)
		s.want("values of key k", s.values("t", "k"), 2)
	}},
	{topic: compacted + " delete.retention.ms=600000 min.cleanable.dirty.ratio=0", show: func(s *stand) {
		s.keyed("t", "k", "")
		s.overwrite("t", 0)
		s.pass(time.Minute)
		s.want("tombstones", s.values("t", "k"), 1)
		s.pass(10 * time.Minute)
		s.overwrite("t", 0)
		s.pass(time.Minute)
		s.want("tombstones", s.values("t", "k"), 0)
	}},
	{topic: "file.delete.delay.ms=600000 retention.bytes=3000" + inSegmentsOf1K, node: checkOften, show: func(s *stand) {
		startMoves(s, time.Minute)
		if n, _ := s.files(s.fs, "t", ".log.deleted"); n == 0 {
			s.Error("deleted segments went at once")
		}
		s.pass(11 * time.Minute)
		n, _ := s.files(s.fs, "t", ".deleted")
		s.want("deleted segments", n, 0)
	}},
}

// TestCleanerProperties shows what the node's properties of compaction do.
func TestCleanerProperties(t *testing.T) {
	const topic = compacted + " min.cleanable.dirty.ratio=0"
	for _, e := range []struct {
		node string
		show func(s *stand)
	}{
		{"log.cleaner.enable=false", func(s *stand) {
			s.overwrite("t", 10)
			s.pass(time.Hour)
			s.want("values", s.values("t", "k"), 10)
		}},
		{"log.cleaner.threads=0", func(s *stand) {
			s.overwrite("t", 10)
			s.pass(time.Hour)
			s.want("values", s.values("t", "k"), 10)
		}},
		{"log.cleaner.backoff.ms=600000", func(s *stand) {
			s.pass(time.Second) // the first look is over
			s.overwrite("t", 10)
			s.pass(time.Minute)
			s.want("values", s.values("t", "k"), 10)
			s.pass(10 * time.Minute)
			s.want("values", s.values("t", "k"), 1)
		}},
		{"log.cleaner.io.max.bytes.per.second=100", func(s *stand) {
			s.overwrite("t", 10)
			s.pass(30 * time.Second) // it reads 3 KiB, twice
			s.want("values", s.values("t", "k"), 10)
			s.pass(5 * time.Minute)
			s.want("values", s.values("t", "k"), 1)
		}},
		{"log.cleaner.io.max.bytes.per.second=100", func(s *stand) { // and changed at run time
			s.overwrite("t", 10)
			s.pass(20 * time.Second)
			s.alterNode(kadm.SetConfig, "log.cleaner.io.max.bytes.per.second", "1000000")
			s.pass(20 * time.Second)
			s.want("values", s.values("t", "k"), 1)
		}},
		{"log.cleaner.threads=2 log.cleaner.io.max.bytes.per.second=100", func(s *stand) {
			s.create("other", topic)
			s.overwrite("t", 10)
			s.overwrite("other", 1)
			s.alterNode(kadm.SetConfig, "log.cleaner.threads", "1")
			s.alterNode(kadm.SetConfig, "log.cleaner.threads", "2")
			s.alterNode(kadm.SetConfig, "log.cleaner.backoff.ms", "1000")
			s.pass(10 * time.Minute)
			s.want("values", s.values("t", "k"), 1)
			s.want("values of other", s.values("other", "k"), 1)
		}},
	} {
		t.Run(e.node, func(t *testing.T) {
			onNode(t, e.node, func(s *stand) {
				s.create("t", topic)
				e.show(s)
			})
		})
	}
}

// TestOffsetsCompacted: the topic of committed offsets is compacted as any other,
// and the group's last commit stays.
func TestOffsetsCompacted(t *testing.T) {
	onNode(t, "offsets.topic.num.partitions=1 offsets.topic.segment.bytes=1048576", func(s *stand) {
		s.create("t", "")
		meta := strings.Repeat("m", 4000)
		for i := range int64(600) {
			var o kadm.Offsets
			o.Add(kadm.Offset{Topic: "t", Partition: 0, At: i, LeaderEpoch: -1, Metadata: meta})
			if err := s.adm.CommitAllOffsets(s.Context(), "g", o); err != nil {
				s.Fatal(err)
			}
		}
		_, before := s.files(s.fs, "__consumer_offsets", ".log")
		s.pass(2 * time.Minute)
		if _, after := s.files(s.fs, "__consumer_offsets", ".log"); after > before-1<<20 {
			s.Errorf("%d bytes, %d before compaction", after, before)
		}
		got, err := s.adm.FetchOffsets(s.Context(), "g")
		if o, ok := got.Lookup("t", 0); err != nil || !ok || o.At != 599 {
			s.Error(got, err)
		}
	})
}

// keyed writes a record with a key; an empty value is a tombstone.
func (s *stand) keyed(topic, key, value string) {
	s.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value), Timestamp: time.Now()}
	if value == "" {
		r.Value = nil
	}
	if err := s.cl.ProduceSync(s.Context(), r).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

// overwrite writes n values of the key k, and then two of the key roll that
// close the segments they are in.
func (s *stand) overwrite(topic string, n int) {
	s.Helper()
	for i := range n {
		s.keyed(topic, "k", fmt.Sprint("value ", i, strings.Repeat(".", 200)))
	}
	s.keyed(topic, "roll", strings.Repeat("x", 850))
	s.keyed(topic, "roll", strings.Repeat("x", 850))
}

// values counts the records of a key in a topic.
func (s *stand) values(topic, key string) (n int) {
	s.Helper()
	var end int64
	ends, err := s.adm.ListEndOffsets(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	if o, ok := ends.Lookup(topic, 0); ok {
		end = o.Offset
	}
	for at := s.start(topic); at < end; {
		data := fetchAt(s, topic, at).Topics[0].Partitions[0].RecordBatches
		if len(data) == 0 {
			break
		}
		for len(data) > 0 && len(data) >= record.Size(data) && record.Size(data) > 0 {
			var r record.Reader
			for r.Reset(data[:record.Size(data)], 1<<24); r.Next(); {
				if rec := r.Record(); string(rec.Key) == key && rec.Offset >= at {
					n++
				}
			}
			at = r.Header().NextOffset()
			data = data[record.Size(data):]
		}
	}
	return n
}
