package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// partition is one partition under one leader epoch, until it is closed.
type partition[M Machine] struct {
	rt    *Runtime[M]
	id    int32
	epoch int32 // under which it was elected

	turn   chan struct{} // holds one token while somebody has the turn
	live   *live[M]      // the turn's; nil while it is loaded
	closed error         // the turn's; why it will never be live again
	active atomic.Bool   // whether it is loaded, for those without the turn
	told   time.Time     // the turn's; when the log was told last that it loads again

	ctx  context.Context // ends when it is closed
	quit context.CancelFunc
}

// live is a loaded partition. All but failed and committed belong to the turn.
type live[M Machine] struct {
	log     Log
	epoch   int32
	machine M
	tl      *Timeline
	alarms  alarms
	timer   *time.Timer // rings the first alarm; nil before the first
	rings   time.Time   // for when the timer is set; zero: it is not
	written int64       // the offset after the last append
	build   record.Builder

	over chan struct{} // closed when the state is given up
	why  error         // set before

	committed atomic.Int64
	failed    atomic.Bool // a commit was lost: nothing more is decided
}

// take counts who has to wait.
func (p *partition[M]) take() {
	select { //house:select two cases, one of them default
	case p.turn <- struct{}{}:
	default:
		p.rt.stats.waiting.Add(1)
		p.turn <- struct{}{}
		p.rt.stats.waiting.Add(-1)
	}
}

func (p *partition[M]) give() { <-p.turn }

// enter takes the turn and returns the loaded state, brought to what is
// committed by now. After an error the turn is given back.
func (p *partition[M]) enter() (*live[M], error) {
	p.take()
	return p.entered()
}

// entered is enter of one who has taken the turn.
func (p *partition[M]) entered() (*live[M], error) {
	switch l := p.live; {
	case p.closed != nil:
		p.give()
		return nil, p.closed
	case l == nil || l.failed.Load():
		p.give()
		return nil, fmt.Errorf("%s-%d: %w", p.rt.cfg.Topic, p.id, kafka.CoordinatorLoadInProgress)
	default:
		l.tl.commit(l.committed.Load())
		return l, nil
	}
}

func (p *partition[M]) read(look func(m M) error) error {
	l, err := p.enter()
	if err != nil {
		return err
	}
	defer p.give()
	return look(l.machine)
}

func (p *partition[M]) write(ctx context.Context, decide func(m M, t *Turn) error) error {
	l, err := p.enter()
	if err != nil {
		return err
	}
	_, hurried := ctx.Deadline() // who waits only for so long does not go to the disk
	t := Turn{Now: p.rt.cfg.Now(), alarms: &l.alarms, waits: !hurried}
	out, err := p.decide(l, &t, decide)
	p.give()
	if t.held {
		l.log.(Flusher).Flush()
	}
	if err != nil {
		return err
	}
	return p.settle(ctx, l, out, p.patience())
}

// patience is for how long a request waits, 0: as long as it takes.
func (p *partition[M]) patience() time.Duration {
	if p.rt.cfg.Patience == nil {
		return 0
	}
	return p.rt.cfg.Patience(p.id)
}

// timer rings when patience is over. It does not where there is none, or where the
// fate has come by now: that costs nothing. stop has to be called if it did not ring.
func (r *Runtime[M]) timer(fate chan error, patience time.Duration) (up <-chan time.Time, stop func()) {
	if patience <= 0 || len(fate) > 0 {
		return nil, func() {}
	}
	t, _ := r.clock.Get().(*time.Timer)
	if t == nil {
		t = time.NewTimer(patience)
	} else {
		t.Reset(patience)
	}
	return t.C, func() {
		t.Stop()
		r.clock.Put(t)
	}
}

// outcome is what a turn leaves behind to wait for.
type outcome struct {
	fate  chan error // receives once; nil if there is nothing to wait for
	after []func(m Machine, t *Turn, err error)
	err   error // the records were refused before the log had them
}

// decide runs one turn of the holder: decide, append, replay.
func (p *partition[M]) decide(l *live[M], t *Turn, decide func(m M, t *Turn) error) (outcome, error) {
	err := decide(l.machine, t)
	p.arm(l)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{after: t.after}
	switch {
	case len(t.records) > 0 || t.marker != nil:
		out.err = p.append(l, t)
		if out.err != nil && l.failed.Load() {
			return outcome{}, out.err
		}
	case t.soft || l.committed.Load() >= l.written:
		return out, nil
	}
	if out.err == nil {
		out.fate = p.await(l, l.written)
	}
	return out, nil
}

// append writes the turn's records as one batch and replays them.
func (p *partition[M]) append(l *live[M], t *Turn) error {
	batch := t.batch(&l.build)
	if len(batch) > p.rt.cfg.MaxBatch {
		return fmt.Errorf("%s-%d: %d records are %d bytes, %d are allowed: %w", p.rt.cfg.Topic, p.id,
			len(t.records), len(batch), p.rt.cfg.MaxBatch, kafka.RecordListTooLarge)
	}
	end, err := l.put(t, batch)
	if refused(err) {
		return err
	}
	if err == nil {
		t.place(end)
		err = t.replay(l.machine)
	}
	if err != nil {
		p.fail(l, err)
		return lost(err)
	}
	l.written = end
	l.tl.seal(end)
	p.rt.stats.appended(t)
	return nil
}

// put appends a batch. Where somebody waits for it, that one flushes it, once it
// has given the turn back.
func (l *live[M]) put(t *Turn, batch []byte) (end int64, err error) {
	if f, ok := l.log.(Flusher); ok && t.waits {
		t.held = true
		return f.AppendHeld(l.epoch, batch)
	}
	return l.log.Append(l.epoch, batch)
}

// await asks the log for the fate of what was written up to end.
func (p *partition[M]) await(l *live[M], end int64) chan error {
	fate := make(chan error, 1)
	l.log.Committed(end, func(err error) {
		if err != nil {
			p.fail(l, err)
			fate <- lost(err)
			return
		}
		for was := l.committed.Load(); was < end; was = l.committed.Load() {
			if l.committed.CompareAndSwap(was, end) {
				break
			}
		}
		fate <- nil
	})
	return fate
}

// settle waits for the fate of a turn's records, then runs what was to come
// after. With something to come after, the caller's end does not cut the wait
// short, and where patience does, somebody else waits on. When the state is given
// up, nothing comes after.
func (p *partition[M]) settle(ctx context.Context, l *live[M], out outcome, patience time.Duration) error {
	err := out.err
	if out.fate != nil {
		if len(out.after) > 0 {
			ctx = context.Background()
		}
		up, stop := p.rt.timer(out.fate, patience)
		//house:select a fate that comes as the caller leaves, or with the end, is looked at below or not heard of
		select {
		case err = <-out.fate:
			stop()
		case <-l.over:
			stop()
			return l.end(out.fate)
		case <-up:
			p.later(l, out)
			return fmt.Errorf("%s-%d: not committed within %v: %w", p.rt.cfg.Topic, p.id, patience, kafka.CoordinatorNotAvailable)
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
	}
	for _, event := range out.after {
		p.event(l, event, err)
	}
	return err
}

// end is what a caller is told of records whose fate is not known, or just came
// to be known, when the state is given up.
func (l *live[M]) end(fate chan error) error {
	select {
	case err := <-fate:
		return err
	default:
		return l.why
	}
}

// event runs one After function in a turn of its own, unless its machine is
// gone.
func (p *partition[M]) event(l *live[M], event func(m Machine, t *Turn, err error), fate error) {
	now, err := p.enter()
	if err != nil {
		return
	}
	if now != l {
		p.give()
		return
	}
	t := Turn{Now: p.rt.cfg.Now(), alarms: &l.alarms}
	out, err := p.decide(l, &t, func(m M, t *Turn) error {
		event(m, t, fate)
		return nil
	})
	p.give()
	if err == nil {
		p.later(l, out)
	}
}

// later sees to what comes after a turn that nobody waits for.
func (p *partition[M]) later(l *live[M], out outcome) {
	if len(out.after) > 0 {
		p.rt.spawn(func() { _ = p.settle(context.Background(), l, out, 0) })
	}
}

// arm sets the timer to the first alarm.
func (p *partition[M]) arm(l *live[M]) {
	at, ok := l.alarms.next()
	if !ok || !l.rings.IsZero() && !at.Before(l.rings) {
		return // a timer that rings too early, or for nothing, does no harm
	}
	l.rings = at
	wait := at.Sub(p.rt.cfg.Now())
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, func() { p.ring(l) })
		return
	}
	l.timer.Reset(wait)
}

// ring gives each alarm that is due its turn.
func (p *partition[M]) ring(l *live[M]) {
	if !p.rt.begin() {
		return
	}
	defer p.rt.tasks.Done()
	for p.ringOne(l) {
	}
}

func (p *partition[M]) ringOne(l *live[M]) (more bool) {
	now, err := p.enter()
	if err != nil {
		return false
	}
	defer p.give()
	t := Turn{Now: p.rt.cfg.Now(), alarms: &l.alarms}
	if now != l {
		return false
	}
	name, ok := l.alarms.due(t.Now)
	if !ok {
		l.rings = time.Time{}
		p.arm(l)
		return false
	}
	out, err := p.decide(l, &t, func(m M, t *Turn) error {
		m.Alarm(name, t)
		return nil
	})
	if err != nil {
		return false
	}
	if out.err != nil {
		p.rt.cfg.Logger.Error("coordinator's alarm came to nothing", "topic", p.rt.cfg.Topic, "partition", p.id,
			"alarm", name, "err", out.err)
	}
	p.later(l, out)
	return true
}

// fail gives up the loaded state, since nobody knows what the log kept, and has
// the partition loaded anew. Anyone may call it, at any time.
func (p *partition[M]) fail(l *live[M], why error) {
	if l.failed.Swap(true) {
		return
	}
	p.active.Store(false)
	p.rt.spawn(func() {
		p.take()
		current := p.live == l
		level := slog.LevelDebug
		if current {
			p.live = nil
			l.stop(lost(why))
			if now := p.rt.cfg.Now(); p.told.IsZero() || now.Sub(p.told) >= toldEvery {
				p.told, level = now, slog.LevelWarn
			}
		}
		p.give()
		if current && p.ctx.Err() == nil {
			p.rt.cfg.Logger.Log(p.ctx, level, "coordinator loads again", "topic", p.rt.cfg.Topic, "partition", p.id, "err", why)
			p.load()
		}
	})
}

// toldEvery is how often the log is told that a partition loads again: on a full
// disk each load fails at its first record.
const toldEvery = time.Minute

// close ends the partition for good and tells whoever waits.
func (p *partition[M]) close(why error) {
	p.take()
	defer p.give()
	p.closed = why
	p.quit()
	if l := p.live; l != nil {
		p.live = nil
		l.stop(why)
	}
}

// stop is the holder's last call on a loaded state.
func (l *live[M]) stop(why error) {
	l.failed.Store(true)
	l.why = why
	close(l.over)
	if l.timer != nil {
		l.timer.Stop()
	}
	l.machine.Closed(why)
}

// refused says that the log did not take a batch, and told so before it wrote
// anything: the state is as it was.
func refused(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.NotEnoughReplicas, kafka.MessageTooLarge, kafka.RecordListTooLarge,
		kafka.InvalidProducerEpoch, kafka.InvalidTxnState, kafka.TransactionCoordinatorFenced:
		return true
	}
	return false
}

// lost makes of a log's error what clients are told: to look for the
// coordinator again.
func lost(err error) error {
	if c := kafka.CodeOf(err); c == kafka.NotCoordinator || c == kafka.CoordinatorNotAvailable {
		return err
	}
	return fmt.Errorf("%w: %w", kafka.NotCoordinator, err)
}
