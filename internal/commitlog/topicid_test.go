package commitlog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestTopicIDGone: a partition.metadata that somebody removed is told, and is there
// again after the next start, however the log was left.
func TestTopicIDGone(t *testing.T) {
	for name, stop := range map[string]func(*rig){
		"orderly": (*rig).stop,
		"killed":  (*rig).kill,
		"asleep": func(r *rig) {
			checkpoints(t, r.home, 3)
			r.kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Tunables{})
			r.fill(3, 2, 40)
			r.must(r.log.Flush())
			r.must(r.home.Checkpoint())
			stop(r)
			r.must(r.disk.Remove("/data/t-3/" + metadataFile))
			found, err := Check(CheckConfig{FS: r.disk, Path: "/data"})
			r.must(err)
			if len(found.Problems) == 0 || found.Problems[0].File != "t-3/"+metadataFile || found.Damaged() {
				t.Errorf("check: %+v", found.Problems)
			}
			var said bytes.Buffer
			r.must(r.openHome())
			r.log, r.rec, err = Open(Config{Home: r.home, Topic: "t", Partition: 3, TopicID: kafka.UUID{1}, Logger: slog.New(slog.NewTextHandler(&said, nil))})
			r.must(err)
			r.whole(0, 6)
			if !strings.Contains(said.String(), "partition.metadata was gone") {
				t.Error("said:", said.String())
			}
			data, err := vfs.ReadFile(r.disk, "/data/t-3/"+metadataFile, 1<<10)
			r.must(err)
			if id, err := parseTopicID(data); err != nil || id != (kafka.UUID{1}) {
				t.Error(id, err)
			}
		})
	}
}
