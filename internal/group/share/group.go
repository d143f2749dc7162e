package share

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Group is one share group.
type Group struct {
	id  string
	cfg *Config

	epoch           int32
	hash            int64 // of the topics that members subscribe to
	members         map[string]*member
	target          map[string]assign.Set // what each member is to read
	assignmentEpoch int32
	assignedAt      int64 // ms, 0: never, or before the group was empty
	states          states

	// What is not in the records.
	sessions map[string]time.Time     // member -> when its session ends
	asked    map[kafka.UUID]time.Time // topic -> when its partitions were last to be initialized
	seen     int64                    // version of the topics that hash is known to be of
	looked   bool                     // seen counts
}

var _ kind.Group = (*Group)(nil)

// member is one member. It does not change once it is in the group.
type member struct {
	id         string
	rack       *string
	clientID   string
	clientHost string
	topics     []string // subscribed, in order, without duplicates
	epoch      int32
	previous   int32 // the epoch before
	assigned   assign.Set
}

// firstEpoch is that of a group which nobody has joined yet.
const firstEpoch = 1

// New makes a group without members.
func New(id string, cfg *Config) *Group {
	return &Group{
		id: id, cfg: cfg,
		epoch: firstEpoch, assignmentEpoch: firstEpoch,
		members:  map[string]*member{},
		target:   map[string]assign.Set{},
		states:   newStates(),
		sessions: map[string]time.Time{},
		asked:    map[kafka.UUID]time.Time{},
	}
}

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// Type is kind.Share.
func (g *Group) Type() kind.Type { return kind.Share }

// State is "Empty" or "Stable": members take what they are assigned at once.
func (g *Group) State() string {
	if g.Empty() {
		return "Empty"
	}
	return "Stable"
}

// Empty says that the group has no members.
func (g *Group) Empty() bool { return len(g.members) == 0 }

// Size is the number of members.
func (g *Group) Size() int { return len(g.members) }

// Subscribed says whether a member reads the topic.
func (g *Group) Subscribed(topic string) bool {
	for _, m := range g.members {
		if _, ok := slices.BinarySearch(m.topics, topic); ok {
			return true
		}
	}
	return false
}

// CheckCommit lets nobody commit: share groups have no offsets of that kind.
func (g *Group) CheckCommit(kind.Committer) kafka.Code { return kafka.GroupIDNotFound }

// CheckFetch lets everybody see that there are no offsets, as of a group that
// nobody knows.
func (g *Group) CheckFetch(kind.Committer) kafka.Code { return kafka.None }

// Loaded begins the members' sessions, and takes the requests to initialize that
// nobody answered for just made.
func (g *Group) Loaded(now time.Time) kind.Step {
	session := g.cfg.settings(g.id).Session
	for id := range g.members {
		g.sessions[id] = now.Add(session)
	}
	for id := range g.states.initializing {
		g.asked[id] = now
	}
	return kind.Step{Wake: g.wake()}
}

// Tick removes members whose session has ended.
func (g *Group) Tick(now time.Time) kind.Step {
	var gone []*member
	for id, until := range g.sessions {
		switch m := g.members[id]; {
		case m == nil: // it never came to be
			delete(g.sessions, id)
		case !until.After(now):
			gone = append(gone, m)
			g.sessions[id] = now.Add(removeAgain)
		}
	}
	var step kind.Step
	if len(gone) > 0 {
		slices.SortFunc(gone, byID)
		step.Records = g.without(gone, g.cfg.Topics())
		for _, m := range gone {
			step.Gone = append(step.Gone, kind.Gone{Member: m.id, ClientID: m.clientID, Why: "its session has ended", Expired: true})
		}
	}
	step.Wake = g.wake()
	return step
}

// removeAgain is when a member is removed again, should the log refuse it.
const removeAgain = time.Second

// wake is when the first session ends.
func (g *Group) wake() time.Time {
	var first time.Time
	for _, until := range g.sessions {
		if first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

// Tombstones delete all records of the group.
func (g *Group) Tombstones() []coordinator.Record {
	var out records
	for _, m := range g.list() {
		out.dropMember(g.id, m.id)
	}
	out.drop(assignmentKey(g.id))
	out.drop(statesKey(g.id))
	out.drop(groupKey(g.id))
	return out
}

// without are the records that remove members, who are not all for nothing: the
// others get another assignment.
func (g *Group) without(gone []*member, topics kind.Topics) []coordinator.Record {
	var out records
	var names []string
	for _, m := range gone {
		out.dropMember(g.id, m.id)
	}
	//house:maporder the hash is of the sorted names
	for _, m := range g.members {
		if !slices.Contains(gone, m) {
			names = append(names, m.topics...)
		}
	}
	epoch := g.epoch + 1
	out.putGroup(g.id, epoch, kind.MetadataHash(names, topics))
	if len(gone) == len(g.members) {
		out.putAssignment(g.id, epoch, 0)
	}
	return out
}

// list are the members in the order of their ids.
func (g *Group) list() []*member {
	return slices.SortedFunc(maps.Values(g.members), byID)
}

func byID(a, b *member) int {
	switch {
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}
