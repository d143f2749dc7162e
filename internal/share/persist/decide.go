package persist

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
)

// Summary is what is known of a share partition without its batches.
type Summary struct {
	StateEpoch  int32
	LeaderEpoch int32

	// StartOffset is the first offset that is not done, [share.NoStart] if that is
	// not known yet.
	StartOffset int64

	// DeliveryComplete is how many records from the start on are done, -1 if
	// unknown.
	DeliveryComplete int32
}

// refusal is an error with the code and the text that a client is shown.
type refusal struct {
	code kafka.Code
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.code }

// Refused is what another coordinator answered, in its own words; nil for NONE.
func Refused(code kafka.Code, text *string) error {
	switch {
	case code == kafka.None:
		return nil
	case text == nil:
		return &refusal{code, code.Name()}
	}
	return &refusal{code, *text}
}

// The reasons to refuse.
func negative(what string) error {
	return &refusal{kafka.InvalidRequest, "The " + what + " cannot be a negative number."}
}

func uninitialized(op string) error {
	return &refusal{kafka.InvalidRequest, op + " operation on uninitialized share partition not allowed."}
}

func fencedLeader() error {
	return &refusal{kafka.FencedLeaderEpoch, "The leader epoch in the request is older than the epoch on the broker."}
}

func fencedState() error {
	return &refusal{kafka.FencedStateEpoch, "The share coordinator rejected the request because the share-group state epoch did not match."}
}

// exists refuses partitions that the cluster does not have.
func (sh *shard) exists(key share.Key) error {
	if !sh.cfg.Exists(key.TopicID, key.Partition) {
		return &refusal{kafka.UnknownTopicOrPartition, "This server does not host this topic-partition."}
	}
	return nil
}

func (sh *shard) initialize(t *coordinator.Turn, key share.Key, stateEpoch int32, start int64) error {
	old := sh.kept[key]
	switch {
	case key.Partition < 0:
		return negative("partition id")
	case stateEpoch < 0:
		return negative("state epoch")
	case old != nil && old.stateEpoch > stateEpoch:
		return fencedState()
	}
	if err := sh.exists(key); err != nil {
		return err
	}
	now := t.Now.UnixMilli()
	s := kept{stateEpoch: stateEpoch, start: start, created: now, written: now}
	if start == share.NoStart {
		s.complete = -1
	}
	if old != nil {
		s.snapshotEpoch = old.snapshotEpoch + 1
	}
	t.Put(snapshotKey(key), marshalSnapshot(&s))
	return nil
}

// read gives the state to the leader of an epoch, which the log is told of if it
// is new.
func (sh *shard) read(t *coordinator.Turn, key share.Key, leaderEpoch int32) (share.State, error) {
	s := sh.kept[key]
	switch {
	case key.Partition < 0:
		return share.State{}, negative("partition id")
	case leaderEpoch < 0:
		return share.State{}, negative("leader epoch")
	case s == nil:
		return share.State{}, uninitialized("Read")
	case s.fence > leaderEpoch:
		return share.State{}, fencedLeader()
	}
	if err := sh.exists(key); err != nil {
		return share.State{}, err
	}
	if s.fence != leaderEpoch {
		sh.put(t, key, leaderEpoch, &share.Update{StartOffset: s.start, DeliveryComplete: s.complete})
	}
	return share.State{StateEpoch: s.stateEpoch, StartOffset: s.start, Batches: slices.Clone(s.batches)}, nil
}

func (sh *shard) write(t *coordinator.Turn, key share.Key, u *share.Update) error {
	s := sh.kept[key]
	switch {
	case key.Partition < 0:
		return negative("partition id")
	case u.LeaderEpoch < 0:
		return negative("leader epoch")
	case u.StateEpoch < 0:
		return negative("state epoch")
	case s == nil:
		return uninitialized("Write")
	case s.fence > u.LeaderEpoch:
		return fencedLeader()
	case s.stateEpoch > u.StateEpoch:
		return fencedState()
	}
	if err := sh.exists(key); err != nil {
		return err
	}
	sh.put(t, key, s.leaderEpoch, u)
	return nil
}

// put appends an update of what is kept, or a snapshot when it is time for one.
func (sh *shard) put(t *coordinator.Turn, key share.Key, leaderEpoch int32, u *share.Update) {
	s := *sh.kept[key]
	switch {
	case u.StartOffset > s.start:
		s.complete = u.DeliveryComplete
	case u.StartOffset == s.start:
		s.complete = max(s.complete, u.DeliveryComplete)
	}
	s.start = max(s.start, u.StartOffset)
	s.leaderEpoch = leaderEpoch
	if s.updates < sh.cfg.SnapshotEvery {
		d := update{snapshotEpoch: s.snapshotEpoch, leaderEpoch: leaderEpoch, start: s.start, complete: s.complete,
			batches: combine(nil, u.Batches, s.start)}
		t.Put(updateKey(key), d.marshal())
		return
	}
	s.snapshotEpoch++
	s.batches = combine(s.batches, u.Batches, s.start)
	s.created = t.Now.UnixMilli()
	s.written = s.created
	t.Put(snapshotKey(key), marshalSnapshot(&s))
}

// summary tells what DescribeShareGroupOffsets needs. It takes no note of the
// asker's leader epoch.
func (sh *shard) summary(key share.Key) (Summary, error) {
	if key.Partition < 0 {
		return Summary{}, negative("partition id")
	}
	if err := sh.exists(key); err != nil {
		return Summary{}, err
	}
	s := sh.kept[key]
	if s == nil {
		return Summary{StartOffset: share.NoStart, DeliveryComplete: -1}, nil
	}
	return s.summary(), nil
}

// remove forgets a share partition; one that is not known is forgotten already.
func (sh *shard) remove(t *coordinator.Turn, key share.Key) error {
	if key.Partition < 0 {
		return negative("partition id")
	}
	if err := sh.exists(key); err != nil {
		return err
	}
	if sh.kept[key] != nil {
		t.Delete(snapshotKey(key))
	}
	return nil
}

// tombstonesATurn bounds how many share partitions one turn forgets.
const tombstonesATurn = 1000

// removeTopics forgets share partitions of topics that were deleted, and says
// whether there are more.
func (sh *shard) removeTopics(t *coordinator.Turn, topics []kafka.UUID) (more bool) {
	done := 0
	for _, key := range sh.keys() {
		if !slices.Contains(topics, key.TopicID) {
			continue
		}
		if done++; done > tombstonesATurn {
			return true
		}
		t.Delete(snapshotKey(key))
	}
	return false
}
