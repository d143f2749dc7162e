package persist

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// shard is the state of one partition of __share_group_state.
//
// Whoever asks waits until all that the shard knows is committed, as in Kafka:
// so there is only the newest state.
type shard struct {
	cfg  *Config
	kept map[share.Key]*kept
	next int64 // the offset after the last record that was replayed
}

// kept is what is known of one share partition.
type kept struct {
	snapshotEpoch int32 // grows with each snapshot
	stateEpoch    int32
	leaderEpoch   int32
	start         int64
	complete      int32 // records from start on that are done; -1 unknown
	created       int64 // ms: the last snapshot that came of a write or an initialization
	written       int64 // ms: the last snapshot
	batches       []share.Batch

	fence   int32 // the highest leader epoch that was seen
	updates int   // since the last snapshot
	at      int64 // offset of the last snapshot, or of the first update without one
}

func newShard(cfg *Config) *shard { return &shard{cfg: cfg, kept: map[share.Key]*kept{}} }

// Replay applies one record. Types and versions of a newer Kafka are passed over.
func (sh *shard) Replay(r coordinator.Record) error {
	sh.next = r.Offset + 1
	key, err := state.ParseKey(state.Share, r.Key)
	if err == nil {
		switch k := key.(type) {
		case *state.ShareSnapshotKey:
			err = sh.replaySnapshot(share.Key{Group: k.GroupID, TopicID: k.TopicID, Partition: k.Partition}, r)
		case *state.ShareUpdateKey:
			err = sh.replayUpdate(share.Key{Group: k.GroupID, TopicID: k.TopicID, Partition: k.Partition}, r)
		}
	}
	if errors.Is(err, state.ErrUnknown) {
		sh.cfg.Logger.Warn("a record in "+kafka.ShareStateTopic+" is not understood and left alone", "err", err)
		return nil
	}
	return err
}

func (sh *shard) replaySnapshot(key share.Key, r coordinator.Record) error {
	if r.Value == nil {
		delete(sh.kept, key)
		return nil
	}
	s, err := parseSnapshot(r.Value)
	if err != nil {
		return err
	}
	s.at, s.fence = r.Offset, s.leaderEpoch
	if old := sh.kept[key]; old != nil {
		s.fence = max(s.fence, old.fence)
	}
	sh.kept[key] = s
	return nil
}

func (sh *shard) replayUpdate(key share.Key, r coordinator.Record) error {
	if r.Value == nil {
		return nil // nobody writes that
	}
	u, err := parseUpdate(r.Value)
	if err != nil {
		return err
	}
	s := sh.kept[key]
	if s == nil { // its snapshot was written by somebody who deletes too much
		sh.kept[key] = &kept{snapshotEpoch: u.snapshotEpoch, leaderEpoch: u.leaderEpoch, start: u.start, complete: u.complete,
			batches: u.batches, fence: u.leaderEpoch, updates: 1, at: r.Offset}
		return nil
	}
	if u.start != share.NoStart {
		s.start = u.start
	}
	if u.leaderEpoch != kafka.NoEpoch {
		s.leaderEpoch = u.leaderEpoch
	}
	s.complete = u.complete
	s.batches = combine(s.batches, u.batches, s.start)
	s.fence = max(s.fence, u.leaderEpoch)
	s.updates++
	return nil
}

// coldAlarm rings when idle share partitions may need a snapshot.
const coldAlarm = "cold"

// coldATurn bounds how many snapshots one turn makes, so that its batch stays
// small and others get their turn.
const coldATurn = 500

// Loaded starts the clock.
func (sh *shard) Loaded(t *coordinator.Turn) { t.Wake(coldAlarm, t.Now.Add(sh.cfg.ColdAfter)) }

// Alarm gives idle share partitions a snapshot, unless all are idle and had
// theirs: then the log does not grow, and what it has is all needed.
func (sh *shard) Alarm(_ string, t *coordinator.Turn) {
	t.Soft()
	t.Wake(coldAlarm, t.Now.Add(sh.cfg.ColdAfter))
	cold := 0
	for _, s := range sh.kept {
		if s.created != s.written {
			cold++
		}
	}
	if cold == len(sh.kept) {
		return
	}
	now := t.Now.UnixMilli()
	done := 0
	for _, key := range sh.keys() {
		s := *sh.kept[key]
		if now-s.written < sh.cfg.ColdAfter.Milliseconds() {
			continue
		}
		if done++; done > coldATurn {
			t.Wake(coldAlarm, t.Now)
			return
		}
		s.snapshotEpoch++
		s.written = now
		t.Put(snapshotKey(key), marshalSnapshot(&s))
	}
}

// Closed has nobody to tell.
func (sh *shard) Closed(error) {}

// keys are all share partitions in order.
func (sh *shard) keys() []share.Key {
	return slices.SortedFunc(maps.Keys(sh.kept), func(a, b share.Key) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
}

// needed is the first offset that the log must keep.
func (sh *shard) needed() int64 {
	first := sh.next
	for _, s := range sh.kept {
		first = min(first, s.at)
	}
	return first
}
