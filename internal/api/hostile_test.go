package api

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestHostile sends bodies that a stranger might: noise, and good requests with
// bytes changed, cut off or doubled, to every row of the data path. Whatever comes
// back must be a whole answer or a close, and the broker must go on.
func TestHostile(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 6
	}
	onStage(t, func(t *testing.T, s *stage) {
		r := rand.New(rand.NewPCG(7, 11))
		for _, row := range s.table.Rows() {
			for v := row.Served.Min; v <= row.Served.Max; v++ {
				good := sample(row.Key, v)
				for range rounds {
					s.attack(row, v, mutate(r, good))
				}
				s.attack(row, v, noise(r, r.IntN(200)))
				s.attack(row, v, nil)
			}
		}
		if got := s.produce(9, produceTo(-1, "t", 1)); got == "" {
			t.Error("no answer after the attack")
		}
	})
}

// attack checks that an answer, if there is one, can be decoded.
func (s *stage) attack(row *Row, version int16, body []byte) {
	s.t.Helper()
	frame := s.send(row.Key, version, body)
	if frame == nil {
		return // closed, or acks=0
	}
	for _, f := range s.out.Files {
		f.Range.Release()
	}
	if len(s.out.Files) > 0 {
		return
	}
	resp, _ := msg.NewResponse(row.Key)
	rd := wire.NewReader(frame)
	var h msg.ResponseHeader
	h.Decode(rd, msg.ResponseHeaderVersion(row.Key, version))
	resp.Decode(rd, version)
	if err := rd.Done(); err != nil {
		s.t.Fatalf("%s v%d, body %x: answer %x: %v", row.Name, version, body, frame, err)
	}
}

// sample is a good body of a request.
func sample(key, version int16) []byte {
	switch key {
	case kafka.KeyProduce:
		req := produceTo(-1, "t", 0, 1)
		req.TimeoutMs = 100
		return req.Append(nil, version)
	case kafka.KeyFetch:
		req := msg.NewFetchRequest()
		req.MaxWaitMs, req.MinBytes = 10, 1
		topic := msg.FetchRequestTopic{Topic: "t", TopicID: idOf("t")}
		for i := range int32(2) {
			p := msg.NewFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes = i, 1000
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
		return req.Append(nil, version)
	case kafka.KeyListOffsets:
		req := msg.NewListOffsetsRequest()
		req.ReplicaID = -1
		p := msg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -1
		req.Topics = []msg.ListOffsetsRequestTopic{{Name: "t", Partitions: []msg.ListOffsetsRequestTopicPartition{p, p}}}
		return req.Append(nil, version)
	case kafka.KeyOffsetForLeaderEpoch:
		req := msg.NewOffsetForLeaderEpochRequest()
		p := msg.NewOffsetForLeaderEpochRequestTopicPartition()
		req.Topics = []msg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []msg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		return req.Append(nil, version)
	}
	req, _ := msg.NewRequest(key)
	req.SetDefaults()
	return req.Append(nil, version)
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// mutate changes a body in one to four places.
func mutate(r *rand.Rand, good []byte) []byte {
	b := append([]byte(nil), good...)
	for range 1 + r.IntN(4) {
		if len(b) < 5 {
			return append(b, noise(r, 8)...)
		}
		at := r.IntN(len(b) - 4)
		switch r.IntN(6) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = 0xff
		case 2:
			b = b[:at]
		case 3:
			binary.BigEndian.PutUint32(b[at:], r.Uint32())
		case 4:
			b = append(b[:at:at], append(noise(r, r.IntN(9)), b[at:]...)...)
		case 5:
			b = append(b[:at:at], append(b[at/2:at:at], b[at:]...)...)
		}
	}
	return b
}
