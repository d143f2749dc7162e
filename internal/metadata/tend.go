package metadata

import (
	"context"
	"time"

	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/quorum"
)

// tendEvery is how often the leader looks whether the cluster needs something that
// nobody asks for. Odd on purpose: it falls together with no other timer.
const tendEvery = 1013 * time.Millisecond

// tender does what the leader of the quorum does by the clock, beside watching
// sessions: it gives leadership back to preferred replicas, elects leaders that may
// miss records where topics permit it, and lets internal topics grow when brokers
// have come.
type tender struct{ *Metadata }

// tend is the activity behind it.
func (m tender) tend(ctx context.Context) error {
	balance := chore{what: "preferred replicas lead again", do: controller.Balance}
	elect := chore{what: "leaders are elected that may miss records", do: controller.ElectUnclean}
	var silent map[quorum.Member]int
	for rest(ctx, tendEvery) == nil {
		if m.Image().ControllerID() != m.cfg.NodeID {
			balance.waited, elect.waited, silent = 0, 0, nil
			continue
		}
		silent = m.forget(silent)
		m.does(ctx, "internal topics grow", controller.GrowInternal)
		props := m.Properties()
		elect.due(ctx, m, props.Millis("unclean.leader.election.interval.ms"))
		if props.Bool("auto.leader.rebalance.enable") {
			balance.due(ctx, m, time.Duration(props.Int64("leader.imbalance.check.interval.seconds"))*time.Second)
		}
	}
	return nil
}

// forgetAfter is for how many looks a learner has to be silent before it is
// forgotten.
const forgetAfter = 5

// forget takes learners out of the quorum that are no brokers, or no more, and
// say nothing: those of decommissioned nodes. One that comes back after all asks
// to join again. silent are the looks at which each was so; the new ones are
// returned.
func (m tender) forget(silent map[quorum.Member]int) map[quorum.Member]int {
	next := map[quorum.Member]int{}
	img := m.Image()
	for _, l := range m.node.Status().Learners {
		if l.Active || img.Broker(l.Node) != nil {
			continue
		}
		if next[l.Member] = silent[l.Member] + 1; next[l.Member] == forgetAfter {
			m.cfg.Logger.Info("a node that left is taken out of the quorum", "node", l.Node, "directory", l.Directory.String())
			m.node.Remove(l.Member, door(m).changed)
			next[l.Member] = 0 // if it does not come about, later again
		}
	}
	return next
}

// chore is what is done from time to time.
type chore struct {
	what   string
	do     func(*controller.State) (controller.Records, bool)
	waited time.Duration
}

// due does it if it is time; what is not finished is gone on with at the next look.
func (c *chore) due(ctx context.Context, m tender, every time.Duration) {
	if c.waited += tendEvery; c.waited >= every && !m.does(ctx, c.what, c.do) {
		c.waited = 0
	}
}

// does decides on something; more says that there is more of it to do.
func (m tender) does(ctx context.Context, what string, f func(*controller.State) (controller.Records, bool)) (more bool) {
	_, err := leader(m).decided(ctx, func(s *controller.State) (recs controller.Records) {
		if recs, more = f(s); len(recs) > 0 {
			m.cfg.Logger.Info(what, "partitions", len(recs))
		}
		return recs
	})
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Debug("nothing is tended", "err", err)
	}
	return err == nil && more
}
