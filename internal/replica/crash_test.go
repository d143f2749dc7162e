package replica

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// story is one life of two partitions, told to the end or until the power is
// cut: what it was promised must be there afterwards.
type story struct {
	table *Table
	acked [2]int64 // end of what was acknowledged, by partition
	told  [2]int64 // end of what was appended, acknowledged or not
	start [2]int64 // where delete-records was acknowledged to begin

	apply func(Delta)      // instead of the table's, if set
	each  func(n int) bool // after each append, if set
}

func two(epoch int32) Delta {
	d := Delta{Complete: true}
	for p := range int32(2) {
		d.Assigned = append(d.Assigned, single("t", config(func(c *TopicConfig) { c.Log.SegmentBytes = 2000 }), func(a *Assignment) {
			a.Partition, a.Role.LeaderEpoch = p, epoch
		}))
	}
	return d
}

// value is what stands at an offset of a partition.
func value(p int32, offset int64) string {
	return fmt.Sprintf("partition %d offset %d %060d", p, offset, offset)
}

// tell appends with acks=all and acks=1 in turn and deletes now and then. It
// ends at the first error: the power is gone.
func (s *story) tell() {
	if s.apply == nil {
		s.apply = s.table.Apply
	}
	s.apply(two(0))
	for n := range 60 {
		p := int32(n % 2)
		r, err := s.table.Get("t", p)
		if err != nil || !s.append(r, p, n%5 != 3) {
			return
		}
		if s.each != nil && !s.each(n) {
			return
		}
		time.Sleep(700 * time.Millisecond) // let checkpoints and lazy flushes come in between
		if n%20 == 19 {
			to := s.acked[p] - 5
			if _, err := r.DeleteRecords(to); err != nil {
				return
			}
			s.start[p] = to
		}
	}
}

func (s *story) append(r *Replica, p int32, all bool) bool {
	b := record.Builder{Producer: &record.Producer{ID: int64(p), Sequence: int32(s.told[p])}}
	for i := range int64(3) {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte(value(p, s.told[p]+i))})
	}
	h, _ := record.CheckClient(b.Bytes())
	got, err := r.Append(Batch{Bytes: b.Bytes(), Header: h, Epoch: kafka.NoEpoch, Durable: all})
	if err != nil {
		return false
	}
	s.told[p] = got.Last + 1
	if !all {
		return true
	}
	done := make(chan error, 1)
	r.AwaitCommitted(&Waiter{Offset: got.Last + 1, Durable: true, Done: func(err error) { done <- err }})
	if err := <-done; err != nil {
		return false
	}
	s.acked[p] = got.Last + 1
	return true
}

// check opens what the power cut left.
func (s *story) check(t *testing.T, fs *vfs.Mem) {
	r := start(t, fs, "/data")
	defer func() { _ = r.stop() }()
	r.table.Apply(two(1))
	s.verify(t, r.table)
}

// verify compares what is there with what was acknowledged.
func (s *story) verify(t *testing.T, table *Table) {
	for p := range int32(2) {
		rep, err := table.Get("t", p)
		if err != nil {
			t.Fatal(err)
		}
		if rep.HW() < s.acked[p] || rep.Flushed() < rep.HW() || rep.LogEnd() > s.told[p]+3 {
			t.Fatalf("partition %d: acknowledged %d, high watermark %d, flushed %d, end %d",
				p, s.acked[p], rep.HW(), rep.Flushed(), rep.LogEnd())
		}
		if rep.LogStart() < s.start[p] {
			t.Errorf("partition %d: deleted to %d, starts at %d", p, s.start[p], rep.LogStart())
		}
		next := rep.LogStart()
		for at := next; at < rep.HW(); {
			b, to, err := rep.Batches(at, 1<<20, ReadUncommitted)
			if err != nil || b == nil {
				t.Fatalf("partition %d at %d of %d: %v", p, at, rep.HW(), err)
			}
			at = to
			next = s.values(t, p, b, next)
		}
		if next != rep.HW() {
			t.Fatalf("partition %d: records end at %d, high watermark %d", p, next, rep.HW())
		}
	}
}

// values checks the records of some batches from the offset next on.
func (s *story) values(t *testing.T, p int32, b []byte, next int64) int64 {
	var rd record.Reader
	for len(b) > 0 {
		n := record.Size(b)
		for rd.Reset(b[:n], record.DefaultLimit); rd.Next(); {
			rec := rd.Record()
			if rec.Offset < next { // the batch begins before the log's start
				continue
			}
			if rec.Offset != next || string(rec.Value) != value(p, next) {
				t.Fatalf("partition %d, offset %d, expected %d: %q", p, rec.Offset, next, rec.Value)
			}
			next++
		}
		if rd.Err() != nil {
			t.Fatal(rd.Err())
		}
		b = b[n:]
	}
	return next
}

// TestPowerCutAnywhere cuts the power before every single operation on the file
// system, in every way that a disk may take it.
func TestPowerCutAnywhere(t *testing.T) {
	total, step := int64(1<<30), int64(1)
	cuts := 0
	defer func() { t.Logf("%d power cuts, each in %d ways", cuts, len(vfs.Policies)) }()
	if testing.Short() {
		step = 7
	}
	for stop := int64(0); stop < total; stop += step {
		cuts++
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewMem(vfs.MemConfig{Now: time.Now})
			r := start(t, fs, "/data")
			begin := fs.Ops()
			fs.StopBefore(begin + stop)
			s := &story{table: r.table}
			s.tell()
			if !fs.Stopped() {
				total = 0 // the story was told to its end
			}
			synctest.Wait()
			for i, policy := range vfs.Policies {
				s.check(t, fs.Crash(policy, rand.New(rand.NewPCG(uint64(stop), uint64(i)))))
			}
			fs.StopBefore(1 << 60)
			_ = r.stop()
		})
		if t.Failed() {
			t.Fatalf("power cut before operation %d", stop)
		}
	}
}
