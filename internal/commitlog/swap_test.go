package commitlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestFinishSwap: Kafka was cut off while it replaced the segments at 0, 20 and
// 40 by one that holds the batches of 20 to 39 only. Names lists the folder's
// data files as they were left; want says which twenties of offsets the log then
// has. A replaced segment behind the last offset of the new one stays, as in
// Kafka: nothing says that it was replaced, and compaction will do it again.
func TestFinishSwap(t *testing.T) {
	for _, c := range []struct {
		name, files, want string
	}{
		{"before", "0.log 20.log 40.log 0.log.cleaned 60.log 80.log", "0 20 40 60 80"},
		{"renamed", "0.log 20.log 40.log 0.log.swap 60.log 80.log", "20 40 60 80"},
		{"one deleted", "0.log.deleted 20.log 40.log 0.log.swap 60.log 80.log", "20 40 60 80"},
		{"all deleted", "0.log.deleted 20.log.deleted 40.log.deleted 0.log.swap 60.log 80.log", "20 60 80"},
		{"in place", "0.log=new 20.log.deleted 40.log.deleted 60.log 80.log", "20 60 80"},
		{"split, not whole", "0.log 20.log 40.log 0.log.cleaned 40.log.swap 60.log 80.log", "0 20 40 60 80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Tunables{SegmentBytes: 1600, IndexInterval: 100})
			r.prepare()
			r.stop()
			r.layOut(c.files)
			whole := r.disk
			for stop := int64(0); ; stop++ { // and finishing it may be cut off as well
				r.disk = whole.Crash(vfs.KeepAll, nil)
				r.disk.StopBefore(stop)
				r.fs = r.disk
				err := r.tryStart()
				r.disk.StopBefore(-1)
				if err == nil {
					break
				}
				if !errors.Is(err, vfs.ErrPowerCut) {
					t.Fatal(err)
				}
				r.disk = r.disk.Crash(vfs.Sectors, rand.New(rand.NewPCG(uint64(stop), 1)))
				r.fs = r.disk
				r.start()
				r.begins(c.want)
			}
			r.begins(c.want)
			list, err := r.disk.ReadDir("/data/t-3")
			r.must(err)
			for _, i := range list {
				if strings.Count(i.Name, ".") > 1 {
					t.Error("left", i.Name)
				}
			}
		})
	}
}

// layOut puts the folder's data files as listed. Those with a suffix, and those
// that are "=new", are the replacement: the batches of segment 20.
func (r *rig) layOut(files string) {
	r.t.Helper()
	at := func(base int64) string { return "/data/t-3/" + segment.Name(base, segment.LogSuffix) }
	content := map[int64][]byte{}
	for base := int64(0); base <= 80; base += 20 {
		data, err := vfs.ReadFile(r.disk, at(base), 1<<20)
		r.must(err)
		content[base] = data
		r.must(r.disk.Remove(at(base)))
		if strings.Contains(files, "=new") { // who swaps takes the sums along
			r.must(r.disk.Remove("/data/t-3/" + segment.Name(base, segment.SumsSuffix)))
		}
	}
	for word := range strings.FieldsSeq(files) {
		name, isNew := strings.CutSuffix(word, "=new")
		var base int64
		var suffix string
		_, err := fmt.Sscanf(strings.Replace(name, ".log", " .log", 1), "%d %s", &base, &suffix)
		r.must(err)
		data := content[base]
		if isNew || strings.HasSuffix(suffix, ".swap") || strings.HasSuffix(suffix, ".cleaned") {
			data = content[20]
		}
		r.must(vfs.WriteAtomic(r.disk, "/data/t-3/"+segment.Name(base, suffix), data))
	}
}

// begins checks which twenties of offsets the log has.
func (r *rig) begins(want string) {
	r.t.Helper()
	var have []string
	for _, off := range r.read(r.log.Start()) {
		if off%20 == 0 {
			have = append(have, fmt.Sprint(off))
		}
	}
	if got := strings.Join(have, " "); got != want {
		r.t.Fatalf("has %s, want %s", got, want)
	}
}
