package metadata

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// golden is the directory that this milestone leaves to all later builds. It is
// written once: remove it and run with -update to write it anew, which is only
// right before the milestone is out.
const golden = "core"

// Directories that earlier builds wrote open in this one, and say the same.
func TestGoldenDirectories(t *testing.T) {
	if _, err := os.Stat(filepath.Join("testdata/golden", golden)); err != nil && script.Update() {
		writeGolden(t, filepath.Join("testdata/golden", golden))
	}
	dirs, err := filepath.Glob("testdata/golden/*/data")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no golden directories", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "image.txt"))
			if err != nil {
				t.Fatal(err)
			}
			mine := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(mine, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			n := start(t, options{fs: vfs.OS(), dir: mine})
			if got := describe(n.Image()); got != string(want) {
				t.Errorf("it says\n%swhere its build said\n%s", got, want)
			}
			n.create("written-by-this-build", 1)
			n.end()
			n = start(t, options{fs: vfs.OS(), dir: mine})
			if n.Image().Topic("written-by-this-build") == nil {
				t.Error("what this build adds is not there after a restart")
			}
			n.end()
		})
	}
}

// describe prints what must not change: not the broker's process, nor the epochs
// that a start raises.
func describe(m *cluster.Image) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s\n", m.ClusterID())
	for _, f := range m.Features() {
		fmt.Fprintf(&b, "feature %s %d\n", f.Name, f.Level)
	}
	for _, k := range m.Brokers() {
		fmt.Fprintf(&b, "broker %d %v\n", k.ID, k.Endpoints)
	}
	for _, t := range m.Topics() {
		fmt.Fprintf(&b, "topic %s %s\n", t.Name, t.ID)
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "  %d replicas %v isr %v directories %v\n", p.ID, p.Replicas, p.ISR, p.Directories)
		}
	}
	for r, pairs := range m.ConfigResources() {
		fmt.Fprintf(&b, "config %s %q %v\n", r.Kind, r.Name, pairs)
	}
	fmt.Fprintf(&b, "next producer id %d\n", m.NextProducerID())
	return b.String()
}

// writeGolden makes a directory with a snapshot and a log behind it, deleted
// topics and settings of every kind, as an orderly end leaves it.
func writeGolden(t *testing.T, dir string) {
	t.Helper()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	n := start(t, options{fs: vfs.OS(), dir: data, static: config.Settings{
		"metadata.log.max.record.bytes.between.snapshots": {Value: "4000", Origin: "test"}}})
	for i := range 30 {
		n.create(fmt.Sprintf("topic-%02d", i), int32(1+i%4), "retention.ms", fmt.Sprint(1000*i))
		if i%5 == 0 {
			n.remove(fmt.Sprintf("topic-%02d", i))
		}
	}
	n.AutoCreate(t.Context(), []string{"__consumer_offsets"})
	if _, err := n.NextProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
	image := describe(n.Image())
	n.end()
	if err := os.WriteFile(filepath.Join(dir, "image.txt"), []byte(image), 0o644); err != nil {
		t.Fatal(err)
	}
	var files []string
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, filepath.Base(path))
		}
		return err
	})
	if err != nil || !slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, ".checkpoint") }) {
		t.Fatal("no snapshot among", files, err)
	}
}
