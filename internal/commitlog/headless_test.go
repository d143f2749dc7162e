package commitlog

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestStartToldBySegments opens the folder of another program whose first segment
// does not begin at 0 and which no checkpoint mentions. What is flushed into it
// outlives a power cut before the next checkpoint: the start after it must not
// take the log for one that has lost its first segment.
func TestStartToldBySegments(t *testing.T) {
	for _, clean := range []bool{false, true} {
		for _, p := range vfs.Policies {
			t.Run(p.String(), func(t *testing.T) {
				r := foreignRig(t, clean)
				r.start()
				r.fill(3, 2, 40)
				r.must(r.log.Flush())
				end := r.log.End()
				r.crash(p, 1)
				r.start()
				r.whole(5, end)
			})
		}
	}
}

// foreignRig is a directory that this program has not opened yet, with records
// 5 to 8.
func foreignRig(t *testing.T, clean bool) *rig {
	r := newRig(t, Tunables{})
	r.must(r.log.ResetTo(5))
	r.fill(2, 2, 40)
	r.stop()
	gone := []string{startFile, pointFile, bootFile, manifestFile}
	if !clean {
		gone = append(gone, cleanFile)
	}
	for _, name := range gone {
		r.must(removeAny(r.disk, "/data/"+name))
	}
	r.must(r.disk.SyncDir("/data"))
	return r
}

// TestBeginToldByOwner is the same with a log of which only its owner knows the
// begin, as an older version left it.
func TestBeginToldByOwner(t *testing.T) {
	for _, p := range vfs.Policies {
		t.Run(p.String(), func(t *testing.T) {
			r := foreignRig(t, false)
			r.start()
			r.fill(3, 2, 40)
			r.must(r.log.Flush())
			end := r.log.End()
			r.must(removeAny(r.disk, "/data/"+startFile))
			r.must(r.disk.SyncDir("/data"))
			r.crash(p, 1)
			r.must(r.openHome())
			var err error
			r.log, r.rec, err = Open(Config{Home: r.home, Topic: "t", Partition: 3, TopicID: kafka.UUID{1}, Begin: 5, Tunables: r.tun})
			r.must(err)
			r.whole(5, end)
		})
	}
}

func removeAny(f vfs.FS, name string) error {
	if there, err := vfs.Exists(f, name); err != nil || !there {
		return err
	}
	return f.Remove(name)
}
