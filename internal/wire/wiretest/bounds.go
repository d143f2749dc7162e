package wiretest

import (
	"bytes"
	"fmt"
	"runtime"

	"github.com/myelin-stream/myelin/internal/wire"
)

// Codec is what every message can do.
type Codec interface {
	SetDefaults()
	Decode(r *wire.Reader, version int16)
	Append(b []byte, version int16) []byte
}

// slack is what a test itself, the message and an error take from the heap.
const slack = 16 << 10

// Hostile decodes bytes from anywhere as a version of a message that fresh
// makes, and returns an error if a promise of the Reader is broken: the bounds
// on heap and steps; that a message which was read, written and read again is
// the same; and that a message which was used before reads the same.
func Hostile(fresh func() Codec, frame []byte, version int16) error {
	m := fresh()
	r := wire.NewReader(frame)
	took := allocated(func() { m.Decode(r, version) })
	err := r.Done()
	most := wire.HeapPerByte*len(frame) + wire.HeapFree
	switch {
	case r.Charged() > most:
		return fmt.Errorf("%d bytes charged, %d allowed", r.Charged(), most)
	case took > uint64(r.Charged())*5/4+slack:
		return fmt.Errorf("%d bytes taken, %d charged", took, r.Charged())
	case r.Steps() > 2*len(frame):
		return fmt.Errorf("%d steps for %d bytes", r.Steps(), len(frame))
	case err != nil:
		return nil
	}
	once := m.Append(nil, version)
	if r.Charged() > wire.HeapPerByte*len(once)+wire.HeapFree {
		return nil // what was dropped, unknown tags say, had paid for it
	}
	for _, into := range []Codec{fresh(), m} { // m has room and old values
		r = wire.NewReader(once)
		into.Decode(r, version)
		if err := r.Done(); err != nil {
			return fmt.Errorf("cannot read what was written: %w\n%x", err, once)
		}
		if twice := into.Append(nil, version); !bytes.Equal(once, twice) {
			return fmt.Errorf("%x became %x", once, twice)
		}
	}
	return nil
}

// allocated measures the heap that f takes, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
