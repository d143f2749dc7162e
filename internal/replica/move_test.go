package replica

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

var t0 = kafka.TopicPartition{Topic: "t"}

// inDir waits until a replica is in a directory.
func (y *yard) inDir(r *Replica, dir string) {
	y.t.Helper()
	for range 600 {
		if r.Directory() == dir {
			synctest.Wait()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	y.t.Fatalf("after a minute it is in %s, not in %s", r.Directory(), dir)
}

// mustMove has t-0 moved and waits for the end.
func (y *yard) mustMove(r *Replica, dir string) {
	y.t.Helper()
	if err := y.table.Move(r.TopicPartition(), dir); err != nil {
		y.t.Fatal(err)
	}
	y.inDir(r, dir)
}

// small segments, and folders that go at once.
func smallSegments(a *Assignment) {
	a.Config.Log.SegmentBytes, a.Config.FileDeleteDelay = 2000, time.Second
}

// TestMove: the replica is the same in the other directory: records, start,
// epochs, producers, transactions. Then back.
func TestMove(t *testing.T) {
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, nil, "/a", "/b")
		y.assign(numbered(1, smallSegments)...)
		r := y.get(0)
		for n := range int32(30) {
			must(t, r, client(t, from(7, n*3, 3), n%3 != 0))
			if n == 20 {
				a := numbered(1, smallSegments)
				a[0].Role.LeaderEpoch = 4
				y.assign(a...)
				synctest.Wait()
			}
		}
		txn := record.Builder{Producer: &record.Producer{ID: 9}, Flags: record.Transactional}
		txn.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("open")})
		must(t, r, unguarded(client(t, txn.Bytes(), true)))
		if _, err := r.DeleteRecords(31); err != nil {
			t.Fatal(err)
		}
		for i, dir := range []string{"/b", "/a", "/b"} {
			time.Sleep(time.Second)
			before := state(t, r)
			y.mustMove(r, dir)
			if after := state(t, r); after != before {
				t.Fatalf("move %d:\n%s\nafter:\n%s", i, before, after)
			}
			if y.names()[t0] != dirID(dir) {
				t.Errorf("move %d: the metadata says %v", i, y.names()[t0])
			}
			if dup := must(t, r, client(t, from(7, 29*3, 3), true)); !dup.Duplicate {
				t.Error("the producer was forgotten")
			}
			got := must(t, r, client(t, from(8, int32(i), 1), true))
			if a := await(r, got.Last+1, true, nil); a.calls() == 0 {
				time.Sleep(time.Second)
				if a.calls() != 1 || a.told() != nil {
					t.Errorf("a write after the move: %d, %v", a.calls(), a.told())
				}
			}
		}
		time.Sleep(3 * time.Second)
		if got := y.where("/a", "/b"); got != "a: | b: t-0" {
			t.Errorf("folders %q", got)
		}
		before := state(t, r)
		if err := y.stop(); err != nil {
			t.Fatal(err)
		}
		for _, h := range y.homes {
			if again, err := commitlog.OpenHome(commitlog.HomeConfig{FS: fs, Path: h.Path(), Now: time.Now}); err != nil || !again.Clean() {
				t.Errorf("%s was not left clean: %v", h.Path(), err)
			} else if err := again.Close(true); err != nil {
				t.Error(err)
			}
		}
		y = startYard(t, fs, y.names(), "/a", "/b")
		a := numbered(1, smallSegments)
		a[0].Role.LeaderEpoch = 4
		y.assign(a...)
		if after := state(t, y.get(0)); after != before {
			t.Errorf("before the restart:\n%s\nafter:\n%s", before, after)
		}
	})
}

// state is all that a replica knows.
func state(t *testing.T, r *Replica) string {
	t.Helper()
	var b strings.Builder
	log := r.log()
	fmt.Fprintf(&b, "start %d end %d hw %d lso %d epochs %v producers %v\n", r.LogStart(), r.LogEnd(), r.HW(), r.LSO(), log.Epochs(), r.Producers())
	for at := r.LogStart(); at < r.LogEnd(); {
		batch, next, err := r.Batches(at, 1, ReadAll)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d %x\n", at, batch[:min(61, len(batch))])
		at = next
	}
	return b.String()
}

// TestMoveUnderLoad: nobody who writes or reads notices, and all is there.
func TestMoveUnderLoad(t *testing.T) {
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, nil, "/a", "/b", "/c")
		y.assign(numbered(1, smallSegments)...)
		r := y.get(0)
		fs.SetHook(func(vfs.Op) vfs.Verdict { return vfs.Verdict{Delay: time.Millisecond} })
		var stop atomic.Bool
		done := make(chan int64)
		go func() {
			var acked int64
			for n := int32(0); !stop.Load(); n++ {
				got, err := r.Append(client(t, from(7, n*2, 2), true))
				if err != nil || got.Duplicate {
					t.Errorf("append %d: %+v %v", n, got, err)
					break
				}
				told := make(chan error, 1)
				r.AwaitCommitted(&Waiter{Offset: got.Last + 1, Durable: true, Done: func(err error) { told <- err }})
				if err := <-told; err != nil {
					t.Errorf("append %d: %v", n, err)
					break
				}
				acked = got.Last + 1
			}
			done <- acked
		}()
		read := make(chan int64)
		go func() {
			at := int64(0)
			for !stop.Load() {
				_, next, err := r.Batches(at, 1<<10, ReadUncommitted)
				if err != nil {
					t.Errorf("read at %d: %v", at, err)
					break
				}
				at = next
				time.Sleep(time.Millisecond)
			}
			read <- at
		}()
		for _, dir := range []string{"/b", "/c", "/a", "/c"} {
			time.Sleep(time.Second)
			y.mustMove(r, dir)
		}
		stop.Store(true)
		acked := <-done
		if at := <-read; at < acked-100 || acked < 1000 {
			t.Errorf("acknowledged %d, read %d", acked, at)
		}
		fs.SetHook(nil)
		if r.HW() != acked || int64(len(consume(t, r, 0, ReadUncommitted))) != acked/2 {
			t.Errorf("acknowledged %d, high watermark %d", acked, r.HW())
		}
	})
}

// TestMoveRefused: Kafka's answers to what cannot be.
func TestMoveRefused(t *testing.T) {
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, nil, "/a", "/b", "/c")
		y.assign(numbered(1)...)
		y.get(0)
		y.table.Cordon([]string{"/c"})
		long := kafka.TopicPartition{Topic: strings.Repeat("x", 249)}
		for _, c := range []struct {
			tp   kafka.TopicPartition
			dir  string
			want kafka.Code
		}{
			{t0, "/nosuch", kafka.LogDirNotFound},
			{t0, "/c", kafka.InvalidReplicaAssignment},
			{kafka.TopicPartition{Topic: "t", Partition: 9}, "/b", kafka.ReplicaNotAvailable},
			{long, "/b", kafka.InvalidTopicException},
			{t0, "/a", kafka.None},
		} {
			if err := y.table.Move(c.tp, c.dir); kafka.CodeOf(err) != c.want {
				t.Errorf("%s to %s: %v, want %s", c.tp, c.dir, err, c.want.Name())
			}
		}
		y.homes[2].Fail(syscall.EIO)
		if err := y.table.Move(t0, "/c"); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("to a failed directory: %v", err)
		}
		if err := y.table.Move(t0, "/b"); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("while another has failed: %v", err)
		}
	})
}

// TestMoveTakenBack: a slow move is taken back, sent elsewhere, ended by the end
// of the topic, and goes on after a restart.
func TestMoveTakenBack(t *testing.T) {
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, nil, "/a", "/b", "/c")
		y.assign(numbered(1, smallSegments)...)
		r := y.get(0)
		for range 40 {
			must(t, r, client(t, batchOf(1, 1000), true))
		}
		y.table.SetMoveRate(4000)
		move := func(dir, want string) {
			t.Helper()
			if err := y.table.Move(t0, dir); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			if got := y.where("/a", "/b", "/c"); got != want {
				t.Fatalf("on the way to %s: %q, want %q", dir, got, want)
			}
		}
		move("/b", "a: t-0 | b: t-0-future | c:")
		if dir, size, lag, ok := r.Future(); !ok || dir != "/b" || size < 8000 || size > 20000 || lag < 20 || lag > 35 {
			t.Errorf("the copy in %q: %d bytes, %d behind, %v", dir, size, lag, ok)
		}
		move("/b", "a: t-0 | b: t-0-future | c:")
		move("/c", "a: t-0 | b: | c: t-0-future")
		move("/a", "a: t-0 | b: | c:")
		if _, _, _, ok := r.Future(); ok {
			t.Error("there is a copy still")
		}
		move("/c", "a: t-0 | b: | c: t-0-future")
		if err := y.stop(); err != nil {
			t.Fatal(err)
		}
		y = startYard(t, fs, y.names(), "/a", "/b", "/c")
		y.assign(numbered(1, smallSegments)...)
		r = y.get(0)
		y.inDir(r, "/c")
		if len(consume(t, r, 0, ReadUncommitted)) != 40 || y.names()[t0] != dirID("/c") {
			t.Errorf("%d batches, metadata %v", len(consume(t, r, 0, ReadUncommitted)), y.names()[t0])
		}
		y.table.SetMoveRate(4000)
		move("/b", "a: | b: t-0-future | c: t-0")
		y.table.Apply(Delta{Removed: []kafka.TopicPartition{t0}})
		time.Sleep(5 * time.Second)
		if got := y.where("/a", "/b", "/c"); got != "a: | b: | c:" {
			t.Errorf("after the topic's end: %q", got)
		}
		// And one whose partition has gone while the node was down.
		y.assign(numbered(1, smallSegments)...)
		y.table.SetMoveRate(400)
		must(t, y.get(0), client(t, batchOf(1, 1000), true))
		must(t, y.get(0), client(t, batchOf(1, 1000), true))
		if err := y.table.Move(t0, "/b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_ = y.stop()
		y = startYard(t, fs, nil, "/a", "/b", "/c")
		y.table.Apply(Delta{Complete: true})
		time.Sleep(5 * time.Second)
		if got := y.where("/a", "/b", "/c"); strings.Contains(got, "future") {
			t.Errorf("after a restart without the topic: %q", got)
		}
	})
}

// TestMoveFails: a destination that fails leaves the replica where it is; a
// source that fails takes it offline and keeps the copy.
func TestMoveFails(t *testing.T) {
	for name, c := range map[string]struct {
		fails   string
		offline bool
	}{"destination": {"/b", false}, "source": {"/a", true}} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(t *testing.T, fs *vfs.Mem) {
				y := startYard(t, fs, nil, "/a", "/b")
				y.assign(numbered(1, smallSegments)...)
				r := y.get(0)
				for range 40 {
					must(t, r, client(t, batchOf(1, 1000), true))
				}
				y.table.SetMoveRate(4000)
				if err := y.table.Move(t0, "/b"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
					if strings.HasPrefix(op.Name, c.fails+"/") {
						v.Err = syscall.EIO
					}
					return v
				})
				if c.offline {
					for _, h := range y.homes {
						if h.Path() == c.fails {
							h.Fail(syscall.EIO)
						}
					}
				}
				time.Sleep(30 * time.Second)
				if offline := r.Offline() != nil; offline != c.offline || r.Directory() != "/a" {
					t.Errorf("it is in %s, %v", r.Directory(), r.Offline())
				}
				if !c.offline {
					must(t, r, client(t, batchOf(1, 10), true))
				}
				fs.SetHook(nil)
				_ = y.stop()
				y = startYard(t, fs, y.names(), "/a", "/b")
				y.assign(numbered(1, smallSegments)...)
				r = y.get(0)
				time.Sleep(30 * time.Second)
				if n := len(consume(t, r, 0, ReadUncommitted)); n < 40 {
					t.Errorf("%d batches in %s", n, r.Directory())
				}
			})
		})
	}
}

// TestMoveGoesOnWhenThereIsRoom: a move whose source was full goes on when the
// replica is back, in the same process.
func TestMoveGoesOnWhenThereIsRoom(t *testing.T) {
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, nil, "/a", "/b")
		y.assign(numbered(1, smallSegments)...)
		r := y.get(0)
		for range 40 {
			must(t, r, client(t, batchOf(1, 1000), true))
		}
		y.table.SetMoveRate(4000)
		if err := y.table.Move(t0, "/b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if strings.HasPrefix(op.Name, "/a/") && op.Kind == vfs.OpSync {
				v.Err = syscall.ENOSPC
			}
			return v
		})
		_, _ = r.Append(client(t, batchOf(1, 10), true))
		time.Sleep(30 * time.Second)
		if _, _, _, moving := r.Future(); r.Offline() == nil || moving || r.Directory() != "/a" {
			t.Fatalf("in %s, %v, moving %v", r.Directory(), r.Offline(), moving)
		}
		fs.SetHook(nil)
		y.inDir(r, "/b")
		if n := len(consume(t, r, 0, ReadUncommitted)); n != 40 {
			t.Errorf("%d batches", n)
		}
		must(t, r, client(t, batchOf(1, 10), true))
	})
}

// TestMovePowerCutAnywhere cuts the power before every single operation on the
// file system while two partitions are written and moved to and fro: what was
// acknowledged is there once, and goes on.
func TestMovePowerCutAnywhere(t *testing.T) {
	total, step, cuts := int64(1<<30), int64(1), 0
	defer func() { t.Logf("%d power cuts, each in %d ways", cuts, len(vfs.Policies)) }()
	if testing.Short() {
		step = 23
	}
	for stop := int64(0); stop < total; stop += step {
		cuts++
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewMem(vfs.MemConfig{Now: time.Now})
			y := startYard(t, fs, nil, "/a", "/b")
			fs.StopBefore(fs.Ops() + stop)
			s := &story{table: y.table, apply: func(d Delta) { y.assign(d.Assigned...) }}
			s.each = func(n int) bool {
				if n%15 == 6 {
					_ = y.table.Move(kafka.TopicPartition{Topic: "t", Partition: int32(n/15) % 2}, []string{"/b", "/a"}[n/30%2])
				}
				return true
			}
			s.tell()
			if !fs.Stopped() {
				total = 0
				for p := range int32(2) {
					t.Logf("partition %d ends in %s", p, y.get(p).Directory())
				}
			}
			synctest.Wait()
			names := y.names()
			for i, policy := range vfs.Policies {
				s.checkYard(t, fs.Crash(policy, rand.New(rand.NewPCG(uint64(stop), uint64(i)))), names)
			}
			fs.StopBefore(1 << 60)
			_ = y.stop()
		})
		if t.Failed() {
			t.Fatalf("power cut before operation %d", stop)
		}
	}
}

// checkYard opens what a power cut left of several directories.
func (s *story) checkYard(t *testing.T, fs *vfs.Mem, names map[kafka.TopicPartition]kafka.UUID) {
	y := startYard(t, fs, names, "/a", "/b")
	defer func() { _ = y.stop() }()
	y.assign(two(1).Assigned...)
	y.table.Apply(Delta{Complete: true, Assigned: y.assigned()})
	s.verify(t, y.table)
	if t.Failed() {
		t.Log(y.where("/a", "/b"), names)
	}
	for p := range int32(2) { // it can still be written, moved and read
		r := y.get(p)
		got := must(t, r, client(t, from(100, 0, 1), true))
		dir := "/a"
		if r.Directory() == dir {
			dir = "/b"
		}
		time.Sleep(2 * time.Second) // a copy may be on its way
		if r.Directory() == dir {
			continue
		}
		y.mustMove(r, dir)
		if r.HW() != got.Last+1 {
			t.Errorf("partition %d: high watermark %d after %d", p, r.HW(), got.Last+1)
		}
	}
}
