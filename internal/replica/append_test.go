package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// slowSyncs makes every sync of a log's data take so long.
func slowSyncs(fs *vfs.Mem, d time.Duration) {
	fs.SetHook(func(op vfs.Op) vfs.Verdict {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, ".log") {
			return vfs.Verdict{Delay: d}
		}
		return vfs.Verdict{}
	})
}

func TestAppendIsSeenAtOnceUnlessItMustBeDurable(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		slowSyncs(fs, time.Second)
		if got := must(t, p, client(t, batchOf(3, 10), false)); got.Base != 0 || got.Last != 2 || got.AppendTime != -1 {
			t.Fatalf("%+v", got)
		}
		if p.HW() != 3 || !slices.Equal(consume(t, p, 0, ReadUncommitted), []int64{0}) {
			t.Errorf("acks=1 is not seen: high watermark %d", p.HW())
		}
		got := must(t, p, client(t, batchOf(2, 10), true))
		a := await(p, got.Last+1, true, nil)
		if p.HW() != 3 || p.LogEnd() != 5 || a.calls() != 0 {
			t.Errorf("acks=all is seen before it is flushed: high watermark %d, answered %d times", p.HW(), a.calls())
		}
		must(t, p, client(t, batchOf(1, 10), false))
		if p.HW() != 3 {
			t.Errorf("a plain batch overtook: high watermark %d", p.HW())
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if p.HW() != 6 || a.calls() != 1 || a.told() != nil || p.Flushed() < 5 {
			t.Errorf("after the flush: high watermark %d, answered %d times with %v", p.HW(), a.calls(), a.told())
		}
	})
}

// TestDuplicateIsNotAnsweredBeforeTheFlush pins that a batch which comes twice
// waits for the same durability as the first time. Answering it at once is a
// way to acknowledge what a power cut takes.
func TestDuplicateIsNotAnsweredBeforeTheFlush(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("original with acks=all %v", first), func(t *testing.T) {
			bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
				p := r.hold()
				slowSyncs(fs, time.Second)
				must(t, p, client(t, batchOf(5, 1), false))
				orig := must(t, p, client(t, from(7, 0, 4), first))
				dup := must(t, p, client(t, from(7, 0, 4), true))
				if !dup.Duplicate || dup.Base != orig.Base || dup.Last != orig.Last || dup.Base != 5 {
					t.Fatalf("duplicate %+v of %+v", dup, orig)
				}
				if p.LogEnd() != 9 {
					t.Errorf("stored twice: end %d", p.LogEnd())
				}
				a := await(p, dup.Last+1, true, nil)
				synctest.Wait()
				must(t, p, client(t, batchOf(1, 1), false)) // moves the high watermark where it can
				if a.calls() != 0 {
					t.Fatal("the duplicate was answered before the flush")
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if a.calls() != 1 || a.told() != nil || p.Flushed() < 9 {
					t.Errorf("answered %d times with %v, flushed %d", a.calls(), a.told(), p.Flushed())
				}
			})
		})
	}
}

// TestFailedFlushIsFinal pins that nothing is acknowledged after a failed
// fsync, though the next one would succeed.
func TestFailedFlushIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		failed := 0
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, ".log") && failed == 0 {
				failed++
				return vfs.Verdict{Err: errors.New("input/output error"), Delay: time.Second}
			}
			return vfs.Verdict{}
		})
		got := must(t, p, client(t, batchOf(1, 1), true))
		a := await(p, got.Last+1, true, nil)
		synctest.Wait()
		later := must(t, p, client(t, batchOf(1, 1), true)) // while the flush is under way
		b := await(p, later.Last+1, true, nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i, w := range []*answer{a, b, await(p, later.Last+1, true, nil), await(p, 0, false, nil)} {
			if w.calls() != 1 || kafka.CodeOf(w.told()) != kafka.KafkaStorageError {
				t.Errorf("waiter %d: answered %d times with %v", i, w.calls(), w.told())
			}
		}
		if _, err := p.Append(client(t, batchOf(1, 1), false)); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("append: %v", err)
		}
		if _, err := p.Read(Read{Offset: 0, CurrentEpoch: -1, LastFetchedEpoch: -1}); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("read: %v", err)
		}
		p.flushed(p.LogEnd(), nil) // a sync that "succeeds" later proves nothing
		if failed != 1 || p.HW() != 0 || p.Offline() == nil {
			t.Errorf("%d failures, high watermark %d", failed, p.HW())
		}
	})
}

// TestFailedFlushOfOneAboutToSleep: a flush fails while the log is asked whether it
// may sleep. Whoever waits, or comes to, hears of the disk and not that all is well.
func TestFailedFlushOfOneAboutToSleep(t *testing.T) {
	for _, woken := range []bool{false, true} {
		bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
			p := r.hold()
			slowSyncs(fs, time.Minute)
			got := must(t, p, client(t, batchOf(1, 1), true))
			a := await(p, got.Last+1, true, nil)
			asleep := &fault{err: p.wrap(errAsleep)}
			p.fault.Store(asleep)
			p.spoil(errors.New("input/output error"))
			if woken {
				p.fault.Store(nil)
			}
			p.fail(errors.New("input/output error"))
			p.fault.CompareAndSwap(asleep, nil)
			for i, w := range []*answer{a, await(p, got.Last+1, true, nil)} {
				if w.calls() != 1 || kafka.CodeOf(w.told()) != kafka.KafkaStorageError {
					t.Errorf("woken %v, waiter %d: answered %d times with %v", woken, i, w.calls(), w.told())
				}
			}
		})
	}
}

func TestFailedWriteIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		must(t, p, client(t, batchOf(1, 1), true))
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Name, ".log") {
				return vfs.Verdict{Err: errors.New("no space left on device"), Short: 10}
			}
			return vfs.Verdict{}
		})
		if _, err := p.Append(client(t, batchOf(1, 1), true)); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("append: %v", err)
		}
		fs.SetHook(nil)
		if _, err := p.Append(client(t, batchOf(1, 1), true)); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("append after it: %v", err)
		}
	})
}

func TestWaitersAreAnsweredInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		slowSyncs(fs, time.Second)
		must(t, p, client(t, batchOf(100, 1), true))
		var order []int64
		for _, off := range []int64{30, 10, 20, 100, 50, 10, 99} {
			await(p, off, off%20 == 10, func() { order = append(order, off) })
		}
		gone := await(p, 60, true, nil)
		if !p.Forget(&gone.Waiter) || p.Forget(&gone.Waiter) {
			t.Error("Forget is off")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		plain := slices.DeleteFunc(slices.Clone(order), func(o int64) bool { return o%20 == 10 })
		durable := slices.DeleteFunc(slices.Clone(order), func(o int64) bool { return o%20 != 10 })
		if !slices.Equal(plain, []int64{20, 99, 100}) || !slices.Equal(durable, []int64{10, 10, 30, 50}) || gone.calls() != 0 {
			t.Errorf("order %v, forgotten one called %d times", order, gone.calls())
		}
		late := await(p, 100, true, nil)
		if late.calls() != 1 || late.told() != nil || p.Forget(&late.Waiter) {
			t.Error("a waiter for what is committed is not answered at once")
		}
	})
}

// TestConcurrentAppenders has many append at once, with producers and without,
// and checks that every batch lies where its appender was told, once.
func TestConcurrentAppenders(t *testing.T) {
	r := start(t, vfs.NewMem(vfs.MemConfig{Now: time.Now}), "/data")
	p := r.hold(config(func(c *TopicConfig) { c.Log.SegmentBytes = 1 << 20 }))
	const appenders, each = 8, 150
	var mu sync.Mutex
	told := map[int64]int64{}
	var all, answered sync.WaitGroup
	for i := range appenders {
		all.Go(func() {
			for n := range each {
				b := client(t, from(int64(i), int32(n*3), 3), i%2 == 0)
				got, err := p.Append(b)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				told[got.Base] = got.Last
				mu.Unlock()
				if dup := must(t, p, client(t, from(int64(i), int32(n*3), 3), true)); !dup.Duplicate || dup.Base != got.Base {
					t.Errorf("second try %+v of %+v", dup, got)
				}
				answered.Add(1)
				await(p, got.Last+1, true, answered.Done)
			}
		})
	}
	all.Wait()
	answered.Wait()
	if p.LogEnd() != appenders*each*3 || p.HW() != p.LogEnd() || p.Flushed() != p.LogEnd() {
		t.Fatalf("end %d, high watermark %d, flushed %d", p.LogEnd(), p.HW(), p.Flushed())
	}
	bases := consume(t, p, 0, ReadUncommitted)
	if len(bases) != appenders*each {
		t.Fatalf("%d batches", len(bases))
	}
	for i, base := range bases {
		if base != int64(i*3) || told[base] != base+2 {
			t.Fatalf("batch %d at %d, told %d", i, base, told[base])
		}
	}
	if c := p.Counters(); c.MessagesIn.Load() != appenders*each*3 || c.Duplicates.Load() != appenders*each {
		t.Errorf("%d messages, %d duplicates", c.MessagesIn.Load(), c.Duplicates.Load())
	}
}

// TestRules appends what each rule of a topic refuses or changes.
func TestRules(t *testing.T) {
	now := time.Now().UnixMilli()
	at := func(ts int64, key []byte) []byte {
		var b record.Builder
		return b.Append(record.Record{Timestamp: ts, Key: key, Value: make([]byte, 100)}).Bytes()
	}
	tests := []struct {
		name    string
		set     func(*Assignment)
		batch   []byte
		durable bool
		code    kafka.Code
		records int
	}{
		{"plain", func(*Assignment) {}, at(now, nil), true, kafka.None, 0},
		{"max.message.bytes", config(func(c *TopicConfig) { c.MaxMessageBytes = 100 }), at(now, nil), false, kafka.MessageTooLarge, 0},
		{"segment.bytes", config(func(c *TopicConfig) { c.Log.SegmentBytes = 100 }), at(now, nil), false, kafka.RecordListTooLarge, 0},
		{"future", func(*Assignment) {}, at(now+2*3600e3, nil), false, kafka.InvalidTimestamp, 1},
		{"keyless", config(func(c *TopicConfig) { c.Compacted = true }), at(now, nil), false, kafka.InvalidRecord, 1},
		{"keyed", config(func(c *TopicConfig) { c.Compacted = true }), at(now, []byte{}), false, kafka.None, 0},
		{"recoded", config(func(c *TopicConfig) { c.Recode, c.Codec = true, record.Gzip }), at(now, nil), false, kafka.None, 0},
		{"recoded too large", config(func(c *TopicConfig) { c.Recode, c.Codec, c.MaxMessageBytes = true, record.None, 1000 }),
			(&record.Builder{Codec: record.Zstd}).Append(record.Record{Value: make([]byte, 9999), Timestamp: now}).Bytes(), false, kafka.MessageTooLarge, 0},
		{"min.insync.replicas beyond the factor", config(func(c *TopicConfig) { c.MinISR = 99 }), at(now, nil), true, kafka.None, 0},
		{"too few in sync", inSyncOf3, at(now, nil), true, kafka.NotEnoughReplicas, 0},
		{"too few for acks=1", inSyncOf3, at(now, nil), false, kafka.None, 0},
		{"not leader", func(a *Assignment) { a.Role.Leader = 2; a.Role.Replicas = []int32{1, 2} }, at(now, nil), false, kafka.NotLeaderOrFollower, 0},
		{"out of order", func(*Assignment) {}, from(3, 0, 1), false, kafka.None, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := start(t, vfs.NewMem(vfs.MemConfig{}), "/data")
			p := r.hold(test.set)
			got, err := p.Append(client(t, slices.Clone(test.batch), test.durable))
			var refusal *record.Refusal
			if errors.As(err, &refusal); kafka.CodeOf(err) != test.code || refusal != nil && len(refusal.Records) != test.records {
				t.Fatalf("%+v, %v", got, err)
			}
			if err != nil && p.LogEnd() != 0 {
				t.Errorf("refused and stored: end %d", p.LogEnd())
			}
		})
	}
}

func inSyncOf3(a *Assignment) {
	a.Config.MinISR = 2
	a.Role.Replicas = []int32{1, 2, 3}
}

func TestAppendTime(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold(config(func(c *TopicConfig) { c.AppendTime = true }))
		time.Sleep(5 * time.Second)
		now := time.Now().UnixMilli()
		var old record.Builder
		old.Append(record.Record{Timestamp: 1, Value: []byte("v")})
		got := must(t, p, client(t, old.Bytes(), false))
		if got.AppendTime != now {
			t.Errorf("append time %d, now %d", got.AppendTime, now)
		}
		b, _, err := p.Batches(0, 1<<20, ReadUncommitted)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := record.Check(b); err != nil || h.MaxTimestamp != now || !h.Attributes.Has(record.AppendTime) {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

func TestSequencesAndEpochs(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold(func(a *Assignment) { a.Role.LeaderEpoch = 4 })
		must(t, p, client(t, from(1, 0, 2), true))
		for _, test := range []struct {
			name string
			do   func(*Batch)
			seq  int32
			code kafka.Code
		}{
			{"gap", func(*Batch) {}, 5, kafka.OutOfOrderSequenceNumber},
			{"epoch behind", func(b *Batch) { b.Epoch = 3 }, 2, kafka.FencedLeaderEpoch},
			{"epoch ahead", func(b *Batch) { b.Epoch = 5 }, 2, kafka.UnknownLeaderEpoch},
			{"in order", func(b *Batch) { b.Epoch = 4 }, 2, kafka.None},
			{"again", func(*Batch) {}, 2, kafka.None},
		} {
			b := client(t, from(1, test.seq, 1), true)
			test.do(&b)
			if _, err := p.Append(b); kafka.CodeOf(err) != test.code {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		if p.LogEnd() != 3 {
			t.Errorf("end %d", p.LogEnd())
		}
	})
}

func TestWriteCachingAnswersFromMemory(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold(config(func(c *TopicConfig) { c.WriteCaching = true }))
		slowSyncs(fs, time.Hour)
		got := must(t, p, client(t, batchOf(1, 1), true))
		if a := await(p, got.Last+1, true, nil); a.calls() != 1 || a.told() != nil {
			t.Errorf("answered %d times with %v", a.calls(), a.told())
		}
		fs.SetHook(nil)
	})
}

// TestTransactionHoldsBackReaders appends a transaction and its marker.
func TestTransactionHoldsBackReaders(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		in := record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: 9, Epoch: 1}}
		in.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("in")})
		must(t, p, unguarded(client(t, in.Bytes(), true)))
		must(t, p, client(t, batchOf(2, 1), true))
		synctest.Wait()
		if p.HW() != 3 || p.LSO() != 0 {
			t.Fatalf("open transaction: high watermark %d, LSO %d", p.HW(), p.LSO())
		}
		slowSyncs(fs, time.Second)
		m := record.EndTxnMarker(record.Producer{ID: 9, Epoch: 1}, record.Abort, 5, time.Now().UnixMilli())
		h, err := record.Check(m)
		if err != nil {
			t.Fatal(err)
		}
		must(t, p, Batch{Bytes: m, Header: h, Epoch: kafka.NoEpoch, Origin: Marker, CoordinatorEpoch: 5})
		if p.LSO() != 0 {
			t.Errorf("the marker is not committed, LSO %d", p.LSO())
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if p.HW() != 4 || p.LSO() != 4 {
			t.Errorf("high watermark %d, LSO %d", p.HW(), p.LSO())
		}
		res, err := p.Read(Read{MaxBytes: 1 << 20, Isolation: ReadCommitted, CurrentEpoch: -1, LastFetchedEpoch: -1})
		if err != nil || len(res.Aborted) != 1 || res.Aborted[0].ProducerID != 9 || res.Aborted[0].First != 0 {
			t.Fatalf("aborted %+v, %v", res.Aborted, err)
		}
		res.Range.Release()
		if _, err := p.Append(Batch{Bytes: m, Header: h, Epoch: kafka.NoEpoch, Origin: Marker, CoordinatorEpoch: 4}); kafka.CodeOf(err) != kafka.TransactionCoordinatorFenced {
			t.Errorf("older coordinator: %v", err)
		}
	})
}

// TestAnswerMayAppend has an answer append again, as a coordinator does: nobody
// may be told within a turn.
func TestAnswerMayAppend(t *testing.T) {
	bubble(t, func(t *testing.T, _ *vfs.Mem, r *rig) {
		p := r.hold()
		var chain func(err error)
		n := 0
		w := &Waiter{}
		chain = func(err error) {
			if n++; n == 10 || err != nil {
				return
			}
			got, err := p.Append(client(t, batchOf(1, 1), n%2 == 0))
			if err != nil {
				t.Error(err)
				return
			}
			w = &Waiter{Offset: got.Last + 1, Done: chain}
			p.AwaitCommitted(w)
		}
		p.AwaitCommitted(&Waiter{Offset: 1, Done: chain})
		must(t, p, client(t, batchOf(1, 1), false))
		synctest.Wait()
		if n != 10 {
			t.Errorf("the chain broke after %d", n)
		}
		// And when the replica goes: the answers are refusals, and so is the append.
		again := 0
		p.AwaitCommitted(&Waiter{Offset: 1000, Done: func(error) {
			_, err := p.Append(client(t, batchOf(1, 1), true))
			again += int(kafka.CodeOf(err))
		}})
		if err := r.stop(); err != nil || again != int(kafka.NotLeaderOrFollower) {
			t.Errorf("%d, %v", again, err)
		}
	})
}

// TestFlushDuringAWrite has a flush begin and end while a write is under way:
// the write is not in it, and the next flush must not think so.
func TestFlushDuringAWrite(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		p := r.hold()
		must(t, p, client(t, batchOf(1, 1), false))
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Name, ".log") {
				return vfs.Verdict{Delay: time.Second}
			}
			return vfs.Verdict{}
		})
		var writing sync.WaitGroup
		writing.Go(func() { must(t, p, client(t, batchOf(1, 1), true)) })
		time.Sleep(time.Second / 2)
		p.at.Load().schedule(true)
		writing.Wait()
		a := await(p, 2, true, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if a.calls() != 1 || a.told() != nil {
			t.Fatalf("answered %d times with %v", a.calls(), a.told())
		}
		again := start(t, fs.Crash(vfs.DropAll, nil), "/data")
		defer func() { _ = again.stop() }()
		if q := again.hold(func(a *Assignment) { a.Role.LeaderEpoch = 1 }); q.HW() != 2 {
			t.Errorf("acknowledged 2 records, the power cut left %d", q.HW())
		}
	})
}

// TestConfigChangesUnderAppends makes segments too small for a batch and large
// again while many append: some are refused, and the replica lives on.
func TestConfigChangesUnderAppends(t *testing.T) {
	r := start(t, vfs.NewMem(vfs.MemConfig{Now: time.Now}), "/data")
	p := r.hold()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				_, err := p.Append(client(t, batchOf(1, 500), true))
				if c := kafka.CodeOf(err); c != kafka.None && c != kafka.RecordListTooLarge {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 200 {
		c := p.Config()
		c.Log.SegmentBytes = int64(100 + 2000*(i%2))
		p.SetConfig(c)
	}
	all.Wait()
	must(t, p, client(t, append(batchOf(1, 100), 1, 2, 3), true))
	if err := p.Offline(); err != nil {
		t.Error(err)
	}
}
