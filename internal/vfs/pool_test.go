package vfs

import (
	"fmt"
	"io/fs"
	"sync"
	"testing"
)

func TestPool(t *testing.T) {
	m := NewMem(MemConfig{})
	p := NewPool(m, 2)
	var hs []*Handle
	for i := range 4 {
		hs = append(hs, p.Handle(fmt.Sprint(i), ReadWrite|CreateNew))
	}
	if p.Open() != 0 {
		t.Fatal("opened before use")
	}
	for _, h := range hs { // held ones pass the limit
		_, err := h.Acquire()
		must(t, err)
	}
	if p.Open() != 4 {
		t.Fatal(p.Open())
	}
	for _, h := range hs[:3] {
		h.Release()
	}
	if p.Open() != 2 {
		t.Fatal("idle ones above the limit stay open:", p.Open())
	}
	f, err := hs[0].Acquire() // was closed: opens again, and takes the place of an idle one
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 0)
	must(t, err)
	must(t, m.Rename("0", "zero"))
	hs[0].Rename("zero")
	hs[0].Close()
	if _, err := f.Size(); err != nil {
		t.Fatal("closed under its holder:", err)
	}
	hs[0].Release()
	_, err = hs[0].Acquire()
	want(t, err, fs.ErrClosed)
	for _, h := range hs[1:3] {
		h.Close()
	}
	hs[3].Release()
	hs[3].Close()
	if p.Open() != 0 {
		t.Fatal(p.Open())
	}
	_, err = p.Handle("none", ReadOnly).Acquire()
	want(t, err, fs.ErrNotExist)
	if p.Open() != 0 {
		t.Fatal(p.Open())
	}
}

func TestPoolParallel(t *testing.T) {
	m := NewMem(MemConfig{})
	p := NewPool(m, 3)
	var hs []*Handle
	for i := range 10 {
		hs = append(hs, p.Handle(fmt.Sprint(i), ReadWrite|CreateNew))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				h := hs[(i*7+g)%len(hs)]
				f, err := h.Acquire()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := f.WriteAt([]byte{1}, int64(g)); err != nil {
					t.Error(err)
				}
				h.Release()
			}
		})
	}
	wg.Wait()
	if p.Open() > 3 {
		t.Fatal(p.Open())
	}
}

// TestPoolDrop: a dropped handle keeps no descriptor and can be used again; one
// that is held stays open.
func TestPoolDrop(t *testing.T) {
	m := NewMem(MemConfig{})
	if err := WriteAtomic(m, "/f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	p := NewPool(m, 10)
	h := p.Handle("/f", ReadOnly)
	h.Drop() // never opened
	for range 2 {
		f, err := h.Acquire()
		if err != nil {
			t.Fatal(err)
		}
		h.Drop()
		if _, err := f.ReadAt(make([]byte, 1), 0); err != nil || p.Open() != 1 {
			t.Fatal(err, p.Open())
		}
		h.Release()
		h.Drop()
		if p.Open() != 0 {
			t.Fatal(p.Open(), "open")
		}
	}
	h.Close()
	h.Drop()
	if _, err := h.Acquire(); err == nil {
		t.Fatal("a closed handle opens")
	}
}
