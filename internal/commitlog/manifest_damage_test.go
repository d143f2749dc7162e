package commitlog

import (
	"errors"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestDamageCountsAsleep: how many ranges of a log are damaged is known before
// anybody asks for the log: after an orderly end, where the damage was seen while
// the log was at rest, and where the scrubber saw it in a log that sleeps.
func TestDamageCountsAsleep(t *testing.T) {
	r := library(t)
	bases := []int64{}
	for _, s := range *r.log.segments.Load() {
		bases = append(bases, s.Base())
	}
	r.stop()
	(&damager{r}).flip(bases[1], 100)
	r.must(r.openHome())
	if n := r.home.Damaged(); n != 0 {
		t.Fatal(n, "before anybody looked")
	}
	r.must(r.open())
	if r.log.stirred.Load() {
		t.Fatal("the log was not at rest")
	}
	if _, err := r.log.Read(bases[1], 100, r.log.End(), true); kafka.CodeOf(err) != kafka.CorruptMessage {
		t.Fatal(err)
	}
	again := func(want int, end func()) {
		t.Helper()
		if n := r.home.Damaged(); n != want {
			t.Fatal(n, "damaged ranges, want", want)
		}
		end()
		r.must(r.openHome())
		if n := r.home.Damaged(); n != want {
			t.Fatal(n, "damaged ranges after a start, want", want)
		}
	}
	again(1, func() {
		r.must(r.home.Checkpoint())
		r.kill()
	})
	again(1, func() { r.must(r.home.Close(true)) })
	(&damager{r}).flip(bases[2], 100)
	scrub := NewScrubber(ScrubConfig{Home: r.home, BytesPerSecond: 1 << 40, Now: r.home.now, Logger: r.home.logger})
	scrub.Pass(t.Context())
	again(2, func() { r.must(r.home.Close(true)) })
	r.must(r.open())
	if n := len(r.log.Damage()); n != 2 {
		t.Fatal(n)
	}
	r.must(r.log.DeleteTo(bases[2]))
	again(1, r.stop)
	r.must(r.open())
	r.must(r.log.ResetTo(bases[3]))
	again(0, r.stop)
}

// TestManifestOlder: a manifest of version 1 still counts, and is one of this
// version then: an older program would misread what is put behind it.
func TestManifestOlder(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, logs := many(t, disk, 6)
	checkpoints(t, h, 3)
	if err := h.lock.Close(); err != nil || len(h.RestingLogs()) != len(logs) {
		t.Fatal(err, h.RestingLogs())
	}
	const name = "/d/" + manifestFile
	data, err := vfs.ReadFile(disk, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseManifest(data)
	if err != nil || m.version != manifestVersion {
		t.Fatal(err, m)
	}
	w := newManifestWriter(m.boot)
	w.body[1] = 1
	w.points(m.points[1][0], m.points[1][1])
	w.points(m.points[0][0], m.points[0][1])
	old := recorded{rest: m.logs}
	out, _, _ := old.encode(&w)
	if err := vfs.WriteAtomic(disk, name, out); err != nil {
		t.Fatal(err)
	}
	if m, err := parseManifest(out); err != nil || m.version != 1 || len(m.logs) != len(logs) {
		t.Fatal(err, m)
	}
	check := func(want uint64) {
		t.Helper()
		data, err := vfs.ReadFile(disk, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := parseManifest(data); err != nil || m.version != want || len(m.logs) != len(logs) {
			t.Fatal(err, m)
		}
	}
	check(1)
	h = openHome(t, disk, "/d")
	if n := len(h.RestingLogs()); n != len(logs) {
		t.Fatal(n, "at rest")
	}
	check(manifestVersion)
}

// TestManifestRenewedOnFullDisk: a manifest that has to be written anew where there
// is no room is no reason not to start.
func TestManifestRenewedOnFullDisk(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, _ := many(t, disk, 6)
	checkpoints(t, h, 3)
	if err := h.lock.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := disk.Open("/d/"+manifestFile, vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt([]byte("torn"), size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Name == "/d/"+manifestFile+".tmp" {
			v.Err = full
		}
		return v
	})
	h = openHome(t, disk, "/d")
	for i := range 6 {
		l := openMany(t, h, i)
		if err := errors.Join(l.Append([]Batch{makeBatch(batchSpec{at: 2})}), l.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := vfs.Exists(disk, "/d/"+manifestFile); there || err != nil {
		t.Fatal("the old one is left", err)
	}
}
