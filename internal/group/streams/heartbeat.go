package streams

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Who is the client that a heartbeat came from.
type Who struct {
	ClientID, Host string
	Version        int16 // of the request
}

// Beat is what follows from a heartbeat.
type Beat struct {
	Response *msg.StreamsGroupHeartbeatResponse
	Create   []Topic // internal topics that are missing, by name
}

// Heartbeat lets a member join, leave or say what it has, and tells it what it is
// to have. The answer counts when the records of the step are committed.
//
// Errors: INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY, GROUP_MAX_SIZE_REACHED,
// UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID and
// UNRELEASED_INSTANCE_ID, each with a message; see [kind.Text].
func (g *Group) Heartbeat(now time.Time, who Who, req *msg.StreamsGroupHeartbeatRequest, topics kind.Topics) (Beat, kind.Step, error) {
	if err := Check(req); err != nil {
		return Beat{}, kind.Step{}, err
	}
	if req.MemberEpoch < 0 {
		return g.leave(now, req)
	}
	b := &beat{g: g, now: now, who: who, req: req, topics: topics, cfg: g.cfg(), joining: req.MemberEpoch == joins, header: g.header}
	for _, step := range []func() error{b.find, b.update, b.learn, b.configure, b.report, b.aim, b.reconcile} {
		if err := step(); err != nil {
			return Beat{}, kind.Step{}, err
		}
	}
	resp := b.answer()
	g.sessions[b.next.id] = now.Add(b.cfg.Session)
	return Beat{Response: resp, Create: b.ready.missing}, kind.Step{Records: b.records, Wake: g.wake()}, nil
}

// beat is one heartbeat under way.
type beat struct {
	g       *Group
	now     time.Time
	who     Who
	req     *msg.StreamsGroupHeartbeatRequest
	topics  kind.Topics
	cfg     Config
	joining bool

	old, next *member // before and after
	replaced  *member // the static member whose place it takes
	topology  *topology
	ready     *configured
	header    header // the group's after this heartbeat
	again     bool   // tasks are to be assigned anew
	target    *roles
	epoch     int32 // of the target

	records []coordinator.Record
	status  []msg.StreamsGroupHeartbeatResponseStatus
}

func (b *beat) tell(status int8, format string, args ...any) {
	b.status = append(b.status, msg.StreamsGroupHeartbeatResponseStatus{StatusCode: status, StatusDetail: fmt.Sprintf(format, args...)})
}

// find looks up who it is.
func (b *beat) find() error {
	g, req := b.g, b.req
	if b.joining && g.full(req, b.cfg.MaxSize) {
		return kind.Refuse(kafka.GroupMaxSizeReached, "The group has %d members already, and may not have more.", len(g.members))
	}
	if req.InstanceID != nil {
		return b.findStatic(*req.InstanceID)
	}
	b.old = g.members[req.MemberID]
	switch {
	case b.old == nil && !b.joining:
		return unknownMember(req.MemberID, g.id)
	case b.old == nil:
		b.old = newMember(req.MemberID)
	}
	return b.checkEpoch()
}

func (b *beat) findStatic(instance string) error {
	g, req := b.g, b.req
	held := g.members[g.statics[instance]]
	switch {
	case held == nil && !b.joining:
		return kind.Refuse(kafka.UnknownMemberID, "Nobody has the instance id %s.", instance)
	case held == nil:
		b.old = g.members[req.MemberID]
		if b.old == nil {
			b.old = newMember(req.MemberID)
		}
		return nil
	case !b.joining:
		if held.id != req.MemberID {
			return fencedInstance(held, req)
		}
		b.old = held
		return b.checkEpoch()
	case held.epoch != leavesAWhile:
		return kind.Refuse(kafka.UnreleasedInstanceID, "The instance id %s is that of the member %s, which has not left.", instance, held.id)
	}
	next := *held
	next.id, next.epoch, next.previous = req.MemberID, joins, joins
	b.old = &next
	target := g.targets[held.id]
	if target == nil {
		target = new(roles)
	}
	if held.id != req.MemberID {
		b.replaced = held
		b.records = append(b.records, g.memberTombstones(held.id)...)
	}
	b.records = append(b.records, g.memberRecord(&next), g.targetRecord(next.id, target), g.currentRecord(&next))
	return nil
}

// full says that there is no room for who wants to join.
func (g *Group) full(req *msg.StreamsGroupHeartbeatRequest, limit int) bool {
	if req.InstanceID != nil {
		if _, ok := g.statics[*req.InstanceID]; ok {
			return false
		}
	}
	return len(g.members) >= limit && g.members[req.MemberID] == nil
}

// checkEpoch refuses who knows of another epoch than the group does. One behind is
// forgiven to who did not get the last answer.
func (b *beat) checkEpoch() error {
	got, m := b.req.MemberEpoch, b.old
	if got == joins || got == m.epoch {
		return nil
	}
	if owned := b.owned(); got < m.epoch && got == m.previous && owned != nil && owned.within(&m.assigned) {
		return nil
	}
	return kind.Refuse(kafka.FencedMemberEpoch, "The member's epoch is %d here, not %d. It must give up all its tasks and join anew.", m.epoch, got)
}

// owned is what the member says that it has, nil if it does not.
func (b *beat) owned() *roles {
	if b.req.ActiveTasks == nil || b.req.StandbyTasks == nil || b.req.WarmupTasks == nil {
		return nil
	}
	read := func(list []msg.StreamsGroupHeartbeatRequestTaskID) (s set) {
		for _, t := range list {
			s = appendTasks(s, t.SubtopologyID, t.Partitions)
		}
		return newSet(s)
	}
	return &roles{read(b.req.ActiveTasks), read(b.req.StandbyTasks), read(b.req.WarmupTasks)}
}

// update makes the member as it describes itself.
func (b *beat) update() error {
	next, req := *b.old, b.req
	set := func(to **string, v *string) {
		if v != nil {
			*to = v
		}
	}
	set(&next.instance, req.InstanceID)
	set(&next.rack, req.RackID)
	next.clientID, next.clientHost = b.who.ClientID, b.who.Host
	if req.RebalanceTimeoutMs != -1 {
		next.rebalance = req.RebalanceTimeoutMs
	}
	if req.Topology != nil {
		next.topologyEpoch = req.Topology.Epoch
	}
	if req.ProcessID != nil {
		next.process = *req.ProcessID
	}
	if req.ClientTags != nil {
		next.tags = nil
		for _, t := range req.ClientTags {
			next.tags = append(next.tags, tag{t.Key, t.Value})
		}
		next.tags = sortTags(next.tags)
	}
	if e := req.UserEndpoint; e != nil {
		next.endpoint = &endpoint{e.Host, e.Port}
	} else if b.joining {
		next.endpoint = nil
	}
	b.next = &next
	b.moved()
	if next.sameIdentity(b.old) && (b.g.members[next.id] != nil || b.replaced != nil) {
		return nil
	}
	b.records = append(b.records, b.g.memberRecord(&next))
	b.again = req.InstanceID == nil || next.matters(b.old)
	return nil
}

// moved lets go of what a member had in another process, as far as somebody in its
// new one has it too. It runs nothing yet: only who joins tells its process.
func (b *beat) moved() {
	if b.next.process == b.old.process || b.old.assigned.empty() {
		return
	}
	s := &step{g: b.g, m: b.next}
	free := func(t tasks.Task) bool {
		for _, held := range []map[tasks.Task][]string{b.g.holders.active, b.g.holders.standby, b.g.holders.warmup} {
			if s.here(slices.DeleteFunc(slices.Clone(held[t]), b.itself)) {
				return false
			}
		}
		return true
	}
	had := &b.old.assigned
	b.next.assigned = roles{had.active.filter(free), had.standby.filter(free), had.warmup.filter(free)}
	if !b.next.assigned.equal(had) {
		b.records = append(b.records, b.g.currentRecord(b.next))
	}
}

// itself says whether an id is the member's, or that of the one whose place it
// takes.
func (b *beat) itself(id string) bool {
	return id == b.next.id || b.replaced != nil && id == b.replaced.id
}

// learn takes the topology, or compares it with the group's.
func (b *beat) learn() error {
	g := b.g
	b.topology = g.topology
	if t := b.req.Topology; t != nil {
		v := topologyValue(t)
		told := newTopology(v)
		switch {
		case g.topology == nil:
			b.topology = told
			b.records = append(b.records, g.topologyRecord(v))
		case g.topology.epoch > told.epoch:
		case !g.topology.equal(told):
			return kind.Refuse(kafka.InvalidRequest, "The group has another topology; it cannot be changed yet.")
		}
	}
	if b.topology == nil {
		return kind.Refuse(kafka.UnknownServerError, "The group has no topology, and the member did not tell it.")
	}
	if g.topology != nil && b.next.topologyEpoch < g.topology.epoch {
		b.tell(StaleTopology, "The member's topology has the epoch %d, the group's %d.", b.next.topologyEpoch, g.topology.epoch)
	}
	return nil
}

// configure counts the topics if they, or what is asked of them, may have changed.
func (b *beat) configure() error {
	g := b.g
	anew := g.topology == nil || g.ready == nil
	if anew || g.looked != b.topics.Version() {
		b.header.hash = kind.MetadataHash(b.topology.required(), b.topics)
		if b.header.hash != g.hash {
			anew, b.again = true, true
		}
	}
	if anew {
		ready, err := configure(b.topology, b.topics)
		if err != nil {
			return err
		}
		g.ready = ready
	}
	g.looked = b.topics.Version()
	b.ready = g.ready
	b.header.validated = -1
	if b.ready.wrong == nil {
		b.header.validated = b.topology.epoch
		for _, list := range [][]msg.StreamsGroupHeartbeatRequestTaskID{b.req.ActiveTasks, b.req.StandbyTasks, b.req.WarmupTasks} {
			if err := b.ready.checkTasks(list); err != nil {
				return err
			}
		}
	}
	b.again = b.again || b.header.validated != g.validated
	return nil
}

func (c *configured) checkTasks(list []msg.StreamsGroupHeartbeatRequestTaskID) error {
	for _, t := range list {
		if _, ok := c.tasks[t.SubtopologyID]; !ok {
			return kind.Refuse(kafka.InvalidRequest, "There is no subtopology %s.", t.SubtopologyID)
		}
		for _, p := range t.Partitions {
			if !c.valid(tasks.Task{Subtopology: t.SubtopologyID, Partition: p}) {
				return kind.Refuse(kafka.InvalidRequest, "The subtopology %s has %d tasks, and none of number %d.", t.SubtopologyID, c.tasks[t.SubtopologyID], p)
			}
		}
	}
	return nil
}

// report takes note of what the member says of its disk.
func (b *beat) report() error {
	if b.req.TaskOffsets == nil && b.req.TaskEndOffsets == nil {
		return nil
	}
	o := b.g.offsets[b.next.id]
	for _, r := range []struct {
		to   *map[tasks.Task]int64
		list []msg.StreamsGroupHeartbeatRequestTaskOffset
	}{{&o.at, b.req.TaskOffsets}, {&o.end, b.req.TaskEndOffsets}} {
		if r.list == nil {
			continue
		}
		*r.to = make(map[tasks.Task]int64, len(r.list))
		for _, x := range r.list {
			t := tasks.Task{Subtopology: x.SubtopologyID, Partition: x.Partition}
			if _, ok := (*r.to)[t]; ok {
				return kind.Refuse(kafka.InvalidRequest, "The offset of task %s_%d is there twice.", x.SubtopologyID, x.Partition)
			}
			(*r.to)[t] = x.Offset
		}
	}
	b.g.offsets[b.next.id] = o
	return nil
}

// aim moves the group to a new epoch if tasks are to be assigned anew, and finds
// the member's target.
func (b *beat) aim() error {
	g := b.g
	b.header.settings = b.cfg.settings()
	b.again = b.again || !slices.Equal(b.header.settings, g.settings)
	if b.again {
		b.header.epoch++
		b.records = append(b.records, g.headerRecord(b.header))
	} else {
		b.header = g.header
	}
	if len(g.members) == 0 && b.cfg.InitialDelay > 0 && g.gather.IsZero() {
		g.gather = b.now.Add(b.cfg.InitialDelay)
	}
	switch wait := g.wait(b.now, b.header.epoch, b.cfg.Between); wait {
	case "":
		a := &aiming{members: b.members(), targets: b.targets(), topology: b.topology, ready: b.ready, standbys: b.cfg.Standbys}
		b.records = append(b.records, g.aim(b.now, b.header.epoch, a)...)
		b.epoch, b.target = b.header.epoch, a.made[b.next.id]
		return nil
	case gathering:
		b.tell(AssignmentDelayed, "%s", wait)
		b.target = new(roles)
	case tooSoon:
		b.tell(AssignmentDelayed, "%s", wait)
		b.target = b.targets()[b.next.id]
	default:
		b.target = b.targets()[b.next.id]
	}
	b.epoch = g.assignment
	if b.target == nil {
		b.target = new(roles)
	}
	return nil
}

// settings are those that tasks are assigned by, by name.
func (c *Config) settings() []setting {
	s := []setting{{"num.standby.replicas", strconv.Itoa(c.Standbys)}}
	if len(c.RackTags) > 0 {
		s = append(s, setting{"rack.aware.assignment.tags", strings.Join(c.RackTags, ",")})
	}
	return s
}

// reconcile brings the member nearer to its target.
func (b *beat) reconcile() error {
	g := b.g
	if b.next.reconciled(b.epoch) {
		return nil
	}
	next, err := g.reconcile(b.next, b.epoch, b.target, b.owned())
	if err != nil {
		return err
	}
	if next.sameProgress(b.next) {
		return nil
	}
	b.records = append(b.records, g.currentRecord(next))
	if next.state == unrevoked {
		g.deadlines[next.id] = deadline{b.now.Add(next.rebalanceTime()), next.epoch}
	} else {
		delete(g.deadlines, next.id)
	}
	b.next = next
	return nil
}
