package metadata

import (
	"fmt"
	"iter"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// machine is Metadata as the quorum sees it. All its methods run on the
// goroutine of the quorum.
type machine Metadata

var _ quorum.Machine = (*machine)(nil)

// Restore begins anew with the records of a snapshot.
func (m *machine) Restore(index, term uint64, records iter.Seq2[[]byte, error]) error {
	fresh := cluster.NewDelta(cluster.Empty(m.cfg.ClusterID))
	for b, err := range records {
		if err != nil {
			return err
		}
		r, _, err := state.ParseRecord(state.Metadata, b)
		if err == nil {
			err = fresh.Replay(r)
		}
		if err != nil {
			return fmt.Errorf("%w: at index %d: %w", quorum.ErrSnapshot, index, err)
		}
	}
	next := fresh.Apply(int64(index), int64(term)).WithController(m.image.Load().ControllerID())
	delta := cluster.Between(m.image.Load(), next)
	m.open, m.framed = nil, false
	m.tell(delta, next)
	return nil
}

// Apply lets committed entries act on the image. Those that come together make
// one image, so that a start is one step for the subscribers and not thousands.
func (m *machine) Apply(entries []quorum.Entry) error {
	delta := cluster.NewDelta(m.image.Load())
	for _, e := range entries {
		records, err := decode(e.Data)
		if err == nil {
			err = m.replay(delta, records)
		}
		if err != nil {
			return fmt.Errorf("metadata log at index %d: %w", e.Index, err)
		}
	}
	last := entries[len(entries)-1]
	next := delta.Apply(int64(last.Index), int64(last.Term))
	m.tell(delta, next)
	return nil
}

// replay lets records act, those of a framed decision when it is whole.
func (m *machine) replay(delta *cluster.Delta, records []state.Record) error {
	for _, r := range records {
		switch r.(type) {
		case *state.BeginTransactionRecord:
			if m.framed {
				return fmt.Errorf("%w: a decision begins within another", errEntry)
			}
			m.framed = true
			continue
		case *state.EndTransactionRecord, *state.AbortTransactionRecord:
			if !m.framed {
				return fmt.Errorf("%w: a decision ends that did not begin", errEntry)
			}
			whole := m.open
			m.open, m.framed = nil, false
			if _, aborted := r.(*state.AbortTransactionRecord); aborted {
				continue
			}
			for _, held := range whole {
				if err := delta.Replay(held); err != nil {
					return err
				}
			}
			continue
		}
		if m.framed {
			m.open = append(m.open, r)
			continue
		}
		if err := delta.Replay(r); err != nil {
			return err
		}
	}
	return nil
}

// tell publishes an image and then tells the subscribers, in their order.
//
// They hear nothing before the image shows this process's registration. It was
// decided after the process began, so all that was ever decided before is in the
// image then; and the first thing that they hear is the whole of it. A part of
// the truth would be dangerous: what it does not name looks deleted.
func (m *machine) tell(delta *cluster.Delta, next *cluster.Image) {
	(*Metadata)(m).publish(next)
	defer m.applied.at(next.Index())
	if !m.cfg.Roles.Broker {
		return
	}
	if !m.told {
		if m.told = m.self.in(next, m.cfg.NodeID); !m.told {
			return
		}
		delta = cluster.Between(cluster.Empty(m.cfg.ClusterID), next)
	}
	if !delta.Empty() {
		for _, s := range m.subs {
			s(delta, next)
		}
	}
	if m.self.seen(next, m.cfg.NodeID, m.ready) {
		m.stirred.ring()
	}
}

// led is told by a node that is no broker when it knows who leads: it is ready.
func (m *machine) led(by int32) {
	if !m.cfg.Roles.Broker && by != kafka.NoBroker && !m.told {
		m.told = true
		close(m.ready)
	}
}

// Lead begins to decide here.
func (m *machine) Lead(term, next uint64) {
	(*Metadata)(m).publish(m.image.Load().WithController(m.cfg.NodeID))
	m.turn.take()
	defer m.turn.give()
	m.leading = &leadership{image: m.image.Load(), config: m.props.Load()}
	m.leading.image = m.leading.image.At(int64(next) - 1)
	m.cfg.Logger.Info("this node leads the metadata quorum", "term", term)
	leader{(*Metadata)(m)}.begin(m.framed)
	m.sessions.lead(leader{(*Metadata)(m)}.others(), m.leading.image.Index())
	m.stirred.ring()
	m.led(m.cfg.NodeID)
}

// Follow ends deciding here.
func (m *machine) Follow(leader int32) {
	(*Metadata)(m).publish(m.image.Load().WithController(leader))
	m.turn.take()
	defer m.turn.give()
	if m.leading != nil {
		m.cfg.Logger.Warn("this node no longer leads the metadata quorum", "leader", leader)
	}
	m.leading = nil
	m.sessions.follow()
	m.led(leader)
	m.stirred.ring()
}

// Snapshot gives the image as records, except within a framed decision.
func (m *machine) Snapshot() (iter.Seq[[]byte], bool) {
	if m.framed {
		return nil, false
	}
	img := m.image.Load()
	return func(yield func([]byte) bool) {
		var b []byte
		for r := range img.Records() {
			_, version := r.Versions()
			b = state.AppendRecord(b[:0], r, version)
			if !yield(b) {
				return
			}
		}
	}, true
}

// begin is a new leader's first act: to close what the last one left open, to
// give a new cluster its first records, and to register this broker. It is under
// the turn.
func (m leader) begin(framed bool) {
	var recs controller.Records
	last := m.leading.image.Index()
	if framed {
		abort := state.NewAbortTransactionRecord()
		m.node.Propose(frame(&abort), func(error) {})
		last++
	}
	if !controller.Bootstrapped(m.leading.image) {
		recs = append(controller.Bootstrap(m.state()), m.start...)
	}
	if err := m.lay(recs); err != nil {
		m.cfg.Logger.Error("the first records do not fit", "err", err)
		return
	}
	m.leading.image = m.leading.image.At(last) // all that follows goes in one entry
	if !m.cfg.Roles.Broker {
		m.proposeSome(recs)
		return
	}
	more, resp := controller.RegisterBroker(m.state(), m.self.request(&m.cfg), asker(m).alone())
	if code := kafka.Code(resp.ErrorCode); code != kafka.None {
		m.cfg.Logger.Error("this broker cannot register", "err", code)
	}
	if err := m.lay(more); err != nil {
		m.cfg.Logger.Error("this broker cannot register", "err", err)
		return
	}
	m.proposeSome(append(recs, more...))
}

// proposeSome is propose for what may be nothing.
func (m leader) proposeSome(records controller.Records) {
	if len(records) > 0 {
		m.propose(records)
	}
}

// others are the brokers that are in service, but for this one. It is under the
// turn.
func (m leader) others() (nodes []int32) {
	for _, b := range m.leading.image.Brokers() {
		if b.ID != m.cfg.NodeID && !b.Fenced {
			nodes = append(nodes, b.ID)
		}
	}
	return nodes
}
