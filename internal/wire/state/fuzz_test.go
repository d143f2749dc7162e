package state

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/wiretest"
)

// FuzzState decodes bytes as any stored message of any version.
func FuzzState(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 10))
	for i, typ := range Types {
		for version := typ.Min; version <= typ.Max; version++ {
			m, _ := NewOf(typ)
			(&wiretest.Filler{Rand: rng, Keep: 0.3}).Fill(m)
			f.Add(uint8(i), uint8(version), m.Append(nil, version))
		}
	}
	f.Fuzz(func(t *testing.T, n, v uint8, frame []byte) {
		typ := Types[int(n)%len(Types)]
		version := typ.Min + int16(v)%(typ.Max-typ.Min+1)
		fresh := func() wiretest.Codec { m, _ := NewOf(typ); return m }
		if err := wiretest.Hostile(fresh, frame, version); err != nil {
			t.Fatalf("%s v%d: %v", typ.Name, version, err)
		}
	})
}

// FuzzFrame reads bytes as a framed key and a framed record. What can be read
// is written as it was, but for tags that are not known and lengths in more
// bytes than they need.
func FuzzFrame(f *testing.F) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, typ := range Types {
		switch typ.Kind {
		case IsKey:
			m, _ := NewKey(typ.Family, typ.Type)
			(&wiretest.Filler{Rand: rng}).Fill(m)
			f.Add(uint8(typ.Family), MarshalKey(m))
		case IsRecord:
			m, _ := NewRecord(typ.Family, typ.Type)
			(&wiretest.Filler{Rand: rng}).Fill(m)
			f.Add(uint8(typ.Family), MarshalRecord(m, typ.Max))
		}
	}
	f.Fuzz(func(t *testing.T, fam uint8, b []byte) {
		family := Family(fam % uint8(Control+1))
		key, err := ParseKey(family, b)
		if err == nil && !bytes.Equal(MarshalKey(key), b) { // keys are never flexible
			t.Fatalf("%+v: %x became %x", key, b, MarshalKey(key))
		}
		mustBeNamed(t, err)
		rec, version, err := ParseRecord(family, b)
		mustBeNamed(t, err)
		if err != nil {
			return
		}
		once := MarshalRecord(rec, version)
		if len(once) > len(b) {
			t.Fatalf("%x became %x", b, once)
		}
		again, v, err := ParseRecord(family, once)
		if err != nil || v != version || !bytes.Equal(MarshalRecord(again, v), once) {
			t.Fatalf("%x became %+v, %v", once, again, err)
		}
	})
}

func mustBeNamed(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, wire.ErrInvalid) {
		t.Fatal(err)
	}
}
