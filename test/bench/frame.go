package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions that both sides speak and that name topics by their names, so
// that the same bytes can go to both.
const (
	produceVersion = 11
	fetchVersion   = 12
)

const (
	batchHeader = 61
	crcFrom     = 21 // the checksum covers what follows it
	corrAt      = 8  // of a request with its size before it

	// oneRecord is a batch of one record with a value of 1 KiB.
	oneRecord = batchHeader + 2 + 4 + 2 + 1024 + 1
)

// batchSpec says what a batch holds.
type batchSpec struct {
	size   int    // bytes of the batch, or of its records before compression
	record int    // bytes of a record's value; 0 means one record that fills the batch
	codec  string // "", "lz4", "zstd"
}

// batch is an encoded record batch of format v2, base offset 0.
type batch struct {
	bytes []byte
	count int
}

// build makes a batch. Uncompressed, it has exactly the size that was asked
// for: the last record takes what is left.
func (s batchSpec) build() (batch, error) {
	value := s.record
	if value == 0 {
		value = s.size
	}
	src := jsonLike{rand.New(rand.NewPCG(1, uint64(s.size)))}
	var records []byte
	count, room := 0, s.size-batchHeader
	for room > 0 {
		r := appendRecord(nil, count, src.text(value))
		if len(r) > room || room-len(r) < 32 {
			r = fillRecord(count, room, src)
			if r == nil {
				return batch{}, fmt.Errorf("a batch of %d bytes cannot end in a record of %d", s.size, room)
			}
		}
		records = append(records, r...)
		room -= len(r)
		count++
	}
	attributes, records, err := s.compress(records)
	if err != nil {
		return batch{}, err
	}
	return batch{sealBatch(records, count, attributes), count}, nil
}

// fillRecord makes a record of exactly n bytes, or nil: the length of the
// length makes a few sizes impossible.
func fillRecord(i, n int, src jsonLike) []byte {
	for v := max(0, n-20); v < n; v++ {
		if r := appendRecord(nil, i, src.text(v)); len(r) == n {
			return r
		}
	}
	return nil
}

func (s batchSpec) compress(records []byte) (attributes int16, out []byte, err error) {
	switch s.codec {
	case "":
		return 0, records, nil
	case "lz4":
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if _, err := w.Write(records); err != nil {
			return 0, nil, err
		}
		err := w.Close()
		return 3, b.Bytes(), err
	case "zstd":
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return 0, nil, err
		}
		return 4, w.EncodeAll(records, nil), w.Close()
	}
	return 0, nil, fmt.Errorf("codec %q is not known here", s.codec)
}

// appendRecord encodes a record without key and headers.
func appendRecord(b []byte, delta int, value []byte) []byte {
	var body []byte
	body = append(body, 0)                         // attributes
	body = binary.AppendVarint(body, 0)            // timestamp delta
	body = binary.AppendVarint(body, int64(delta)) // offset delta
	body = binary.AppendVarint(body, -1)           // no key
	body = binary.AppendVarint(body, int64(len(value)))
	body = append(body, value...)
	body = binary.AppendVarint(body, 0) // no headers
	return append(binary.AppendVarint(b, int64(len(body))), body...)
}

// sealBatch puts the header before records and computes the checksum.
func sealBatch(records []byte, count int, attributes int16) []byte {
	const timestamp = 1_767_225_600_000 // 2026-01-01, for all records
	be := binary.BigEndian
	b := make([]byte, batchHeader, batchHeader+len(records))
	be.PutUint32(b[8:], uint32(batchHeader+len(records)-12))
	be.PutUint32(b[12:], ^uint32(0)) // leader epoch: none yet
	b[16] = 2
	be.PutUint16(b[21:], uint16(attributes))
	be.PutUint32(b[23:], uint32(count-1))
	be.PutUint64(b[27:], timestamp)
	be.PutUint64(b[35:], timestamp)
	be.PutUint64(b[43:], ^uint64(0)) // no producer
	be.PutUint16(b[51:], ^uint16(0))
	be.PutUint32(b[53:], ^uint32(0))
	be.PutUint32(b[57:], uint32(count))
	b = append(b, records...)
	be.PutUint32(b[17:], crc32.Checksum(b[crcFrom:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// jsonLike draws text that compresses as events do.
type jsonLike struct{ r *rand.Rand }

func (j jsonLike) text(n int) []byte {
	words := []string{"checkout", "login", "page-view", "refund", "search", "signup"}
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"event":%q,"user":%d,"session":"%016x","amount":%d.%02d,"ok":%v},`,
			words[j.r.IntN(len(words))], j.r.IntN(100_000), j.r.Uint64(), j.r.IntN(1000), j.r.IntN(100), j.r.IntN(9) > 0)
	}
	return b[:n]
}

// produceFrame is a whole Produce request of one batch for one partition.
func produceFrame(topic string, partition int32, acks int16, b batch) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, acks, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, b.bytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return frameOf(req)
}

// fetchAsk says what a Fetch asks for.
type fetchAsk struct {
	topic     string
	partition int32
	offset    int64
	maxBytes  int32
	minBytes  int32
	maxWait   int32 // ms
}

// frame is a whole Fetch request without a session. It also tells where the
// offset stands in it, so that the frame can be used again.
func (a fetchAsk) frame() (frame []byte, offsetAt int) {
	const mark = 0x5a17_c0de_5a17_c0de
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchVersion, a.maxWait, a.minBytes, 64<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic = a.topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = a.partition, mark, a.maxBytes, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	frame = frameOf(req)
	offsetAt = bytes.Index(frame, binary.BigEndian.AppendUint64(nil, mark))
	binary.BigEndian.PutUint64(frame[offsetAt:], uint64(a.offset))
	return frame, offsetAt
}

// frameOf encodes a request with its header and its size.
func frameOf(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 0)
}

// answerError walks to the first error code of a Produce or Fetch response of
// the versions above: 0 means that the broker did it.
func answerError(body []byte, fetch bool) (code int16, rest []byte, err error) {
	w := walker{b: body}
	w.skip(4 + 1) // correlation id, tags
	if fetch {
		w.skip(4) // throttle time
		if code := w.int16(); code != 0 {
			return code, nil, w.err
		}
		w.skip(4) // session
	}
	if w.uvarint() != 2 { // one topic
		return 0, nil, fmt.Errorf("an answer for another number of topics: % x", body[:min(len(body), 40)])
	}
	w.skip(int(w.uvarint()) - 1) // name
	if w.uvarint() != 2 {
		return 0, nil, fmt.Errorf("an answer for another number of partitions: % x", body[:min(len(body), 40)])
	}
	w.skip(4) // partition
	code = w.int16()
	return code, w.b, w.err
}

// fetchedRecords gives the batches of a Fetch response.
func fetchedRecords(body []byte) ([]byte, error) {
	code, rest, err := answerError(body, true)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, fmt.Errorf("fetch: error code %d", code)
	}
	w := walker{b: rest}
	w.skip(8 + 8 + 8) // high watermark, last stable offset, log start
	if aborted := w.uvarint(); aborted > 1 {
		return nil, fmt.Errorf("fetch: %d aborted transactions where there are none", aborted-1)
	}
	w.skip(4) // preferred replica
	n := int(w.uvarint()) - 1
	if w.err != nil || n > len(w.b) {
		return nil, fmt.Errorf("fetch: records of %d bytes in %d", n, len(w.b))
	}
	return w.b[:max(0, n)], nil
}

// walker reads an answer from front to back; its first error stays.
type walker struct {
	b   []byte
	err error
}

func (w *walker) skip(n int) {
	if n < 0 || n > len(w.b) {
		w.b, w.err = nil, fmt.Errorf("an answer ends %d bytes early", n-len(w.b))
		return
	}
	w.b = w.b[n:]
}

func (w *walker) int16() int16 {
	if len(w.b) < 2 {
		w.skip(2)
		return 0
	}
	v := int16(binary.BigEndian.Uint16(w.b))
	w.skip(2)
	return v
}

func (w *walker) uvarint() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.skip(len(w.b) + 1)
		return 0
	}
	w.skip(n)
	return v
}
