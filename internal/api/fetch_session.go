package api

import (
	"cmp"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Epochs of a fetch session that are not counts (KIP-227).
const (
	epochInitial = 0  // begin a session
	epochFinal   = -1 // end it, or do without
)

// FetchSessions remembers what consumers and followers want, so that their
// requests need only say what changed, and their answers only what is new
// (KIP-227).
//
// A full cache makes room only at the cost of a session that was not used for
// two minutes, or one that is older than that and has fewer partitions.
type FetchSessions struct {
	slots int
	now   func() time.Time
	mu    struct {
		sync.Mutex
		byID       map[int32]*fetchSession
		oldest     *fetchSession // by last use
		newest     *fetchSession
		partitions int
		rand       *rand.Rand
		evicted    uint64
	}
}

const (
	sessionSafe = 2 * time.Minute

	// sessionPartitions bounds the memory of all sessions together; nobody
	// comes near it who names partitions that exist.
	sessionPartitions = 500_000
)

// NewFetchSessions makes a cache of so many slots
// (max.incremental.fetch.session.cache.slots).
func NewFetchSessions(slots int, r *rand.Rand, now func() time.Time) *FetchSessions {
	f := &FetchSessions{slots: slots, now: now}
	f.mu.byID = map[int32]*fetchSession{}
	f.mu.rand = r
	return f
}

// Stats are how many sessions and partitions are remembered, and how many
// sessions were evicted so far.
func (f *FetchSessions) Stats() (sessions, partitions int, evicted uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.byID), f.mu.partitions, f.mu.evicted
}

// fetchSession is one session. While busy it belongs to the request at work;
// what is above the line belongs to the cache.
type fetchSession struct {
	id         int32
	epoch      int32 // that the next request must have
	byID       bool  // its topics are named by id
	follower   bool
	busy       bool
	created    time.Time
	used       time.Time
	counted    int // partitions as the cache counts them
	prev, next *fetchSession

	// -- the request's --

	set   fetchSet
	parts map[fetchKey]*fetchPartition
}

// put finds or makes a partition of the session.
func (s *fetchSession) put(t *topicRef, index int32) *fetchPartition {
	k := fetchKey{t.name, t.id, index}
	p := s.parts[k]
	if p == nil {
		p = &fetchPartition{topic: *t, index: index, toldHW: -1, toldStart: -1}
		s.parts[k] = p
		s.set.add(p)
	}
	return p
}

// update applies what a request adds, changes and forgets.
func (s *fetchSession) update(req *msg.FetchRequest) {
	for i := range req.Topics {
		t := &req.Topics[i]
		ref := topicRef{name: t.Topic, id: t.TopicID, byID: s.byID}
		for j := range t.Partitions {
			s.put(&ref, t.Partitions[j].Partition).want(&t.Partitions[j])
		}
	}
	for i := range req.ForgottenTopicsData {
		t := &req.ForgottenTopicsData[i]
		for _, index := range t.Partitions {
			k := fetchKey{t.Topic, t.TopicID, index}
			if p := s.parts[k]; p != nil {
				delete(s.parts, k)
				s.set.remove(p)
			}
		}
	}
}

// begin makes a session and gives it to the caller, nil if there is no room.
func (f *FetchSessions) begin(byID, follower bool, size int) *fetchSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.slots <= 0 || f.mu.partitions+size > sessionPartitions {
		return nil
	}
	now := f.now()
	if len(f.mu.byID) >= f.slots && !f.evictLocked(follower, size, now) {
		return nil
	}
	s := &fetchSession{id: f.newIDLocked(), epoch: 1, byID: byID, follower: follower, busy: true,
		created: now, used: now, parts: make(map[fetchKey]*fetchPartition, size)}
	f.mu.byID[s.id] = s
	f.appendLocked(s)
	f.countLocked(s, size)
	return s
}

func (f *FetchSessions) newIDLocked() int32 {
	for {
		id := f.mu.rand.Int32N(math.MaxInt32-1) + 1
		if f.mu.byID[id] == nil {
			return id
		}
	}
}

// take gives the session of an incremental request to the caller. The epoch has
// to be the next one, and nobody else may be using it.
func (f *FetchSessions) take(id, epoch int32, byID bool) (*fetchSession, kafka.Code) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.mu.byID[id]
	switch {
	case s == nil:
		return nil, kafka.FetchSessionIDNotFound
	case s.epoch != epoch || s.busy:
		return nil, kafka.InvalidFetchSessionEpoch
	case s.byID != byID:
		return nil, kafka.FetchSessionTopicIDError
	}
	s.busy = true
	if s.epoch++; s.epoch < 0 {
		s.epoch = 1
	}
	s.used = f.now()
	f.unlinkLocked(s)
	f.appendLocked(s)
	return s, kafka.None
}

// give takes a session back from its request.
func (f *FetchSessions) give(s *fetchSession) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.busy = false
	if f.mu.byID[s.id] == s {
		f.countLocked(s, s.set.size)
	}
}

// end forgets a session. A request that is using it goes on with it alone.
func (f *FetchSessions) end(id int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.mu.byID[id]; s != nil {
		f.dropLocked(s)
	}
}

func (f *FetchSessions) dropLocked(s *fetchSession) {
	delete(f.mu.byID, s.id)
	f.unlinkLocked(s)
	f.countLocked(s, 0)
}

func (f *FetchSessions) countLocked(s *fetchSession, n int) {
	f.mu.partitions += n - s.counted
	s.counted = n
}

// evictLocked makes room for a session of size partitions, if one can go.
func (f *FetchSessions) evictLocked(follower bool, size int, now time.Time) bool {
	victim := f.mu.oldest
	if victim == nil || now.Sub(victim.used) <= sessionSafe {
		victim = nil
		for s := f.mu.oldest; s != nil; s = s.next {
			old := now.Sub(s.created) > sessionSafe
			if s.follower && !(follower && old) || !s.follower && !(follower || old) {
				continue
			}
			if victim == nil || s.compare(victim.follower, victim.counted) < 0 {
				victim = s
			}
		}
		if victim == nil || victim.compare(follower, size) > 0 {
			return false
		}
	}
	f.dropLocked(victim)
	f.mu.evicted++
	return true
}

// compare orders sessions by what is lost with them: a follower's is worth more,
// then the larger one.
func (s *fetchSession) compare(follower bool, size int) int {
	rank := map[bool]int{false: 0, true: 1}
	return cmp.Or(cmp.Compare(rank[s.follower], rank[follower]), cmp.Compare(s.counted, size))
}

func (f *FetchSessions) appendLocked(s *fetchSession) {
	s.prev, s.next = f.mu.newest, nil
	if f.mu.newest == nil {
		f.mu.oldest = s
	} else {
		f.mu.newest.next = s
	}
	f.mu.newest = s
}

func (f *FetchSessions) unlinkLocked(s *fetchSession) {
	if s.prev == nil {
		f.mu.oldest = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		f.mu.newest = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
}
