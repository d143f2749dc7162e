package record

import (
	"encoding/binary"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// ControlType is what a control record says; it stands in the record's key.
type ControlType int16

// The control records of Kafka 4.4; partitions hold only the first two.
const (
	Abort           ControlType = 0
	Commit          ControlType = 1
	LeaderChange    ControlType = 2
	SnapshotHeader  ControlType = 3
	SnapshotFooter  ControlType = 4
	KRaftVersion    ControlType = 5
	KRaftVoters     ControlType = 6
	markerKeySize               = 4
	markerValueSize             = 6
)

// EndTxnMarker builds the control batch that ends a transaction of producer p
// in one partition (KIP-98):
//
//	key    version 0 (2 bytes), type (2 bytes)
//	value  version 0 (2 bytes), coordinator epoch (4 bytes)
//
// The marker takes an offset of its own and no sequence.
func EndTxnMarker(p Producer, t ControlType, coordinatorEpoch int32, now int64) []byte {
	p.Sequence = kafka.NoSequence
	key := binary.BigEndian.AppendUint16(make([]byte, 2, markerKeySize), uint16(t))
	value := binary.BigEndian.AppendUint32(make([]byte, 2, markerValueSize), uint32(coordinatorEpoch))
	b := Builder{Flags: Transactional | Control, Producer: &p}
	return b.Append(Record{Timestamp: now, Key: key, Value: value}).Bytes()
}

// ParseEndTxnMarker reads the record of a control batch: which type it has and,
// for a transaction's end, the epoch of the coordinator that wrote it. Newer
// versions may be longer; their first fields are the same.
func ParseEndTxnMarker(r *Record) (t ControlType, coordinatorEpoch int32, err error) {
	if len(r.Key) < markerKeySize || binary.BigEndian.Uint16(r.Key) > 0x7fff {
		return 0, 0, fmt.Errorf("control record at %d has a key of %d bytes: %w", r.Offset, len(r.Key), kafka.CorruptMessage)
	}
	t = ControlType(binary.BigEndian.Uint16(r.Key[2:]))
	if t != Abort && t != Commit {
		return t, 0, nil
	}
	if len(r.Value) < markerValueSize {
		return t, 0, fmt.Errorf("marker at %d has a value of %d bytes: %w", r.Offset, len(r.Value), kafka.CorruptMessage)
	}
	return t, int32(binary.BigEndian.Uint32(r.Value[2:])), nil
}
