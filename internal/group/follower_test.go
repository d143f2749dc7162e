package group

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// follower is what the log alone makes of a shard. It reads on from where it is,
// and begins anew when the log was cut.
type follower struct {
	cfg  *Config
	sh   *shard
	read [][]byte
}

func (f *follower) readTo(t testing.TB, log *slicelog.Log) *shard {
	batches := log.Batches()
	same := func(a, b []byte) bool { return &a[0] == &b[0] }
	if f.sh == nil || len(f.read) > len(batches) || !slices.EqualFunc(f.read, batches[:len(f.read)], same) {
		f.sh, f.read = newShard(f.cfg, new(Stats), coordinator.NewTimeline()), nil
	}
	for _, b := range batches[len(f.read):] {
		if err := f.sh.replayBatch(b); err != nil {
			t.Error(err)
		}
	}
	f.read = batches
	return f.sh
}

// replayBatch is what the runtime does with a batch when it loads.
func (sh *shard) replayBatch(b []byte) error {
	h, err := record.Check(b)
	if err != nil {
		return err
	}
	var in record.Reader
	defer in.Release()
	for in.Reset(b, record.DefaultLimit); in.Next(); {
		r := coordinator.Record{Key: bytes.Clone(in.Record().Key), Value: bytes.Clone(in.Record().Value), Offset: in.Record().Offset}
		switch {
		case h.Attributes.Has(record.Control):
			typ, epoch, bad := record.ParseEndTxnMarker(in.Record())
			if err = bad; err == nil {
				err = sh.Marker(coordinator.Marker{ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch,
					CoordinatorEpoch: epoch, Commit: typ == record.Commit})
			}
		case h.Attributes.Has(record.Transactional):
			err = sh.ReplayTxn(coordinator.Producer{ID: h.ProducerID, Epoch: h.ProducerEpoch}, r)
		default:
			err = sh.Replay(r)
		}
		if err != nil {
			return fmt.Errorf("record at %d: %w", r.Offset, err)
		}
	}
	return in.Err()
}

// show is all that a shard knows from the log: offsets, those of open
// transactions, the groups of kinds with all that their records say, and which
// classic groups there are. What those do between two generations is in memory
// only.
func (sh *shard) show() string {
	var out strings.Builder
	ids := map[string]bool{}
	for _, id := range sh.groups.Keys() {
		if g, _ := sh.groups.Get(id); g.State() != classic.Dead {
			ids[id] = true
		}
	}
	for id := range sh.loading {
		ids[id] = true
	}
	fmt.Fprintf(&out, "classic %v\n", slices.Sorted(maps.Keys(ids)))
	for _, id := range sh.kinds.Keys() {
		g, _ := sh.kinds.Get(id)
		fmt.Fprintf(&out, "%s %s %s\n", g.Type(), id, deep(reflect.ValueOf(g).Elem().FieldByName("book")))
	}
	for _, id := range slices.Sorted(maps.Keys(sh.offsets)) {
		for _, tp := range sh.offsets[id].Keys() {
			o, _ := sh.offsets[id].Get(tp)
			fmt.Fprintf(&out, "%s %s %+v\n", id, tp, *o)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(sh.pending.txns)) {
		fmt.Fprintf(&out, "producer %d %s\n", p, deep(reflect.ValueOf(*sh.pending.txns[p])))
	}
	return out.String()
}

// deep prints a value with all that it points to, the settings left out.
func deep(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		return deep(v.Elem())
	case reflect.Struct:
		var out []string
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "cfg" {
				out = append(out, name+":"+deep(v.Field(i)))
			}
		}
		return "{" + strings.Join(out, " ") + "}"
	case reflect.Map:
		var out []string
		for _, k := range v.MapKeys() {
			out = append(out, deep(k)+":"+deep(v.MapIndex(k)))
		}
		slices.Sort(out)
		return "{" + strings.Join(out, " ") + "}"
	case reflect.Slice, reflect.Array:
		var out []string
		for i := range v.Len() {
			out = append(out, deep(v.Index(i)))
		}
		return "[" + strings.Join(out, " ") + "]"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	case reflect.Bool:
		return fmt.Sprint(v.Bool())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return fmt.Sprint(v.Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return fmt.Sprint(v.Uint())
	}
	panic(v.Kind())
}

// appended is told of each batch before the log has it: by then the coordinator
// must know what the log says and no more.
func (c *crowd) appended(at int64, _ []byte) {
	c.appends++
	live, want := c.live.Load().show(), c.follow.readTo(c.t, c.log).show()
	if live != want {
		c.wrong("before the append at %d the coordinator has\n%sand the log says\n%s", at, live, want)
	}
}

// told looks at an answer as it comes: what it says must be durable.
func (c *crowd) told(req msg.Request, ch <-chan msg.Response) <-chan msg.Response {
	out := make(chan msg.Response, 1)
	go func() {
		resp := <-ch
		c.acked(req, resp)
		out <- resp
	}()
	return out
}

// acked wants a committed record of what an answer says.
func (c *crowd) acked(req msg.Request, resp msg.Response) {
	switch r := resp.(type) {
	case *msg.OffsetCommitResponse:
		q := req.(*msg.OffsetCommitRequest)
		if r.Topics[0].Partitions[0].ErrorCode == 0 {
			c.wantOffset(q.GroupID, q.Topics[0].Partitions[0].PartitionIndex, q.Topics[0].Partitions[0].CommittedOffset)
		}
	case *msg.TxnOffsetCommitResponse:
		q := req.(*msg.TxnOffsetCommitRequest)
		if r.Topics[0].Partitions[0].ErrorCode == 0 {
			c.wantOffset(q.GroupID, q.Topics[0].Partitions[0].PartitionIndex, q.Topics[0].Partitions[0].CommittedOffset)
		}
	case *msg.SyncGroupResponse:
		if q := req.(*msg.SyncGroupRequest); r.ErrorCode == 0 {
			c.wantMember(q.GroupID, q.MemberID, q.GenerationID)
		}
	case *msg.ConsumerGroupHeartbeatResponse:
		if r.ErrorCode == 0 && r.MemberEpoch > 0 {
			c.wantMember(req.(*msg.ConsumerGroupHeartbeatRequest).GroupID, *r.MemberID, r.MemberEpoch)
		}
	}
}

// durable says whether a committed record is like that.
func (c *crowd) durable(like func(key any, value []byte) bool) bool {
	return slices.ContainsFunc(c.log.Upto(c.log.Durable()).Records(c.t), func(r record.Record) bool {
		key, err := state.ParseKey(state.Group, r.Key)
		return err == nil && r.Value != nil && like(key, r.Value)
	})
}

func (c *crowd) wantOffset(group string, partition int32, value int64) {
	if !c.durable(func(key any, v []byte) bool {
		k, ok := key.(*state.OffsetCommitKey)
		if !ok || k.Group != group || k.Partition != partition {
			return false
		}
		o, err := parseOffset(v)
		return err == nil && o.Offset == value
	}) {
		c.wrong("the commit of %s t-%d at %d is answered, and no durable record has it", group, partition, value)
	}
}

// wantMember wants a generation, or a member's epoch.
func (c *crowd) wantMember(group, member string, epoch int32) {
	if !c.durable(func(key any, v []byte) bool {
		switch k := key.(type) {
		case *state.GroupMetadataKey:
			s, err := parseGroup(v)
			return err == nil && k.Group == group && s.Generation == epoch &&
				slices.ContainsFunc(s.Members, func(m classic.MemberSnapshot) bool { return m.ID == member })
		case *state.ConsumerGroupCurrentMemberAssignmentKey:
			at := state.NewConsumerGroupCurrentMemberAssignmentValue()
			_, err := state.ParseValue(v, &at)
			return err == nil && k.GroupID == group && k.MemberID == member && at.MemberEpoch == epoch
		}
		return false
	}) {
		c.wrong("%s is told that it is a member of %s at %d, and no durable record has it", member, group, epoch)
	}
}

// TestDeathAtEveryAppend plays histories over and over: once to count what they
// append, and then with a coordinator that dies at the first append, at the second
// and so on, in each of the ways that an append can end.
func TestDeathAtEveryAppend(t *testing.T) {
	histories := 5
	if testing.Short() {
		histories = 1
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
		c.death, c.mixes, c.steps = death, true, 60
		var thrown any
		synctest.Test(t, func(t *testing.T) { thrown = c.run(t) })
		if thrown != nil {
			t.Fatalf("history %d, in which the coordinator %s: %v", seed, what, thrown)
		}
		return c.appends
	}).Example(seed)
}
