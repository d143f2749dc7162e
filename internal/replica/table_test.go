package replica

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func folders(t *testing.T, fs vfs.FS) string {
	t.Helper()
	list, err := fs.ReadDir("/data")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		if i.Dir {
			out = append(out, i.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestTableLifeOfATopic(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		must(t, p, client(t, batchOf(3, 1), true))
		slow := await(p, 99, true, nil)

		// Deleted, and made again under the same name before anything was done.
		tp := kafka.TopicPartition{Topic: "t"}
		r.table.Apply(Delta{Removed: []kafka.TopicPartition{tp}})
		r.table.Apply(Delta{Assigned: []Assignment{single("t", func(a *Assignment) { a.TopicID = topicID(2) })}})
		q, err := r.table.Get("t", 0)
		if err != nil || q == p || q.LogEnd() != 0 || q.TopicID() != topicID(2) {
			t.Fatalf("the new topic: %v, %v", q, err)
		}
		if slow.calls() != 1 || kafka.CodeOf(slow.told()) != kafka.UnknownTopicOrPartition {
			t.Errorf("a waiter of the deleted topic: %d, %v", slow.calls(), slow.told())
		}
		if _, err := p.Append(client(t, batchOf(1, 1), false)); kafka.CodeOf(err) != kafka.UnknownTopicOrPartition {
			t.Errorf("append to the deleted topic: %v", err)
		}
		if got, want := folders(t, fs), fmt.Sprintf("t-0 t-0.%s-delete", topicID(1)); got != want {
			t.Errorf("folders %q, want %q", got, want)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := folders(t, fs); got != "t-0" {
			t.Errorf("folders after the delay: %q", got)
		}
		must(t, q, client(t, batchOf(4, 1), true))
		if _, err := r.table.GetID(topicID(1), 0); kafka.CodeOf(err) != kafka.UnknownTopicID {
			t.Errorf("old id: %v", err)
		}
		if got, err := r.table.GetID(topicID(2), 0); err != nil || got != q {
			t.Errorf("new id: %v, %v", got, err)
		}
		for _, n := range []int32{1, -1} {
			if _, err := r.table.Get("t", n); kafka.CodeOf(err) != kafka.UnknownTopicOrPartition {
				t.Errorf("partition %d: %v", n, err)
			}
		}

		// A restart finds what was there; what no image names is set aside.
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, fs, "/data")
		if !r.home.Clean() {
			t.Error("the end was not clean")
		}
		r.table.Apply(Delta{Complete: true, Assigned: []Assignment{single("u", func(a *Assignment) { a.TopicID = topicID(3) })}})
		time.Sleep(time.Second)
		synctest.Wait()
		if got := folders(t, fs); !strings.HasPrefix(got, "t-0.") || !strings.HasSuffix(got, "-stray u-0") {
			t.Errorf("folders %q", got)
		}
	})
}

// TestTableFolderOfAnotherTopic: a crash between the end of a topic and that of
// its folder does not keep the next topic of the name from opening.
func TestTableFolderOfAnotherTopic(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		must(t, r.hold(), client(t, batchOf(3, 1), true))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, fs, "/data")
		p := r.hold(func(a *Assignment) { a.TopicID = topicID(2) })
		if p.LogStart() != 0 || p.LogEnd() != 0 {
			t.Errorf("the new topic goes from %d to %d", p.LogStart(), p.LogEnd())
		}
		if got := folders(t, fs); !strings.HasPrefix(got, "t-0 t-0.") || !strings.HasSuffix(got, "-stray") {
			t.Errorf("folders %q", got)
		}
	})
}

func TestTableReopens(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		must(t, p, client(t, from(5, 0, 3), true))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Append(client(t, batchOf(1, 1), false)); kafka.CodeOf(err) != kafka.NotLeaderOrFollower {
			t.Errorf("append after the end: %v", err)
		}
		r = start(t, fs, "/data")
		p = r.hold(func(a *Assignment) { a.Role.LeaderEpoch = 1 })
		if p.HW() != 3 || p.LogEnd() != 3 || len(consume(t, p, 0, ReadUncommitted)) != 1 {
			t.Fatalf("high watermark %d, end %d", p.HW(), p.LogEnd())
		}
		if dup := must(t, p, client(t, from(5, 0, 3), true)); !dup.Duplicate {
			t.Error("the producer was forgotten")
		}
	})
}

// TestPowerCut cuts the power after an answer and looks whether the batch is
// there, and whether what was not answered is not served unflushed.
func TestPowerCut(t *testing.T) {
	for _, policy := range vfs.Policies {
		t.Run(policy.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
				p := r.hold()
				got := must(t, p, client(t, batchOf(3, 1), true))
				a := await(p, got.Last+1, true, nil)
				synctest.Wait()
				if a.calls() != 1 || a.told() != nil {
					t.Fatalf("not answered: %d, %v", a.calls(), a.told())
				}
				must(t, p, client(t, batchOf(3, 1), false))
				after := fs.Crash(policy, rand.New(rand.NewPCG(1, 2)))
				again := start(t, after, "/data")
				defer func() { _ = again.stop() }()
				q := again.hold(func(a *Assignment) { a.Role.LeaderEpoch = 1 })
				if q.HW() < 3 || q.Flushed() != q.LogEnd() {
					t.Errorf("high watermark %d, flushed %d, end %d", q.HW(), q.Flushed(), q.LogEnd())
				}
			})
		})
	}
}

// TestManyPartitions opens more partitions than there are openers and asks for
// the last one first.
func TestManyPartitions(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpMkdir {
				return vfs.Verdict{Delay: 50 * time.Millisecond}
			}
			return vfs.Verdict{}
		})
		const n = 200
		d := Delta{Complete: true}
		for i := range n {
			d.Assigned = append(d.Assigned, single("t", func(a *Assignment) { a.Partition = int32(n - 1 - i) }))
		}
		r.table.Apply(d)
		began := time.Now()
		if _, err := r.table.Get("t", 0); err != nil {
			t.Errorf("the partition that is asked for: %v", err)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("waited %v", took)
		}
		if r.table.Opening() == 0 {
			t.Error("all were opened at once")
		}
		time.Sleep(10 * time.Second)
		next := int32(0)
		r.table.Each(func(p *Replica) {
			if p.TopicPartition().Partition != next {
				t.Errorf("partition %d comes as number %d", p.TopicPartition().Partition, next)
			}
			next++
		})
		if next != n || r.table.Opening() != 0 {
			t.Errorf("%d open, %d opening", next, r.table.Opening())
		}
	})
}

func TestOpeningTakesTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpMkdir {
				return vfs.Verdict{Delay: 3 * time.Second}
			}
			return vfs.Verdict{}
		})
		r.table.Apply(Delta{Assigned: []Assignment{single("t")}})
		began := time.Now()
		if _, err := r.table.Get("t", 0); kafka.CodeOf(err) != kafka.NotLeaderOrFollower || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(5 * time.Second)
		if _, err := r.table.Get("t", 0); err != nil {
			t.Error(err)
		}
	})
}

func TestCannotOpen(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if strings.Contains(op.Name, "t-0") {
				return vfs.Verdict{Err: fmt.Errorf("input/output error")}
			}
			return vfs.Verdict{}
		})
		r.table.Apply(Delta{Assigned: []Assignment{single("t"), single("u", func(a *Assignment) { a.TopicID = topicID(2) })}})
		if _, err := r.table.Get("t", 0); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("%v", err)
		}
		if _, err := r.table.Get("u", 0); err != nil {
			t.Errorf("the other one: %v", err)
		}
		fs.SetHook(nil)
		p := r.hold() // the next image tries again
		must(t, p, client(t, batchOf(1, 1), true))
	})
}

// TestRoleChange takes the leadership away while an answer is due.
func TestRoleChange(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		slowSyncs(fs, time.Second)
		got := must(t, p, client(t, batchOf(1, 1), true))
		a := await(p, got.Last+1, true, nil)
		follow := single("t", func(a *Assignment) {
			a.Role.Leader, a.Role.LeaderEpoch, a.Role.PartitionEpoch = 2, 1, 1
			a.Role.Replicas, a.Role.ISR = []int32{1, 2}, []int32{1, 2}
		})
		r.table.Apply(Delta{Assigned: []Assignment{follow}})
		synctest.Wait()
		if a.calls() != 1 || kafka.CodeOf(a.told()) != kafka.NotLeaderOrFollower || p.Leads() {
			t.Errorf("%d, %v", a.calls(), a.told())
		}
		if b := await(p, 0, false, nil); kafka.CodeOf(b.told()) != kafka.NotLeaderOrFollower {
			t.Errorf("a waiter at a follower: %v", b.told())
		}
		if _, err := p.Append(client(t, batchOf(1, 1), false)); kafka.CodeOf(err) != kafka.NotLeaderOrFollower {
			t.Errorf("%v", err)
		}
		if id, epoch := p.Leader(); id != 2 || epoch != 1 {
			t.Errorf("leader %d, epoch %d", id, epoch)
		}
	})
}

func TestConfigChange(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold()
		r.hold(config(func(c *TopicConfig) { c.MaxMessageBytes = 80 }))
		synctest.Wait()
		if _, err := p.Append(client(t, batchOf(1, 100), false)); kafka.CodeOf(err) != kafka.MessageTooLarge {
			t.Errorf("%v", err)
		}
		r.hold(config(func(c *TopicConfig) { c.Recode, c.Codec = true, record.Zstd }))
		synctest.Wait()
		must(t, p, client(t, batchOf(1, 100), false))
		b, _, err := p.Batches(0, 1<<20, ReadUncommitted)
		if err != nil {
			t.Fatal(err)
		}
		if h, _ := record.ParseHeader(b); h.Attributes.Codec() != record.Zstd {
			t.Errorf("stored as %s", h.Attributes.Codec())
		}
	})
}

func TestRetentionMovesTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold(config(func(c *TopicConfig) {
			c.Log.SegmentBytes, c.Log.RetentionBytes = 1<<20, 2<<20
		}))
		for range 40 {
			must(t, p, client(t, batchOf(1, 200_000), true))
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if p.LogStart() == 0 || p.Size() > 4<<20 {
			t.Errorf("start %d, size %d", p.LogStart(), p.Size())
		}
	})
}
