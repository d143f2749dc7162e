package msg

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/wiretest"
)

func random[T any](t *testing.T, seed uint64) *T {
	t.Helper()
	m := new(T)
	any(m).(interface{ SetDefaults() }).SetDefaults()
	(&wiretest.Filler{Rand: rand.New(rand.NewPCG(seed, 1)), Keep: float64(seed%3) * 0.3}).Fill(m)
	return m
}

// A Fetch response in pieces, the records elsewhere, is the response in one.
func TestFetchResponseInPieces(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		for seed := range uint64(20) {
			m := random[FetchResponse](t, seed)
			var out []byte // as it would go to the socket
			b := m.AppendBeforeResponses(nil, version, len(m.Responses))
			for i := range m.Responses {
				topic := &m.Responses[i]
				b = topic.AppendBeforePartitions(b, version, len(topic.Partitions))
				for j := range topic.Partitions {
					p := &topic.Partitions[j]
					size := len(p.Records)
					if p.Records == nil {
						size = -1
					}
					b = p.AppendBeforeRecords(b, version, size)
					out = append(append(out, b...), p.Records...)
					b = p.AppendAfterRecords(b[:0], version)
				}
				b = topic.AppendAfterPartitions(b, version)
			}
			out = append(out, m.AppendAfterResponses(b, version)...)
			if want := m.Append(nil, version); !bytes.Equal(out, want) {
				t.Fatalf("v%d: in pieces\n%x, in one\n%x", version, out, want)
			}
		}
	}
}

func TestMetadataResponseInPieces(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		for seed := range uint64(20) {
			m := random[MetadataResponse](t, seed)
			b := m.AppendBeforeTopics(nil, version, len(m.Topics))
			for i := range m.Topics {
				topic := &m.Topics[i]
				b = topic.AppendBeforePartitions(b, version, len(topic.Partitions))
				for j := range topic.Partitions {
					b = topic.Partitions[j].Append(b, version)
				}
				b = topic.AppendAfterPartitions(b, version)
			}
			b = m.AppendAfterTopics(b, version)
			if want := m.Append(nil, version); !bytes.Equal(b, want) {
				t.Fatalf("v%d: in pieces\n%x, in one\n%x", version, b, want)
			}
		}
	}
}

// produceWalk is the part of a Produce request that is being read.
type produceWalk struct {
	m     ProduceRequest
	topic ProduceRequestTopicData
	p     ProduceRequestTopicDataPartitionData
}

// run reads a Produce request in pieces.
func (w *produceWalk) run(r *wire.Reader, version int16, each func()) error {
	for range w.m.DecodeBeforeTopicData(r, version) {
		for range w.topic.DecodeBeforePartitionData(r, version) {
			if w.p.Decode(r, version); r.Failed() {
				return r.Err()
			}
			each()
		}
		if w.topic.DecodeAfterPartitionData(r, version); r.Failed() {
			return r.Err()
		}
	}
	w.m.DecodeAfterTopicData(r, version)
	return r.Done()
}

func TestProduceRequestInPieces(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		for seed := range uint64(20) {
			m := random[ProduceRequest](t, seed)
			frame := m.Append(nil, version)
			var w produceWalk
			i, j := 0, 0
			err := w.run(wire.NewReader(frame), version, func() {
				topic, p := &w.topic, &w.p
				for j == len(m.TopicData[i].PartitionData) {
					i, j = i+1, 0
				}
				want := &m.TopicData[i]
				if version < 13 && topic.Name != want.Name || version >= 13 && topic.TopicID != want.TopicID {
					t.Fatalf("v%d: topic %+v, want %+v", version, topic, want)
				}
				if p.Index != want.PartitionData[j].Index || !bytes.Equal(p.Records, want.PartitionData[j].Records) {
					t.Fatalf("v%d: partition %+v, want %+v", version, p, want.PartitionData[j])
				}
				j++
			})
			if err != nil {
				t.Fatalf("v%d: %v\n%+v", version, err, m)
			}
			if w.m.Acks != m.Acks || w.m.TimeoutMs != m.TimeoutMs {
				t.Fatalf("v%d: %+v, want %+v", version, w.m, m)
			}
			for n := range frame { // cut anywhere, it is an error and no panic
				if w.run(wire.NewReader(frame[:n]), version, func() {}) == nil {
					t.Fatalf("v%d: no error for %d of %d bytes", version, n, len(frame))
				}
			}
		}
	}
}

// The ways that the hot path decodes allocate nothing once they are warm.
func TestNoAllocations(t *testing.T) {
	produce := ProduceRequest{Acks: -1, TimeoutMs: 1, TopicData: []ProduceRequestTopicData{
		{Name: "orders", PartitionData: []ProduceRequestTopicDataPartitionData{{Index: 1, Records: []byte("r")}, {Index: 2, Records: []byte("s")}}},
		{Name: "payments", PartitionData: []ProduceRequestTopicDataPartitionData{{Index: 1, Records: []byte("t")}}},
	}}
	turned := produce
	turned.TopicData = []ProduceRequestTopicData{produce.TopicData[1], produce.TopicData[0]}
	fetch := NewFetchRequest()
	fetch.Topics = []FetchRequestTopic{{Topic: "orders", TopicID: kafka.UUID{1}, Partitions: []FetchRequestTopicPartition{{Partition: 1}, {Partition: 2}}}}
	orders := "orders"
	metadata := MetadataRequest{Topics: []MetadataRequestTopic{{Name: &orders}}}

	for _, version := range []int16{3, 9, 13} {
		frames := [][]byte{produce.Append(nil, version), turned.Append(nil, version)}
		var r wire.Reader
		r.Intern()
		var m ProduceRequest
		var w produceWalk
		i := 0
		none(t, "Produce decoded into one message", func() {
			r.Reset(frames[i&1])
			i++
			if m.Decode(&r, version); r.Done() != nil {
				t.Fatal(r.Err())
			}
		})
		none(t, "Produce in pieces", func() {
			r.Reset(frames[i&1])
			i++
			if err := w.run(&r, version, func() {}); err != nil {
				t.Fatal(err)
			}
		})
	}
	reused(t, &fetch, &FetchRequest{}, 4, 12, 18)
	reused(t, &metadata, &MetadataRequest{}, 1, 9, 12)
}

func reused(t *testing.T, m, into Message, versions ...int16) {
	t.Helper()
	for _, version := range versions {
		frame := m.Append(nil, version)
		var r wire.Reader
		out := make([]byte, 0, 2*len(frame))
		none(t, "decoded and appended", func() {
			r.Reset(frame)
			if into.Decode(&r, version); r.Done() != nil {
				t.Fatal(r.Err())
			}
			out = into.Append(out[:0], version)
		})
		if !bytes.Equal(out, frame) {
			t.Errorf("v%d: %x became %x", version, frame, out)
		}
	}
}

func none(t *testing.T, what string, f func()) {
	t.Helper()
	f()
	f()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}
