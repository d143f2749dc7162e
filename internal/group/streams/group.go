package streams

import (
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Group is one group. Its methods are called one at a time.
type Group struct {
	scribe
	cfg func() Config

	// What the records say.
	header
	topology   *topology // nil: nobody has told
	members    map[string]*member
	statics    map[string]string // instance -> member
	targets    map[string]*roles
	assignment int32 // the epoch of the targets
	assigned   int64 // when they were made, ms; 0: at the next occasion
	holders    holders
	kept       bool // there is a record of the group

	// What is remembered beside.
	ready     *configured          // nil: not looked at
	looked    int64                // the version of the topics that the hash was last made of; -1: none
	offsets   map[string]offsets   // what members say of their disks
	sessions  map[string]time.Time // when they end
	deadlines map[string]deadline  // by when members have to give up tasks
	gather    time.Time            // until when a new group waits for more members; zero: it does not
	shutdown  string               // the member that wants the application to stop; "" for none
	endpoints int32                // counts the changes of who serves which partitions
	described described
}

// offsets are what a member says of its disk.
type offsets struct {
	at, end map[tasks.Task]int64
}

// deadline is by when a member has to leave an epoch.
type deadline struct {
	at    time.Time
	epoch int32
}

// New is a group without members. cfg gives its settings as of now.
func New(id string, cfg func() Config) *Group {
	return &Group{
		scribe: scribe{id}, cfg: cfg, header: header{epoch: 1, validated: -1, stored: -1, failed: -1}, assignment: 1,
		members: map[string]*member{}, statics: map[string]string{}, targets: map[string]*roles{},
		holders: newHolders(), looked: -1,
		offsets: map[string]offsets{}, sessions: map[string]time.Time{}, deadlines: map[string]deadline{},
	}
}

var (
	_ kind.Group            = (*Group)(nil)
	_ kind.PartitionChecker = (*Group)(nil)
)

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// Type is kind.Streams.
func (g *Group) Type() kind.Type { return kind.Streams }

// State is "Empty", "NotReady" while the topology is not, "Assigning" while the
// group waits for a target, "Reconciling" while members are on their way to it, or
// "Stable".
func (g *Group) State() string {
	switch {
	case len(g.members) == 0:
		return "Empty"
	case g.topology == nil || g.topology.epoch != g.validated:
		return "NotReady"
	case g.epoch > g.assignment:
		return "Assigning"
	}
	for _, m := range g.members {
		if !m.reconciled(g.assignment) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// Empty says that the group has no members.
func (g *Group) Empty() bool { return len(g.members) == 0 }

// Size is the number of members.
func (g *Group) Size() int { return len(g.members) }

// Subscribed says whether the topic is a source of the topology.
func (g *Group) Subscribed(topic string) bool {
	return len(g.members) > 0 && g.topology != nil && g.topology.reader(topic) != nil
}

// CheckCommit says whether the group lets somebody commit offsets. One with an
// older epoch may, for the partitions that CheckPartition lets pass.
func (g *Group) CheckCommit(who kind.Committer) kafka.Code {
	if who.Epoch < 0 && len(g.members) == 0 ||
		who.Txn && who.Epoch == -1 && who.Member == "" && who.Instance == nil {
		return kafka.None
	}
	m := g.members[who.Member]
	switch {
	case m == nil:
		return kafka.UnknownMemberID
	case !who.Txn && who.Version < 9:
		return kafka.UnsupportedVersion
	case who.Epoch > m.epoch, who.Epoch < m.epoch && g.topology == nil:
		return kafka.StaleMemberEpoch
	}
	return kafka.None
}

// CheckPartition says whether a member may commit a partition. With an older epoch
// it may for tasks that it has had since then.
func (g *Group) CheckPartition(who kind.Committer, topic string, partition int32) kafka.Code {
	m := g.members[who.Member]
	if m == nil || who.Epoch == m.epoch {
		return kafka.None // as CheckCommit had it
	}
	s := g.topology.reader(topic)
	if s == nil {
		return kafka.StaleMemberEpoch
	}
	t := tasks.Task{Subtopology: s.SubtopologyID, Partition: partition}
	if !m.assigned.active.has(t) && !m.revoking.active.has(t) || who.Epoch < m.since[t] {
		return kafka.StaleMemberEpoch
	}
	return kafka.None
}

// CheckFetch says whether the group lets somebody read committed offsets.
func (g *Group) CheckFetch(who kind.Committer) kafka.Code {
	if who.Member == "" && who.Epoch < 0 {
		return kafka.None
	}
	switch m := g.members[who.Member]; {
	case m == nil:
		return kafka.UnknownMemberID
	case m.epoch != who.Epoch:
		return kafka.StaleMemberEpoch
	}
	return kafka.None
}

// Tombstones delete all records of the group.
func (g *Group) Tombstones() []coordinator.Record {
	var out []coordinator.Record
	for _, id := range g.order() {
		out = append(out, g.memberTombstones(id)...)
	}
	return append(out,
		tombstone(&state.StreamsGroupTargetAssignmentMetadataKey{GroupID: g.id}),
		tombstone(&state.StreamsGroupMetadataKey{GroupID: g.id}),
		tombstone(&state.StreamsGroupTopologyKey{GroupID: g.id}),
	)
}

// order are the members' ids in order.
func (g *Group) order() []string {
	ids := make([]string, 0, len(g.members))
	for id := range g.members {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}
