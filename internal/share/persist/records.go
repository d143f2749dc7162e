package persist

import (
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

func snapshotKey(k share.Key) []byte {
	return state.MarshalKey(&state.ShareSnapshotKey{GroupID: k.Group, TopicID: k.TopicID, Partition: k.Partition})
}

func updateKey(k share.Key) []byte {
	return state.MarshalKey(&state.ShareUpdateKey{GroupID: k.Group, TopicID: k.TopicID, Partition: k.Partition})
}

// marshalSnapshot makes the value of a snapshot of s.
func marshalSnapshot(s *kept) []byte {
	v := state.NewShareSnapshotValue()
	v.SnapshotEpoch, v.StateEpoch, v.LeaderEpoch = s.snapshotEpoch, s.stateEpoch, s.leaderEpoch
	v.StartOffset, v.DeliveryCompleteCount = s.start, s.complete
	v.CreateTimestamp, v.WriteTimestamp = s.created, s.written
	v.StateBatches = make([]state.ShareSnapshotValueStateBatch, len(s.batches))
	for i, b := range s.batches {
		v.StateBatches[i] = state.ShareSnapshotValueStateBatch{
			FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count}
	}
	return state.MarshalValue(&v, 0)
}

func parseSnapshot(b []byte) (*kept, error) {
	v := state.NewShareSnapshotValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return nil, err
	}
	s := &kept{
		snapshotEpoch: v.SnapshotEpoch, stateEpoch: v.StateEpoch, leaderEpoch: v.LeaderEpoch,
		start: v.StartOffset, complete: v.DeliveryCompleteCount,
		created: v.CreateTimestamp, written: v.WriteTimestamp,
	}
	for _, b := range v.StateBatches {
		s.batches = append(s.batches, share.Batch{
			First: b.FirstOffset, Last: b.LastOffset, State: share.Delivery(b.DeliveryState), Count: b.DeliveryCount})
	}
	return s, nil
}

// update is the value of a ShareUpdate record.
type update struct {
	snapshotEpoch int32
	leaderEpoch   int32
	start         int64
	complete      int32
	batches       []share.Batch
}

func (u *update) marshal() []byte {
	v := state.NewShareUpdateValue()
	v.SnapshotEpoch, v.LeaderEpoch = u.snapshotEpoch, u.leaderEpoch
	v.StartOffset, v.DeliveryCompleteCount = u.start, u.complete
	v.StateBatches = make([]state.ShareUpdateValueStateBatch, len(u.batches))
	for i, b := range u.batches {
		v.StateBatches[i] = state.ShareUpdateValueStateBatch{
			FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count}
	}
	return state.MarshalValue(&v, 0)
}

func parseUpdate(b []byte) (update, error) {
	v := state.NewShareUpdateValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return update{}, err
	}
	u := update{snapshotEpoch: v.SnapshotEpoch, leaderEpoch: v.LeaderEpoch, start: v.StartOffset, complete: v.DeliveryCompleteCount}
	for _, b := range v.StateBatches {
		u.batches = append(u.batches, share.Batch{
			First: b.FirstOffset, Last: b.LastOffset, State: share.Delivery(b.DeliveryState), Count: b.DeliveryCount})
	}
	return u, nil
}
