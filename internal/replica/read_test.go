package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func TestRead(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold(func(a *Assignment) { a.Role.LeaderEpoch = 3 })
		for range 4 {
			must(t, p, client(t, batchOf(5, 100), false))
		}
		one := len(batchOf(5, 100))
		slowSyncs(fs, time.Hour)
		must(t, p, client(t, batchOf(5, 100), true))
		tests := []struct {
			name string
			q    Read
			code kafka.Code
			base int64
			size int
		}{
			{"all that is committed", Read{MaxBytes: 1 << 20}, kafka.None, 0, 4 * one},
			{"the log end for followers", Read{MaxBytes: 1 << 20, Isolation: ReadAll}, kafka.None, 0, 5 * one},
			{"from within a batch", Read{Offset: 7, MaxBytes: 1 << 20}, kafka.None, 5, 3 * one},
			{"too small a limit", Read{Offset: 7, MaxBytes: 10}, kafka.None, 0, 0},
			{"but one at least", Read{Offset: 7, MaxBytes: 10, MinOne: true}, kafka.None, 5, one},
			{"at the high watermark", Read{Offset: 20, MaxBytes: 1 << 20}, kafka.None, 0, 0},
			{"above it, below the end", Read{Offset: 23, MaxBytes: 1 << 20}, kafka.None, 0, 0},
			{"beyond the end", Read{Offset: 26, MaxBytes: 1 << 20}, kafka.OffsetOutOfRange, 0, 0},
			{"before the start", Read{Offset: -1, MaxBytes: 1 << 20}, kafka.OffsetOutOfRange, 0, 0},
			{"epoch behind", Read{CurrentEpoch: 2}, kafka.FencedLeaderEpoch, 0, 0},
			{"epoch ahead", Read{CurrentEpoch: 4}, kafka.UnknownLeaderEpoch, 0, 0},
		}
		for _, test := range tests {
			if test.q.CurrentEpoch == 0 {
				test.q.CurrentEpoch = kafka.NoEpoch
			}
			test.q.LastFetchedEpoch = kafka.NoEpoch
			res, err := p.Read(test.q)
			if kafka.CodeOf(err) != test.code || res.Range.Len() != test.size || test.size > 0 && res.Range.BaseOffset() != test.base {
				t.Errorf("%s: %d bytes from %d, %v", test.name, res.Range.Len(), res.Range.BaseOffset(), err)
			}
			if err == nil && (res.HW != 20 || res.LSO != 20 || res.LogEnd != 25 || res.LogStart != 0) {
				t.Errorf("%s: %+v", test.name, res)
			}
			res.Range.Release()
		}
		fs.SetHook(nil)
	})
}

func TestDivergingEpochs(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold(func(a *Assignment) { a.Role.LeaderEpoch = 1 })
		must(t, p, client(t, batchOf(5, 1), false))
		r.hold(func(a *Assignment) { a.Role.LeaderEpoch, a.Role.PartitionEpoch = 4, 1 })
		synctest.Wait()
		must(t, p, client(t, batchOf(5, 1), false))
		for _, test := range []struct {
			epoch  int32
			offset int64
			want   *EpochEnd
		}{
			{1, 3, nil}, {1, 5, nil}, {4, 7, nil}, {1, 7, &EpochEnd{1, 5}}, {3, 7, &EpochEnd{1, 5}}, {3, 4, &EpochEnd{1, 5}},
		} {
			res, err := p.Read(Read{Offset: test.offset, MaxBytes: 1, CurrentEpoch: 4, LastFetchedEpoch: test.epoch})
			if err != nil || (res.Diverging == nil) != (test.want == nil) || test.want != nil && *res.Diverging != *test.want {
				t.Errorf("epoch %d at %d: %v, %v", test.epoch, test.offset, res.Diverging, err)
			}
			res.Range.Release()
		}
		if end, err := p.EndOffsetForEpoch(4, 1); err != nil || end != (EpochEnd{1, 5}) {
			t.Errorf("end of epoch 1: %v, %v", end, err)
		}
		if end, err := p.EndOffsetForEpoch(4, 4); err != nil || end != (EpochEnd{4, 10}) {
			t.Errorf("end of epoch 4: %v, %v", end, err)
		}
		if _, err := p.EndOffsetForEpoch(1, 1); kafka.CodeOf(err) != kafka.FencedLeaderEpoch {
			t.Errorf("old epoch: %v", err)
		}
	})
}

func TestOffsetFor(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold(func(a *Assignment) {
			a.Role.LeaderEpoch = 2
			a.Config.TimestampAfter = 1 << 60
		})
		for i := range 3 {
			var b record.Builder
			for j := range 3 {
				b.Append(record.Record{Timestamp: int64(1000*i + 100*j), Value: []byte("v")})
			}
			must(t, p, client(t, b.Bytes(), false))
		}
		none := commitlog.Found{Offset: -1, Timestamp: -1, Epoch: -1}
		for ts, want := range map[int64]commitlog.Found{
			kafka.LatestTimestamp:        {Offset: 9, Timestamp: -1, Epoch: 2},
			kafka.EarliestTimestamp:      {Offset: 0, Timestamp: -1, Epoch: 2},
			kafka.EarliestLocalTimestamp: {Offset: 0, Timestamp: -1, Epoch: 2},
			kafka.LatestTieredTimestamp:  none, kafka.EarliestPendingUploadTimestamp: none,
			kafka.MaxTimestamp: {Offset: 8, Timestamp: 2200, Epoch: 2},
			1100:               {Offset: 4, Timestamp: 1100, Epoch: 2},
			1101:               {Offset: 5, Timestamp: 1200, Epoch: 2},
			1201:               {Offset: 6, Timestamp: 2000, Epoch: 2},
			2201:               none,
		} {
			got, err := p.OffsetFor(OffsetQuery{Timestamp: ts, CurrentEpoch: kafka.NoEpoch, FromLeader: true})
			if err != nil || got != want {
				t.Errorf("time %d: %+v, %v, want %+v", ts, got, err, want)
			}
		}
	})
}

// TestLatestIsHeldBackAfterAnElection pins KIP-207: a new leader does not say
// what is latest before it has committed what it began with.
func TestLatestIsHeldBackAfterAnElection(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold()
		must(t, p, client(t, batchOf(5, 1), false))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, r.fs, "/data")
		p = r.hold(func(a *Assignment) {
			a.Role.LeaderEpoch, a.Role.Replicas, a.Role.ISR = 1, []int32{1, 2}, []int32{1, 2}
		})
		q := OffsetQuery{Timestamp: kafka.LatestTimestamp, CurrentEpoch: kafka.NoEpoch, FromLeader: true}
		if _, err := p.OffsetFor(q); kafka.CodeOf(err) != kafka.OffsetNotAvailable {
			t.Errorf("latest: %v", err)
		}
		q.Isolation = ReadAll
		if got, err := p.OffsetFor(q); err != nil || got.Offset != 5 {
			t.Errorf("for a follower: %+v, %v", got, err)
		}
		p.Fetched(partition.Fetch{Replica: 2, Offset: 5, LeaderEpoch: 1, BrokerEpoch: 1, Eligible: true}, time.Now().UnixMilli())
		q.Isolation = ReadUncommitted
		if got, err := p.OffsetFor(q); err != nil || got.Offset != 5 {
			t.Errorf("once committed: %+v, %v", got, err)
		}
	})
}

func TestDeleteRecords(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold(func(a *Assignment) { a.Role.Replicas, a.Role.ISR = []int32{1, 2}, []int32{1, 2} })
		for range 3 {
			must(t, p, client(t, batchOf(5, 1), false))
		}
		p.Fetched(partition.Fetch{Replica: 2, Offset: 15, BrokerEpoch: 1, Eligible: true}, time.Now().UnixMilli())
		must(t, p, client(t, batchOf(1, 1), false))
		w := &FetchWaiter{Wake: NewWake(), Seen: p.HW()}
		w.Wake.Arm(1 << 30)
		p.Watch(w)
		for _, test := range []struct {
			offset, want int64
			code         kafka.Code
		}{{16, -1, kafka.OffsetOutOfRange}, {-2, -1, kafka.OffsetOutOfRange}, {7, 7, kafka.None}, {3, 7, kafka.None}, {-1, 15, kafka.None}} {
			if got, err := p.DeleteRecords(test.offset); got != test.want || kafka.CodeOf(err) != test.code {
				t.Errorf("delete to %d: %d, %v", test.offset, got, err)
			}
		}
		select {
		case <-w.Wake.Bell():
		default:
			t.Error("a fetch that waits was not told")
		}
		p.Unwatch(w)
		if _, err := p.Read(Read{Offset: 14, CurrentEpoch: -1, LastFetchedEpoch: -1}); kafka.CodeOf(err) != kafka.OffsetOutOfRange {
			t.Errorf("read below: %v", err)
		}
		c := p.Config()
		c.Compacted, c.Log.KeepAll = true, true
		p.SetConfig(c)
		if _, err := p.DeleteRecords(15); kafka.CodeOf(err) != kafka.PolicyViolation {
			t.Errorf("compacted: %v", err)
		}
	})
}

// TestWatch parks fetches and counts when they are woken.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		one := int64(len(batchOf(1, 100)))
		rang := func(w *Wake) bool {
			select {
			case <-w.Bell():
				return true
			default:
				return false
			}
		}
		w := &FetchWaiter{Wake: NewWake()}
		w.Wake.Arm(2 * one)
		p.Watch(w)
		must(t, p, client(t, batchOf(1, 100), false))
		if rang(w.Wake) {
			t.Error("rang after half of the bytes")
		}
		must(t, p, client(t, batchOf(1, 100), false))
		if !rang(w.Wake) {
			t.Error("did not ring")
		}
		must(t, p, client(t, batchOf(1, 100), false))
		if rang(w.Wake) {
			t.Error("rang twice")
		}
		p.Unwatch(w)
		w.Wake.Arm(1)
		w.Seen = 2
		p.Watch(w)
		if !rang(w.Wake) {
			t.Error("what came between read and watch was missed")
		}
		p.Unwatch(w)
		p.Unwatch(w)

		slowSyncs(fs, time.Second)
		w.Seen = p.HW()
		w.Wake.Arm(1)
		p.Watch(w)
		follower := &FetchWaiter{Wake: NewWake(), Seen: p.LogEnd(), Isolation: ReadAll}
		follower.Wake.Arm(1)
		p.Watch(follower)
		must(t, p, client(t, batchOf(1, 100), true))
		if rang(w.Wake) || !rang(follower.Wake) {
			t.Error("a consumer is woken by the commit, a follower by the write")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !rang(w.Wake) {
			t.Error("not woken by the flush")
		}
		p.Unwatch(w)
		p.Unwatch(follower)
		fs.SetHook(nil)
	})
}
