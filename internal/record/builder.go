package record

import (
	"encoding/binary"
	"math/bits"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Producer identifies who made a batch, for idempotence (KIP-98).
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record; kafka.NoSequence in markers
}

// Builder makes one batch. Set the fields, append records, take the bytes. The
// zero value builds an uncompressed batch at base offset 0 without a producer.
type Builder struct {
	BaseOffset  int64
	LeaderEpoch int32
	Codec       Codec
	Level       int        // of the codec; 0 or DefaultLevel for its own
	Flags       Attributes // any of AppendTime, Transactional, Control
	Producer    *Producer  // nil: not idempotent
	// AppendedAt is every record's timestamp in ms if Flags has AppendTime.
	AppendedAt int64

	body      []byte
	out       []byte
	enc       encoders
	count     int32
	lastDelta int32
	base, top int64 // timestamps
}

// Reset forgets records and fields but keeps memory.
func (b *Builder) Reset() {
	*b = Builder{body: b.body[:0], out: b.out[:0], enc: b.enc}
	if cap(b.body) > keepSize {
		b.body = nil
	}
	if cap(b.out) > keepSize {
		b.out = nil
	}
}

// Count is how many records were appended.
func (b *Builder) Count() int { return int(b.count) }

// Size is how many bytes the batch has before compression.
func (b *Builder) Size() int { return HeaderSize + len(b.body) }

// SizeWith is what Size would be after Append(r).
func (b *Builder) SizeWith(r *Record) int {
	ts, delta := r.Timestamp, b.lastDelta+1
	if b.Flags.Has(AppendTime) {
		ts = b.AppendedAt
	}
	base := b.base
	if b.count == 0 {
		base, delta = ts, 0
	}
	n := recordSize(r, ts-base, delta)
	return b.Size() + varintSize(int64(n)) + n
}

// Append adds a record at the next offset; what r.Offset says does not matter.
// A nil key or value is null, an empty one is not.
func (b *Builder) Append(r Record) *Builder {
	delta := b.lastDelta + 1
	if b.count == 0 {
		delta = 0
	}
	b.append(&r, delta)
	return b
}

// AppendAt adds a record at r.Offset, which must be larger than those before
// and at least BaseOffset: for a batch with gaps, as compaction leaves one.
func (b *Builder) AppendAt(r Record) *Builder {
	b.append(&r, int32(r.Offset-b.BaseOffset))
	return b
}

func (b *Builder) append(r *Record, delta int32) {
	ts := r.Timestamp
	if b.Flags.Has(AppendTime) {
		ts = b.AppendedAt
	}
	if b.count == 0 {
		b.base, b.top = ts, ts
	}
	b.top = max(b.top, ts)
	b.count++
	b.lastDelta = delta

	b.body = binary.AppendVarint(b.body, int64(recordSize(r, ts-b.base, delta)))
	b.body = append(b.body, 0)
	b.body = binary.AppendVarint(b.body, ts-b.base)
	b.body = binary.AppendVarint(b.body, int64(delta))
	b.body = appendBytes(b.body, r.Key)
	b.body = appendBytes(b.body, r.Value)
	b.body = binary.AppendVarint(b.body, int64(len(r.Headers)))
	for i := range r.Headers {
		b.body = binary.AppendVarint(b.body, int64(len(r.Headers[i].Key)))
		b.body = append(b.body, r.Headers[i].Key...)
		b.body = appendBytes(b.body, r.Headers[i].Value)
	}
}

// Bytes seals the batch: it compresses the records, writes the header and the
// CRC. The slice belongs to the builder and is good until its next Reset. A
// codec that is not [Codec.Known] is written as none.
func (b *Builder) Bytes() []byte {
	codec := b.Codec
	if !codec.Known() {
		codec = None
	}
	b.out = append(b.out[:0], make([]byte, HeaderSize)...)
	b.out = b.enc.append(b.out, codec, b.Level, b.body)

	p := Producer{ID: kafka.NoProducer, Epoch: kafka.NoProdEpoch, Sequence: kafka.NoSequence}
	if b.Producer != nil {
		p = *b.Producer
	}
	be := binary.BigEndian
	be.PutUint64(b.out[posBaseOffset:], uint64(b.BaseOffset))
	be.PutUint32(b.out[posLength:], uint32(len(b.out)-Overhead))
	be.PutUint32(b.out[posLeaderEpoch:], uint32(b.LeaderEpoch))
	b.out[posMagic] = Magic
	be.PutUint16(b.out[posAttributes:], uint16(b.Flags&^codecMask|Attributes(codec)))
	be.PutUint32(b.out[posLastDelta:], uint32(b.lastDelta))
	be.PutUint64(b.out[posBaseTimestamp:], uint64(b.base))
	be.PutUint64(b.out[posMaxTimestamp:], uint64(b.top))
	be.PutUint64(b.out[posProducerID:], uint64(p.ID))
	be.PutUint16(b.out[posProducerEpoch:], uint16(p.Epoch))
	be.PutUint32(b.out[posBaseSequence:], uint32(p.Sequence))
	be.PutUint32(b.out[posCount:], uint32(b.count))
	seal(b.out)
	return b.out
}

func appendBytes(dst, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(v))), v...)
}

// recordSize is what the length field of a record says.
func recordSize(r *Record, ts int64, delta int32) int {
	n := 1 + varintSize(ts) + varintSize(int64(delta)) + bytesSize(r.Key) + bytesSize(r.Value)
	n += varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		n += varintSize(int64(len(r.Headers[i].Key))) + len(r.Headers[i].Key) + bytesSize(r.Headers[i].Value)
	}
	return n
}

func bytesSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(int64(len(v))) + len(v)
}

func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}
