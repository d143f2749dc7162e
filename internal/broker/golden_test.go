package broker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Data directories that older binaries left open in this build, with every
// record, setting and committed offset: see testdata/golden/README.md.
func TestGoldenDirectories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := memory(t, "offsets.topic.num.partitions=1")
		cfg.FS, cfg.Listen, cfg.Format = golden(t, "testdata/golden/core"), memnet.New().Host("node1").Listen, false
		b, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		<-b.Ready()
		synctest.Wait() // the coordinator has loaded
		wantCore(t, b)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// golden copies a folder of testdata to /data of a file system in memory.
func golden(t *testing.T, dir string) vfs.FS {
	t.Helper()
	fs := vfs.NewMem(vfs.MemConfig{})
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		to := "/data/" + filepath.ToSlash(rel)
		if d.IsDir() {
			return fs.MkdirAll(to)
		}
		content, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return vfs.WriteAtomic(fs, to, content)
	})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func wantCore(t *testing.T, b *Broker) {
	t.Helper()
	img := b.metadata.Image()
	if topic := img.Topic("orders"); topic == nil || topic.ID.String() != "gq2lC8WYQROI9Ohxqhjd0Q" || len(topic.Partitions) != 2 {
		t.Fatalf("topic orders is %+v", topic)
	}
	if img.Topic("gone") != nil {
		t.Error("a deleted topic came back")
	}
	r, err := b.replicas.Get("orders", 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		for i := range 20 {
			want = append(want, fmt.Sprintf("%s-%d", codec, i+1))
		}
	}
	if got := values(t, r); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("orders-0 holds %v", got)
	}
	fetch := msg.NewOffsetFetchRequestGroup()
	fetch.GroupID = "golden-group"
	var committed int64 = -1
	for _, topic := range b.groups.Fetch(t.Context(), group.Client{Version: 9}, &fetch, false).Topics {
		for _, p := range topic.Partitions {
			if topic.Name == "orders" && p.PartitionIndex == 0 {
				committed = p.CommittedOffset
			}
		}
	}
	if committed != 40 {
		t.Errorf("golden-group committed offset %d, want 40", committed)
	}
}

// values reads a whole partition.
func values(t *testing.T, r *replica.Replica) []string {
	t.Helper()
	batches, _, err := coordinatorLog{r}.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for len(batches) > 0 {
		h, err := record.Check(batches[:record.Size(batches)])
		if err != nil {
			t.Fatalf("batch at offset %d: %v", h.BaseOffset, err)
		}
		var rd record.Reader
		for rd.Reset(batches[:h.Size()], 1<<20); rd.Next(); {
			out = append(out, string(rd.Record().Value))
		}
		if err := rd.Err(); err != nil {
			t.Fatal(err)
		}
		batches = batches[h.Size():]
	}
	if r.LogEnd() != int64(len(out)) {
		t.Errorf("%s: %d records up to offset %d", r.TopicPartition(), len(out), r.LogEnd())
	}
	return out
}
