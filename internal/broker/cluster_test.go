package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	metarecords "github.com/myelin-stream/myelin/internal/wire/state"
)

const testCluster = "cccccccccccccccccccccA"

// peerNode is one node of a cluster in one process.
type peerNode struct {
	*Broker
	id   int32
	cfg  Config
	stop context.CancelFunc
	done chan error
}

// cohort is a cluster whose nodes are on hosts node1, node2 and so on.
type cohort struct {
	t     *testing.T
	net   *memnet.Network
	nodes []*peerNode
}

func (c *cohort) node(id int32) *peerNode {
	for _, n := range c.nodes {
		if n.id == id {
			return n
		}
	}
	c.t.Fatalf("no node %d", id)
	return nil
}

// add makes a node with an empty disk; start starts it.
func (c *cohort) add(id int32, more ...string) *peerNode {
	host := fmt.Sprintf("node%d", id)
	props := append([]string{fmt.Sprintf("node.id=%d", id), "cluster.id=" + testCluster, "initial.broker.registration.timeout.ms=20000",
		fmt.Sprintf("listeners=PLAINTEXT://%s:9092,CONTROLLER://%s:9093", host, host)}, more...)
	h := c.net.Host(host)
	n := &peerNode{id: id, cfg: Config{Properties: properties(c.t, props...), FS: vfs.NewMem(vfs.MemConfig{}),
		Listen: h.Listen, Dial: h.Dial, Format: true, Rand: rand.New(rand.NewPCG(uint64(id), 7)),
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("on", id)}}
	c.nodes = append(c.nodes, n)
	return n
}

func (c *cohort) start(n *peerNode) {
	c.t.Helper()
	var err error
	if n.Broker, err = Open(n.cfg); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.done = cancel, make(chan error, 1)
	b, done := n.Broker, n.done
	go func() { done <- b.Run(ctx) }()
}

func (c *cohort) ready(nodes ...*peerNode) {
	c.t.Helper()
	for _, n := range nodes {
		select {
		case <-n.Ready():
		case err := <-n.done:
			c.t.Fatalf("node %d ended: %v", n.id, err)
		case <-time.After(time.Minute):
			c.t.Fatalf("node %d is not ready", n.id)
		}
	}
}

func (n *peerNode) end(t *testing.T) {
	t.Helper()
	n.stop()
	if err := <-n.done; err != nil {
		t.Errorf("node %d: %v", n.id, err)
	}
}

const threeVoters = "controller.quorum.voters=1@node1:9093,2@node2:9093,3@node3:9093"

// three starts a cluster of three nodes.
func three(t *testing.T, more ...string) *cohort {
	c := &cohort{t: t, net: memnet.New()}
	for id := range int32(3) {
		c.start(c.add(id+1, append([]string{threeVoters}, more...)...))
	}
	c.ready(c.nodes...)
	return c
}

// leader waits until all of the nodes agree on who leads.
func (c *cohort) leader(nodes ...*peerNode) int32 {
	c.t.Helper()
	for range 400 {
		ids := map[int32]bool{}
		for _, n := range nodes {
			ids[n.metadata.Image().ControllerID()] = true
		}
		if id := nodes[0].metadata.Image().ControllerID(); len(ids) == 1 && id != kafka.NoBroker {
			return id
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatal("the nodes do not agree on a leader")
	return 0
}

// settle waits until all of the nodes are at the same index.
func (c *cohort) settle(nodes ...*peerNode) {
	c.t.Helper()
	for range 400 {
		at := map[int64]bool{}
		for _, n := range nodes {
			at[n.metadata.Image().Index()] = true
		}
		if len(at) == 1 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatal("the nodes do not come to the same index")
}

// picture is the metadata of a node as bytes.
func (n *peerNode) picture() []byte {
	var b []byte
	for r := range n.metadata.Image().Records() {
		_, version := r.Versions()
		b = metarecords.AppendRecord(b, r, version)
	}
	return b
}

// samePicture waits until all of the nodes have the same metadata. They may be at
// one index and a moment later at two, so it looks more than once.
func (c *cohort) samePicture(nodes ...*peerNode) {
	c.t.Helper()
	c.settle(nodes...)
	for range 400 {
		first, same := nodes[0].picture(), true
		for _, n := range nodes[1:] {
			same = same && bytes.Equal(n.picture(), first)
		}
		if same {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Error("the metadata of the nodes differs")
}

// call sends one request to a node, as a client does.
func (c *cohort) call(n *peerNode, req msg.Request, resp msg.Response, version int16) {
	c.t.Helper()
	conn, err := c.net.Dial(c.t.Context(), fmt.Sprintf("node%d:9092", n.id))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	body := roundTrip(c.t, conn, req, version)
	var r wire.Reader
	r.Reset(body)
	if r.Int32(); msg.ResponseHeaderVersion(req.Key(), version) >= 1 {
		r.SkipTags()
	}
	resp.Decode(&r, version)
	if r.Failed() {
		c.t.Fatal(r.Err())
	}
}

func roundTrip(t *testing.T, conn net.Conn, req msg.Request, version int16) []byte {
	t.Helper()
	if err := sendTo(conn, req, version); err != nil {
		t.Fatal(err)
	}
	body, err := receiveFrom(conn)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func sendTo(conn net.Conn, req msg.Request, version int16) error {
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: 1, ClientID: new("test")}
	b := h.Append([]byte{0, 0, 0, 0}, msg.RequestHeaderVersion(req.Key(), version))
	b = req.Append(b, version)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := conn.Write(b)
	return err
}

func receiveFrom(conn net.Conn) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	_, err := io.ReadFull(conn, body)
	return body, err
}

// create makes a topic through a node and gives the code.
func (c *cohort) create(n *peerNode, name string, partitions int32, factor int16) kafka.Code {
	c.t.Helper()
	req, resp := msg.NewCreateTopicsRequest(), msg.NewCreateTopicsResponse()
	var t msg.CreateTopicsRequestTopic
	t.Name, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	req.Topics, req.TimeoutMs = append(req.Topics, t), 30_000
	c.call(n, &req, &resp, 7)
	if row := resp.Topics[0]; row.ErrorCode != 0 && row.ErrorMessage != nil {
		c.t.Logf("%s on node %d: %s", name, n.id, *row.ErrorMessage)
	}
	return kafka.Code(resp.Topics[0].ErrorCode)
}

// Three nodes with one configuration become a cluster: one leads, all register,
// what any is asked for is decided by the leader and acts on the one that was
// asked, and all come to the same metadata.
func TestThreeNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		defer func() {
			for _, n := range c.nodes {
				n.stop()
			}
			for _, n := range c.nodes {
				<-n.done
			}
		}()
		leader := c.leader(c.nodes...)
		t.Log("leader", leader)
		for _, n := range c.nodes {
			name := fmt.Sprintf("by-%d", n.id)
			if code := c.create(n, name, 4, 3); code != kafka.None {
				t.Fatalf("node %d: %v", n.id, code)
			}
			if n.metadata.Image().Topic(name) == nil {
				t.Errorf("node %d does not know what it was asked for", n.id)
			}
			if code := c.create(n, name, 4, 3); code != kafka.TopicAlreadyExists {
				t.Errorf("node %d, again: %v", n.id, code)
			}
		}
		c.samePicture(c.nodes...)
		var ids []int32
		for _, b := range c.nodes[0].metadata.Image().Brokers() {
			if !b.Fenced {
				ids = append(ids, b.ID)
			}
		}
		if !slices.Equal(ids, []int32{1, 2, 3}) {
			t.Error("in service:", ids)
		}
	})
}

// The leader's host loses power: another one leads, the dead one is taken out of
// service, and comes back.
func TestLeaderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		lost := c.node(c.leader(c.nodes...))
		rest := slices.DeleteFunc(slices.Clone(c.nodes), func(n *peerNode) bool { return n == lost })
		begun := time.Now()
		c.net.Crash(fmt.Sprintf("node%d", lost.id))
		for rest[0].metadata.Image().ControllerID() == lost.id || rest[0].metadata.Image().ControllerID() == kafka.NoBroker {
			time.Sleep(10 * time.Millisecond)
			if time.Since(begun) > 10*time.Second {
				t.Fatal("nobody leads")
			}
		}
		t.Log("another leads after", time.Since(begun))
		for rest[0].metadata.Image().Alive(lost.id) {
			time.Sleep(10 * time.Millisecond)
			if time.Since(begun) > 10*time.Second {
				t.Fatal("the dead one is in service")
			}
		}
		t.Log("out of service after", time.Since(begun))
		if took := time.Since(begun); took > 3*time.Second {
			t.Error("took", took)
		}
		if code := c.create(rest[1], "after", 4, 2); code != kafka.None {
			t.Error(code)
		}
		c.samePicture(rest...)
		for _, n := range c.nodes {
			n.stop()
		}
		for _, n := range c.nodes {
			<-n.done
		}
	})
}

// A node that was formatted without voters joins through the addresses that it has,
// receives the metadata and is a broker; one of another cluster, and one with a node
// id that is taken, are refused in words.
func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		if code := c.create(c.nodes[0], "before", 3, 3); code != kafka.None {
			t.Fatal(code)
		}
		at := "controller.quorum.bootstrap.servers=node1:9093,node2:9093,node3:9093"
		n := c.add(4, at)
		c.start(n)
		c.ready(n)
		if n.metadata.Image().Topic("before") == nil {
			t.Error("the fourth node does not know the topic")
		}
		if code := c.create(n, "through-4", 4, 4); code != kafka.None {
			t.Error(code)
		}
		c.samePicture(c.nodes...)
		n.end(t)
		c.start(n)
		c.ready(n)
		c.samePicture(c.nodes...)

		for _, bad := range []struct {
			what, host string
			id         int32
			more       string
			want       string
		}{
			{"another cluster", "node5", 5, "cluster.id=ddddddddddddddddddddddA", "this is cluster " + testCluster},
			{"a node id that is taken", "node6", 2, "node.id=2", "give"},
		} {
			b := c.add(bad.id, at, bad.more, "initial.broker.registration.timeout.ms=5000",
				fmt.Sprintf("listeners=PLAINTEXT://%s:9092,CONTROLLER://%s:9093", bad.host, bad.host))
			h := c.net.Host(bad.host)
			b.cfg.Listen, b.cfg.Dial = h.Listen, h.Dial
			c.nodes = c.nodes[:len(c.nodes)-1]
			c.start(b)
			if err := <-b.done; err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%s: %v", bad.what, err)
			} else {
				t.Log(err)
			}
			b.stop()
		}
		for _, n := range c.nodes {
			n.stop()
		}
		for _, n := range c.nodes {
			<-n.done
		}
	})
}

// quiet ends all nodes at once: the last to go have nobody to ask for leave.
func (c *cohort) quiet() {
	for _, n := range c.nodes {
		n.stop()
	}
	for _, n := range c.nodes {
		<-n.done
	}
}

// fencedAfter cuts a node off that does not lead, and says how long it stays in
// service.
func (c *cohort) fencedAfter() time.Duration {
	c.t.Helper()
	leader := c.node(c.leader(c.nodes...))
	silent := c.nodes[0]
	if silent == leader {
		silent = c.nodes[1]
	}
	begun := time.Now()
	for _, n := range c.nodes {
		if n != silent {
			c.net.CutBoth(fmt.Sprintf("node%d", silent.id), fmt.Sprintf("node%d", n.id))
		}
	}
	for leader.metadata.Image().Alive(silent.id) {
		if time.Since(begun) > time.Minute {
			c.t.Fatal("a silent broker stays in service")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}

// beats is how many requests for a decision, all heartbeats, the leader is asked in
// ten seconds in which nothing happens.
func (c *cohort) beats() int {
	c.t.Helper()
	leader := c.node(c.leader(c.nodes...))
	count := func() (total int) {
		rec := httptest.NewRecorder()
		leader.newMetrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		for line := range strings.Lines(rec.Body.String()) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok &&
				strings.HasPrefix(name, "kafka_network_requestmetrics_requests_total{") && strings.Contains(name, `"ControllerAsk"`) {
				n, _ := strconv.ParseFloat(value, 64)
				total += int(n)
			}
		}
		return total
	}
	before := count()
	time.Sleep(10 * time.Second)
	return count() - before
}

// TestQuorumProperties shows the effect of properties of several nodes.
func TestQuorumProperties(t *testing.T) {
	on := func(name string, show func(t *testing.T, c *cohort), more ...string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := three(t, more...)
				show(t, c)
				c.quiet()
			})
		})
	}
	fenced := func(from, to time.Duration) func(*testing.T, *cohort) {
		return func(t *testing.T, c *cohort) {
			if took := c.fencedAfter(); took < from || took > to {
				t.Errorf("fenced after %v, want %v to %v", took, from, to)
			}
		}
	}
	beats := func(from, to int) func(*testing.T, *cohort) {
		return func(t *testing.T, c *cohort) {
			if n := c.beats(); n < from || n > to {
				t.Errorf("%d heartbeats of two brokers in ten seconds, want %d to %d", n, from, to)
			}
		}
	}
	on("broker.session.timeout.ms", fenced(1200*time.Millisecond, 2*time.Second))
	on("broker.session.timeout.ms=4000", fenced(3600*time.Millisecond, 4500*time.Millisecond), "broker.session.timeout.ms=4000")
	on("broker.heartbeat.interval.ms", beats(90, 105))
	on("broker.heartbeat.interval.ms=500", beats(36, 45), "broker.heartbeat.interval.ms=500")
	on("controller.listener.names", func(t *testing.T, c *cohort) {
		if e, ok := c.nodes[0].metadata.Image().Broker(2).Endpoint("CONTROLLER"); !ok || hostPort(e) != "node2:9093" {
			t.Errorf("controllers reach node 2 at %s", hostPort(e))
		}
		if addr, ok := c.nodes[0].metadata.Address(2, true); !ok || addr != "node2:9093" {
			t.Errorf("node 1 asks node 2 at %s", addr)
		}
	})
}

// Nodes that only decide and nodes that only hold partitions make a cluster: the
// former are no brokers, the latter get the metadata and vote for nothing.
func TestRolesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cohort{t: t, net: memnet.New()}
		for id := range int32(3) {
			c.start(c.add(id+1, threeVoters, "process.roles=controller", fmt.Sprintf("listeners=CONTROLLER://node%d:9093", id+1)))
		}
		c.ready(c.nodes...)
		for id := range int32(2) {
			c.start(c.add(id+4, threeVoters, "process.roles=broker", fmt.Sprintf("listeners=PLAINTEXT://node%d:9092", id+4)))
		}
		c.ready(c.nodes...)
		if code := c.create(c.node(5), "apart", 4, 2); code != kafka.None {
			t.Error(code)
		}
		c.samePicture(c.nodes...)
		var brokers []int32
		for _, b := range c.nodes[0].metadata.Image().Brokers() {
			brokers = append(brokers, b.ID)
		}
		if !slices.Equal(brokers, []int32{4, 5}) {
			t.Error("brokers:", brokers)
		}
		st := c.node(c.leader(c.nodes...)).metadata.Quorum()
		if len(st.Voters) != 3 || len(st.Learners) != 2 {
			t.Errorf("%d voters and %d learners", len(st.Voters), len(st.Learners))
		}
		c.quiet()
	})
}

// A directory that is a cluster of its own does not start as one of several voters.
func TestLoneDirectory(t *testing.T) {
	cfg := memory(t, "cluster.id="+testCluster)
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	cfg.Properties = properties(t, "cluster.id="+testCluster, threeVoters)
	if b, err = Open(cfg); err == nil {
		b.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "the only voter of a cluster") {
		t.Error(err)
	}
}
