package replica

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// crowd assigns n partitions of a topic.
func crowd(n int, change ...func(*Assignment)) Delta {
	d := Delta{Complete: true}
	for p := range int32(n) {
		a := single("t", change...)
		a.Partition = p
		d.Assigned = append(d.Assigned, a)
	}
	return d
}

// fill writes one durable batch to each of n partitions.
func (r *rig) fill(n int) {
	r.t.Helper()
	for p := range int32(n) {
		rep, err := r.table.Get("t", p)
		if err != nil {
			r.t.Fatal(err)
		}
		got := must(r.t, rep, client(r.t, batchOf(2, 10), true))
		await(rep, got.Last+1, true, nil)
	}
	synctest.Wait()
}

// awake counts the open replicas.
func (r *rig) awake() (n int) {
	r.table.Each(func(*Replica) { n++ })
	return n
}

// stands looks at n partitions with two records each, from outside.
func (r *rig) stands(n int) {
	r.t.Helper()
	seen := int32(0)
	r.table.Standings(func(s *Standing) {
		if s.Partition != seen || s.Start != 0 || s.End != 2 || s.HW != 2 || s.Size == 0 || s.Segments != 1 || !s.Leads || s.InSync != 1 || s.Offline {
			r.t.Errorf("%+v", s)
		}
		seen++
	})
	if int(seen) != n {
		r.t.Errorf("%d of %d stand", seen, n)
	}
}

// TestSleepAtStart: after an orderly end, and after a kill of quiet logs, nothing
// is opened before somebody asks; numbers are there all the same.
func TestSleepAtStart(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
				r.table.Apply(crowd(30))
				r.fill(30)
				if killed {
					time.Sleep(16 * time.Second) // a few checkpoints
					fs = fs.Crash(vfs.KeepAll, nil)
				} else if err := r.stop(); err != nil {
					t.Fatal(err)
				}
				again := start(t, fs, "/data")
				defer func() { _ = again.stop() }()
				again.table.Apply(crowd(30))
				synctest.Wait()
				if again.awake() != 0 || again.table.Opening() != 0 {
					t.Fatal(again.awake(), "awake,", again.table.Opening(), "opening")
				}
				again.stands(30)
				rep, err := again.table.Get("t", 7)
				if err != nil {
					t.Fatal(err)
				}
				if got := consume(t, rep, 0, ReadUncommitted); len(got) != 1 || again.awake() != 1 {
					t.Fatal(got, again.awake())
				}
				again.stands(30)
				// A new config, another role and removal find it asleep.
				d := crowd(30, config(func(c *TopicConfig) { c.MaxMessageBytes = 100 }))
				again.table.Apply(d)
				if rep, err = again.table.Get("t", 8); err != nil || rep.Config().MaxMessageBytes != 100 {
					t.Fatal(rep, err)
				}
				a := d.Assigned[9]
				a.Role = partition.Assignment{Leader: self + 1, LeaderEpoch: 1, PartitionEpoch: 1, Replicas: []int32{self, self + 1}, ISR: []int32{self + 1}}
				again.table.Apply(Delta{Assigned: []Assignment{a}, Removed: []kafka.TopicPartition{d.Assigned[10].TopicPartition}})
				synctest.Wait()
				if s, ok := again.table.Standing("t", 9); !ok || s.Replica == nil || s.Leads {
					t.Fatalf("%+v", s)
				}
				if _, ok := again.table.Standing("t", 10); ok {
					t.Fatal("it is still there")
				}
				if there, err := vfs.Exists(fs, "/data/t-10"); err != nil || there {
					t.Fatal("its folder is still there", err)
				}
			})
		})
	}
}

// TestSleepWhenIdle: who is not asked for goes to sleep after ten minutes, not if
// somebody watches; its counters stay, who still holds it hears that it may ask
// again, and asking wakes it with all it had.
func TestSleepWhenIdle(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		r.table.Apply(crowd(5))
		r.fill(5)
		held, err := r.table.Get("t", 0)
		if err != nil {
			t.Fatal(err)
		}
		watched, err := r.table.Get("t", 1)
		if err != nil {
			t.Fatal(err)
		}
		w := &FetchWaiter{Wake: NewWake(), Seen: 2}
		w.Wake.Arm(1)
		watched.Watch(w)
		for range 13 {
			time.Sleep(time.Minute)
			if _, err := r.table.Get("t", 2); err != nil {
				t.Fatal(err)
			}
		}
		if r.awake() != 2 {
			t.Fatal(r.awake(), "awake")
		}
		r.stands(5)
		if n := r.table.Slept("t").MessagesIn.Load(); n != 6 {
			t.Fatal(n, "messages of those that sleep")
		}
		if _, err := held.Append(client(t, batchOf(1, 1), true)); !errors.Is(err, kafka.NotLeaderOrFollower) {
			t.Fatal(err)
		}
		woken, err := r.table.Get("t", 0)
		if err != nil || woken == held {
			t.Fatal(woken, err)
		}
		if got := must(t, woken, client(t, batchOf(1, 1), true)); got.Base != 2 {
			t.Fatal(got)
		}
		watched.Unwatch(w)
		time.Sleep(time.Minute)
		if r.awake() != 2 {
			t.Fatal(r.awake(), "awake")
		}
	})
}

// TestSleepWakesForRetention: a partition that is asleep loses its old segments
// like any other.
func TestSleepWakesForRetention(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		r.table.Apply(crowd(1, config(func(c *TopicConfig) { c.Log.RetentionAge = time.Hour })))
		r.fill(1)
		time.Sleep(30 * time.Minute)
		if s, ok := r.table.Standing("t", 0); !ok || s.Replica != nil || s.Start != 0 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(time.Hour)
		if s, ok := r.table.Standing("t", 0); !ok || s.Replica != nil || s.Start != 2 || s.Size != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestSleepUnderLoad lays replicas to sleep as fast as it can while others write:
// every append is either refused as one to repeat or done, and none is lost.
func TestSleepUnderLoad(t *testing.T) {
	fs := vfs.NewMem(vfs.MemConfig{})
	r := start(t, fs, "/data")
	const partitions, appends = 4, 60
	r.table.Apply(crowd(partitions))
	var workers sync.WaitGroup
	for p := range int32(partitions) {
		workers.Go(func() {
			for done := 0; done < appends; {
				rep, err := r.table.Get("t", p)
				if err != nil {
					t.Error(err)
					return
				}
				told := make(chan error, 1)
				got, err := rep.Append(client(t, batchOf(1, 1), true))
				if err == nil {
					rep.AwaitCommitted(&Waiter{Offset: got.Last + 1, Durable: true, Done: func(err error) { told <- err }})
					err = <-told
				}
				switch {
				case err == nil && got.Base != int64(done):
					t.Errorf("partition %d: append %d went to %d", p, done, got.Base)
					return
				case err == nil:
					done++
					// A pause now and then, so that the log can come to rest.
					for n := 0; done%10 == 0 && n < 1000; n++ {
						if s, _ := r.table.Standing("t", p); s.Replica == nil {
							break
						}
						runtime.Gosched()
					}
				case !errors.Is(err, kafka.NotLeaderOrFollower):
					t.Error(err)
					return
				}
			}
		})
	}
	stop := make(chan struct{})
	var laid int
	var lull sync.WaitGroup
	lull.Go(func() { laid = r.layAll(stop) })
	workers.Wait()
	close(stop)
	lull.Wait()
	if laid == 0 {
		t.Fatal("none went to sleep")
	}
	for p := range int32(partitions) {
		if s, ok := r.table.Standing("t", p); !ok || s.End != appends {
			t.Errorf("%d: %+v", p, s)
		}
	}
}

// layAll lays what is at rest to sleep until it is stopped, and says how often it
// did.
func (r *rig) layAll(stop chan struct{}) (laid int) {
	d := r.table.dirs[0]
	for {
		select {
		case <-stop:
			return laid
		default:
		}
		r.table.checkpoint(d, d.Home.Checkpoint)
		for _, s := range r.table.slots() {
			if s.replica.Load() == nil {
				continue
			}
			sleeper{r.table}.lay(d, s, s.used.Load()+1)
			if s.replica.Load() == nil {
				laid++
			}
		}
	}
}

// TestApplyCostsWhatChanges: with a hundred thousand partitions a change of one
// costs no more than with a hundred.
func TestApplyCostsWhatChanges(t *testing.T) {
	measure := func(n int) float64 {
		table := NewTable(Config{Self: self, Now: time.Now})
		d := Delta{}
		for i := range n {
			a := single(fmt.Sprintf("topic%d", i/10))
			a.Partition, a.TopicID = int32(i%10), kafka.UUID{1, byte(i / 10), byte(i / 2560), byte(i / 655360)}
			d.Assigned = append(d.Assigned, a)
		}
		table.Apply(d)
		next := int32(10)
		return testing.AllocsPerRun(20, func() {
			a := single("topic3")
			a.TopicID, a.Partition = d.Assigned[30].TopicID, next
			next++
			table.Apply(Delta{Assigned: []Assignment{a}})
		})
	}
	few, many := measure(100), measure(100_000)
	if many > few+5 {
		t.Errorf("%.0f allocations with 100,000 partitions, %.0f with 100", many, few)
	}
}

// TestIndexFollows compares what can be found with a plain map, through random
// changes.
func TestIndexFollows(t *testing.T) {
	table := NewTable(Config{Self: self, Now: time.Now})
	have := map[kafka.TopicPartition]kafka.UUID{}
	for round := range 300 {
		var d Delta
		for k := range 1 + round%4 {
			tp := kafka.TopicPartition{Topic: fmt.Sprintf("t%d", (round*7+k)%5), Partition: int32((round*3 + k*k) % 6)}
			if (round+k)%3 == 0 && have[tp] != (kafka.UUID{}) {
				d.Removed = append(d.Removed, tp)
				delete(have, tp)
				continue
			}
			if have[tp] != (kafka.UUID{}) && len(d.Removed) > 0 {
				continue
			}
			a := single(tp.Topic)
			a.Partition, a.TopicID = tp.Partition, kafka.UUID{byte(round / 50), 1 + tp.Topic[1]}
			d.Assigned = append(d.Assigned, a)
			have[tp] = a.TopicID
		}
		table.Apply(d)
		for i := range 5 {
			for p := range int32(6) {
				tp := kafka.TopicPartition{Topic: fmt.Sprintf("t%d", i), Partition: p}
				list := table.index.find(tp.Topic)
				var s *slot
				if int(p) < len(list) {
					s = list[p]
				}
				id, want := have[tp]
				if (s != nil) != want || s != nil && s.id != id {
					t.Fatalf("round %d: %s: %v, want %v %v", round, tp, s, want, id)
				}
				if byID := table.index.findID(id); want && (int(p) >= len(byID) || byID[p] == nil) {
					t.Fatalf("round %d: %s is not found by id", round, tp)
				}
			}
		}
		if got := len(table.slots()); got != len(have) {
			t.Fatal(got, len(have))
		}
	}
}
