package share

import (
	"context"
	"sync"
	"time"
)

// Partition is a share partition at work: a [window] that many requests use, its
// clock, and what it stores through the persister.
//
// A member fetches in three steps, of which the middle one is the caller's:
//
//	Begin      from where to read; nobody else fetches until End
//	  read the log
//	Acquire    what of it is the member's now
//	End
//
// What members say is stored by whoever of them comes first to the turn, for all
// that queued meanwhile.
type Partition struct {
	s      *Service
	key    Key
	epoch  int32         // the leader's
	loaded chan struct{} // closed once failed or the window stands
	failed error

	turn chan struct{} // one slot: who stores; held over the persister's I/O
	read chan struct{} // one slot: who fetches; held over reads of the log

	mu struct {
		sync.Mutex
		w          window
		stateEpoch int32
		gone       error // no use any more
		news       int64 // how often more may have become available
		watchers   []*Watcher
		sending    bool // somebody sends letters
		timer      *time.Timer
		wake       time.Time // when the timer rings, zero if it does not
	}
}

// Watcher is rung when there may be more to acquire. It is part of what its
// owner keeps anyway.
type Watcher struct {
	Ring func()
	// Seen is what Begin gave at the owner's last look.
	Seen int64
}

func newPartition(s *Service, key Key, epoch int32) *Partition {
	return &Partition{s: s, key: key, epoch: epoch, loaded: make(chan struct{}), turn: make(chan struct{}, 1), read: make(chan struct{}, 1)}
}

func (p *Partition) tp() TopicPartition { return TopicPartition{p.key.TopicID, p.key.Partition} }

// load reads the stored state, once.
func (p *Partition) load(ctx context.Context, log Log) {
	defer close(p.loaded)
	began := p.s.cfg.Now()
	state, err := p.s.cfg.Persister.Read(ctx, p.key, p.epoch)
	if err != nil {
		p.failed = told(err)
		return
	}
	set := p.s.cfg.Settings(p.key.Group)
	start := state.StartOffset
	if start == NoStart {
		at := set.Reset.Timestamp
		if at == 0 {
			at = began.Add(-set.Reset.Duration).UnixMilli()
		}
		if start, err = log.OffsetFor(at); err != nil {
			p.failed = err
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil {
		p.failed = p.mu.gone
		return
	}
	p.mu.stateEpoch = state.StateEpoch
	p.mu.w.limits = set.limits()
	p.mu.w.open(start, state.Batches)
	p.mu.w.logStart(log.Start())
	if p.postLocked() {
		p.s.post(p)
	}
	p.s.Stats.Loads.Add(1)
	p.s.Stats.LoadTime.Add(int64(p.s.cfg.Now().Sub(began)))
}

// end makes the share partition useless: it was forgotten.
func (p *Partition) end(why error) {
	p.mu.Lock()
	if p.mu.gone == nil {
		p.mu.gone = why
	}
	if p.mu.timer != nil {
		p.mu.timer.Stop()
	}
	p.s.Stats.Held.Add(-p.mu.w.held)
	p.mu.w = window{}
	ring := p.newsLocked()
	p.mu.Unlock()
	ringAll(ring)
}

// idle says whether nobody has anything of it.
func (p *Partition) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.w.held == 0 && !p.mu.w.dirty() && len(p.mu.w.writing) == 0 && len(p.mu.watchers) == 0 && !p.mu.sending
}

// Begin gives the offset to read from, false if there is no room for more; seen
// is for a [Watcher]. From now on the group's settings are set. It waits while
// another fetches. End has to follow.
func (p *Partition) Begin(set *Settings) (from, seen int64, ok bool) {
	p.read <- struct{}{}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil {
		return 0, p.mu.news, false
	}
	p.mu.w.limits = set.limits()
	return p.mu.w.next(), p.mu.news, p.mu.w.room()
}

// End lets others fetch.
func (p *Partition) End() { <-p.read }

// Gone says why the share partition is of no use any more, nil if it is.
func (p *Partition) Gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.gone
}

// Taking is what a member may get of what was read between Begin and End.
type Taking struct {
	Member    string
	Mode      AcquireMode
	BatchSize int
	Max       int
	From      int64 // what Begin gave

	// Read are the first and last offsets of the batches that were read, in
	// order; Aborted those of them that a transaction took back.
	Read, Aborted [][2]int64
}

// Acquire gives records to a member, for as long as the lock lasts.
func (p *Partition) Acquire(t *Taking, now time.Time) []AcquiredRecords {
	q := &acquisition{member: t.Member, mode: t.Mode, batchSize: int64(t.BatchSize), max: int64(t.Max), from: t.From,
		read: spans(t.Read), aborted: spans(t.Aborted), now: now}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil {
		return nil
	}
	held := p.mu.w.held
	rows := p.mu.w.acquire(q)
	p.s.Stats.Held.Add(p.mu.w.held - held)
	if len(rows) > 0 {
		p.armLocked(now.Add(p.mu.w.limits.lock), now)
	}
	return rows
}

func spans(in [][2]int64) []span {
	out := make([]span, len(in))
	for i, s := range in {
		out[i] = span{s[0], s[1]}
	}
	return out
}

// LogStart notes that the log begins at an offset now.
func (p *Partition) LogStart(offset int64) {
	p.mu.Lock()
	held := p.mu.w.held
	var ring []*Watcher
	if p.mu.gone == nil && p.mu.w.logStart(offset) {
		ring = p.newsLocked()
	}
	p.s.Stats.Held.Add(p.mu.w.held - held)
	p.mu.Unlock()
	ringAll(ring)
}

// Acknowledge notes what a member says of records, and returns when it is
// stored. On an error nothing has changed, but it may have been stored.
//
// Errors: INVALID_REQUEST, INVALID_RECORD_STATE; of the persister those of told.
func (p *Partition) Acknowledge(ctx context.Context, member string, acks []Ack) error {
	now, set := p.s.cfg.Now(), p.s.cfg.Settings(p.key.Group)
	p.mu.Lock()
	if p.mu.gone != nil {
		defer p.mu.Unlock()
		return p.mu.gone
	}
	p.mu.w.limits = set.limits()
	t, err := p.mu.w.acknowledge(member, acks, now)
	p.mu.Unlock()
	if t != nil {
		err = p.settled(ctx, t)
	}
	if err == nil {
		p.s.Stats.said(acks)
	}
	return err
}

// release gives back what a member has. True if that is to be stored.
func (p *Partition) release(member string) bool {
	set := p.s.cfg.Settings(p.key.Group)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil {
		return false
	}
	p.mu.w.limits = set.limits()
	return p.mu.w.release(member) != nil
}

// settled waits for a ticket.
func (p *Partition) settled(ctx context.Context, t *ticket) error {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.mu.Lock()
	settled := t.settled
	p.mu.Unlock()
	if !settled {
		p.store(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !t.settled {
		return p.mu.gone
	}
	return t.err
}

// flush stores all that is queued.
func (p *Partition) flush(ctx context.Context) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.store(ctx)
}

// store stores what is queued, in the turn.
func (p *Partition) store(ctx context.Context) {
	p.mu.Lock()
	if p.mu.gone != nil || !p.mu.w.dirty() {
		p.mu.Unlock()
		return
	}
	u, any := p.mu.w.store()
	u.StateEpoch, u.LeaderEpoch = p.mu.stateEpoch, p.epoch
	p.mu.Unlock()
	var err error
	if any {
		err = p.s.cfg.Persister.Write(ctx, p.key, u)
	}
	say := err
	if err != nil {
		p.s.Stats.Failures.Add(1)
		p.s.cfg.Logger.Warn("cannot store what became of records of a share group", "share", p.key.String(), "err", err)
		say = told(err)
	}
	now := p.s.cfg.Now()
	p.mu.Lock()
	held := p.mu.w.held
	p.mu.w.settle(say, now)
	p.s.Stats.Held.Add(p.mu.w.held - held)
	ring, post := p.newsLocked(), (err == nil || !fenced(err)) && p.postLocked()
	p.mu.Unlock()
	ringAll(ring)
	switch {
	case err != nil && fenced(err):
		p.s.forget(p, told(err))
	case err != nil:
		p.s.ring(p) // locks that ran out meanwhile, or have no clock
	}
	if post {
		p.s.post(p)
	}
}

// expire takes back what was locked too long, and sets the clock anew. True if
// something is to be stored.
func (p *Partition) expire() bool {
	now, set := p.s.cfg.Now(), p.s.cfg.Settings(p.key.Group)
	p.mu.Lock()
	if p.mu.gone != nil {
		p.mu.Unlock()
		return false
	}
	p.mu.w.limits = set.limits()
	p.mu.wake = time.Time{}
	held := p.mu.w.held
	n, wake := p.mu.w.expire(now)
	p.s.Stats.Held.Add(p.mu.w.held - held)
	p.s.Stats.Timeouts.Add(n)
	if !wake.IsZero() {
		p.armLocked(wake, now)
	}
	var ring []*Watcher
	if n > 0 {
		ring = p.newsLocked()
	}
	pressing := p.mu.w.pressing()
	p.mu.Unlock()
	ringAll(ring)
	return pressing
}

// armLocked has expire called at a time, or before.
func (p *Partition) armLocked(at, now time.Time) {
	if !p.mu.wake.IsZero() && !at.Before(p.mu.wake) {
		return
	}
	p.mu.wake = at
	d := max(at.Sub(now), time.Millisecond)
	if p.mu.timer == nil {
		p.mu.timer = time.AfterFunc(d, func() { p.s.ring(p) })
	} else {
		p.mu.timer.Reset(d)
	}
}

// Watch rings w when there may be more to acquire than at Seen, at once if that
// is so already, until Unwatch.
func (p *Partition) Watch(w *Watcher) {
	p.mu.Lock()
	p.mu.watchers = append(p.mu.watchers, w)
	now := p.mu.news != w.Seen || p.mu.gone != nil
	p.mu.Unlock()
	if now {
		w.Ring()
	}
}

// Unwatch ends it.
func (p *Partition) Unwatch(w *Watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.mu.watchers {
		if x == w {
			p.mu.watchers = append(p.mu.watchers[:i:i], p.mu.watchers[i+1:]...)
			return
		}
	}
}

// newsLocked gives the watchers to ring.
func (p *Partition) newsLocked() []*Watcher {
	p.mu.news++
	return p.mu.watchers
}

func ringAll(ws []*Watcher) {
	for _, w := range ws {
		w.Ring()
	}
}
