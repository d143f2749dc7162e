package compact

import "math/bits"

// keys knows the last offset of each key of a round.
//
// It holds keys as their 128-bit hashes under a secret of the round. Two keys
// are taken for one only if all 128 bits agree: among 2^32 keys that happens once
// in 2^64 rounds, and nobody who does not know the secret can bring it about. It
// is open addressing with a fixed number of slots of five words:
//
//	hash (16 bytes)   offset − base + 1 (4 bytes), 0 for a free slot
//
// A key that finds no room is refused, never put in another's place.
//
// As long as the round's offsets are few enough it also marks those that a later
// one of the same key made void, so that these need not be looked up again.
type keys struct {
	secret secret
	words  []uint32
	slots  int
	base   int64
	used   int
	most   int // how many keys it takes
	void   []uint64
}

const (
	slotWords = 5
	// slotBytes is what a slot takes.
	slotBytes = slotWords * 4
	// spanOf is how many offsets one round can tell apart.
	spanOf = 1<<32 - 2
	// voidSpan is how many offsets may be marked: 4 MiB of bits.
	voidSpan = 32 << 20
)

// room is what a table of keys may take.
type room struct {
	span   int64    // for so many offsets at most
	memory int64    // bytes
	load   float64  // share of the slots that is filled
	spare  []uint32 // an earlier table's words, taken if they are enough
}

// newKeys makes a table for offsets from base on.
func newKeys(s secret, base int64, r room) *keys {
	load := min(max(r.load, 0.1), 0.9)
	span, memory := r.span, r.memory
	k := &keys{secret: s, base: base}
	if span > 0 && span <= min(voidSpan, memory) { // an eighth of the memory
		k.void = make([]uint64, span/64+1)
		memory -= span / 8
	}
	slots := min(int64(float64(span)/load)+8, memory/slotBytes)
	k.slots = int(max(slots, 8))
	if n := k.slots * slotWords; n <= cap(r.spare) {
		k.words = r.spare[:n]
		clear(k.words)
	} else {
		k.words = make([]uint32, n)
	}
	k.most = max(int(float64(k.slots)*load), 1)
	return k
}

// find gives the slot of a hash, or the free one where it belongs.
func (k *keys) find(lo, hi uint64) []uint32 {
	at, _ := bits.Mul64(lo, uint64(k.slots))
	for i := int(at); ; i++ {
		if i == k.slots {
			i = 0
		}
		s := k.words[i*slotWords : i*slotWords+slotWords : i*slotWords+slotWords]
		if s[4] == 0 || s[0] == uint32(lo) && s[1] == uint32(lo>>32) && s[2] == uint32(hi) && s[3] == uint32(hi>>32) {
			return s
		}
	}
}

// put notes that key is at offset, which must not be below an earlier one. False:
// there is no room.
func (k *keys) put(key []byte, offset int64) bool {
	lo, hi := k.secret.sum(key)
	s := k.find(lo, hi)
	if s[4] == 0 {
		if k.used == k.most {
			return false
		}
		k.used++
		s[0], s[1], s[2], s[3] = uint32(lo), uint32(lo>>32), uint32(hi), uint32(hi>>32)
	} else if before := s[4] - 1; k.void != nil {
		k.void[before/64] |= 1 << (before % 64)
	}
	s[4] = uint32(offset-k.base) + 1
	return true
}

// superseded tells whether a later record has the key of the one at offset. Both
// that and all before offset have been put, but for what lies before base.
func (k *keys) superseded(key []byte, offset int64) bool {
	if at := offset - k.base; at >= 0 && k.void != nil {
		return k.void[at/64]&(1<<(at%64)) != 0
	}
	if k.used == 0 {
		return false
	}
	s := k.find(k.secret.sum(key))
	return s[4] != 0 && offset < k.base+int64(s[4])-1
}

// allLast tells whether no offset from one on up to another was made void, as far
// as that is marked at all.
func (k *keys) allLast(from, to int64) bool {
	if k.void == nil || from < k.base {
		return false
	}
	for at, end := from-k.base, to-k.base; at < end; at++ {
		if at%64 == 0 && at+64 <= end {
			if k.void[at/64] != 0 {
				return false
			}
			at += 63
		} else if k.void[at/64]&(1<<(at%64)) != 0 {
			return false
		}
	}
	return true
}

// fill is the share of the slots in use.
func (k *keys) fill() float64 { return float64(k.used) / float64(k.slots) }
