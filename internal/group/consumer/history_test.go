package consumer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// player is a client, as KIP-848 wants one to behave.
type player struct {
	id       string
	instance *string
	drawn    int // member ids so far

	topics   []string
	regex    *string
	assignor *string
	news     bool // has to tell of its subscription

	epoch  int32 // 0: has to join
	alive  bool
	away   bool // left with epoch -2
	owns   map[kafka.TopicPartition]bool
	told   map[kafka.TopicPartition]bool // the last assignment
	report bool                          // owns is to be told
}

// A random history of a group: members come, go, die and return, change what
// they read, lose answers; topics come, grow and go; the coordinator moves, with
// and without what it was about to append. After each step world.check looks at
// the invariants, and no partition is read by two members.
func TestHistories(t *testing.T) {
	histories := 300
	if testing.Short() {
		histories = 25
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playHistory(t, uint64(seed)) })
	}
}

func playHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 848))
	w := newWorld(t)
	pause := time.Duration(rnd.IntN(3)) * 500 * time.Millisecond
	w.cfg.Settings = func(string) Settings {
		return Settings{Session: 45 * time.Second, Heartbeat: 5 * time.Second, Assignment: pause}
	}
	for i := range 1 + rnd.IntN(4) {
		w.topic(fmt.Sprintf("t%d", i), int32(1+rnd.IntN(8)))
	}
	players := make([]*player, 1+rnd.IntN(7))
	for i := range players {
		players[i] = &player{owns: map[kafka.TopicPartition]bool{}, told: map[kafka.TopicPartition]bool{}}
		if rnd.IntN(3) == 0 {
			players[i].instance = new(fmt.Sprintf("i%d", i))
		}
		players[i].subscribe(rnd)
	}
	h := &history{w: w, rnd: rnd, players: players}
	for range 150 {
		h.step()
		h.exclusive()
	}
	h.settle()
}

type history struct {
	w       *world
	rnd     *rand.Rand
	players []*player
}

func (h *history) step() {
	w, rnd := h.w, h.rnd
	p := h.players[rnd.IntN(len(h.players))]
	switch n := rnd.IntN(100); {
	case n < 62:
		h.heartbeat(p)
	case n < 68:
		w.now = w.now.Add(time.Duration(rnd.IntN(8000)) * time.Millisecond)
		h.tick()
	case n < 70:
		w.now = w.now.Add(50 * time.Second)
		h.tick()
	case n < 74 && p.alive:
		h.leave(p, leaving)
	case n < 77 && p.alive && p.instance != nil:
		h.leave(p, leavingAway)
	case n < 79:
		p.die()
	case n < 83:
		p.subscribe(rnd)
	case n < 87:
		name := fmt.Sprintf("t%d", rnd.IntN(5))
		old, _ := w.topics.Named(name)
		w.topic(name, old.Partitions+int32(1+rnd.IntN(3)))
	case n < 89:
		w.topic(fmt.Sprintf("t%d", rnd.IntN(5)), 0)
	case n < 93:
		w.reload(rnd.IntN(2) == 0)
	default:
		if len(p.owns) > 0 {
			p.revokeOne(rnd)
		}
	}
}

// heartbeat is a heartbeat of a player, which may get lost on its way to the log
// or on its way back.
func (h *history) heartbeat(p *player) {
	w := h.w
	if !p.alive {
		p.alive, p.away, p.epoch, p.news = true, false, joining, true
		p.drawn++
		p.id = fmt.Sprintf("m%d-%d", slices.Index(h.players, p), p.drawn)
	}
	req := p.request()
	resp, err := h.ask(req)
	if err != nil {
		switch kafka.CodeOf(err) {
		case kafka.FencedMemberEpoch, kafka.UnknownMemberID, kafka.GroupIDNotFound:
			p.drop()
		case kafka.UnreleasedInstanceID, kafka.FencedInstanceID:
			p.die()
		default:
			w.t.Fatalf("%s: %v", p.id, err)
		}
		return
	}
	if resp == nil || h.rnd.IntN(12) == 0 {
		return // the answer was lost
	}
	p.hear(w, resp)
}

// ask puts a request to the group. A nil answer means that the coordinator moved
// before it could give one.
func (h *history) ask(req *msg.ConsumerGroupHeartbeatRequest) (*msg.ConsumerGroupHeartbeatResponse, error) {
	w := h.w
	if err := w.cfg.Check(1, req); err != nil {
		w.t.Fatalf("%+v: %v", req, err)
	}
	g := w.g
	if g == nil {
		if req.MemberEpoch != joining {
			return nil, kafka.GroupIDNotFound
		}
		g = New("g", &w.cfg)
	}
	resp, step, err := g.Heartbeat(w.now, Who{ClientID: "c", Host: "/h", Version: 1}, req)
	if err != nil {
		return nil, err
	}
	lost := h.rnd.IntN(25) == 0
	w.append(step, g, lost)
	if lost {
		return nil, nil
	}
	return resp, nil
}

// request is the next heartbeat of a player.
func (p *player) request() *msg.ConsumerGroupHeartbeatRequest {
	req := msg.NewConsumerGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch, req.InstanceID = "g", p.id, p.epoch, p.instance
	req.RebalanceTimeoutMs = -1
	if p.epoch == joining || p.news {
		req.SubscribedTopicNames, req.SubscribedTopicRegex, req.ServerAssignor = p.topics, p.regex, p.assignor
		if req.SubscribedTopicNames == nil {
			req.SubscribedTopicNames = []string{}
		}
	}
	switch {
	case p.epoch == joining:
		req.RebalanceTimeoutMs = 60000
		req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	case p.report || p.news:
		req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		for _, tp := range slices.SortedFunc(maps.Keys(p.owns), kafka.TopicPartition.Compare) {
			var id kafka.UUID
			copy(id[:], tp.Topic)
			req.TopicPartitions = append(req.TopicPartitions,
				msg.ConsumerGroupHeartbeatRequestTopicPartition{TopicID: id, Partitions: []int32{tp.Partition}})
		}
	}
	return &req
}

// hear takes in an answer: what is not assigned any more is to be revoked, the
// rest is taken when nothing is left to revoke.
func (p *player) hear(w *world, resp *msg.ConsumerGroupHeartbeatResponse) {
	if resp.MemberEpoch < 0 {
		return
	}
	p.epoch, p.news, p.report = resp.MemberEpoch, false, false
	if resp.Assignment == nil {
		return
	}
	p.told = map[kafka.TopicPartition]bool{}
	for _, t := range resp.Assignment.TopicPartitions {
		for _, n := range t.Partitions {
			p.told[kafka.TopicPartition{Topic: string(t.TopicID[:]), Partition: n}] = true
		}
	}
	p.grow()
}

// grow takes what is assigned, if nothing is left to revoke.
func (p *player) grow() {
	for tp := range p.owns {
		if !p.told[tp] {
			return
		}
	}
	if !maps.Equal(p.owns, p.told) {
		p.owns = maps.Clone(p.told)
	}
	p.report = true
}

// revokeOne gives up a partition that is not assigned any more.
func (p *player) revokeOne(rnd *rand.Rand) {
	var late []kafka.TopicPartition
	for tp := range p.owns {
		if !p.told[tp] {
			late = append(late, tp)
		}
	}
	if len(late) == 0 {
		return
	}
	slices.SortFunc(late, kafka.TopicPartition.Compare)
	delete(p.owns, late[rnd.IntN(len(late))])
	p.grow()
}

func (p *player) drop() {
	p.epoch, p.news, p.report = joining, true, false
	clear(p.owns)
	clear(p.told)
}

func (p *player) die() {
	p.drop()
	p.alive = false
}

func (p *player) subscribe(rnd *rand.Rand) {
	p.news, p.topics, p.regex, p.assignor = true, nil, new(""), nil
	if rnd.IntN(4) == 0 {
		p.regex = new([]string{"t.*", "t[0-2]", "x*"}[rnd.IntN(3)])
	}
	if *p.regex == "" || rnd.IntN(3) == 0 {
		for i := range 5 {
			if rnd.IntN(2) == 0 {
				p.topics = append(p.topics, fmt.Sprintf("t%d", i))
			}
		}
	}
	if rnd.IntN(3) == 0 {
		p.assignor = new([]string{"uniform", "range"}[rnd.IntN(2)])
	}
}

func (h *history) leave(p *player, epoch int32) {
	if p.epoch == joining {
		p.die()
		return
	}
	req := p.request()
	req.MemberEpoch = epoch
	_, _ = h.ask(req) // whatever it is: the player is gone
	p.die()
	p.away = epoch == leavingAway
}

// tick lets alarms ring that are due.
func (h *history) tick() {
	w := h.w
	for range 100 {
		if w.g == nil || w.wake.IsZero() || w.wake.After(w.now) {
			return
		}
		w.append(w.g.Tick(w.now), w.g, h.rnd.IntN(25) == 0)
	}
	w.t.Fatal("the group wants to be woken again and again")
}

// exclusive says that no two players that the group knows read the same partition.
func (h *history) exclusive() {
	reader := map[kafka.TopicPartition]string{}
	for _, p := range h.players {
		if h.w.g == nil || !p.alive || h.w.g.members[p.id] == nil {
			continue // its session ended; it will hear of that
		}
		for tp := range p.owns {
			if other, ok := reader[tp]; ok {
				h.w.t.Fatalf("%x-%d is read by %s and by %s\n%s", tp.Topic, tp.Partition, other, p.id, dump(h.w.g))
			}
			reader[tp] = p.id
		}
	}
}

// settle ends the changes and lets everybody heartbeat until all is quiet.
func (h *history) settle() {
	w := h.w
	w.now = w.now.Add(time.Minute) // whoever left without a word is out, and so are those who waited
	h.tick()
	for round := 0; ; round++ {
		if round == 60 {
			w.t.Fatalf("not stable after %d rounds\n%s", round, dump(w.g))
		}
		for _, p := range h.players {
			for range len(p.owns) {
				p.revokeOne(h.rnd)
			}
			h.calmly(p)
			h.exclusive()
		}
		w.now = w.now.Add(5 * time.Second)
		h.tick()
		if round > 12 && h.done() {
			return
		}
	}
}

// calmly is a heartbeat of which nothing gets lost.
func (h *history) calmly(p *player) {
	if !p.alive {
		h.heartbeat(p)
		return
	}
	req := p.request()
	g := h.w.g
	if g == nil {
		g = New("g", &h.w.cfg)
	}
	resp, step, err := g.Heartbeat(h.w.now, Who{ClientID: "c", Host: "/h", Version: 1}, req)
	if err != nil {
		p.drop()
		if kafka.CodeOf(err) == kafka.UnreleasedInstanceID {
			p.die()
		}
		return
	}
	h.w.append(step, g, false)
	p.hear(h.w, resp)
}

// done says whether every player has its target, and the targets have all
// partitions.
func (h *history) done() bool {
	w := h.w
	if w.g == nil || w.g.State() != "Stable" {
		return false
	}
	want := map[kafka.TopicPartition]bool{}
	for name := range w.g.topics {
		if t, ok := w.topics.Named(name); ok {
			for n := range t.Partitions {
				want[kafka.TopicPartition{Topic: string(t.ID[:]), Partition: n}] = true
			}
		}
	}
	got := map[kafka.TopicPartition]bool{}
	for _, p := range h.players {
		m := w.g.members[p.id]
		if m == nil || p.epoch != m.epoch || !m.assigned.set().Equal(w.g.target[m.id]) {
			return false
		}
		for tp := range p.owns {
			got[tp] = true
		}
	}
	return maps.Equal(want, got)
}

var _ kind.Topics = (*fakeTopics)(nil)
