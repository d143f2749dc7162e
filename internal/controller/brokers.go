package controller

import (
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// RegisterBroker decides on a broker's registration, which gives it the epoch
// that all its later requests must name. A process that registers again under
// its incarnation keeps its epoch.
//
// ready takes the broker into service at once; otherwise it stays fenced until
// [BrokerHeartbeat] hears that it has caught up.
//
// A new process of a broker that did not shut down cleanly may have lost records
// that were seen but never promised. Each partition that it led begins a new
// leader epoch, so that consumers notice.
func RegisterBroker(s *State, req *msg.BrokerRegistrationRequest, ready bool) (Records, *msg.BrokerRegistrationResponse) {
	resp := msg.NewBrokerRegistrationResponse()
	epoch := s.Image.Index() + 1
	old := s.Image.Broker(req.BrokerID)
	switch {
	case req.ClusterID != s.Image.ClusterID():
		resp.ErrorCode = int16(kafka.InconsistentClusterID)
		return nil, &resp
	case old != nil && old.Incarnation == req.IncarnationID:
		resp.BrokerEpoch = old.Epoch
		return nil, &resp
	case !supports(req.Features, s.Image.Features()):
		resp.ErrorCode = int16(kafka.UnsupportedVersion)
		return nil, &resp
	case old != nil:
		epoch = max(epoch, old.Epoch+1)
	}
	r := state.NewRegisterBrokerRecord()
	r.BrokerID, r.IncarnationID, r.BrokerEpoch = req.BrokerID, req.IncarnationID, epoch
	r.Rack, r.LogDirs, r.Fenced = req.Rack, slices.Clone(req.LogDirs), !ready
	for _, l := range req.Listeners {
		r.EndPoints = append(r.EndPoints, state.RegisterBrokerRecordEndPoint(l))
	}
	for _, f := range req.Features {
		r.Features = append(r.Features, state.RegisterBrokerRecordFeature(f))
	}
	slices.SortFunc(r.Features, func(a, b state.RegisterBrokerRecordFeature) int { return strings.Compare(a.Name, b.Name) })
	recs := Records{&r}
	clean := old != nil && req.PreviousBrokerEpoch == old.Epoch
	now := &cluster.Broker{ID: req.BrokerID, LogDirs: req.LogDirs}
	recs = append(recs, strand(s, now)...)
	if old != nil && !clean {
		recs = append(recs, restarted(s, now)...)
	}
	if ready {
		recs = append(recs, lead(s, now)...)
	}
	resp.BrokerEpoch = epoch
	return recs, &resp
}

// supports says whether a broker can work at the finalized levels. A feature it
// does not name counts as supported at 0 only.
func supports(has []msg.BrokerRegistrationRequestFeature, levels []cluster.Feature) bool {
	for _, want := range levels {
		ok := slices.ContainsFunc(has, func(f msg.BrokerRegistrationRequestFeature) bool {
			return f.Name == want.Name && f.MinSupportedVersion <= want.Level && want.Level <= f.MaxSupportedVersion
		})
		if !ok && want.Level > 0 {
			return false
		}
	}
	return true
}

// restarted begins a new epoch on each partition that the broker leads.
func restarted(s *State, b *cluster.Broker) Records {
	var recs Records
	for t := range s.Image.TopicsFrom("") {
		for i := range t.Partitions {
			if p := &t.Partitions[i]; p.Leader == b.ID && b.HasDirectory(p.DirectoryOf(b.ID)) {
				r := changeOf(t, p)
				r.Leader = b.ID
				recs = append(recs, r)
			}
		}
	}
	return recs
}

// lead gives a broker that comes into service the partitions that have no
// leader and may have it.
func lead(s *State, b *cluster.Broker) Records {
	var recs Records
	for t := range s.Image.TopicsFrom("") {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader == kafka.NoBroker && slices.Contains(p.ISR, b.ID) && b.HasDirectory(p.DirectoryOf(b.ID)) {
				r := changeOf(t, p)
				r.Leader = b.ID
				recs = append(recs, r)
			}
		}
	}
	return recs
}

func changeOf(t *cluster.Topic, p *cluster.Partition) *state.PartitionChangeRecord {
	r := state.NewPartitionChangeRecord()
	r.TopicID, r.PartitionID = t.ID, p.ID
	return &r
}

// speaker is the broker that a request is of, if it is registered under that epoch.
func (s *State) speaker(id int32, epoch int64) (*cluster.Broker, kafka.Code) {
	b := s.Image.Broker(id)
	switch {
	case b == nil:
		return nil, kafka.BrokerIDNotRegistered
	case b.Epoch != epoch:
		return nil, kafka.StaleBrokerEpoch
	}
	return b, kafka.None
}

// BrokerHeartbeat decides on a heartbeat: a broker that has caught up and wants
// to work is unfenced, one that wants to stop is fenced. Silence is for whoever
// watches the clock, see [FenceBroker].
func BrokerHeartbeat(s *State, req *msg.BrokerHeartbeatRequest) (Records, *msg.BrokerHeartbeatResponse) {
	resp := msg.NewBrokerHeartbeatResponse()
	b, code := s.speaker(req.BrokerID, req.BrokerEpoch)
	if code != kafka.None {
		resp.ErrorCode = int16(code)
		return nil, &resp
	}
	caughtUp := req.CurrentMetadataOffset >= b.Epoch
	resp.IsCaughtUp, resp.IsFenced, resp.ShouldShutDown = caughtUp, b.Fenced, req.WantShutDown
	var recs Records
	switch {
	case b.Fenced && caughtUp && !req.WantFence && !req.WantShutDown:
		recs, resp.IsFenced = append(recs, fencing(b, -1)), false
		recs = append(recs, lead(s, b)...)
	case !b.Fenced && (req.WantFence || req.WantShutDown):
		recs, resp.IsFenced = FenceBroker(s, b.ID), true
	}
	return append(recs, directories(s, b, req)...), &resp
}

func fencing(b *cluster.Broker, change int8) *state.BrokerRegistrationChangeRecord {
	r := state.NewBrokerRegistrationChangeRecord()
	r.BrokerID, r.BrokerEpoch, r.Fenced = b.ID, b.Epoch, change
	return &r
}

// FenceBroker takes a broker out of service: it leaves every ISR in which
// others remain, and what it led goes to another replica or waits for it.
func FenceBroker(s *State, id int32) Records {
	b := s.Image.Broker(id)
	if b == nil || b.Fenced {
		return nil
	}
	recs := Records{fencing(b, 1)}
	alive := func(other int32) bool { return other != id && s.Image.Active(other) }
	for t := range s.Image.TopicsFrom("") {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if r := without(s, t, p, id, s.holding(p, alive)); r != nil {
				recs = append(recs, r)
			}
		}
	}
	return recs
}

// UnregisterBroker forgets a broker.
func UnregisterBroker(s *State, req *msg.UnregisterBrokerRequest) (Records, *msg.UnregisterBrokerResponse) {
	resp := msg.NewUnregisterBrokerResponse()
	b := s.Image.Broker(req.BrokerID)
	if b == nil {
		resp.ErrorCode, resp.ErrorMessage = answer(refuse(kafka.BrokerIDNotRegistered,
			"Broker ID %d is not currently registered", req.BrokerID))
		return nil, &resp
	}
	recs := FenceBroker(s, req.BrokerID)
	r := state.NewUnregisterBrokerRecord()
	r.BrokerID, r.BrokerEpoch = b.ID, b.Epoch
	return append(recs, &r), &resp
}
