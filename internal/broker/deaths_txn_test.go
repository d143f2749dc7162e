package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// tap sees the markers that nodes send one another, and decides on those of one.
type tap struct {
	sync.Mutex // memory only
	from       int32
	deaf       string            // who gets its markers and is not heard
	kept       map[string][]byte // by address: what everybody else was to get, and does not
	sent       bool              // deaf was sent its markers
}

// tapped is a connection that a node made.
type tapped struct {
	net.Conn
	tap  *tap
	from int32
	to   string
	over chan struct{} // closed: nothing more is heard
	once sync.Once
}

func (c *tapped) Write(frame []byte) (int, error) {
	if len(frame) < 6 || binary.BigEndian.Uint16(frame[4:]) != uint16((*msg.WriteTxnMarkersRequest)(nil).Key()) {
		return c.Conn.Write(frame)
	}
	c.tap.Lock()
	taken, deaf := c.tap.from == c.from, c.tap.deaf == c.to
	switch {
	case taken && deaf:
		c.tap.sent = true
	case taken:
		c.tap.kept[c.to] = append([]byte(nil), frame...)
	}
	c.tap.Unlock()
	if taken {
		c.once.Do(func() { close(c.over) })
	}
	if taken && !deaf {
		return len(frame), nil
	}
	return c.Conn.Write(frame)
}

func (c *tapped) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		select { //house:select two cases, one of them default
		case <-c.over:
			if err == nil {
				continue
			}
		default:
		}
		return n, err
	}
}

// dial is a node's way to others, past the tap.
func (p *tap) dial(from int32, way func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := way(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &tapped{Conn: conn, tap: p, from: from, to: addr, over: make(chan struct{})}, nil
	}
}

// writer is a transactional producer of the older protocol: its epoch stays the same
// from one transaction to the next, so that a late marker could end the wrong one.
type writer struct {
	c     *cohort
	id    int64
	epoch int16
	next  int32 // sequence in each partition
}

func (w *writer) init(at *peerNode) kafka.Code {
	req, resp := msg.NewInitProducerIDRequest(), msg.NewInitProducerIDResponse()
	req.TransactionalID, req.TransactionTimeoutMs = new("x"), 60_000
	w.c.call(at, &req, &resp, 2)
	w.id, w.epoch = resp.ProducerID, resp.ProducerEpoch
	return kafka.Code(resp.ErrorCode)
}

// write adds the partitions of topic out to the transaction and writes a value into
// each.
func (w *writer) write(at *peerNode, value string) {
	w.c.t.Helper()
	code := w.c.again("partitions in the transaction", func() kafka.Code {
		req, resp := msg.NewAddPartitionsToTxnRequest(), msg.NewAddPartitionsToTxnResponse()
		req.V3AndBelowTransactionalID, req.V3AndBelowProducerID, req.V3AndBelowProducerEpoch = "x", w.id, w.epoch
		req.V3AndBelowTopics = []msg.AddPartitionsToTxnRequestTopic{{Name: "out", Partitions: []int32{0, 1, 2}}}
		w.c.call(at, &req, &resp, 3)
		return kafka.Code(resp.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode)
	})
	for p := range int32(3) {
		b := record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: w.id, Epoch: w.epoch, Sequence: w.next}}
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: fmt.Appendf(nil, "%s-%d", value, p)})
		code = max(code, w.c.again("a write", func() kafka.Code {
			req, resp := msg.NewProduceRequest(), msg.NewProduceResponse()
			req.TransactionalID, req.Acks, req.TimeoutMs = new("x"), -1, 5000
			req.TopicData = []msg.ProduceRequestTopicData{{Name: "out",
				PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: p, Records: b.Bytes()}}}}
			w.c.call(w.c.node(at.partition("out", p).Leader), &req, &resp, 9)
			return kafka.Code(resp.Responses[0].PartitionResponses[0].ErrorCode)
		}))
	}
	w.next++
	if code != kafka.None {
		w.c.t.Fatal(value, code)
	}
}

func (w *writer) end(at *peerNode, commit bool) kafka.Code {
	req, resp := msg.NewEndTxnRequest(), msg.NewEndTxnResponse()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Committed = "x", w.id, w.epoch, commit
	w.c.call(at, &req, &resp, 3)
	return kafka.Code(resp.ErrorCode)
}

// ends are the ends of the partitions of topic out, for readers of what is committed
// or of all.
func (c *cohort) ends(by *peerNode, isolation int8) (ends [3]int64) {
	for p := range int32(3) {
		req, resp := msg.NewListOffsetsRequest(), msg.NewListOffsetsResponse()
		req.ReplicaID, req.IsolationLevel = -1, isolation
		req.Topics = []msg.ListOffsetsRequestTopic{{Name: "out", Partitions: []msg.ListOffsetsRequestTopicPartition{
			{PartitionIndex: p, CurrentLeaderEpoch: -1, Timestamp: kafka.LatestTimestamp}}}}
		c.call(c.node(by.partition("out", p).Leader), &req, &resp, 7)
		ends[p] = resp.Topics[0].Partitions[0].Offset
	}
	return ends
}

// A transaction coordinator dies, or is cut off and comes back, in PREPARE_COMMIT: one
// of the others has its marker and could not say so, the other has not. The next
// coordinator ends the transaction, and what the old one sends late ends nothing, also
// not the next transaction of the same producer and epoch.
func TestCoordinatorDiesAmongMarkers(t *testing.T) {
	for _, zombie := range []bool{false, true} {
		t.Run(fmt.Sprint("zombie=", zombie), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { amongMarkers(t, zombie) })
		})
	}
}

func amongMarkers(t *testing.T, zombie bool) {
	c, p := tappedNodes(t)
	defer c.quiet()
	was := c.coordinates(1, "x")
	c.inSync(kafka.TxnTopic, 3)
	c.inSync("out", 3)

	w := &writer{c: c}
	if code := c.again("a producer id", func() kafka.Code { return w.init(was) }); code != kafka.None {
		t.Fatal(code)
	}
	w.write(was, "first")
	others := c.others(was)
	late := fmt.Sprintf("node%d:9092", others[1].id)
	p.Lock()
	p.from, p.deaf = was.id, fmt.Sprintf("node%d:9092", others[0].id)
	p.Unlock()
	if code := w.end(was, true); code != kafka.None {
		t.Fatal(code)
	}
	c.until("markers under way", func() bool {
		p.Lock()
		defer p.Unlock()
		return p.sent && p.kept[late] != nil
	})
	if zombie {
		c.alone(was, true)
	} else {
		c.slay(was)
	}
	is := c.coordinates(1, "x", was)
	c.until("another leads everything", func() bool { return !c.leadsAny(is, was) })
	c.noneOpen(others, "out")

	w.write(is, "second")
	before := c.ends(is, 0)
	if open := c.ends(is, 1); open == before {
		t.Error("the second transaction is not open: this shows nothing")
	}
	c.speaksLate(others[1], p.kept[late])
	if zombie {
		if code := w.end(was, true); code == kafka.None {
			t.Error("who is cut off ends a transaction")
		}
		p.Lock()
		p.from = 0
		p.Unlock()
		c.alone(was, false)
		c.inSync(kafka.TxnTopic, 3)
		time.Sleep(5 * time.Second)
	}
	if after := c.ends(is, 0); after != before {
		t.Errorf("the partitions end at %v, before the old coordinator spoke at %v", after, before)
	}
	if !zombie {
		c.start(was)
		c.ready(was)
		c.inSync(kafka.TxnTopic, 3)
	}
	if code := c.again("the end", func() kafka.Code { return w.end(c.coordinates(1, "x"), false) }); code != kafka.None {
		t.Error("abort:", code)
	}
	c.noneOpen(c.nodes, "out")
	c.committed("out", []string{"first-0", "first-1", "first-2"})
}

// tappedNodes are three nodes, each of which leads a partition of topic out, with a tap
// on what they send one another.
func tappedNodes(t *testing.T) (*cohort, *tap) {
	p := &tap{kept: map[string][]byte{}}
	c := &cohort{t: t, net: memnet.New()}
	for id := range int32(3) {
		n := c.add(id+1, append([]string{threeVoters, "min.insync.replicas=2"}, quickGroups...)...)
		n.cfg.Dial = p.dial(n.id, n.cfg.Dial)
		c.start(n)
	}
	c.ready(c.nodes...)
	c.topic("out", 3, 3)
	c.led("out", 3)
	return c, p
}

// leadsAny says whether a partition of topic out has no leader but n, by what another
// node knows.
func (c *cohort) leadsAny(by, n *peerNode) bool {
	for id := range int32(3) {
		if l := by.partition("out", id).Leader; l == n.id || l == kafka.NoBroker {
			return true
		}
	}
	return false
}

// speaksLate brings markers that somebody sent long ago; they have to be refused.
func (c *cohort) speaksLate(to *peerNode, frame []byte) {
	c.t.Helper()
	conn, err := c.net.Dial(c.t.Context(), fmt.Sprintf("node%d:9092", to.id))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(frame); err != nil {
		c.t.Fatal(err)
	}
	l, resp := talk{c, conn}, msg.NewWriteTxnMarkersResponse()
	if !l.hear(&resp, (&msg.WriteTxnMarkersRequest{}).Key(), 2) || len(resp.Markers) == 0 {
		c.t.Fatal("no answer to markers")
	}
	for _, m := range resp.Markers {
		for _, topic := range m.Topics {
			for _, p := range topic.Partitions {
				if code := kafka.Code(p.ErrorCode); code != kafka.TransactionCoordinatorFenced && code != kafka.NotLeaderOrFollower {
					c.t.Errorf("a late marker for %s-%d is answered %v", topic.Name, p.PartitionIndex, code)
				}
			}
		}
	}
}
