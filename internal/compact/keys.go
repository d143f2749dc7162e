package compact

import "math/bits"

// keys knows the last offset of each key of a round.
//
// It holds keys as their 128-bit hashes under a secret of the round. Two keys
// are taken for one only if all 128 bits agree: among 2^32 keys that happens once
// in 2^64 rounds, and nobody who does not know the secret can bring it about. It
// is open addressing with a fixed number of slots:
//
//	hash (16 bytes)   offset − base + 1 (4 bytes), 0 for a free slot
//
// A key that finds no room is refused, never put in another's place.
type keys struct {
	secret secret
	hashes [][2]uint64
	offs   []uint32
	base   int64
	used   int
	most   int // how many keys it takes
}

// slotBytes is what a slot takes.
const slotBytes = 20

// spanOf is how many offsets one round can tell apart.
const spanOf = 1<<32 - 2

// newKeys makes a table for at most want keys in at most memory bytes, of which
// it fills the share load.
func newKeys(s secret, base int64, want, memory int64, load float64) *keys {
	load = min(max(load, 0.1), 0.9)
	slots := int64(float64(want)/load) + 8
	slots = min(slots, memory/slotBytes)
	slots = max(slots, 8)
	return &keys{
		secret: s, base: base, hashes: make([][2]uint64, slots), offs: make([]uint32, slots),
		most: max(int(float64(slots)*load), 1),
	}
}

// find gives the slot of a hash, or the free one where it belongs.
func (k *keys) find(lo, hi uint64) int {
	at, _ := bits.Mul64(lo, uint64(len(k.offs)))
	i := int(at)
	for k.offs[i] != 0 && (k.hashes[i][0] != lo || k.hashes[i][1] != hi) {
		if i++; i == len(k.offs) {
			i = 0
		}
	}
	return i
}

// put notes that key is at offset, which must not be below an earlier one. False:
// there is no room.
func (k *keys) put(key []byte, offset int64) bool {
	lo, hi := k.secret.sum(key)
	i := k.find(lo, hi)
	if k.offs[i] == 0 {
		if k.used == k.most {
			return false
		}
		k.used++
		k.hashes[i] = [2]uint64{lo, hi}
	}
	k.offs[i] = uint32(offset-k.base) + 1
	return true
}

// last is the last offset of key, -1 if it is not in.
func (k *keys) last(key []byte) int64 {
	if k.used == 0 {
		return -1
	}
	i := k.find(k.secret.sum(key))
	if k.offs[i] == 0 {
		return -1
	}
	return k.base + int64(k.offs[i]) - 1
}

// fill is the share of the slots in use.
func (k *keys) fill() float64 { return float64(k.used) / float64(len(k.offs)) }
