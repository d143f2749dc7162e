package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/controller/plan"
)

const (
	// waitAgain is how often it is looked how far the moves are.
	waitAgain = time.Second
	// waitBlind is for how long the cluster may give no answer meanwhile.
	waitBlind = time.Minute
	// settle is how long nodes may take to hear of what the controller has done.
	settle = 10 * time.Second
)

// waiter waits for the moves of a plan.
type waiter struct {
	*mover
	p     *plan.Plan
	begun time.Time
	said  string
}

// wait shows progress until the moves of a plan are done. It is an error if
// somebody else has taken some back.
func (m *mover) wait(ctx context.Context, p *plan.Plan) error {
	w := &waiter{mover: m, p: p, begun: time.Now()}
	tick := time.NewTicker(waitAgain)
	defer tick.Stop()
	heard, ended := w.begun, time.Time{}
	for {
		rows, err := m.under(ctx)
		switch now := time.Now(); {
		case err != nil && now.Sub(heard) > waitBlind:
			return fmt.Errorf("the moves go on, but the cluster does not say how far they are: %w", err)
		case err != nil: // a node may be gone for a moment
		case len(rows) > 0:
			heard = now
			w.say(rows, now)
		default:
			if ended.IsZero() {
				ended = now
			}
			heard = now
			left, err := w.left(ctx)
			if err == nil && left == 0 {
				w.say(nil, now)
				return nil
			}
			if now.Sub(ended) > settle {
				if err != nil {
					return err
				}
				return &fault{exitFailed, fmt.Sprintf("%s not as planned: somebody has taken back or changed the moves", count(int64(left), "partition"))}
			}
		}
		select { //house:select who interrupts leaves the moves to the controller
		case <-ctx.Done():
			return &fault{exitFailed, "interrupted; the moves go on, and a throttle stays; see: myelin cluster rebalance status, cancel and unthrottle"}
		case <-tick.C:
		}
	}
}

// left counts the partitions that are not where the plan wants them.
func (w *waiter) left(ctx context.Context) (n int, err error) {
	topics := map[string]bool{}
	for _, move := range w.p.Moves {
		topics[move.Topic] = true
	}
	var names []string
	for name := range topics {
		names = append(names, name)
	}
	slices.Sort(names)
	details, err := w.adm.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return 0, err
	}
	for _, move := range w.p.Moves {
		if t := details[move.Topic]; t.Err == nil && !slices.Equal(t.Partitions[move.ID].Replicas, move.To) {
			n++
		}
	}
	return n, nil
}

// say tells how far it is, if that has changed. What is written meanwhile has to
// be copied too, so there may be more to copy than was planned.
func (w *waiter) say(rows []progress, now time.Time) {
	var missing int64
	for _, r := range rows {
		missing += r.Bytes - r.Copied
	}
	copied, took := max(0, w.p.Bytes-missing), now.Sub(w.begun).Seconds()
	text := fmt.Sprintf("%d of %s moved, %s copied, %s missing", len(w.p.Moves)-min(len(rows), len(w.p.Moves)),
		count(int64(len(w.p.Moves)), "partition"), mib(copied), mib(missing))
	if text == w.said {
		return
	}
	w.said = text
	if took >= 1 && copied > 0 {
		text += fmt.Sprintf(", %s/s", mib(int64(float64(copied)/took)))
		if missing > 0 {
			text += fmt.Sprintf(", about %v left", time.Duration(float64(missing)/float64(copied)*took*1e9).Round(time.Second))
		}
	}
	w.a.hint("%s", text)
}

// mib is a number of bytes for people.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
