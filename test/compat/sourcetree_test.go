//go:build compat

package compat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sourceTree is the real input: every file of the Go source tree, key = path,
// value = bytes.
func sourceTree(t testing.TB) (paths []string, root string) {
	t.Helper()
	root = filepath.Join(runtime.GOROOT(), "src")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(root, p)
			paths = append(paths, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil || len(paths) < 5000 {
		t.Fatalf("the Go source tree has %d files: %v", len(paths), err)
	}
	sort.Strings(paths)
	return paths, root
}

// digest is independent of partition order: each record's hash is summed up
// by key, in key order.
type digest map[string]string

func (d digest) add(key string, value []byte) {
	sum := sha256.Sum256(value)
	d[key] = hex.EncodeToString(sum[:])
}

func (d digest) sum() string {
	keys := make([]string, 0, len(d))
	for k := range d {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	h := sha256.New()
	for _, k := range keys {
		fmt.Fprintf(h, "%s %s\n", k, d[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// Written by franz-go (Go), read by librdkafka (C, from Python), with each
// codec: the digest over every path and byte is the same.
func TestSourceTreeRoundTrip(t *testing.T) {
	b := target(t)
	paths, root := sourceTree(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := "tree-" + codec
			tool(t, "", "topics", "--bootstrap-server", b, "--create", "--topic", topic, "--partitions", "3", "--config", "max.message.bytes=20000000")
			want := digest{}
			cl, err := kgo.NewClient(kgo.SeedBrokers(b), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codecs[codec]),
				kgo.ProducerBatchMaxBytes(16<<20), kgo.BrokerMaxWriteBytes(64<<20), kgo.RequiredAcks(kgo.AllISRAcks()))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			for _, p := range paths {
				value, err := os.ReadFile(filepath.Join(root, p))
				if err != nil {
					t.Fatal(err)
				}
				want.add(p, value)
				cl.Produce(t.Context(), &kgo.Record{Key: []byte(p), Value: value}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("%s: %v", p, err)
					}
				})
			}
			if err := cl.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := runPython(t, 3*time.Minute, "python/digest.py", b, topic, fmt.Sprint(len(paths)))
			if strings.TrimSpace(got.stdout) != want.sum() {
				t.Fatalf("digest read back %s, written %s", got.stdout, want.sum())
			}
			t.Logf("%d files, digest %s", len(paths), want.sum())
		})
	}
}

// The same input while the broker is killed five times: what was acknowledged
// is there once and in order.
func TestSourceTreeUnderKill(t *testing.T) {
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := startMyelin(t, dir, addr)
	paths, root := sourceTree(t)
	topic := "tree-kill"
	tool(t, "", "topics", "--bootstrap-server", addr, "--create", "--topic", topic, "--partitions", "3", "--config", "max.message.bytes=20000000")

	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(16<<20),
		kgo.BrokerMaxWriteBytes(64<<20), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var mu sync.Mutex
	acked := map[int32][]string{}
	wantAcked := digest{}
	rng := rand.New(rand.NewPCG(1, 2))
	killAt := map[int]bool{}
	for len(killAt) < 5 {
		killAt[500+rng.IntN(len(paths)-1000)] = true
	}
	sem := make(chan struct{}, 256)
	for i, p := range paths {
		if killAt[i] {
			s.kill()
			s = startMyelin(t, dir, addr)
		}
		value, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		sem <- struct{}{}
		cl.Produce(t.Context(), &kgo.Record{Key: []byte(p), Value: value, Partition: int32(i % 3)}, func(r *kgo.Record, err error) {
			<-sem
			if err != nil {
				t.Errorf("%s: %v", p, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			acked[r.Partition] = append(acked[r.Partition], p)
			wantAcked.add(p, value)
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, gotDigest := readAll(t, addr, topic, len(paths))
	for p := range got {
		if strings.Join(got[p], "\n") != strings.Join(acked[p], "\n") {
			t.Errorf("partition %d: %d records read, %d acknowledged, or another order", p, len(got[p]), len(acked[p]))
		}
	}
	if gotDigest.sum() != wantAcked.sum() {
		t.Errorf("digests differ: read %s, acknowledged %s", gotDigest.sum(), wantAcked.sum())
	}
	t.Logf("%d acknowledged over 5 kills, digest %s", len(wantAcked), gotDigest.sum())
}

// readAll reads n records and returns the keys of each partition in offset
// order.
func readAll(t testing.TB, addr, topic string, n int) (map[int32][]string, digest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(32<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	keys, d := map[int32][]string{}, digest{}
	for total := 0; total < n; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", total, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			keys[r.Partition] = append(keys[r.Partition], string(r.Key))
			d.add(string(r.Key), r.Value)
			total++
		})
	}
	return keys, d
}
