package msg

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceFrame is a Produce request of one partition with 1 KiB of records.
func produceFrame(version int16) []byte {
	m := NewProduceRequest()
	m.Acks, m.TimeoutMs = -1, 30_000
	m.TopicData = []ProduceRequestTopicData{{
		Name: "orders", TopicID: kafka.UUID{1, 2, 3},
		PartitionData: []ProduceRequestTopicDataPartitionData{{Index: 7, Records: make([]byte, 1024)}},
	}}
	return m.Append(nil, version)
}

func BenchmarkDecodeProduce(b *testing.B) {
	frame := produceFrame(11)
	b.Run("reused", func(b *testing.B) {
		b.ReportAllocs()
		var r wire.Reader
		var m ProduceRequest
		for b.Loop() {
			r.Reset(frame)
			m.Decode(&r, 11)
			if r.Done() != nil {
				b.Fatal(r.Err())
			}
		}
	})
	b.Run("pieces", func(b *testing.B) {
		b.ReportAllocs()
		var r wire.Reader
		var w produceWalk
		n := 0
		for b.Loop() {
			r.Reset(frame)
			if err := w.run(&r, 11, func() { n++ }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fresh", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := wire.NewReader(frame)
			var m ProduceRequest
			m.Decode(r, 11)
			if r.Done() != nil {
				b.Fatal(r.Err())
			}
		}
	})
	b.Run("kmsg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m := kmsg.ProduceRequest{Version: 11}
			if err := m.ReadFrom(frame); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func fetchResponse(partitions int) *FetchResponse {
	m := NewFetchResponse()
	topic := FetchResponseResponse{TopicID: kafka.UUID{1, 2, 3}}
	records := make([]byte, 1024)
	for i := range partitions {
		p := NewFetchResponseResponsePartition()
		p.PartitionIndex, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = int32(i), 1000, 1000, 0
		p.Records = records
		topic.Partitions = append(topic.Partitions, p)
	}
	m.Responses = []FetchResponseResponse{topic}
	return &m
}

func BenchmarkAppendFetch(b *testing.B) {
	m := fetchResponse(100)
	frame := m.Append(nil, 13)
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		out := make([]byte, 0, 2*len(frame))
		for b.Loop() {
			out = m.Append(out[:0], 13)
		}
	})
	b.Run("pieces", func(b *testing.B) { // without the records, which go by sendfile
		b.ReportAllocs()
		out := make([]byte, 0, 2*len(frame))
		topic := &m.Responses[0]
		for b.Loop() {
			out = m.AppendBeforeResponses(out[:0], 13, 1)
			out = topic.AppendBeforePartitions(out, 13, len(topic.Partitions))
			for i := range topic.Partitions {
				out = topic.Partitions[i].AppendBeforeRecords(out, 13, 1024)
				out = topic.Partitions[i].AppendAfterRecords(out, 13)
			}
			out = m.AppendAfterResponses(topic.AppendAfterPartitions(out, 13), 13)
		}
	})
	b.Run("kmsg", func(b *testing.B) {
		b.ReportAllocs()
		k := kmsg.NewFetchResponse()
		k.SetVersion(13)
		if err := k.ReadFrom(frame); err != nil {
			b.Fatal(err)
		}
		out := make([]byte, 0, 2*len(frame))
		for b.Loop() {
			out = k.AppendTo(out[:0])
		}
	})
}
