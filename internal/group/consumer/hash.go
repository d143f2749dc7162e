package consumer

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/myelin-stream/myelin/internal/group/kind"
)

// topicsHash is a number for topics that are subscribed to, which is another when
// one of them comes or goes, or changes its partitions or racks. It is stored
// with the group's epoch. 0 means none of the topics is there.
func (*book) topicsHash(topics kind.Topics, names []string) int64 {
	h := fnv.New64a()
	var b []byte
	for _, name := range names {
		t, ok := topics.Named(name)
		if !ok {
			continue
		}
		b = append(b[:0], t.ID[:]...)
		b = append(b, t.Name...)
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Partitions))
		for p := range t.Partitions {
			if t.Racks == nil {
				break
			}
			racks := slices.Clone(t.Racks(p))
			slices.Sort(racks)
			for _, r := range racks {
				b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
				b = append(b, r...)
			}
		}
		h.Write(b)
	}
	if len(b) == 0 {
		return 0
	}
	return int64(h.Sum64())
}
