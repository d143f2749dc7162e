package persist

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// rig is a service with one partition, on a log that is a slice.
type rig struct {
	t       *testing.T
	log     *slicelog.Log
	s       *Service
	exists  bool // __share_group_state
	missing map[kafka.UUID]bool
	stop    func()
}

func newRig(t *testing.T, log *slicelog.Log, set func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, log: log, exists: true, missing: map[kafka.UUID]bool{}}
	cfg := DefaultConfig()
	cfg.Partitions = func() int32 {
		if r.exists {
			return 1
		}
		return 0
	}
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return log, 0, nil }
	cfg.Exists = func(topic kafka.UUID, p int32) bool { return !r.missing[topic] && p < 3 }
	cfg.Prune = func(_ context.Context, _ int32, before int64) error { return log.Prune(before) }
	cfg.Now = time.Now
	if set != nil {
		set(&cfg)
	}
	var err error
	if r.s, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.s.Run(ctx)
	}()
	r.stop = func() { cancel(); <-done }
	r.s.Elect(0, 0)
	synctest.Wait()
	return r
}

func topicID(n byte) kafka.UUID { return kafka.UUID{15: n} }

// TestScripts drives the service with one partition of __share_group_state.
// Batches are first-last:state:count.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, slicelog.New(0), func(c *Config) {
					c.SnapshotEvery, c.ColdAfter, c.PruneEvery = 3, time.Hour, 365*24*time.Hour
				})
				script.Run(t, f, func(c *script.Cmd) string { return r.do(c) })
				r.stop()
			})
		})
	}
}

func (r *rig) do(c *script.Cmd) string {
	ctx := r.t.Context()
	key := share.Key{Group: c.Key("group", "g"), TopicID: topicID(byte(c.IntKey("topic", 1))), Partition: int32(c.IntKey("partition", 0))}
	_, from := r.log.Span()
	var out string
	var err error
	switch c.Name {
	case "initialize":
		err = r.s.Initialize(ctx, key, int32(c.IntKey("state", 0)), c.IntKey("start", -1))
	case "read":
		var s share.State
		if s, err = r.s.Read(ctx, key, int32(c.IntKey("leader", 0))); err == nil {
			out = fmt.Sprintf("state %d start %d %s\n", s.StateEpoch, s.StartOffset, texts(s.Batches))
		}
	case "write":
		err = r.s.Write(ctx, key, share.Update{StateEpoch: int32(c.IntKey("state", 0)), LeaderEpoch: int32(c.IntKey("leader", 0)),
			StartOffset: c.IntKey("start", -1), DeliveryComplete: int32(c.IntKey("complete", -1)), Batches: batches(c)})
	case "summary":
		var s Summary
		if s, err = r.s.Summary(ctx, key); err == nil {
			out = fmt.Sprintf("state %d leader %d start %d complete %d\n", s.StateEpoch, s.LeaderEpoch, s.StartOffset, s.DeliveryComplete)
		}
	case "delete":
		err = r.s.Delete(ctx, key)
	case "topic-gone":
		r.missing[key.TopicID] = true
		err = r.s.TopicsDeleted(ctx, []kafka.UUID{key.TopicID})
	case "pass":
		d, _ := time.ParseDuration(c.Arg(0))
		time.Sleep(d)
		synctest.Wait()
	case "prune":
		err = r.s.pruneOne(ctx, 0, map[int32]int64{})
		start, _ := r.log.Span()
		return fmt.Sprintf("log from %d\n%s", start, fails(err))
	case "reload":
		r.s.Resign(0, kafka.NoEpoch)
		synctest.Wait()
		r.s.Elect(0, 0)
		synctest.Wait()
	case "resign":
		r.s.Resign(0, kafka.NoEpoch)
		synctest.Wait()
	case "combine":
		known, more, _ := strings.Cut(strings.Join(c.Args, " "), "+")
		return texts(combine(parseBatches(c, known), parseBatches(c, more), share.NoStart)) + "\n"
	default:
		c.Fatalf("no such command")
	}
	return out + fails(err) + r.logged(from)
}

func fails(err error) string {
	if err == nil {
		return ""
	}
	code, text := Answer(err)
	return fmt.Sprintf("%s: %s\n", code.Name(), *text)
}

// logged shows the records that were appended since an offset.
func (r *rig) logged(from int64) string {
	var out strings.Builder
	for {
		b, next, err := r.log.Read(from)
		if err != nil || len(b) == 0 {
			return out.String()
		}
		var rd record.Reader
		for rd.Reset(b, record.DefaultLimit); rd.Next(); {
			if rec := rd.Record(); rec.Offset >= from {
				fmt.Fprintf(&out, "%d %s\n", rec.Offset, recordText(rec))
			}
		}
		rd.Release()
		from = next
	}
}

func recordText(rec *record.Record) string {
	key, err := state.ParseKey(state.Share, rec.Key)
	if err != nil {
		return err.Error()
	}
	switch k := key.(type) {
	case *state.ShareSnapshotKey:
		name := share.Key{Group: k.GroupID, TopicID: k.TopicID, Partition: k.Partition}.String()
		if rec.Value == nil {
			return "tombstone " + name
		}
		s, err := parseSnapshot(rec.Value)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("snapshot %s epoch %d state %d leader %d start %d complete %d %s%s", name, s.snapshotEpoch, s.stateEpoch,
			s.leaderEpoch, s.start, s.complete, texts(s.batches), map[bool]string{true: " cold"}[s.created != s.written])
	case *state.ShareUpdateKey:
		u, err := parseUpdate(rec.Value)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("update %s epoch %d leader %d start %d complete %d %s",
			share.Key{Group: k.GroupID, TopicID: k.TopicID, Partition: k.Partition}, u.snapshotEpoch, u.leaderEpoch, u.start, u.complete, texts(u.batches))
	}
	return "?"
}

func texts(list []share.Batch) string {
	var out []string
	for _, b := range list {
		out = append(out, fmt.Sprintf("%d-%d:%d:%d", b.First, b.Last, b.State, b.Count))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func batches(c *script.Cmd) []share.Batch {
	var plain []string
	for _, a := range c.Args {
		if !strings.Contains(a, "=") {
			plain = append(plain, a)
		}
	}
	return parseBatches(c, strings.Join(plain, " "))
}

func parseBatches(c *script.Cmd, text string) []share.Batch {
	var out []share.Batch
	for _, one := range strings.Fields(text) {
		parts := strings.Split(one, ":")
		first, last, ok := strings.Cut(parts[0], "-")
		if !ok || len(parts) != 3 {
			c.Fatalf("%q is not first-last:state:count", one)
		}
		num := func(s string) int64 {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				c.Fatalf("%q: %v", one, err)
			}
			return n
		}
		out = append(out, share.Batch{First: num(first), Last: num(last), State: share.Delivery(num(parts[1])), Count: int16(num(parts[2]))})
	}
	return out
}

// TestLocal finds no topic, has it made, and asks until the coordinator is there.
func TestLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		made := 0
		r = newRig(t, slicelog.New(0), func(c *Config) {
			c.Create = func(context.Context) error {
				made++
				if made == 2 { // the first time nobody leads yet
					r.exists = true
					time.AfterFunc(time.Second, func() { r.s.Elect(0, 0) })
				}
				return nil
			}
		})
		r.s.Resign(0, kafka.NoEpoch)
		synctest.Wait()
		r.exists = false
		key := share.Key{Group: "g", TopicID: topicID(1)}
		l := Coordinator{Service: r.s}
		if err := l.Initialize(t.Context(), key, 1, 7); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Read(t.Context(), key, 0); err != nil || s.StartOffset != 7 || s.StateEpoch != 1 {
			t.Fatal(s, err)
		}
		if err := l.Write(t.Context(), key, share.Update{StateEpoch: 1, StartOffset: 9, DeliveryComplete: 0}); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Summary(t.Context(), key); err != nil || s.StartOffset != 9 {
			t.Fatal(s, err)
		}
		if err := l.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Read(t.Context(), key, 0); kafka.CodeOf(err) != kafka.InvalidRequest {
			t.Fatal("read what was deleted:", err)
		}
		if made != 2 {
			t.Fatalf("the topic was made %d times", made)
		}

		// Nobody leads any more: patience ends.
		r.s.Resign(0, kafka.NoEpoch)
		began := time.Now()
		if err := l.Delete(t.Context(), key); kafka.CodeOf(err) != kafka.NotCoordinator || time.Since(began) != patience {
			t.Fatal(err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Delete(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		r.stop()
	})
}

// TestPruning lets the timers run: idle share partitions get snapshots and the
// log stays short, however much is written.
func TestPruning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, slicelog.New(0), func(c *Config) { c.SnapshotEvery = 10 })
		idle, busy := share.Key{Group: "idle", TopicID: topicID(1)}, share.Key{Group: "busy", TopicID: topicID(1)}
		for _, key := range []share.Key{idle, busy} {
			if err := r.s.Initialize(t.Context(), key, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		longest := int64(0)
		for i := range int64(2000) {
			err := r.s.Write(t.Context(), busy, share.Update{StartOffset: i, DeliveryComplete: 0,
				Batches: []share.Batch{{First: i + 1, Last: i + 1, State: share.Acknowledged, Count: 1}}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			start, end := r.log.Span()
			longest = max(longest, end-start)
		}
		synctest.Wait()
		if _, end := r.log.Span(); end < 2000 || longest > 250 {
			t.Fatalf("%d records were written, and the log was %d long at times", end, longest)
		}

		// All are idle: the log comes to rest.
		time.Sleep(time.Hour)
		_, was := r.log.Span()
		time.Sleep(24 * time.Hour)
		if _, end := r.log.Span(); end != was {
			t.Fatalf("an idle log grew by %d", end-was)
		}
		again := newRig(t, r.log.Copy(), nil)
		for _, key := range []share.Key{idle, busy} {
			was, err := r.s.Summary(t.Context(), key)
			is, err2 := again.s.Summary(t.Context(), key)
			if was != is || err != nil || err2 != nil {
				t.Fatal(was, err, is, err2)
			}
		}
		again.stop()
		r.stop()
	})
}
