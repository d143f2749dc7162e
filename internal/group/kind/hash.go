package kind

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// MetadataHash is what Kafka 4.4 stores with a group to see later whether the
// topics that it reads have changed: their ids, names, numbers of partitions or
// racks. Names that are no topic do not count; 0 without any.
func MetadataHash(names []string, topics Topics) int64 {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var b []byte
	for _, name := range names {
		if t, ok := topics.Named(name); ok {
			b = binary.LittleEndian.AppendUint64(b, topicHash(&t))
		}
	}
	if b == nil {
		return 0
	}
	return int64(xxh3(b))
}

// topicHash is a topic's part of it. Numbers are little-endian, strings are
// UTF-16 code units with their count behind.
func topicHash(t *Topic) uint64 {
	b := []byte{0}
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[8:]))
	b, _ = appendString(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Partitions))
	for p := range t.Partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
		if t.Racks == nil {
			continue
		}
		for _, rack := range slices.Sorted(slices.Values(t.Racks(p))) {
			var units int
			at := len(b)
			b = append(b, 0, 0, 0, 0)
			b, units = appendString(b, rack)
			binary.LittleEndian.PutUint32(b[at:], uint32(units))
		}
	}
	return xxh3(b)
}

func appendString(b []byte, s string) (_ []byte, units int) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
		units++
	}
	return binary.LittleEndian.AppendUint32(b, uint32(units)), units
}
