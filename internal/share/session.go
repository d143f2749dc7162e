package share

import (
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Epochs of a share session that are not counts.
const (
	EpochInitial int32 = 0  // begin a session
	EpochFinal   int32 = -1 // end it, and give back what is acquired
)

// Member is who a session belongs to.
type Member struct{ Group, ID string }

// TopicPartition is a partition as share sessions name it.
type TopicPartition struct {
	TopicID   kafka.UUID
	Partition int32
}

// Wanted is a partition of a session.
type Wanted struct {
	TopicPartition
	// Owed says that the next answer tells of the partition, whatever there is.
	Owed bool
}

// Sessions remembers what members want, so that their requests need only say
// what changed. A session ends with its connection.
type Sessions struct {
	max int
	mu  struct {
		sync.Mutex
		byMember map[Member]*session
		byConn   map[uint64]Member // the last one that a connection opened
		sizes    map[string]int    // sessions by group
		wanted   int
		evicted  uint64
	}
}

type session struct {
	epoch  int32
	conn   uint64 // that opened it
	wanted []Wanted
}

// newSessions makes room for so many (group.share.max.share.sessions).
func newSessions(most int) *Sessions {
	s := &Sessions{max: most}
	s.mu.byMember = map[Member]*session{}
	s.mu.byConn = map[uint64]Member{}
	s.mu.sizes = map[string]int{}
	return s
}

// Stats are how many sessions and partitions are remembered, and how many
// sessions ended because their connection did.
func (s *Sessions) Stats() (sessions, partitions int, evicted uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.byMember), s.mu.wanted, s.mu.evicted
}

// Open begins a session, in place of the member's old one if there is one.
//
// Errors: SHARE_SESSION_LIMIT_REACHED.
func (s *Sessions) Open(m Member, conn uint64, want []TopicPartition) kafka.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(m)
	if len(s.mu.byMember) >= s.max {
		return kafka.ShareSessionLimitReached
	}
	n := &session{epoch: 1, conn: conn}
	n.add(want, false)
	s.mu.byMember[m], s.mu.byConn[conn] = n, m
	s.mu.sizes[m.Group]++
	s.mu.wanted += len(n.wanted)
	return kafka.None
}

// Check says whether the member has a session that goes on with an epoch. The
// final one goes on with any.
//
// Errors: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH.
func (s *Sessions) Check(m Member, epoch int32) kafka.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, code := s.checkLocked(m, epoch)
	return code
}

func (s *Sessions) checkLocked(m Member, epoch int32) (*session, kafka.Code) {
	n := s.mu.byMember[m]
	switch {
	case n == nil:
		return nil, kafka.ShareSessionNotFound
	case epoch != EpochFinal && n.epoch != epoch:
		return nil, kafka.InvalidShareSessionEpoch
	}
	return n, kafka.None
}

// Next goes on with a session: it adds and forgets partitions. A partition that
// is in both lists, because only its acknowledgements matter, is forgotten.
//
// Errors: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH.
func (s *Sessions) Next(m Member, epoch int32, add, forget []TopicPartition) kafka.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, code := s.checkLocked(m, epoch)
	if code != kafka.None {
		return code
	}
	s.mu.wanted -= len(n.wanted)
	n.add(add, true)
	n.wanted = slices.DeleteFunc(n.wanted, func(w Wanted) bool { return slices.Contains(forget, w.TopicPartition) })
	s.mu.wanted += len(n.wanted)
	if n.epoch++; n.epoch < 0 {
		n.epoch = 1
	}
	return kafka.None
}

// add appends what is not there yet.
func (n *session) add(want []TopicPartition, owed bool) {
	var have map[TopicPartition]bool
	for _, tp := range want {
		if have == nil {
			have = make(map[TopicPartition]bool, len(n.wanted)+len(want))
			for _, w := range n.wanted {
				have[w.TopicPartition] = true
			}
		}
		if !have[tp] {
			have[tp] = true
			n.wanted = append(n.wanted, Wanted{tp, owed})
		}
	}
}

// Wanted appends the session's partitions to into, in the order in which they
// are to be served.
func (s *Sessions) Wanted(m Member, into []Wanted) []Wanted {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.mu.byMember[m]; n != nil {
		into = append(into, n.wanted...)
	}
	return into
}

// Told notes what an answer tells of a partition: records, which puts it behind
// the others, or an error, which is to be told of again once it is over.
func (s *Sessions) Told(m Member, tp TopicPartition, records, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.mu.byMember[m]
	if n == nil {
		return
	}
	i := slices.IndexFunc(n.wanted, func(w Wanted) bool { return w.TopicPartition == tp })
	if i < 0 {
		return
	}
	n.wanted[i].Owed = failed
	if records {
		w := n.wanted[i]
		n.wanted = append(slices.Delete(n.wanted, i, i+1), w)
	}
}

// Close ends a member's session. False if there was none.
func (s *Sessions) Close(m Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(m)
}

// Closed ends the session that a connection opened, if it still goes on, and
// tells whose that was; last says that the group has no other.
func (s *Sessions) Closed(conn uint64) (m Member, known, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, known = s.mu.byConn[conn]; !known {
		return m, false, false
	}
	delete(s.mu.byConn, conn)
	if n := s.mu.byMember[m]; n != nil && n.conn == conn && s.dropLocked(m) {
		s.mu.evicted++
	}
	return m, true, s.mu.sizes[m.Group] == 0
}

// size is how many sessions a group has.
func (s *Sessions) size(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.sizes[group]
}

func (s *Sessions) dropLocked(m Member) bool {
	n := s.mu.byMember[m]
	if n == nil {
		return false
	}
	delete(s.mu.byMember, m)
	s.mu.wanted -= len(n.wanted)
	if s.mu.sizes[m.Group]--; s.mu.sizes[m.Group] == 0 {
		delete(s.mu.sizes, m.Group)
	}
	return true
}
