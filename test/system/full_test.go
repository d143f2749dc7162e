//go:build system && linux

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A small file system has so much room.
const smallBytes = 160 << 20

// beside is a topic on the same disk, with as many partitions, whose records are
// not counted.
const beside = "beside"

// tmpfs mounts a small file system in memory.
func tmpfs(t testing.TB) string { return memory(t, smallBytes) }

// memory mounts a file system in memory with room for so many bytes.
func memory(t testing.TB, room int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("myelin-system", dir, "tmpfs", 0, fmt.Sprintf("size=%d", room)); err != nil {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// ext4 mounts a small file system that lies in a file, through a loop device.
func ext4(t testing.TB) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, smallBytes); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: this machine makes no ext4 on a loop device: %v: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

func unmount(t testing.TB, dir string) {
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Errorf("unmounting %s: %v", dir, err)
		syscall.Unmount(dir, syscall.MNT_DETACH)
	}
}

func free(t testing.TB, dir string) int64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fillUp writes a file as other programs do: the disk fills up, and some time
// later it is full. So the node has made its ballast.
func fillUp(t testing.TB, name string, l *load) {
	t.Helper()
	l.held.Store(true) // or the load alone fills a fast disk before anybody has looked
	defer l.held.Store(false)
	dir := filepath.Dir(name)
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fill(t, name, free(t, dir)-50<<20)
	limit := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(dir, "data", ".myelin_ballast")); err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("no ballast was made within 20 s, though the disk fills up")
		}
		pause(20 * time.Millisecond)
	}
	fill(t, name, 1<<40)
}

// fill writes up to n bytes behind a file, until the last byte of the disk is
// taken.
func fill(t testing.TB, name string, n int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0 && n > 0; {
		done, err := f.Write(make([]byte, size))
		n -= int64(done)
		if errors.Is(err, syscall.ENOSPC) {
			size /= 4
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk fills a real small file system under load and frees it again. A
// full disk stops producers, with an error that tells them to try again, and
// nothing else: reads work, the node runs on, and produces again soon after
// there is room, without a restart. A node started on the full disk starts: at
// once while its ballast lasts, else as soon as there is room.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	for name, disk := range map[string]func(testing.TB) string{"tmpfs": tmpfs, "ext4": ext4} {
		t.Run(name+"/filler", func(t *testing.T) { fillByAnother(t, disk(t)) })
		t.Run(name+"/growth", func(t *testing.T) { fillByGrowth(t, disk(t)) })
	}
}

// startOn starts a node and its load on a small disk.
func startOn(t testing.TB, dir string) (*broker, *load) {
	t.Helper()
	data := filepath.Join(dir, "data")
	b := newBroker(t, []string{data}, "log.level=info")
	b.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if res, err := kadm.NewClient(client(t, b.addr)).CreateTopic(ctx, 3, 1, nil, beside); err != nil || res.Err != nil {
		t.Fatalf("creating a topic: %v %v", err, res.Err)
	}
	l := startLoad(t, b.addr, loadConfig{producers: 3, partitions: 3, largest: 20000,
		topic: map[string]string{"segment.bytes": "1048576", "file.delete.delay.ms": "0"}})
	if err := l.awaitAcked(200, time.Minute); err != nil {
		t.Fatalf("%v\n%s", err, b.tail())
	}
	return b, l
}

// fillByAnother lets another program take the disk.
func fillByAnother(t *testing.T, dir string) {
	b, l := startOn(t, dir)
	filler := filepath.Join(dir, "filler")
	fillUp(t, filler, l)
	awaitRefusal(t, b, l)
	process := b.cmd.Process.Pid
	for range 20 { // what the node gives up meanwhile is taken too
		fill(t, filler, 1<<40)
	}
	t.Logf("%d bytes are free", free(t, dir))
	readsWork(t, l)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	awaitService(t, b, l)
	if b.cmd.Process.Pid != process {
		t.Error("the node was restarted")
	}

	fillUp(t, filler, l)
	awaitRefusal(t, b, l)
	b.kill()
	b.start(t)
	t.Logf("a node started with %d bytes free", free(t, dir))
	readsWork(t, l)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	awaitService(t, b, l)

	// Not a byte is left, of the ballast neither: a node cannot register then. It
	// waits for room, and needs no other start.
	for range 20 {
		fill(t, filler, 1<<40)
	}
	awaitRefusal(t, b, l)
	b.kill()
	fill(t, filler, 1<<40)
	b.launch(t)
	early := b.await(5*time.Second) == nil
	if !b.running() {
		t.Fatalf("the node ended for want of room: %v\n%s", b.err, b.tail())
	}
	t.Logf("with %d bytes free a node is ready at once: %v", free(t, dir), early)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := b.await(10 * time.Second); err != nil {
		t.Fatalf("after there was room: %v\n%s", err, b.tail())
	}
	awaitService(t, b, l)
	end(t, b, l)
}

// fillByGrowth lets the node fill the disk itself, and frees it by deleting
// records.
func fillByGrowth(t *testing.T, dir string) {
	b, l := startOn(t, dir)
	awaitRefusal(t, b, l)
	t.Logf("%d bytes are free after %d records", free(t, dir), l.acked.Load())
	readsWork(t, l)
	ends := l.ends(t)
	l.awaitRead(t, l.live, ends)
	cut := kadm.Offsets{}
	for p, end := range ends {
		cut.AddOffset(topic, int32(p), end, -1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := kadm.NewClient(client(t, l.addr)).DeleteRecords(ctx, cut)
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		t.Fatalf("deleting records on the full disk: %v\n%s", err, b.tail())
	}
	l.low = ends
	awaitService(t, b, l)
	t.Logf("%d bytes are free after the deletion", free(t, dir))
	end(t, b, l)
}

func end(t *testing.T, b *broker, l *load) {
	t.Helper()
	l.finish(t)
	if t.Failed() {
		t.Logf("%s", b.tail())
	}
	b.stop(t)
	b.sound(t, false)
}

// awaitRefusal waits until a client that tries once is told that the storage
// has a problem, in every partition.
func awaitRefusal(t testing.TB, b *broker, l *load) {
	t.Helper()
	once := client(t, l.addr, kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(10*time.Second))
	const text = "a record that nobody counts"
	limit := time.Now().Add(2 * time.Minute)
	for p := range l.partitions {
		for {
			err := once.ProduceSync(t.Context(), &kgo.Record{Topic: beside, Partition: p, Value: []byte(text)}).FirstErr()
			if errors.Is(err, kerr.KafkaStorageError) {
				break
			}
			if err != nil && !errors.Is(err, kerr.NotLeaderForPartition) {
				t.Fatalf("producing to a full disk: %v, want KAFKA_STORAGE_ERROR\n%s", err, b.tail())
			}
			if !b.running() {
				t.Fatalf("the node ended: %v\n%s", b.err, b.tail())
			}
			if time.Now().After(limit) {
				t.Fatalf("no refusal within 2 min, last answer %v\n%s", err, b.tail())
			}
			pause(20 * time.Millisecond)
		}
	}
	once.Close()
}

// readsWork reads the first record of each partition with a new client.
func readsWork(t testing.TB, l *load) {
	t.Helper()
	low := l.low
	if low == nil {
		low = make([]int64, l.partitions)
	}
	cl := client(t, l.addr, kgo.ConsumePartitions(l.from(low)), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for got := map[int32]bool{}; len(got) < int(l.partitions); {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("reading on a full disk: %v", err)
		}
		f.EachRecord(func(r *kgo.Record) { got[r.Partition] = true })
	}
}

// awaitService waits until every partition acknowledges again, 10 s at most.
func awaitService(t testing.TB, b *broker, l *load) {
	t.Helper()
	begin := time.Now()
	before := make([]int64, l.partitions)
	for p := range before {
		before[p] = l.ackedIn[p].Load()
	}
	for p := range before {
		for l.ackedIn[p].Load() == before[p] {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("partition %d does not serve 10 s after there was room: %s\n%s", p, strings.Join(l.broken(), "; "), b.tail())
			}
			pause(5 * time.Millisecond)
		}
	}
	t.Logf("every partition serves %v after there was room", time.Since(begin).Round(time.Millisecond))
}
