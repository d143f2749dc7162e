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
// ready takes the broker into service at once; otherwise it is fenced until
// [BrokerHeartbeat] hears that it has caught up, and what it led goes to others.
//
// A new process of a broker that did not end cleanly may have lost what it was
// not asked to keep, or have a disk of yesterday. It leaves every ISR and all
// eligible replicas (KIP-966) unless nobody else is left there; a partition that
// it leads on begins a new leader epoch, so that consumers notice. What was in a
// directory that it has no more is treated so even after a clean end.
//
// Refused are: another cluster's broker, one that cannot work at the finalized
// feature levels, a second one under an id whose broker is heard
// (DUPLICATE_BROKER_REGISTRATION), and one with a log directory that another
// broker has registered (INVALID_REGISTRATION): a disk was copied.
func RegisterBroker(s *State, req *msg.BrokerRegistrationRequest, ready bool) (Records, *msg.BrokerRegistrationResponse) {
	resp := msg.NewBrokerRegistrationResponse()
	old := s.Image.Broker(req.BrokerID)
	if old != nil && old.Incarnation == req.IncarnationID && req.ClusterID == s.Image.ClusterID() {
		resp.BrokerEpoch = old.Epoch
		return nil, &resp
	}
	if code := s.mayRegister(old, req); code != kafka.None {
		resp.ErrorCode = int16(code)
		return nil, &resp
	}
	epoch := s.Image.Index() + 1
	if old != nil {
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
	resp.BrokerEpoch = epoch
	back := comeback{id: req.BrokerID, ready: ready, clean: old != nil && req.PreviousBrokerEpoch == old.Epoch, known: old != nil}
	return append(Records{&r}, back.records(s, &cluster.Broker{ID: req.BrokerID, LogDirs: req.LogDirs})...), &resp
}

// mayRegister says why a new process cannot be the broker that it says it is.
func (s *State) mayRegister(old *cluster.Broker, req *msg.BrokerRegistrationRequest) kafka.Code {
	switch {
	case req.ClusterID != s.Image.ClusterID():
		return kafka.InconsistentClusterID
	case !supports(req.Features, s.Image.Features()):
		return kafka.UnsupportedVersion
	case old != nil && !old.Fenced && s.Heard != nil && s.Heard(old.ID):
		return kafka.DuplicateBrokerRegistration
	}
	for _, b := range s.Image.Brokers() {
		for _, dir := range b.LogDirs {
			if b.ID != req.BrokerID && !kafka.ReservedDir(dir) && slices.Contains(req.LogDirs, dir) {
				return kafka.InvalidRegistration
			}
		}
	}
	return kafka.None
}

// comeback is a new process of a broker.
type comeback struct {
	id           int32
	ready        bool // in service from now on
	clean, known bool // the last one ended as it should; there was one
}

// records decide what the broker's partitions become; now is the broker as it
// registers.
func (b comeback) records(s *State, now *cluster.Broker) Records {
	return s.sweep(func(c *change) bool {
		if !c.p.HasReplica(b.id) {
			return false
		}
		has, able := now.HasDirectory(c.p.DirectoryOf(b.id)), c.able
		c.able = func(id int32) bool {
			if id == b.id {
				return b.ready && has
			}
			return able(id)
		}
		switch {
		case s.elr() && (!b.clean && (!b.ready || len(c.p.ISR)+len(c.p.ELR) > 1) || !has):
			c.isr, c.stripped = drop(c.isr, b.id), b.id
		case !b.ready || !has:
			c.isr = drop(c.isr, b.id)
		}
		c.renew = b.known && !b.clean && has && c.p.Leader == b.id && c.may(b.id)
		return true
	})
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

// lead gives the partitions that nobody leads to a broker that comes into
// service, where it may lead them.
func lead(s *State, b *cluster.Broker) Records {
	return s.sweep(func(c *change) bool {
		c.able = s.holding(c.p, func(id int32) bool { return id == b.ID || s.Image.Active(id) })
		return c.p.Leader == kafka.NoBroker
	})
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

// BrokerHeartbeat decides on a heartbeat:
//
//	fenced         is unfenced when it has caught up and wants to work
//	in service     is fenced if it wants to be; if it wants to stop, its leadership goes
//	               to others first, and it joins no ISR from then on
//	shutting down  may stop when it leads nothing more, and all know that
//
// Silence is for whoever watches the clock, see [FenceBroker].
func BrokerHeartbeat(s *State, req *msg.BrokerHeartbeatRequest) (Records, *msg.BrokerHeartbeatResponse) {
	resp := msg.NewBrokerHeartbeatResponse()
	b, code := s.speaker(req.BrokerID, req.BrokerEpoch)
	if code != kafka.None {
		resp.ErrorCode = int16(code)
		return nil, &resp
	}
	resp.IsCaughtUp, resp.IsFenced = req.CurrentMetadataOffset >= b.Epoch, b.Fenced
	var recs Records
	switch {
	case b.Fenced && (req.WantShutDown || b.InControlledShutdown): // there is no way back for a process
		resp.ShouldShutDown = true
	case b.Fenced && resp.IsCaughtUp && !req.WantFence:
		recs, resp.IsFenced = append(Records{fencing(b, -1)}, lead(s, b)...), false
	case b.Fenced:
	case req.WantFence,
		req.WantShutDown && !b.InControlledShutdown && !s.leads(b.ID),
		b.InControlledShutdown && !s.leads(b.ID) && (s.Moved == nil || s.Moved(b.ID)):
		recs, resp.IsFenced, resp.ShouldShutDown = FenceBroker(s, b.ID), true, req.WantShutDown || b.InControlledShutdown
	case req.WantShutDown && !b.InControlledShutdown:
		recs = resign(s, b)
	}
	now := s.after(recs)
	return append(recs, directories(now, now.Image.Broker(b.ID), req)...), &resp
}

// resign begins a controlled shutdown (KIP-841): the broker leads nothing more
// and is in no ISR.
func resign(s *State, b *cluster.Broker) Records {
	change := fencing(b, 0)
	change.InControlledShutdown = 1
	return append(Records{change}, gone(s, []int32{b.ID})...)
}

// leads says whether a broker leads a partition.
func (s *State) leads(id int32) bool {
	for t := range s.Image.TopicsFrom("") {
		for i := range t.Partitions {
			if t.Partitions[i].Leader == id {
				return true
			}
		}
	}
	return false
}

func fencing(b *cluster.Broker, change int8) *state.BrokerRegistrationChangeRecord {
	r := state.NewBrokerRegistrationChangeRecord()
	r.BrokerID, r.BrokerEpoch, r.Fenced = b.ID, b.Epoch, change
	return &r
}

// FenceBroker takes a broker out of service: it leaves every ISR, and what it
// led goes to another replica or waits for one. Nothing, if it is out already.
func FenceBroker(s *State, id int32) Records { return FenceBrokers(s, []int32{id}) }

// FenceBrokers is [FenceBroker] for several at once: none of them is chosen to
// lead what another led.
func FenceBrokers(s *State, ids []int32) Records {
	var recs Records
	var fenced []int32
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if b := s.Image.Broker(id); b != nil && !b.Fenced {
			recs, fenced = append(recs, fencing(b, 1)), append(fenced, id)
		}
	}
	if fenced == nil {
		return nil
	}
	return append(recs, gone(s, fenced)...)
}

// gone takes brokers out of every ISR and from all that they lead.
func gone(s *State, ids []int32) Records {
	return s.sweep(func(c *change) bool {
		touched := false
		for _, id := range ids {
			touched = touched || c.p.Leader == id || slices.Contains(c.p.ISR, id)
			c.leave(id)
		}
		return touched
	})
}

// UnregisterBroker forgets a broker that is out of service. One that is in
// service is refused: it would register again, and until then partitions would
// have lost it for nothing. Its replicas stay assigned to it, as Kafka's do.
func UnregisterBroker(s *State, req *msg.UnregisterBrokerRequest) (Records, *msg.UnregisterBrokerResponse) {
	resp := msg.NewUnregisterBrokerResponse()
	b := s.Image.Broker(req.BrokerID)
	var err error
	switch {
	case b == nil:
		err = refuse(kafka.BrokerIDNotRegistered, "Broker ID %d is not currently registered", req.BrokerID)
	case !b.Fenced:
		err = refuse(kafka.InvalidRequest, "Broker %d is in service: stop it before it is unregistered.", req.BrokerID)
	}
	if resp.ErrorCode, resp.ErrorMessage = answer(err); err != nil {
		return nil, &resp
	}
	r := state.NewUnregisterBrokerRecord()
	r.BrokerID, r.BrokerEpoch = b.ID, b.Epoch
	return Records{&r}, &resp
}
