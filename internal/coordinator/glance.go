package coordinator

import (
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Who glances waits for a turn for so long, and in vain so many times; then it
// takes only what is free at once.
const (
	glanceWait  = 50 * time.Millisecond
	glanceWaits = 5
)

// Glance reads partitions for figures, which may lack some, but never wait for a
// disk: a turn is held over an append. Use one for each walk over the partitions,
// from one goroutine.
type Glance[M Machine] struct {
	r     *Runtime[M]
	waits int // left
}

// Glance begins a walk.
func (r *Runtime[M]) Glance() *Glance[M] { return &Glance[M]{r, glanceWaits} }

// Read is [Runtime.Read] of a partition whose turn is free now or soon; others are
// left out, as those that load are: COORDINATOR_LOAD_IN_PROGRESS. Both are counted,
// see [Figures].
func (g *Glance[M]) Read(id int32, look func(m M) error) error {
	p, err := g.r.find(id)
	if err != nil {
		return err
	}
	if !p.try(g.waits > 0) {
		g.waits = max(0, g.waits-1)
		g.r.stats.leftOut.Add(1)
		return fmt.Errorf("%s-%d is busy: %w", g.r.cfg.Topic, id, kafka.CoordinatorLoadInProgress)
	}
	l, err := p.entered()
	if err != nil {
		g.r.stats.leftOut.Add(1)
		return err
	}
	defer p.give()
	return look(l.machine)
}

// try takes the turn if it is free, or where it may wait is so soon.
func (p *partition[M]) try(wait bool) bool {
	select { //house:select two cases, one of them default
	case p.turn <- struct{}{}:
		return true
	default:
	}
	if !wait {
		return false
	}
	p.rt.stats.waiting.Add(1)
	defer p.rt.stats.waiting.Add(-1)
	timer := time.NewTimer(glanceWait)
	defer timer.Stop()
	//house:select a turn that comes as the time is up may be left or taken
	select {
	case p.turn <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}
