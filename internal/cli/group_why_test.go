package cli

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestExplain gives every cause its partition: what a group, its members and the
// cluster are like, and what must be said of it.
func TestExplain(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := place{"t", 0}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	member := groupMember{Member: "m", Client: "c", Host: "h", Epoch: 5, Topics: []string{"t"}, Assigned: []topicPartitions{{"t", []int32{0}}}}
	idle := groupMember{Member: "n", Client: "d", Epoch: 4, Topics: []string{"t"}, Assigned: []topicPartitions{}}
	heir := idle
	heir.Target = []topicPartitions{{"t", []int32{0}}}
	for _, c := range []struct {
		name      string
		kind      string
		state     string
		members   []groupMember
		at        int64
		change    func(f *lagFacts, g *describedGroup)
		why, next string // "" where nothing may be said
	}{
		{"caught up", consumerGroup, "Stable", []groupMember{member}, 100, nil, "", ""},
		{"gone", consumerGroup, "Empty", nil, 50, func(f *lagFacts, _ *describedGroup) { f.gone["t"] = true; delete(f.end, p) },
			"the topic does not exist any more", "myelin group offsets delete g --topics t"},
		{"offline", consumerGroup, "Stable", []groupMember{member}, 50, func(f *lagFacts, _ *describedGroup) { f.offline[p] = true; delete(f.end, p) },
			"no broker serves the partition now", "myelin topic describe t"},
		{"beyond", consumerGroup, "Stable", []groupMember{member}, 101, nil, "the group stands beyond the end", "seek g --to end --topics t"},
		{"deleted", consumerGroup, "Stable", []groupMember{member}, 8, nil, "2 records went before the group read them", "seek g --to start --topics t"},
		{"rebalance", classicGroup, "PreparingRebalance", []groupMember{member}, 50, nil, "a rebalance is under way", "describe g --members"},
		{"nobody", classicGroup, "Empty", nil, 50, func(f *lagFacts, _ *describedGroup) { f.tail.changes = []time.Time{ago(3 * time.Hour)} },
			"the group has no members (for 3h0m)", "start its consumers"},
		{"heir", consumerGroup, "Reconciling", []groupMember{heir}, 50, nil, "member n (d) is to have it and has yet to take it over: its epoch is 4, the group's 5", "hangs or is slow"},
		{"idle", consumerGroup, "Stable", []groupMember{idle}, 50, nil, "no member has it, though members want the topic", "--members"},
		{"unsubscribed", consumerGroup, "Stable", []groupMember{{Member: "m", Topics: []string{"u"}}}, 50, nil, "no member subscribes to the topic", "offsets delete g --topics t"},
		{"known transaction", consumerGroup, "Stable", []groupMember{member}, 90, func(f *lagFacts, _ *describedGroup) {
			f.stable[p], f.open[p] = 90, blockingTxn{producer: 7, first: 90, silent: 5 * time.Second, id: "pay"}
		}, "the transaction of pay, producer 7 is open here, silent for 5s", "myelin txn terminate pay"},
		{"hanging transaction", consumerGroup, "Stable", []groupMember{member}, 90, func(f *lagFacts, _ *describedGroup) {
			f.stable[p], f.open[p] = 90, blockingTxn{producer: 7, first: 90, silent: 50 * time.Hour}
		}, "silent for 2d2h, and readers of committed records wait for its end; no coordinator knows of it", "myelin txn abort t 0 --offset 90"},
		{"moving", consumerGroup, "Reconciling", []groupMember{member, heir}, 50, nil, "member m (c) has it and is to give it up to member n (d)", "hangs or is slow"},
		{"assigning", consumerGroup, "Assigning", []groupMember{idle}, 50, nil, "about to be decided", "again"},
		{"never", consumerGroup, "Stable", []groupMember{member}, -1, nil, "member m (c) has it and has not committed yet", "myelin consume t --partitions 0 --from 10 -n 1"},
		{"unknown", consumerGroup, "Stable", []groupMember{member}, 50, nil, "member m (c) has it and is behind", "again"},
		{"silent", consumerGroup, "Stable", []groupMember{member}, 50, commits(p, commitPoint{50, ago(5 * time.Minute)}), "has not committed for 5m0s", "--from 50 -n 1"},
		{"poison", consumerGroup, "Stable", []groupMember{member}, 50, commits(p, commitPoint{40, ago(3 * time.Minute)}, commitPoint{50, ago(2 * time.Minute)},
			commitPoint{50, ago(time.Minute)}, commitPoint{50, ago(5 * time.Second)}), "commits, but stands at offset 50 for 2m0s", "--from 50 -n 1"},
		{"one commit", consumerGroup, "Stable", []groupMember{member}, 50, commits(p, commitPoint{50, ago(5 * time.Second)}), "the last commit is 5s old", "again"},
		{"catches up", consumerGroup, "Stable", []groupMember{member}, 50, func(f *lagFacts, _ *describedGroup) {
			f.tail.commits[p], f.wrote[p] = []commitPoint{{30, ago(12 * time.Second)}, {50, ago(2 * time.Second)}}, 1
		}, "reads 2 records a second, 1 are written: it catches up in about 50s", ""},
		{"too slow", consumerGroup, "Stable", []groupMember{member}, 50, func(f *lagFacts, _ *describedGroup) {
			f.tail.commits[p], f.wrote[p] = []commitPoint{{30, ago(12 * time.Second)}, {50, ago(2 * time.Second)}}, 20
		}, "it does not catch up", "up to one for each of the 1 partitions"},
		{"streams waits", streamsGroup, "NotReady", []groupMember{idle}, 50, func(f *lagFacts, g *describedGroup) {
			f.gone["u"], g.Topology = true, &groupTopology{Subtopologies: []subtopology{{ID: "0", Sources: []string{"t", "u"}}}}
		}, "waits for topics that do not exist: u", "myelin topic create u"},
		{"share, nobody", shareGroup, "Empty", nil, 50, nil, "the group has no members", "myelin consume t --share g"},
		{"share, unsubscribed", shareGroup, "Stable", []groupMember{{Member: "m", Topics: []string{"u"}}}, 50, nil, "no member subscribes to the topic", "offsets delete"},
		{"share, not begun", shareGroup, "Stable", []groupMember{member}, -1, nil, "nothing of it was given out yet", "seek g --to start --topics t"},
		{"share, behind", shareGroup, "Stable", []groupMember{member}, 50, nil, "locked until share.record.lock.duration.ms", "again"},
	} {
		f := &lagFacts{now: now, start: map[place]int64{p: 10}, end: map[place]int64{p: 100}, stable: map[place]int64{p: 100}, gone: map[string]bool{},
			offline: map[place]bool{}, open: map[place]blockingTxn{}, wrote: map[place]float64{}, tail: commitTail{commits: map[place][]commitPoint{}}}
		g := &describedGroup{Group: "g", Type: c.kind, State: c.state, Epoch: 5, Members: c.members}
		if c.change != nil {
			c.change(f, g)
		}
		g.measure(map[place]standing{p: {at: c.at, lag: -1}}, f)
		g.explain("myelin group", f)
		switch {
		case c.why == "" && len(g.Reasons) > 0:
			t.Errorf("%s: %+v", c.name, g.Reasons)
		case c.why == "":
		case len(g.Reasons) != 1, !strings.Contains(g.Reasons[0].Why, c.why), !strings.Contains(g.Reasons[0].Next, c.next), (c.next == "") != (g.Reasons[0].Next == ""),
			g.Reasons[0].Partitions[0] != "t/0", g.Offsets[0].Reason != g.Reasons[0].Reason:
			t.Errorf("%s: %+v\nwant %q, %q", c.name, g.Reasons, c.why, c.next)
		}
	}
}

func commits(p place, points ...commitPoint) func(*lagFacts, *describedGroup) {
	return func(f *lagFacts, _ *describedGroup) { f.tail.commits[p] = points }
}

// TestRestless calls a group that changes all the time by its name.
func TestRestless(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := &lagFacts{now: now}
	for i := range 10 {
		f.tail.changes = append(f.tail.changes, now.Add(-time.Duration(i)*50*time.Second))
	}
	g := &describedGroup{Group: "g", Type: classicGroup, State: "Stable", Members: []groupMember{{Member: "m"}}}
	if g.explain("myelin group", f); len(g.Reasons) != 1 || !strings.Contains(g.Reasons[0].Why, "changed 10 times") {
		t.Errorf("%+v", g.Reasons)
	}
	f.tail.changes[0] = now.Add(-lately)
	if g.explain("myelin group", f); len(g.Reasons) != 0 {
		t.Errorf("nine changes in ten minutes: %+v", g.Reasons)
	}
}

// TestCommitTail reads what a group did out of records of __consumer_offsets.
func TestCommitTail(t *testing.T) {
	tail := commitTail{commits: map[place][]commitPoint{}}
	commit := func(group string, offset int64) *kgo.Record {
		key, value := state.NewOffsetCommitKey(), state.NewOffsetCommitValue()
		key.Group, key.Topic, value.Offset, value.CommitTimestamp = group, "t", offset, 1000*offset
		return &kgo.Record{Key: state.MarshalKey(&key), Value: state.MarshalValue(&value, 3)}
	}
	for _, r := range []*kgo.Record{commit("other", 1), commit("g", 2), commit("g", 3), {Key: binary.BigEndian.AppendUint16(nil, 99)}, {Key: nil}} {
		tail.add("g", r)
	}
	key, value := state.NewConsumerGroupMetadataKey(), state.NewConsumerGroupMetadataValue()
	key.GroupID = "g"
	change := &kgo.Record{Key: state.MarshalKey(&key), Value: state.MarshalValue(&value, 0), Timestamp: time.UnixMilli(9)}
	tail.add("g", change)
	tail.add("other", change)
	points := tail.commits[place{"t", 0}]
	if len(points) != 2 || points[1].offset != 3 || points[1].at != time.UnixMilli(3000) || len(tail.commits) != 1 || len(tail.changes) != 1 {
		t.Errorf("%+v", tail)
	}
	gone := commit("g", 4)
	gone.Value = nil
	if tail.add("g", gone); len(tail.commits) != 0 {
		t.Errorf("an offset that was deleted stays: %+v", tail.commits)
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		in   []int32
		want string
	}{{nil, ""}, {[]int32{3}, "3"}, {[]int32{0, 1, 2, 5}, "0-2,5"}, {[]int32{0, 2, 3}, "0,2-3"}} {
		if got := ranges(c.in); got != c.want {
			t.Errorf("%v: %s, want %s", c.in, got, c.want)
		}
	}
}
