package commitlog

import (
	"errors"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestTenancy: who used the directory under which epoch is known to the next owner
// after a clean end and after a kill, and after nothing that may have lost records.
func TestTenancy(t *testing.T) {
	kill := func(m *vfs.Mem) *vfs.Mem { return m.Fork() }
	cut := func(m *vfs.Mem) *vfs.Mem { return m.Crash(vfs.KeepAll, nil) }
	put := func(text string) func(*vfs.Mem) *vfs.Mem {
		return func(m *vfs.Mem) *vfs.Mem {
			m = m.Fork()
			if err := vfs.WriteAtomic(m, "/d/"+tenantFile, []byte(text)); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	const kept = 41
	for _, c := range []struct {
		name  string
		end   func(*vfs.Mem) *vfs.Mem // how the owner that kept its epoch ends
		again func(*vfs.Mem) *vfs.Mem // and the next one, who was not registered
		want  int64
	}{
		{"killed", kill, nil, kept},
		{"killed twice", kill, kill, kept},
		{"power cut", cut, nil, -1},
		{"killed, then a power cut", kill, cut, -1},
		{"power cut, then killed before it was registered", cut, kill, -1},
		{"missing", func(m *vfs.Mem) *vfs.Mem { m = m.Fork(); _ = m.Remove("/d/" + tenantFile); return m }, nil, -1},
		{"torn", put("version: 0\nbroker_epoch: 4"), nil, -1},
		{"torn at a line", put("version: 0\nbroker_epoch: 41\n"), nil, -1},
		{"wrong checksum", put("version: 0\nbroker_epoch: 41\ncrc32c: 00000000\n"), nil, -1},
		{"recovery points damaged", func(m *vfs.Mem) *vfs.Mem {
			m = m.Fork()
			if err := vfs.WriteAtomic(m, "/d/"+pointFile, []byte("?")); err != nil {
				t.Fatal(err)
			}
			return m
		}, nil, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewMem(vfs.MemConfig{})
			h := openHome(t, disk, "/d")
			if !h.Fresh() || h.PreviousEpoch() != -1 {
				t.Fatal("an empty directory was used before")
			}
			write(t, openLog(t, h, "x"), 3)
			if err := errors.Join(h.Checkpoint(), KeepEpoch(h, kept)); err != nil {
				t.Fatal(err)
			}
			disk = c.end(disk)
			if c.again != nil {
				h := openHome(t, disk, "/d")
				write(t, openLog(t, h, "x"), 1)
				if err := h.Checkpoint(); err != nil {
					t.Fatal(err)
				}
				disk = c.again(disk)
			}
			h = openHome(t, disk, "/d")
			if got := h.PreviousEpoch(); got != c.want {
				t.Error("previous epoch", got, "want", c.want)
			}
			if h.Fresh() {
				t.Error("it counts as never used")
			}
			if there, err := vfs.Exists(disk, "/d/"+tenantFile); err != nil || there && c.want < 0 && !h.SameBoot() {
				t.Error("what does not count is still there")
			}
		})
	}
}

// TestTenancyAfterFailedSync: once a write has failed, the epoch counts no more,
// whether it was kept before or is to be kept after, and be it that the disk takes
// nothing else.
func TestTenancyAfterFailedSync(t *testing.T) {
	for _, dead := range []bool{false, true} {
		disk := vfs.NewMem(vfs.MemConfig{})
		h := openHome(t, disk, "/d")
		l := openLog(t, h, "x")
		write(t, l, 3)
		if err := errors.Join(h.Checkpoint(), KeepEpoch(h, 41)); err != nil {
			t.Fatal(err)
		}
		if err := l.Append([]Batch{makeBatch(batchSpec{at: l.End(), ts: 1})}); err != nil {
			t.Fatal(err)
		}
		bad := errors.New("bad block")
		failed := false
		disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpSync && (dead || !failed) {
				failed, v.Err = true, bad
			}
			return v
		})
		if err := l.Flush(); !errors.Is(err, bad) {
			t.Fatal(err)
		}
		if err := KeepEpoch(h, 42); err != nil {
			t.Fatal(err)
		}
		disk.SetHook(nil)
		if got := openHome(t, disk.Fork(), "/d").PreviousEpoch(); got != -1 {
			t.Errorf("dead %v: previous epoch %d", dead, got)
		}
	}
}

// TestTenancyKeptThroughUnregistered: an owner that was never registered and ends
// in order leaves the epoch of the one before.
func TestTenancyKeptThroughUnregistered(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h := openHome(t, disk, "/d")
	h.SetEpoch(7)
	for range 3 {
		if err := h.Close(true); err != nil {
			t.Fatal(err)
		}
		h = openHome(t, disk.Crash(vfs.DropAll, nil), "/d")
		disk = h.fs.(*vfs.Mem)
		if got := h.PreviousEpoch(); got != 7 {
			t.Fatal("previous epoch", got)
		}
	}
}
