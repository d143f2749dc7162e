package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The pauses of a node that is not in the cluster yet, and how long one try takes
// at most.
const (
	attendAgain = 100 * time.Millisecond
	attendTry   = 2 * time.Second
	// attendLost is for how long a learner cannot register before it asks to join
	// again: it may have been taken out of the quorum while it was away.
	attendLost = 3 * time.Second
)

// attendance is a node's way into the cluster, and staying there:
//
//	join      become a member of the quorum, to receive the metadata log
//	register  become a broker, out of service
//	beat      be in service, and say so every broker.heartbeat.interval.ms
//
// Who leads the quorum has registered itself and beats to nobody.
type attendance struct {
	m    *Metadata
	late chan struct{} // closed when registering takes too long
	over bool          // it was registered once
	last error         // why it is not
	lost time.Time     // since when a node that does not vote is not registered
	kept int64         // the broker epoch that is durable here
}

// attend is the activity behind it. Its error is final for the node.
func (m entrant) attend(ctx context.Context) error {
	a := &attendance{m: m.Metadata, late: make(chan struct{})}
	limit := time.AfterFunc(m.cfg.Properties.Millis("initial.broker.registration.timeout.ms"), func() { close(a.late); m.stirred.ring() })
	defer limit.Stop()
	for ctx.Err() == nil {
		wait, err := a.step(ctx)
		if err != nil {
			return err
		}
		if a.over {
			limit.Stop()
		} else if a.isLate() {
			return fmt.Errorf("this node could not become part of cluster %s within initial.broker.registration.timeout.ms: %w", m.cfg.ClusterID, a.last)
		}
		m.stirred.wait(ctx, wait)
	}
	return nil
}

func (a *attendance) isLate() bool {
	select { //house:select two cases, one of them default
	case <-a.late:
		return a.last != nil
	default:
		return false
	}
}

// bell has one slot.
type bell chan struct{}

// ring lets who waits look again.
func (b bell) ring() {
	select { //house:select two cases, one of them default
	case b <- struct{}{}:
	default: // it will
	}
}

// wait waits for a ring, and for d at most; for ever if d is negative.
func (b bell) wait(ctx context.Context, d time.Duration) {
	var due <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	//house:select whatever comes, the caller looks at everything again
	select {
	case <-ctx.Done():
	case <-b:
	case <-due:
	}
}

// step does what is next, and says after how long to look again; negative: not
// before there is news.
func (a *attendance) step(ctx context.Context) (time.Duration, error) {
	m := a.m
	img := m.Image()
	b := img.Broker(m.cfg.NodeID)
	mine := b != nil && b.Incarnation == m.self.incarnation
	leads := img.ControllerID() == m.cfg.NodeID
	once, cancel := context.WithTimeout(ctx, attendTry)
	defer cancel()
	if mine && a.kept != b.Epoch {
		a.keep(b.Epoch)
	}
	switch {
	case !entrant{m}.member(), !mine && a.isLost():
		return attendAgain, a.blame(entrant{m}.join(once))
	case !m.cfg.Roles.Broker, leads && (!mine || !b.Fenced):
		a.over = a.over || mine || !m.cfg.Roles.Broker
		return -1, nil
	case !mine:
		return attendAgain, a.blame(entrant{m}.enroll(once))
	}
	a.over, a.lost = true, time.Time{}
	every := m.Properties().Millis("broker.heartbeat.interval.ms")
	if m.leaving.Load() {
		return every, nil // Leave speaks for itself
	}
	if _, err := (entrant{m}).heartbeat(ctx, false); err != nil && ctx.Err() == nil {
		m.cfg.Logger.Debug("no heartbeat", "err", err)
	}
	return every, nil
}

// isLost says, from time to time, whether a node that cannot register may have
// been forgotten. Whom it takes for the leader says nothing: nobody tells it.
func (a *attendance) isLost() bool {
	st, now := a.m.node.Status(), a.m.cfg.Now()
	switch {
	case !a.m.cfg.Roles.Broker || len(a.m.cfg.Bootstrap) == 0,
		slices.ContainsFunc(st.Voters, func(p quorum.Progress) bool { return p.Member == st.Self }):
		return false
	case a.lost.IsZero():
		a.lost = now
	}
	if now.Sub(a.lost) < attendLost {
		return false
	}
	a.lost = time.Time{}
	return true
}

// keep makes the broker epoch durable, before a heartbeat takes the broker into
// service. Without it a kill counts as a loss of what was written, which is why it
// is not worth staying out of service for. Where nobody else is there, a kill
// counts so anyway.
func (a *attendance) keep(epoch int64) {
	m := a.m
	if st := m.node.Status(); m.cfg.KeepEpoch == nil || (asker{m}).alone() && len(st.Learners) == 0 && len(m.Image().Brokers()) < 2 {
		return
	}
	a.kept = epoch
	if err := m.cfg.KeepEpoch(epoch); err != nil {
		m.cfg.Logger.Warn("the broker epoch cannot be written down: if this process is killed, its replicas count as incomplete", "err", err)
	}
}

// blame keeps why a try failed; what cannot get better by trying is an error.
func (a *attendance) blame(err error) error {
	if err == nil {
		return nil
	}
	if a.last == nil || a.last.Error() != err.Error() {
		a.m.cfg.Logger.Info("not part of the cluster yet", "err", err)
	}
	a.last = err
	switch kafka.CodeOf(err) {
	case kafka.InconsistentClusterID, kafka.UnsupportedVersion:
		return err
	}
	return nil
}

// enroll registers this process as a broker. It stays out of service until a
// heartbeat shows that it has applied that.
func (m entrant) enroll(ctx context.Context) error {
	resp, err := ask[msg.BrokerRegistrationResponse](ctx, m.Metadata, m.self.request(&m.cfg), newest(new(msg.BrokerRegistrationRequest)))
	if err != nil {
		return err
	}
	switch code := kafka.Code(resp.ErrorCode); code {
	case kafka.None:
		return nil
	case kafka.DuplicateBrokerRegistration:
		return fmt.Errorf("another process is broker %d and alive: give this one a node.id of its own: %w", m.cfg.NodeID, code)
	case kafka.UnsupportedVersion:
		return fmt.Errorf("this build does not know the feature levels of cluster %s: %w", m.cfg.ClusterID, code)
	default:
		return code
	}
}

// heartbeat tells the leader that this broker is there, and gives its answer. A
// broker that the leader does not know registers anew.
func (m entrant) heartbeat(ctx context.Context, leave bool) (*msg.BrokerHeartbeatResponse, error) {
	b := m.Image().Broker(m.cfg.NodeID)
	if b == nil {
		return nil, kafka.BrokerIDNotRegistered
	}
	req := msg.NewBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset, req.WantShutDown = b.ID, b.Epoch, m.Image().Index(), leave
	ctx, cancel := context.WithTimeout(ctx, m.Properties().Millis("broker.session.timeout.ms")/2)
	defer cancel()
	resp, err := ask[msg.BrokerHeartbeatResponse](ctx, m.Metadata, &req, newest(&req))
	if err == nil && resp.ErrorCode != 0 {
		err = kafka.Code(resp.ErrorCode)
	}
	return resp, err
}

// leaveTries is after how many heartbeats without an answer a broker leaves
// without leave.
const leaveTries = 3

// Leave takes this broker out of service before it ends: what it leads goes to
// others first. It returns when that is done, when nobody answers, or with ctx.
func (m *Metadata) Leave(ctx context.Context) error {
	if (asker{m}).alone() && len(m.Image().Brokers()) < 2 || !m.cfg.Roles.Broker || m.BrokerEpoch() < 0 {
		return nil
	}
	m.leaving.Store(true)
	for failed := 0; ; {
		resp, err := entrant{m}.heartbeat(ctx, true)
		switch {
		case err == nil && resp.ShouldShutDown:
			return nil
		case err == nil:
			failed = 0
		default:
			if failed++; failed == leaveTries {
				return fmt.Errorf("the broker leaves without the cluster's leave: %w", err)
			}
		}
		if err := rest(ctx, attendAgain); err != nil {
			return err
		}
	}
}

// member says whether this node is a member of the quorum, as far as it knows.
func (m entrant) member() bool {
	st := m.node.Status()
	self := func(p quorum.Progress) bool { return p.Member == st.Self }
	return slices.ContainsFunc(st.Voters, self) || slices.ContainsFunc(st.Learners, self)
}

// register decides on BrokerRegistration. The broker stays out of service until a
// heartbeat shows that it knows of it. A process that another one keeps from its
// node id makes the leader look after that one.
func (m leader) register(s *controller.State, req *msg.BrokerRegistrationRequest) (controller.Records, *msg.BrokerRegistrationResponse) {
	recs, resp := controller.RegisterBroker(s, req, false)
	switch {
	case resp.ErrorCode == int16(kafka.DuplicateBrokerRegistration):
		m.sessions.doubt(req.BrokerID, false)
	case resp.ErrorCode == 0 && req.BrokerID != m.cfg.NodeID:
		m.sessions.heard(req.BrokerID, 0)
		m.stirred.ring() // this node is alone no more
	}
	return recs, resp
}

// beat decides on BrokerHeartbeat, and notes it.
func (m leader) beat(s *controller.State, req *msg.BrokerHeartbeatRequest) (controller.Records, *msg.BrokerHeartbeatResponse) {
	recs, resp := controller.BrokerHeartbeat(s, req)
	if resp.ErrorCode != 0 || req.BrokerID == m.cfg.NodeID {
		return recs, resp
	}
	if resp.ShouldShutDown {
		m.sessions.left(req.BrokerID)
		return recs, resp
	}
	m.sessions.heard(req.BrokerID, req.CurrentMetadataOffset)
	if req.WantShutDown && len(recs) > 0 {
		m.sessions.leaves(req.BrokerID, s.Image.Index()+1)
	}
	return recs, resp
}

// run runs the parts until ctx ends or one fails.
func run(ctx context.Context, m *Metadata) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts = []func(context.Context) error{m.node.Run, entrant{m}.attend, func(ctx context.Context) error { watcher{m}.watch(ctx); return nil }, tender{m}.tend}
	errs := make(chan error, len(parts))
	for _, part := range parts {
		go func() {
			err := part(ctx)
			if err != nil {
				cancel()
			}
			errs <- err
		}()
	}
	var all []error
	for range parts {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
