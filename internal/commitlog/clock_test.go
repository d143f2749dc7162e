package commitlog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestClockJumps: retention goes on by the time it would be without the jump,
// until the clock is back or has been steady for long enough.
func TestClockJumps(t *testing.T) {
	const day = 24 * time.Hour
	wall, mono := epoch0, time.Duration(0)
	var said bytes.Buffer
	home, err := OpenHome(HomeConfig{FS: vfs.NewMem(vfs.MemConfig{}), Path: "/data", Now: func() time.Time { return wall },
		Elapsed: func() time.Duration { return mono }, ClockSettle: day, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l, _, err := Open(Config{Home: home, Topic: "t", Partition: 3, TopicID: kafka.UUID{1},
		Tunables: Tunables{SegmentBytes: 300, RetentionAge: 7 * day, ProducerRetention: day}})
	if err != nil {
		t.Fatal(err)
	}
	pass := func(d time.Duration) { wall, mono = wall.Add(d), mono+d }
	r := &rig{t: t, home: home, log: l}
	write := func() {
		t.Helper()
		r.now = wall
		r.fill(2, 1, 150)
	}
	want := func(what string, start int64, doubted bool) {
		t.Helper()
		r.must(l.Flush())
		_, err := l.Retain(l.End())
		r.must(err)
		if l.Start() != start || home.Health().ClockDoubted != doubted {
			t.Fatalf("%s: starts at %d, want %d; doubted %v; %s", what, l.Start(), start, home.Health().ClockDoubted, &said)
		}
	}
	write()
	want("new", 0, false)
	pass(4 * day)
	write()
	pass(4 * day)
	want("the first two are old", 2, false)
	wall = wall.Add(30 * day)
	want("a jump ahead", 2, true)
	if !strings.Contains(said.String(), "level=ERROR") {
		t.Errorf("no alarm: %s", &said)
	}
	pass(2 * time.Hour)
	want("two hours later", 2, true)
	wall = wall.Add(-30 * day)
	want("it is back", 2, false)
	wall = wall.Add(-day)
	want("a jump back", 2, true)
	wall = wall.Add(day)
	want("it is back again", 2, false)
	wall = wall.Add(day)
	want("a jump of a day", 2, true)
	pass(23 * time.Hour)
	want("nearly settled; by the old time all is young enough", 2, true)
	pass(time.Hour)
	want("settled", 2, false)
	pass(2 * day)
	want("by its own time", 4, false)
	for range 100 {
		pass(time.Hour)
		wall = wall.Add(4 * time.Minute)
		want("a clock that runs fast is corrected at each look", 4, false)
	}
}

// TestLastAppendTime: what a later process may not fall below.
func TestLastAppendTime(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 400})
	if got := LastAppendTime(r.log); got != -1 {
		t.Error(got)
	}
	r.must(r.produce(batchSpec{n: 1, ts: 5000}))
	if got := LastAppendTime(r.log); got != -1 {
		t.Errorf("a client's time: %d", got)
	}
	b := makeBatch(batchSpec{n: 1, at: r.log.End(), size: 250})
	stamped(&b, 7777)
	r.must(r.log.Append([]Batch{b}))
	r.stop()
	r.start()
	if got := LastAppendTime(r.log); got != 7777 {
		t.Error(got)
	}
}

func stamped(b *Batch, ms int64) { b.Header = record.SetAppendTime(b.Bytes, ms) }
