// Package wiretest fills messages with random values, for tests of the codec.
package wiretest

import (
	"math"
	"math/rand/v2"
	"reflect"
)

// Filler fills messages.
type Filler struct {
	Rand *rand.Rand
	// Keep is the share of fields that keep the value they have: 0 avoids
	// defaults wherever chance allows, 1 keeps all.
	Keep float64
	// Most is the largest number of elements of an array; 3 if it is 0.
	Most int
	// Leave says which fields keep the value they have; nil: none.
	Leave func(structName, field string) bool
	// NotNull says which slices may not be nil, even if they are left; nil: none.
	NotNull func(structName, field string) bool
}

// Fill sets the exported fields of the struct that p points to, and of those
// inside it. Elements of arrays start from what their SetDefaults sets.
func (f *Filler) Fill(p any) { f.value(reflect.ValueOf(p).Elem()) }

type defaulter interface{ SetDefaults() }

func (f *Filler) fresh(v reflect.Value) {
	if d, ok := v.Addr().Interface().(defaulter); ok {
		d.SetDefaults()
	}
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok { // kmsg's name for it
		d.Default()
	}
}

func (f *Filler) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i)
			if f.NotNull != nil && f.NotNull(v.Type().Name(), name.Name) {
				v.Field(i).Set(reflect.MakeSlice(name.Type, 1, 1))
				continue
			}
			if !name.IsExported() || f.Rand.Float64() < f.Keep || f.Leave != nil && f.Leave(v.Type().Name(), name.Name) {
				continue
			}
			f.value(v.Field(i))
		}
	case reflect.Pointer:
		if f.Rand.IntN(4) == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fresh(v.Elem())
		f.value(v.Elem())
	case reflect.Slice:
		f.slice(v)
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(f.Rand.IntN(256)))
		}
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.Rand.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(f.number() >> (64 - v.Type().Bits()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(f.number()) >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(math.Ldexp(f.Rand.Float64(), f.Rand.IntN(40)))
	}
}

func (f *Filler) slice(v reflect.Value) {
	most := f.Most
	if most == 0 {
		most = 3
	}
	n := f.Rand.IntN(most + 1)
	if v.Type().Elem().Kind() == reflect.Uint8 {
		n = f.Rand.IntN(300)
	}
	if n == 0 && f.Rand.IntN(2) == 0 {
		v.SetZero()
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		e := v.Index(i)
		if e.Kind() == reflect.Struct {
			f.fresh(e)
		}
		f.value(e)
	}
}

func (f *Filler) number() int64 {
	n := int64(f.Rand.Uint64())
	switch f.Rand.IntN(4) {
	case 0:
		return n >> f.Rand.IntN(64) << 40
	case 1:
		return -1
	}
	return n
}

func (f *Filler) text() string {
	n := f.Rand.IntN(12)
	if f.Rand.IntN(20) == 0 {
		n = 100 + f.Rand.IntN(200) // a length of two bytes
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + f.Rand.IntN(26))
	}
	return string(b)
}
