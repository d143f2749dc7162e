package wirecmp

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// Batch is an uncompressed batch of n small records at fixed times, as a
// producer that is not idempotent would seal it. The times lie far back, so a
// topic that shall keep such batches needs retention.ms=-1.
func Batch(n int) []byte {
	var records []byte
	for i := range n {
		records = append(records, 18, 0, 0, byte(i<<1), 2, 'k', 4, 'v', byte('0'+i%10), 0) // zigzag varints: length 9, ...
	}
	return seal(records, n)
}

// Keyless is a batch of one record that has no key.
func Keyless() []byte {
	return seal([]byte{14, 0, 0, 0, 1, 2, 'v', 0}, 1)
}

func seal(records []byte, n int) []byte {
	const created = 1_700_000_000_000
	b := append(make([]byte, 61), records...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], ^uint32(0))
	b[16] = 2
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	binary.BigEndian.PutUint64(b[27:], created)
	binary.BigEndian.PutUint64(b[35:], created)
	binary.BigEndian.PutUint64(b[43:], ^uint64(0))
	binary.BigEndian.PutUint16(b[51:], ^uint16(0))
	binary.BigEndian.PutUint32(b[53:], ^uint32(0))
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	return Reseal(b)
}

// Sealed is the batch as an idempotent producer would seal it. It returns a
// copy.
func Sealed(batch []byte, producer int64, epoch int16, sequence int32) []byte {
	b := bytes.Clone(batch)
	binary.BigEndian.PutUint64(b[43:], uint64(producer))
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	return Reseal(b)
}

// Reseal writes the checksum that the batch's bytes ask for, and returns it.
func Reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// InTransaction is the batch as a transactional producer would seal it.
func InTransaction(batch []byte, producer int64, epoch int16, sequence int32) []byte {
	b := Sealed(batch, producer, epoch, sequence)
	b[22] |= 0x10
	return Reseal(b)
}
