package txn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// follower is what the log alone makes of a shard. It reads on from where it is,
// and begins anew when the log was cut.
type follower struct {
	sh     *shard
	read   [][]byte
	placed map[string]int64 // where the newest record of an id stands
}

func (f *follower) readTo(t testing.TB, log *slicelog.Log) {
	batches := log.Batches()
	if f.sh == nil || len(f.read) > len(batches) || !slices.EqualFunc(f.read, batches[:len(f.read)], func(a, b []byte) bool { return &a[0] == &b[0] }) {
		s := &Service{cfg: DefaultConfig()}
		f.sh, f.read, f.placed = newShard(s, 0, coordinator.NewTimeline()), nil, map[string]int64{}
		f.sh.quit()
	}
	for _, b := range batches[len(f.read):] {
		for _, r := range slicelog.Parse(t, b) {
			if err := f.sh.Replay(coordinator.Record{Key: r.Key, Value: r.Value, Offset: r.Offset}); err != nil {
				t.Error(err)
			}
			f.placed[idOf(t, &r)] = r.Offset
		}
	}
	f.read = batches
}

func idOf(t testing.TB, r *record.Record) string {
	k, err := state.ParseKey(state.Transaction, r.Key)
	if err != nil {
		t.Error(err)
	}
	return k.(*state.TransactionLogKey).TransactionalID
}

// show is all that a shard knows from the log.
func (sh *shard) show() string {
	var out strings.Builder
	for _, id := range sh.ids.Keys() {
		tx, _ := sh.ids.Get(id)
		fmt.Fprintf(&out, "%s: %+v\n", id, *tx)
	}
	return out.String()
}

// appended is told of each batch before the log has it: by then the coordinator
// must know what the log says and no more (invariant 7), and a COMPLETE must find
// all partitions with their markers (invariant 3).
func (c *crowd) appended(at int64, batch []byte) {
	c.appends++
	c.follow.readTo(c.t, c.log)
	if live, want := c.live.Load().show(), c.follow.sh.show(); live != want {
		c.wrong("before the append at %d the coordinator has\n%sand the log says\n%s", at, live, want)
	}
	for _, r := range slicelog.Parse(c.t, batch) {
		tx := valueOf(c.t, r.Key, r.Value, "")
		if tx == nil || tx.status != CompleteCommit && tx.status != CompleteAbort {
			continue
		}
		id := idOf(c.t, &r)
		was, ok := c.follow.sh.ids.Get(id)
		if !ok || !was.status.preparing() {
			c.wrong("%s is completed, and was not being ended", id)
			return
		}
		for _, tp := range was.partitions {
			if !c.parts.has(c.follow.placed[id], tp) {
				c.wrong("%s is completed, but %s has no marker: %+v", id, tp, was)
			}
		}
	}
}

// TestDeathAtEveryAppend plays histories over and over: once to count what they
// append, and then with a coordinator that dies at the first append, at the second
// and so on, in each of the ways that an append can end.
func TestDeathAtEveryAppend(t *testing.T) {
	histories := 12
	if testing.Short() {
		histories = 2
	}
	died := 0
	for seed := range histories {
		appends := playDying(t, seed, "lives on", nil)
		for what, death := range slicelog.Deaths(appends) {
			playDying(t, seed, what, death)
		}
		died += appends * len(slicelog.Fates())
	}
	if died < 50*histories {
		t.Errorf("died %d times only", died)
	}
}

func playDying(t *testing.T, seed int, what string, death func(l *slicelog.Log)) (appends int) {
	t.Helper()
	return rapid.Custom(func(rt *rapid.T) int {
		c := newCrowd(rt)
		c.death, c.steps = death, 40
		var thrown any
		synctest.Test(t, func(t *testing.T) { thrown = c.run(t) })
		if thrown != nil {
			t.Fatalf("history %d, in which the coordinator %s: %v", seed, what, thrown)
		}
		return c.appends
	}).Example(seed)
}
