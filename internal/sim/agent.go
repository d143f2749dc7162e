package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// agent is one client of the cluster: a goroutine with dice, connections and a
// picture of the cluster of its own. What it did is hashed by itself, so that
// the hash does not depend on how agents take turns within an instant.
type agent struct {
	fleet *fleet
	name  string
	rand  *rand.Rand
	host  memnet.Host
	hash  hash.Hash
	lines map[int32]*client
	view  view
	coord map[string]int32 // coordinators that were found, by kind and key

	mu struct {
		sync.Mutex
		rounds  int    // rounds that went well
		blocked string // why the last one did not, "" if it did
	}
}

func (a *agent) progress() (rounds int, blocked string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.rounds, a.mu.blocked
}

func (a *agent) went(blocked string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.blocked = blocked; blocked == "" {
		a.mu.rounds++
	}
}

// view is what an agent knows of the cluster.
type view struct {
	leaders map[tp]int32
	epochs  map[tp]int32
	ids     map[string]kafka.UUID
	names   map[kafka.UUID]string
	read    map[tp]int32 // epochs of what was read last
}

// tp is a partition.
type tp struct {
	topic string
	part  int32
}

func (p tp) String() string { return fmt.Sprintf("%s-%d", p.topic, p.part) }

func compareTP(a, b tp) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.part, b.part))
}

// errRetry says that the round came to nothing for a reason that passes.
var errRetry = errors.New("try again")

func newAgent(f *fleet, name string, no uint64) *agent {
	return &agent{
		fleet: f, name: name, rand: rand.New(rand.NewPCG(f.opt.Seed, 0xa9e27+no)), host: f.net.Host(name),
		hash: sha256.New(), lines: map[int32]*client{}, coord: map[string]int32{},
		view: view{leaders: map[tp]int32{}, epochs: map[tp]int32{}, ids: map[string]kafka.UUID{}, names: map[kafka.UUID]string{}, read: map[tp]int32{}},
	}
}

// run goes round after round until the fleet has enough.
func (a *agent) run(round func() error, end func()) {
	a.rest(0, 2*time.Second)
	for !a.fleet.over() {
		err := round()
		switch {
		case err == nil:
			a.went("")
		case errors.Is(err, errGone), errors.Is(err, errRetry):
			a.went(err.Error())
			a.rest(20*time.Millisecond, 200*time.Millisecond)
		default:
			a.fleet.violate("%s: %v", a.name, err)
			return
		}
	}
	if end != nil {
		end()
	}
	a.hangUp()
}

func (a *agent) hangUp() {
	for _, id := range slices.Sorted(mapKeys(a.lines)) {
		a.lines[id].close()
	}
}

// rest lets some time pass. Its end hardly ever falls together with another's.
func (a *agent) rest(from, to time.Duration) {
	time.Sleep(from + time.Duration(a.rand.Int64N(int64(to-from))) + time.Duration(a.rand.Int64N(1000)))
}

func (a *agent) trace(format string, args ...any) {
	line := fmt.Sprintf("%v %s ", a.fleet.since(), a.name) + fmt.Sprintf(format, args...)
	fmt.Fprintln(a.hash, line)
	if a.fleet.opt.Trace != nil {
		a.fleet.opt.Trace(line)
	}
}

// line is the connection to a node.
func (a *agent) line(node int32) *client {
	c := a.lines[node]
	if c == nil {
		c = &client{patience: 4 * time.Second, dial: func(ctx context.Context) (net.Conn, error) {
			return a.host.Dial(ctx, "tcp", nodeAddr(int(node)))
		}}
		a.lines[node] = c
	}
	return c
}

// ask sends a request to a node and waits for the answer; the error is errGone
// if nobody knows what became of it.
func (a *agent) ask(node int32, req msg.Request, version int16, resp msg.Response) error {
	if node < 0 || int(node) >= len(a.fleet.nodes) {
		return errRetry
	}
	c := a.line(node)
	if err := c.send(req, version); err != nil {
		return err
	}
	err := c.receive(resp, version, 0)
	if err != nil && !errors.Is(err, errGone) {
		err = fmt.Errorf("the answer of node %d to key %d v%d: %w", node, req.Key(), version, err)
	}
	return err
}

// anyone is some node.
func (a *agent) anyone() int32 { return int32(a.rand.IntN(len(a.fleet.nodes))) }

// refresh asks some node for the topics of the play.
func (a *agent) refresh() error {
	req := msg.NewMetadataRequest()
	for _, t := range a.fleet.topics {
		name := t.name
		req.Topics = append(req.Topics, msg.MetadataRequestTopic{Name: &name})
	}
	var resp msg.MetadataResponse
	if err := a.ask(a.anyone(), &req, 12, &resp); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 || t.Name == nil {
			continue
		}
		a.view.ids[*t.Name], a.view.names[t.TopicID] = t.TopicID, *t.Name
		for _, p := range t.Partitions {
			a.learn(tp{*t.Name, p.PartitionIndex}, p.LeaderID, p.LeaderEpoch)
		}
	}
	return nil
}

// learn notes a leader, unless it is an older one.
func (a *agent) learn(p tp, leader, epoch int32) {
	if epoch >= a.view.epochs[p] && leader >= 0 {
		a.view.leaders[p], a.view.epochs[p] = leader, epoch
	}
}

// outdated notes that something of epoch was read: who leads in an older one may
// not have heard of it, and is not asked.
func (a *agent) outdated(p tp, epoch int32) {
	if epoch > a.view.epochs[p] {
		delete(a.view.leaders, p)
		a.view.epochs[p] = epoch
	}
	a.view.read[p] = max(epoch, a.view.read[p])
}

// leader gives the leader of a partition, or -1.
func (a *agent) leader(p tp) int32 {
	if l, ok := a.view.leaders[p]; ok {
		return l
	}
	return -1
}

// lead makes sure that something is known of a partition.
func (a *agent) lead(p tp) (int32, error) {
	if l := a.leader(p); l >= 0 {
		return l, nil
	}
	if err := a.refresh(); err != nil {
		return -1, err
	}
	if l := a.leader(p); l >= 0 {
		return l, nil
	}
	return -1, errRetry
}

// Kinds of coordinators.
const (
	ofGroup int8 = 0
	ofTxn   int8 = 1
)

// coordinator finds who coordinates key.
func (a *agent) coordinator(kind int8, key string) (int32, error) {
	at := fmt.Sprintf("%d/%s", kind, key)
	if n, ok := a.coord[at]; ok {
		return n, nil
	}
	req := msg.NewFindCoordinatorRequest()
	req.CoordinatorKey, req.KeyType = key, kind
	var resp msg.FindCoordinatorResponse
	if err := a.ask(a.anyone(), &req, 3, &resp); err != nil {
		return -1, err
	}
	if c := kafka.Code(resp.ErrorCode); c != kafka.None {
		return -1, a.passing("FindCoordinator of "+key, c)
	}
	a.coord[at] = resp.NodeID
	return resp.NodeID, nil
}

// askCoordinator asks who coordinates key. What moved is forgotten by who looks
// at the code: see lost.
func (a *agent) askCoordinator(kind int8, key string, req msg.Request, version int16, resp msg.Response) error {
	node, err := a.coordinator(kind, key)
	if err != nil {
		return err
	}
	if err = a.ask(node, req, version, resp); err != nil {
		a.forget(kind, key)
	}
	return err
}

func (a *agent) forget(kind int8, key string) { delete(a.coord, fmt.Sprintf("%d/%s", kind, key)) }

// passing turns a code into errRetry if it is one that passes by itself, and
// else into a violation.
func (a *agent) passing(what string, c kafka.Code) error {
	if c.Retriable() {
		a.trace("%s: %s", what, c.Name())
		return fmt.Errorf("%w: %s answered %s", errRetry, what, c.Name())
	}
	return fmt.Errorf("%s answered %w", what, c)
}

// coordinated is passing for an answer of a coordinator, who may have moved.
func (a *agent) coordinated(kind int8, key, what string, c kafka.Code) error {
	if c == kafka.NotCoordinator || c == kafka.CoordinatorNotAvailable {
		a.forget(kind, key)
	}
	return a.passing(what, c)
}
