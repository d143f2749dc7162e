package follow

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

const (
	fetchVersion = 18
	listVersion  = 9

	// slowFlush is for how long a round waits for its flushes; whoever takes longer
	// is left out of the next rounds until it is through.
	slowFlush = 100 * time.Millisecond
	// firstRest is how long a partition rests after the first error; each further
	// one doubles it. A leader that does not know yet that it leads needs little.
	firstRest = 20 * time.Millisecond
)

// fetcher fetches from one leader. What is above the line belongs to everybody,
// the rest to its goroutine.
type fetcher struct {
	f    *Follow
	lane lane
	wake chan struct{} // one element: changes came, or a flush ended

	mu struct {
		sync.Mutex // memory only
		changes    []change
	}

	// -- its goroutine's --

	conn  Conn
	parts map[partKey]*part
	order []*part // by topic and partition
	slow  []*part // of a round: throttled ones that are due
	turn  int     // which of them is first
	set   Settings
	paid  time.Duration // until throttled partitions may be asked for again; 0: none waits
	timer *time.Timer

	session session
	req     msg.FetchRequest
	resp    msg.FetchResponse
	buf     []byte // under what resp holds

	filled []*replica.Replica // of the round, to be flushed
	fresh  []*part            // the same
}

// session is the fetch session with the leader (KIP-227). Without an id every
// request is a full one.
type session struct {
	id, epoch int32
	gone      []partKey // that the leader still has in it
}

// partKey is a partition as requests name it.
type partKey struct {
	id    kafka.UUID
	index int32
}

// change is a partition that comes or, without a replica, goes.
type change struct {
	tp kafka.TopicPartition
	r  *replica.Replica
}

func newFetcher(f *Follow, at lane) *fetcher {
	x := &fetcher{f: f, lane: at, wake: make(chan struct{}, 1), parts: map[partKey]*part{}}
	x.timer = time.NewTimer(time.Hour)
	x.timer.Stop()
	return x
}

// post has the fetcher take in a change before its next round.
func (x *fetcher) post(c change) {
	x.mu.Lock()
	x.mu.changes = append(x.mu.changes, c)
	x.mu.Unlock()
	x.ring()
}

func (x *fetcher) ring() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// run goes round until ctx ends.
func (x *fetcher) run(ctx context.Context) {
	defer x.timer.Stop()
	x.conn = x.f.cfg.Connect(x.lane.leader, x.lane.n)
	for ctx.Err() == nil {
		x.update()
		if due, rest := x.ask(); !due {
			x.sleep(ctx, rest)
			continue
		}
		if err := x.conn.DoInto(ctx, &x.req, &x.resp, fetchVersion, &x.buf); err != nil {
			x.session = session{}
			if ctx.Err() == nil {
				x.f.cfg.Logger.Debug("fetch from a leader failed", "leader", x.lane.leader, "err", err)
				x.sleep(ctx, firstRest)
			}
			continue
		}
		x.take(ctx)
	}
}

// sleep waits for d, or until something wakes the fetcher.
func (x *fetcher) sleep(ctx context.Context, d time.Duration) {
	x.timer.Reset(d)
	//house:select after any of them the loop looks at everything anew
	select {
	case <-x.wake:
	case <-x.timer.C:
	case <-ctx.Done():
	}
	x.timer.Stop()
}

// update takes the changes in.
func (x *fetcher) update() {
	x.mu.Lock()
	list := x.mu.changes
	x.mu.changes = nil
	x.mu.Unlock()
	for _, c := range list {
		at, found := slices.BinarySearchFunc(x.order, c.tp, func(p *part, tp kafka.TopicPartition) int { return p.tp.Compare(tp) })
		var old *part
		if found {
			old = x.order[at]
		}
		switch {
		case old != nil && c.r != nil && old.r.Replica == c.r:
			old.until, old.tries = time.Time{}, 0
		case c.r == nil:
			x.drop(old, at)
		default:
			x.drop(old, at)
			p := newPart(x, c)
			x.parts[p.key] = p
			x.order = slices.Insert(x.order, at, p)
		}
	}
}

// drop takes a partition out, if it is there.
func (x *fetcher) drop(p *part, at int) {
	if p == nil {
		return
	}
	delete(x.parts, p.key)
	x.order = slices.Delete(x.order, at, at+1)
	if p.listed {
		x.session.gone = append(x.session.gone, p.key)
	}
}

// ask makes the next request. It says whether a partition is due, and else how
// long it takes until one is.
func (x *fetcher) ask() (due bool, rest time.Duration) {
	x.set = x.f.cfg.Settings()
	now := x.f.cfg.Now()
	rest = time.Hour
	x.slow, x.paid = x.slow[:0], 0
	for _, p := range x.order {
		p.due = false
		if wait := p.wait(now); wait > 0 {
			rest = min(rest, wait)
			continue
		}
		p.due = p.aim(&x.set)
		due = due || p.due
		if p.due && p.throttled() {
			x.slow = append(x.slow, p)
		}
	}
	x.ration()
	if due {
		x.fill()
	}
	return due, rest
}

// fill writes the request: all that is due, or in a session what has changed.
func (x *fetcher) fill() {
	r := &x.req
	topics, forgotten := r.Topics[:0], r.ForgottenTopicsData[:0]
	r.SetDefaults()
	r.ReplicaState.ReplicaID, r.ReplicaState.ReplicaEpoch = x.f.cfg.Self, x.f.cfg.Epoch()
	r.MaxWaitMs, r.MinBytes, r.MaxBytes = int32(x.set.MaxWait.Milliseconds()), x.set.MinBytes, x.set.ResponseBytes
	if x.paid > 0 { // the leader is not to wait for longer than throttled partitions have to
		r.MaxWaitMs = min(r.MaxWaitMs, int32(x.paid.Milliseconds())+1)
	}
	full := x.session.id == 0
	if full {
		x.session = session{}
	}
	r.SessionID, r.SessionEpoch = x.session.id, x.session.epoch
	for _, k := range x.session.gone {
		if x.parts[k] == nil || !x.parts[k].due {
			forgotten = forget(forgotten, k)
		}
	}
	x.session.gone = x.session.gone[:0]
	for _, p := range x.order {
		p.listed = p.listed && !full
		switch {
		case p.due && (!p.listed || p.want != p.told):
			topics = list(topics, p)
			p.told, p.listed = p.want, true
		case !p.due && p.listed:
			forgotten = forget(forgotten, p.key)
			p.listed = false
		}
	}
	r.Topics, r.ForgottenTopicsData = topics, forgotten
}

// list adds a partition to a request. Those of a topic follow each other.
func list(topics []msg.FetchRequestTopic, p *part) []msg.FetchRequestTopic {
	n := len(topics)
	if n == 0 || topics[n-1].TopicID != p.key.id {
		if n < cap(topics) {
			topics = topics[:n+1]
			topics[n].Partitions = topics[n].Partitions[:0]
		} else {
			topics = append(topics, msg.FetchRequestTopic{})
		}
		topics[n].TopicID = p.key.id
		n++
	}
	t := &topics[n-1]
	t.Partitions = append(t.Partitions, p.want)
	return topics
}

// forget adds a partition to what the session is to forget.
func forget(topics []msg.FetchRequestForgottenTopicsData, k partKey) []msg.FetchRequestForgottenTopicsData {
	if n := len(topics); n > 0 && topics[n-1].TopicID == k.id {
		topics[n-1].Partitions = append(topics[n-1].Partitions, k.index)
		return topics
	}
	return append(topics, msg.FetchRequestForgottenTopicsData{TopicID: k.id, Partitions: []int32{k.index}})
}

// take works through an answer.
func (x *fetcher) take(ctx context.Context) {
	if code := kafka.Code(x.resp.ErrorCode); code != kafka.None {
		x.session = session{}
		if code != kafka.FetchSessionIDNotFound && code != kafka.InvalidFetchSessionEpoch && code != kafka.FetchSessionTopicIDError {
			x.f.cfg.Logger.Warn("a leader refuses to be fetched from", "leader", x.lane.leader, "error", code.Name())
			x.sleep(ctx, x.set.Backoff)
		}
		return
	}
	if x.session.id == 0 {
		x.session.id = x.resp.SessionID
	}
	if x.session.epoch++; x.session.epoch < 0 {
		x.session.epoch = 1
	}
	x.filled, x.fresh = x.filled[:0], x.fresh[:0]
	for i := range x.resp.Responses {
		t := &x.resp.Responses[i]
		for j := range t.Partitions {
			row := &t.Partitions[j]
			if p := x.parts[partKey{t.TopicID, row.PartitionIndex}]; p != nil && p.due {
				p.take(ctx, row)
			}
		}
	}
	x.flush(ctx)
}

// flush makes durable what the round appended, and waits for that a while.
func (x *fetcher) flush(ctx context.Context) {
	if len(x.filled) == 0 || invariant.Planted("follow/unflushed") {
		return
	}
	replica.FlushFilled(x.filled)
	for _, p := range x.fresh {
		p.settle(p.r.LogEnd())
	}
	x.timer.Reset(slowFlush)
	for slices.ContainsFunc(x.fresh, (*part).settling) {
		//house:select after each of them all that may have happened is looked at
		select {
		case <-x.wake:
			continue
		case <-x.timer.C:
		case <-ctx.Done():
		}
		break
	}
	x.timer.Stop()
}
