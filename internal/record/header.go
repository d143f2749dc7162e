package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Where the fields lie; see the package comment.
const (
	posBaseOffset    = 0
	posLength        = 8
	posLeaderEpoch   = 12
	posMagic         = 16
	posCRC           = 17
	posAttributes    = 21
	posLastDelta     = 23
	posBaseTimestamp = 27
	posMaxTimestamp  = 35
	posProducerID    = 43
	posProducerEpoch = 51
	posBaseSequence  = 53
	posCount         = 57

	// HeaderSize is the size of a batch without records.
	HeaderSize = 61
	// HeadSize is how many bytes lie before what the CRC covers.
	HeadSize = posAttributes
	// Overhead is what the length field does not count: base offset and itself.
	Overhead = 12

	// Magic is the only format version this package reads and writes.
	Magic = 2

	// minLegacyLength is the shortest length that any format can state; less
	// is no batch at all.
	minLegacyLength = 14
	// untilMagic is how much of a batch must be there to tell its format.
	untilMagic = 17
)

// castagnoli is the table that makes package crc32 use the processor's CRC.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Attributes are the flags of a batch.
//
//	bit 0-2  codec
//	    3    the timestamp is the broker's (LogAppendTime)
//	    4    part of a transaction
//	    5    control batch: its record is a marker, not data
//	    6    base timestamp is the delete horizon of a compacted batch
type Attributes int16

// The flags one by one.
const (
	codecMask     Attributes = 0x07
	AppendTime    Attributes = 0x08
	Transactional Attributes = 0x10
	Control       Attributes = 0x20
	DeleteHorizon Attributes = 0x40
)

// Codec is how the records are compressed; it may be one this package does not
// know (5 to 7).
func (a Attributes) Codec() Codec { return Codec(a & codecMask) }

// Has says whether all the given flags are set.
func (a Attributes) Has(flags Attributes) bool { return a&flags == flags }

// Header is the fixed part of a batch, by value.
type Header struct {
	BaseOffset      int64
	Length          int32 // of what follows the length field
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      Attributes
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms
	MaxTimestamp    int64 // ms
	ProducerID      int64 // kafka.NoProducer if not idempotent
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32
}

// Size is the batch's whole size in bytes.
func (h *Header) Size() int { return int(h.Length) + Overhead }

// LastOffset is the offset of the last record the batch was made with.
func (h *Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// NextOffset is the offset after the batch.
func (h *Header) NextOffset() int64 { return h.LastOffset() + 1 }

// Idempotent says whether the batch names its producer.
func (h *Header) Idempotent() bool { return h.ProducerID > kafka.NoProducer }

// LastSequence is the sequence of the last record. Sequences wrap from the
// largest int32 to 0. It is -1 where there is none, as in a marker.
func (h *Header) LastSequence() int32 {
	if h.BaseSequence == kafka.NoSequence {
		return kafka.NoSequence
	}
	return AddSequence(h.BaseSequence, h.LastOffsetDelta)
}

// AddSequence adds n ≥ 0 to a sequence ≥ 0, which wraps from the largest int32
// to 0.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & math.MaxInt32)
}

// Size is the whole size in bytes of the batch that b begins with, or 0 if b is
// too short to tell or the length is none.
func Size(b []byte) int {
	if len(b) < Overhead {
		return 0
	}
	n := int32(binary.BigEndian.Uint32(b[posLength:]))
	if n < minLegacyLength {
		return 0
	}
	return int(n) + Overhead
}

// ParseHeader reads the header that b begins with. It looks at neither the CRC
// nor the records, so it serves to walk a file that was checked before; an
// error wraps CORRUPT_MESSAGE, or UNSUPPORTED_FOR_MESSAGE_FORMAT for the
// formats before v2.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < untilMagic {
		return Header{}, fmt.Errorf("batch header needs %d bytes, has %d: %w", HeaderSize, len(b), kafka.CorruptMessage)
	}
	switch magic := int8(b[posMagic]); {
	case magic == 0 || magic == 1:
		return Header{}, fmt.Errorf("batch of format v%d, only v%d is read: %w", magic, Magic, kafka.UnsupportedForMessageFormat)
	case magic != Magic:
		return Header{}, fmt.Errorf("batch of unknown format v%d: %w", magic, kafka.CorruptMessage)
	case len(b) < HeaderSize:
		return Header{}, fmt.Errorf("batch header needs %d bytes, has %d: %w", HeaderSize, len(b), kafka.CorruptMessage)
	}
	h := parse(b)
	if h.Length < HeaderSize-Overhead {
		return Header{}, fmt.Errorf("batch length %d is less than a header: %w", h.Length, kafka.CorruptMessage)
	}
	return h, nil
}

func parse(b []byte) Header {
	_ = b[HeaderSize-1]
	be := binary.BigEndian
	return Header{
		BaseOffset:      int64(be.Uint64(b[posBaseOffset:])),
		Length:          int32(be.Uint32(b[posLength:])),
		LeaderEpoch:     int32(be.Uint32(b[posLeaderEpoch:])),
		Magic:           int8(b[posMagic]),
		CRC:             be.Uint32(b[posCRC:]),
		Attributes:      Attributes(be.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(be.Uint32(b[posLastDelta:])),
		BaseTimestamp:   int64(be.Uint64(b[posBaseTimestamp:])),
		MaxTimestamp:    int64(be.Uint64(b[posMaxTimestamp:])),
		ProducerID:      int64(be.Uint64(b[posProducerID:])),
		ProducerEpoch:   int16(be.Uint16(b[posProducerEpoch:])),
		BaseSequence:    int32(be.Uint32(b[posBaseSequence:])),
		Count:           int32(be.Uint32(b[posCount:])),
	}
}

// Stamp sets the two fields that belong to the leader: the offset of the first
// record and the epoch in which the batch was accepted. Neither is under the
// CRC, so a batch the producer sealed stays valid and costs no second hash.
//
// Stamp writes into b, which the caller must own. It panics if b is shorter
// than a header: [Check] has to come first.
func Stamp(b []byte, base int64, epoch int32) {
	_ = b[HeaderSize-1] // fail here, before a half-written header
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(base))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// SetAppendTime makes ms the timestamp of every record (LogAppendTime): it sets
// the flag and the largest timestamp, which then counts for all, and hashes the
// batch anew. It gives back the header as it now is.
//
// b must be exactly one checked batch, which the caller owns.
func SetAppendTime(b []byte, ms int64) Header {
	a := Attributes(binary.BigEndian.Uint16(b[posAttributes:])) | AppendTime
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(a))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	seal(b)
	return parse(b)
}

// seal writes the CRC of a batch that is otherwise complete.
func seal(b []byte) {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}
