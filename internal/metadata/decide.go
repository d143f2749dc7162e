package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// leadership is what a node that decides knows beyond the committed image.
type leadership struct {
	image  *cluster.Image // all that was decided, committed or not
	config *config.Broker // the settings under that image
	last   *pending       // the newest proposal, nil when all are done
}

// pending is a proposal on its way.
type pending struct {
	done chan struct{} // closed when err is known
	err  error
}

// state is what a decision rests on now. It is under the turn.
func (m leader) state() *controller.State {
	s := &controller.State{Image: m.leading.image, Config: m.leading.config, Rand: m.cfg.Rand}
	if m.cfg.Peers != nil {
		s.Heard, s.Moved = m.heard, m.sessions.moved
	}
	return s
}

// heard says whether the process that a broker is registered with counts as alive.
// It is under the turn.
func (m leader) heard(node int32) bool {
	if node == m.cfg.NodeID {
		return m.self.in(m.leading.image, node)
	}
	_, ok := m.sessions.alive(node)
	return ok
}

// lay lets records act on what the next decision will rest on. It is under the
// turn. An error means that the controller decided on what cannot be; nothing
// has changed then.
func (m leader) lay(records []state.Record) error {
	if len(records) == 0 {
		return nil
	}
	l := m.leading
	delta := cluster.NewDelta(l.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			return err
		}
	}
	next := delta.Apply(l.image.Index()+1, l.image.Term())
	if m.overridden(l.image, next) {
		l.config = m.resolve(next)
	}
	l.image = next
	return nil
}

// propose sends a decision on its way, all of its entries in a row. It is under
// the turn.
func (m leader) propose(records []state.Record) *pending {
	p := &pending{done: make(chan struct{})}
	m.leading.last = p
	entries := encode(records)
	for i, e := range entries {
		if i < len(entries)-1 {
			m.node.Propose(e, func(error) {}) // if it is lost, so is the last
			continue
		}
		m.node.Propose(e, func(err error) {
			p.err = err
			close(p.done)
		})
	}
	m.leading.image = m.leading.image.At(m.leading.image.Index() + int64(len(entries)-1))
	return p
}

// decide is the way of every change: decide under the turn, propose, and wait
// until it acts. f must be pure. A decision without records waits too, for what
// it rests on: an answer such as "it exists" must not be about what may still
// be lost.
func (m leader) decide(ctx context.Context, f func(*controller.State) controller.Records) error {
	wait, err := m.decided(ctx, f)
	if err != nil || wait == nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return timedOut(err)
	}
	//house:select an answer that comes at the last moment may be told either way
	select {
	case <-wait.done:
		return wait.err
	case <-ctx.Done():
		return timedOut(ctx.Err())
	}
}

func (m leader) decided(ctx context.Context, f func(*controller.State) controller.Records) (*pending, error) {
	if err := m.turn.takeFor(ctx); err != nil {
		return nil, timedOut(err)
	}
	defer m.turn.give()
	if m.leading == nil {
		return nil, quorum.ErrNotLeader
	}
	if err := m.node.Full(); err != nil {
		return nil, err
	}
	records := f(m.state())
	if len(records) == 0 {
		return m.leading.last, nil
	}
	if err := m.lay(records); err != nil {
		m.cfg.Logger.Error("a decision does not fit the state it was made on", "err", err)
		return nil, fmt.Errorf("%w: %w", kafka.UnknownServerError, err)
	}
	return m.propose(records), nil
}

// timedOut is a context's end in the protocol's terms.
func timedOut(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the metadata quorum did not answer in time: %w", kafka.RequestTimedOut)
	}
	return fmt.Errorf("%w: %w", quorum.ErrStopped, err)
}
