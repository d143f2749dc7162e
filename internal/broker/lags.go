package broker

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share/persist"
)

// lags knows how far groups are behind, for the metrics.
type lags struct {
	self     int32
	groups   *group.Service
	states   *persist.Service
	replicas *replica.Table
	image    func() *cluster.Image
	bound    metrics.Bounds
	ages     *ages
}

func newLags(b *Broker, props *config.Broker) (*lags, error) {
	l := &lags{self: b.self, groups: b.groups, states: b.shareState, replicas: b.replicas, image: b.metadata.Image}
	l.bound = metrics.Bounds{Groups: props.Int("metrics.groups.max"), Partitions: props.Int("metrics.group.partitions.max")}
	if p := props.String("metrics.groups.include"); p != "" {
		include, err := regexp.Compile(`\A(?:` + p + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("metrics.groups.include: %w", err)
		}
		l.bound.Include = include.MatchString
	}
	l.ages = newAges(b.cfg.Now, func(tp kafka.TopicPartition, offset int64) (int64, error) {
		r, err := b.replicas.Get(tp.Topic, tp.Partition)
		if err != nil {
			return 0, err
		}
		return r.TimeOf(offset)
	})
	return l, nil
}

func (l *lags) bounds() metrics.Bounds { return l.bound }

func (l *lags) run(ctx context.Context) error { return l.ages.run(ctx) }

// partitionEnds remembers high watermarks for the time of one scrape. It wakes no
// partition that is asleep.
type partitionEnds struct {
	replicas *replica.Table
	image    *cluster.Image
	self     int32
	known    map[kafka.TopicPartition]int64 // -1: it has no replica here that is in sync
}

func (e *partitionEnds) inSync(tp kafka.TopicPartition) bool {
	p := e.image.Topic(tp.Topic).Partition(tp.Partition)
	return p != nil && slices.Contains(p.ISR, e.self)
}

// lag is how many records an offset is behind, of which some may be done already;
// -1 if that is not known.
func (e *partitionEnds) lag(tp kafka.TopicPartition, offset, done int64) int64 {
	end, ok := e.known[tp]
	if !ok {
		end = kafka.NoOffset
		// A follower in sync is behind its leader by what is on the way.
		if s, ok := e.replicas.Standing(tp.Topic, tp.Partition); ok && (s.Leads || e.inSync(tp)) {
			end = s.HW
		}
		e.known[tp] = end
	}
	if end < 0 || offset < 0 {
		return -1
	}
	return max(0, end-offset-done)
}

// ages knows since when groups are behind: the time of the first record that a
// group has not consumed. That stands in the log, so it is looked up by a
// goroutine of its own, once for each offset at which a group is seen: a
// partition that stands still, or without lag, costs nothing.
type ages struct {
	now  func() time.Time
	look func(tp kafka.TopicPartition, offset int64) (ms int64, err error)
	bell chan struct{} // one slot: there is something to look up

	mu struct {
		sync.Mutex // memory only
		known      map[ageKey]age
		asked      []question
		done       chan struct{} // closed when asked is worked off
		round      uint64        // counts scrapes
	}
}

type ageKey struct {
	group string
	tp    kafka.TopicPartition
}

// age is what is known of a group in a partition.
type age struct {
	offset int64  // at which it was looked up
	end    int64  // the log's end then, as far as is known
	ms     int64  // kafka.NoTimestamp: there is no record up to end
	asked  uint64 // the round of that
	used   uint64 // the round in which it was last of use
}

// holds says whether nothing has changed since. The first record stays what it is,
// but where there was none the next to be written is.
func (a *age) holds(o *metrics.GroupOffset) bool {
	return a.offset == o.Committed && (a.ms != kafka.NoTimestamp || a.end == o.Committed+o.Lag)
}

type question struct {
	ageKey
	offset int64
	end    int64
	before uint64 // the round of the last answer, 0 without one
}

// agePatience is how long a scrape waits for what has to be looked up. What is not
// there by then comes with the next.
const agePatience = 500 * time.Millisecond

func newAges(now func() time.Time, look func(tp kafka.TopicPartition, offset int64) (int64, error)) *ages {
	a := &ages{now: now, look: look, bell: make(chan struct{}, 1)}
	a.mu.known = map[ageKey]age{}
	return a
}

// run looks up what is asked, until ctx ends.
func (a *ages) run(ctx context.Context) error {
	for {
		select { //house:select the end may come before or after one more round
		case <-ctx.Done():
			return nil
		case <-a.bell:
		}
		for ctx.Err() == nil {
			q, ok := a.next()
			if !ok {
				break
			}
			ms, err := a.look(q.tp, q.offset)
			if err != nil {
				continue // the next scrape asks again
			}
			a.mu.Lock()
			a.mu.known[q.ageKey] = age{offset: q.offset, end: q.end, ms: ms, asked: a.mu.round, used: a.mu.round}
			a.mu.Unlock()
		}
	}
}

// next takes a question; who waits for the last is told.
func (a *ages) next() (question, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.mu.asked) > 0 {
		q := a.mu.asked[0]
		a.mu.asked = a.mu.asked[1:]
		return q, true
	}
	if a.mu.done != nil {
		close(a.mu.done)
		a.mu.done = nil
	}
	return question{}, false
}

// fill sets how old the first record is that each group has not consumed. Where a
// group has moved on and that is not looked up in time, the record of its last
// offset stands in, which is older.
func (a *ages) fill(groups []metrics.Group) {
	if done := a.ask(groups); done != nil {
		timer := time.NewTimer(agePatience)
		defer timer.Stop()
		//house:select what is known by then is shown
		select {
		case <-done:
		case <-timer.C:
		}
	}
	now := a.now().UnixMilli()
	a.mu.Lock()
	defer a.mu.Unlock()
	each(groups, func(k ageKey, o *metrics.GroupOffset) {
		known, ok := a.mu.known[k]
		switch {
		case o.Lag == 0 || ok && known.ms == kafka.NoTimestamp && known.holds(o):
			o.Seconds = 0
		case o.Lag < 0 || !ok || known.ms < 0 || known.offset > o.Committed:
			o.Seconds = -1
		default:
			o.Seconds = float64(max(0, now-known.ms)) / 1000
		}
	})
}

// ask has looked up what is not known, the longest unknown first, and forgets what
// no scrape needs any more. The channel is closed when that is done; nil: nothing
// is to be done.
func (a *ages) ask(groups []metrics.Group) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.round++
	a.mu.asked = a.mu.asked[:0]
	each(groups, func(k ageKey, o *metrics.GroupOffset) {
		if o.Lag <= 0 {
			return
		}
		known, ok := a.mu.known[k]
		if !ok || !known.holds(o) {
			a.mu.asked = append(a.mu.asked, question{k, o.Committed, o.Committed + o.Lag, known.asked})
		}
		if ok {
			known.used = a.mu.round
			a.mu.known[k] = known
		}
	})
	for k, known := range a.mu.known {
		if known.used+1 < a.mu.round {
			delete(a.mu.known, k)
		}
	}
	if len(a.mu.asked) == 0 {
		return nil
	}
	slices.SortStableFunc(a.mu.asked, func(x, y question) int { return cmp.Compare(x.before, y.before) })
	if a.mu.done == nil {
		a.mu.done = make(chan struct{})
	}
	select { //house:select two cases, one of them default
	case a.bell <- struct{}{}:
	default:
	}
	return a.mu.done
}

// each shows every partition of the groups.
func each(groups []metrics.Group, do func(k ageKey, o *metrics.GroupOffset)) {
	for i := range groups {
		g := &groups[i]
		for j := range g.Offsets {
			o := &g.Offsets[j]
			do(ageKey{g.Name, kafka.TopicPartition{Topic: o.Topic, Partition: o.Partition}}, o)
		}
	}
}
