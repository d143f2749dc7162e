package commitlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

const goldenDir = "testdata/kafka-4.4"

// golden reads the directory that Apache Kafka wrote.
func golden(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	root := os.DirFS(goldenDir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "README.md" {
			return err
		}
		data, err := fs.ReadFile(root, name)
		files[strings.Replace(name, "kafka_clean", ".kafka_clean", 1)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestKafkaDirectory opens Apache Kafka's own directory: as it was left; killed,
// with the active indexes as long as Kafka keeps them; and with every cache gone.
// What comes out is the same each time, and the caches that are made anew are
// equal byte for byte to those that Kafka wrote; but for the snapshots, in which
// we remember older batches of each producer too.
func TestKafkaDirectory(t *testing.T) {
	for name, change := range map[string]func(files map[string][]byte){
		"clean": func(map[string][]byte) {},
		"killed": func(files map[string][]byte) {
			delete(files, cleanFile)
			files[pointFile] = []byte("0\n0\n")
			for _, suffix := range []string{segment.IdxSuffix, segment.TimeSuffix} {
				active := "golden-0/" + segment.Name(66, suffix)
				files[active] = append(bytes.Clone(files[active]), make([]byte, 10<<20/12*12-len(files[active]))...)
			}
		},
		"caches gone": func(files map[string][]byte) {
			for file := range files {
				if file != cleanFile && file != "golden-0/"+metadataFile && !strings.HasSuffix(file, segment.LogSuffix) {
					delete(files, file)
				}
			}
			delete(files, cleanFile)
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, files := golden(t), golden(t)
			change(files)
			r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{}), now: epoch0}
			r.fs = r.disk
			r.must(r.disk.MkdirAll("/data/golden-0"))
			for file, data := range files {
				r.must(vfs.WriteAtomic(r.disk, path.Join("/data", file), data))
			}
			r.openGolden()
			r.checkGolden()
			r.stop()
			for file, data := range want {
				got, err := vfs.ReadFile(r.disk, path.Join("/data", file), 1<<30)
				if strings.HasSuffix(file, snapshotSuffix) {
					got = newestOnly(got)
				}
				if file == cleanFile || err == nil && bytes.Equal(got, data) {
					continue
				}
				t.Errorf("%s differs: %v\n got %x\nwant %x", file, err, got[:min(len(got), 400)], data[:min(len(data), 400)])
			}
		})
	}
}

// newestOnly makes of a snapshot the one that Kafka would have written.
func newestOnly(b []byte) []byte {
	out := bytes.Clone(b[:snapshotHead])
	for at := snapshotHead; at+snapshotProducer <= len(b); at += snapshotProducer {
		next := b[at+snapshotProducer:]
		if len(next) == 0 || !bytes.Equal(next[:8], b[at:at+8]) {
			out = append(out, b[at:at+snapshotProducer]...)
		}
	}
	binary.BigEndian.PutUint32(out[6:], uint32((len(out)-snapshotHead)/snapshotProducer))
	binary.BigEndian.PutUint32(out[2:], crc32.Checksum(out[6:], castagnoli))
	return out
}

func (r *rig) openGolden() {
	r.t.Helper()
	var err error
	r.home, err = OpenHome(HomeConfig{FS: r.fs, Path: "/data"})
	r.must(err)
	logs, err := r.home.Logs()
	if err != nil || fmt.Sprint(logs) != "[golden-0]" {
		r.t.Fatal(logs, err)
	}
	id, err := parseTopicID(golden(r.t.(*testing.T))["golden-0/"+metadataFile])
	r.must(err)
	r.log, r.rec, err = Open(Config{Home: r.home, Topic: "golden", TopicID: id, Tunables: Tunables{IndexInterval: 1000}})
	r.must(err)
}

func (r *rig) checkGolden() {
	r.t.Helper()
	seen := 0
	for off := int64(0); off < r.log.End(); {
		rng, err := r.log.Read(off, 1<<20, r.log.End(), true)
		r.must(err)
		data := make([]byte, rng.Len())
		_, err = rng.ReadAt(data, 0)
		r.must(err)
		rng.Release()
		for len(data) > 0 {
			h, err := record.Check(data[:record.Size(data)])
			r.must(err)
			var rr record.Reader
			for rr.Reset(data[:h.Size()], 1<<20); rr.Next(); {
				if !h.Attributes.Has(record.Control) {
					if key := string(rr.Record().Key); key != fmt.Sprint("k", seen) {
						r.t.Fatalf("record %d has key %s", seen, key)
					}
					seen++
				}
			}
			r.must(rr.Err())
			off, data = h.NextOffset(), data[h.Size():]
		}
	}
	if seen != 67 || r.log.End() != 69 {
		r.t.Fatal(seen, "records, end", r.log.End())
	}
	for n := range int64(67) {
		f, ok, err := r.log.OffsetForTime(1_700_000_000_000 + n*10)
		if err != nil || !ok || kafka.CodeOf(err) != kafka.None || n < 66 && f.Offset != n {
			r.t.Fatal(n, f, ok, err)
		}
	}
	aborted, err := r.log.Aborted(0, 69)
	if err != nil || fmt.Sprint(aborted) != "[{5 60 68 67}]" {
		r.t.Fatal(aborted, err)
	}
	if first, ok := r.log.Producers().FirstUnstable(69); !ok || first != 67 {
		r.t.Fatal(first, ok)
	}
	last := record.Header{ProducerID: 4, BaseSequence: 8, LastOffsetDelta: 3, Count: 4}
	if v, err := r.log.Producers().Check(&last); err != nil || !v.Duplicate || v.Base != 56 {
		r.t.Fatal(v, err)
	}
	if e := r.log.Epochs(); len(e) != 1 || e[0] != (EpochStart{0, 0}) {
		r.t.Fatal(e)
	}
}
