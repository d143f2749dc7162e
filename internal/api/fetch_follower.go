package api

import (
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// A follower fetches as a consumer does, but for these:
//
//	it has to be allowed CLUSTER_ACTION
//	it reads up to the end of the log, committed or not
//	the offset it names is noted: up to there it has all on stable storage
//	an answer without records comes soon once the high watermark has moved
//	in its rows, the last stable offset is up to where the whole ISR has flushed:
//	followers find out the other from what they have
//
// Only a leader serves it, and only in the epoch that it names.

// follower is who fetches, while it is a broker.
type follower struct {
	id       int32
	epoch    int64 // of the broker; -1 unknown
	eligible bool  // to be in an ISR: the image has it alive in that epoch
	stale    bool  // a later process of that broker has registered
	barred   bool  // it may not
	noted    bool  // the offsets of this request are noted
}

// tellSoon is how long a fetch goes on waiting for records when there is but a
// high watermark to be told. Under load there are records long before.
const tellSoon = 10 * time.Millisecond

// recognize finds out who fetches.
func (h *DataHandlers) recognize(c *Call, f *fetching) {
	f.who = follower{id: f.req.ReplicaID, epoch: -1}
	if c.Version >= 15 {
		f.who.id, f.who.epoch = f.req.ReplicaState.ReplicaID, f.req.ReplicaState.ReplicaEpoch
	}
	f.follower, f.told = f.who.id >= 0, false
	if !f.follower {
		return
	}
	f.max = f.req.MaxBytes
	f.min = min(f.req.MinBytes, f.max)
	f.isolate = replica.ReadAll
	f.who.barred = !c.AllowedCluster(auth.ClusterAction)
	img := h.Image()
	if b := img.Broker(f.who.id); b != nil {
		f.who.stale = f.who.epoch >= 0 && f.who.epoch < b.Epoch
		f.who.eligible = f.who.epoch == b.Epoch && img.Active(f.who.id)
	}
}

// readFollower reads a partition for a follower, and notes how far it has come.
//
// Errors: TOPIC_AUTHORIZATION_FAILED, as Kafka has it; NOT_LEADER_OR_FOLLOWER for
// a broker that holds no replica, or is not the process that does.
func (h *DataHandlers) readFollower(c *Call, f *fetching, p *fetchPartition, q replica.Read) error {
	switch {
	case f.who.barred:
		return kafka.TopicAuthorizationFailed
	case f.who.stale:
		p.leader.id, p.leader.epoch = p.watched.Leader()
		return kafka.NotLeaderOrFollower
	}
	r := p.watched
	if q.CurrentEpoch == kafka.NoEpoch {
		_, q.CurrentEpoch = r.Leader()
	}
	h.throttle(c, f, p, &q)
	var err error
	if p.res, err = r.Read(q); err != nil || p.res.Diverging != nil || f.who.noted {
		return err
	}
	durable, ok := r.Fetched(partition.Fetch{Replica: f.who.id, Offset: p.offset, LeaderEpoch: q.CurrentEpoch,
		BrokerEpoch: f.who.epoch, Eligible: f.who.eligible}, c.Time.UnixMilli())
	if !ok {
		p.res.Range.Release()
		p.res = replica.Result{}
		p.leader.id, p.leader.epoch = r.Leader()
		return kafka.NotLeaderOrFollower
	}
	p.durable, p.res.HW = durable, max(p.res.HW, r.HW()) // which this fetch may have moved
	return nil
}

// hasten ends a follower's wait soon when there is a high watermark to tell, or
// leaders change; each follower's at a moment of its own.
func (h *DataHandlers) hasten(c *Call, f *fetching, until time.Time) time.Time {
	if f.follower && h.Turnover != nil {
		until = h.Turnover.until(c.Time, until)
	}
	if paid := f.ration.until; !paid.IsZero() && paid.Before(until) {
		until = paid // then there may be more for partitions that are throttled
	}
	if !f.behind || f.told {
		return until
	}
	f.told = true
	soon := c.Now().Add(tellSoon + time.Duration(f.who.id%1000)*time.Microsecond)
	if soon.Before(until) {
		return soon
	}
	return until
}

// nearer is the replica in the client's rack that it should read from, by the
// rules of Kafka's RackAwareReplicaSelector: the leader if it is in the rack, else
// the one there that has most; kafka.NoBroker for the leader.
func (h *DataHandlers) nearer(r *replica.Replica, rack string, offset int64) int32 {
	img := h.Image()
	inRack := func(id int32) bool {
		b := img.Broker(id)
		return b != nil && !b.Fenced && b.Rack != nil && *b.Rack == rack
	}
	if !r.Leads() || inRack(h.NodeID) {
		return kafka.NoBroker
	}
	for _, id := range r.Holding(offset) {
		if inRack(id) {
			return id
		}
	}
	return kafka.NoBroker
}

// redirect tells whom to ask instead, and where that is (KIP-951).
func (h *DataHandlers) redirect(c *Call, f *fetching, p *fetchPartition) {
	if id, epoch := h.leader(&p.topic, p.index); id != kafka.NoBroker || !f.follower {
		p.leader.id, p.leader.epoch = id, epoch
	}
	known := slices.ContainsFunc(f.endpoints, func(e msg.FetchResponseNodeEndpoint) bool { return e.NodeID == p.leader.id })
	if b := h.Image().Broker(p.leader.id); b != nil && !known {
		if e, ok := b.Endpoint(c.Conn.Listener); ok {
			f.endpoints = append(f.endpoints, msg.FetchResponseNodeEndpoint{NodeID: b.ID, Host: e.Host, Port: int32(e.Port), Rack: b.Rack})
		}
	}
}
