package record

import (
	"encoding/binary"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Empty builds a batch without records that keeps what the header says of
// offsets, leader epoch, producer and largest timestamp: what compaction leaves
// of a batch whose producer is still known by it.
func Empty(h *Header) []byte {
	b := make([]byte, HeaderSize)
	be := binary.BigEndian
	be.PutUint64(b[posBaseOffset:], uint64(h.BaseOffset))
	be.PutUint32(b[posLength:], HeaderSize-Overhead)
	be.PutUint32(b[posLeaderEpoch:], uint32(h.LeaderEpoch))
	b[posMagic] = Magic
	be.PutUint16(b[posAttributes:], uint16(h.Attributes&(AppendTime|Transactional|Control)))
	be.PutUint32(b[posLastDelta:], uint32(h.LastOffsetDelta))
	base := int64(kafka.NoTimestamp)
	be.PutUint64(b[posBaseTimestamp:], uint64(base))
	be.PutUint64(b[posMaxTimestamp:], uint64(h.MaxTimestamp))
	be.PutUint64(b[posProducerID:], uint64(h.ProducerID))
	be.PutUint16(b[posProducerEpoch:], uint16(h.ProducerEpoch))
	be.PutUint32(b[posBaseSequence:], uint32(h.BaseSequence))
	seal(b)
	return b
}
