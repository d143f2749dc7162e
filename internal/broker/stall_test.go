package broker

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// stall has a node's disk answer no change until d has passed, as a device does
// that hangs; what is in memory can be read.
func (n *peerNode) stall(d time.Duration) {
	until := time.Now().Add(d)
	n.cfg.FS.(*vfs.Mem).SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if left := time.Until(until); op.Kind.Changes() && left > 0 {
			v.Delay = left
		}
		return v
	})
}

// gaps has one producer for each partition of a topic write under acks=all, and
// notes for how long at most none of its records was acknowledged.
type gaps struct {
	c       *cohort
	topic   string
	image   *peerNode // whom the producers ask who leads
	stopped atomic.Bool
	wg      sync.WaitGroup
	longest []time.Duration // by partition; read after end
}

func (c *cohort) watchGaps(topic string, partitions int32, image *peerNode) *gaps {
	g := &gaps{c: c, topic: topic, image: image, longest: make([]time.Duration, partitions)}
	for p := range partitions {
		g.wg.Go(func() { g.produce(p) })
	}
	return g
}

func (g *gaps) end() []time.Duration {
	g.stopped.Store(true)
	g.wg.Wait()
	return g.longest
}

func (g *gaps) produce(p int32) {
	last := time.Now()
	for !g.stopped.Load() {
		at := g.image.partition(g.topic, p)
		if at != nil && at.Leader >= 0 && g.once(at.Leader, p) {
			g.longest[p] = max(g.longest[p], time.Since(last))
			last = time.Now()
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.longest[p] = max(g.longest[p], time.Since(last))
}

// once sends one record, and gives up when the leader is another by then: a real
// client looks at its metadata when an answer is late.
func (g *gaps) once(leader, p int32) bool {
	conn, err := g.c.net.Dial(g.c.t.Context(), fmt.Sprintf("node%d:9092", leader))
	if err != nil {
		return false
	}
	defer conn.Close()
	var b record.Builder
	b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
	req, resp := msg.NewProduceRequest(), msg.NewProduceResponse()
	req.Acks, req.TimeoutMs = -1, 5000
	req.TopicData = []msg.ProduceRequestTopicData{{Name: g.topic,
		PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: p, Records: b.Bytes()}}}}
	body := make(chan []byte, 1)
	go func() { body <- exchange(conn, &req, 9) }()
	for {
		select {
		case got := <-body:
			if got == nil {
				return false
			}
			var r wire.Reader
			r.Reset(got)
			r.Int32()
			r.SkipTags()
			resp.Decode(&r, 9)
			return !r.Failed() && resp.Responses[0].PartitionResponses[0].ErrorCode == 0
		case <-time.After(100 * time.Millisecond):
			if g.image.partition(g.topic, p).Leader != leader {
				conn.Close()
				<-body
				return false
			}
		}
	}
}

// exchange is roundTrip for a connection that may break: nil then.
func exchange(conn net.Conn, req msg.Request, version int16) []byte {
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: 1, ClientID: new("test")}
	b := h.Append([]byte{0, 0, 0, 0}, msg.RequestHeaderVersion(req.Key(), version))
	b = req.Append(b, version)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := conn.Write(b); err != nil {
		return nil
	}
	size := make([]byte, 4)
	if !readAll(conn, size) {
		return nil
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if !readAll(conn, body) {
		return nil
	}
	return body
}

func readAll(conn net.Conn, b []byte) bool {
	for len(b) > 0 {
		n, err := conn.Read(b)
		if err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// TestStalledDisk has one disk of three hang: where its node follows, producers get
// no answer for 2.5 seconds at most, also if it leads the metadata quorum; where it
// leads, another does before long. When it answers again all three are in sync.
func TestStalledDisk(t *testing.T) {
	for _, controller := range []bool{false, true} {
		t.Run(fmt.Sprintf("controller=%v", controller), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stallOne(t, controller) })
		})
	}
}

func stallOne(t *testing.T, controller bool) {
	const partitions = 3
	c := three(t, "min.insync.replicas=2")
	defer func() {
		for _, n := range c.nodes {
			n.stop()
		}
		for _, n := range c.nodes {
			<-n.done
		}
	}()
	if code := c.create(c.nodes[0], "t", partitions, 3); code != kafka.None {
		t.Fatal(code)
	}
	lead := c.leader(c.nodes...)
	var ill, well *peerNode
	for _, n := range c.nodes {
		if (n.id == lead) == controller && ill == nil {
			ill = n
		} else {
			well = n
		}
	}
	until(t, "the topic is known", time.Second, func() bool { return well.partition("t", 0) != nil })
	g := c.watchGaps("t", partitions, well)
	time.Sleep(6 * time.Second) // who leads the quorum may hand over by then
	leaders := make([]int32, partitions)
	for p := range int32(partitions) {
		leaders[p] = well.partition("t", p).Leader
	}
	t.Log("the disk of node", ill.id, "hangs, leaders", leaders, "controller", lead)
	ill.stall(9 * time.Second)
	time.Sleep(7 * time.Second)
	for p, longest := range g.end() {
		t.Log("partition", p, "led by", leaders[p], "longest gap", longest)
		limit := 2500 * time.Millisecond
		if leaders[p] == ill.id {
			limit = 4 * time.Second
		}
		if longest > limit {
			t.Errorf("partition %d, led by node %d while the disk of node %d hung: no record acknowledged for %v", p, leaders[p], ill.id, longest)
		}
	}
	until(t, "all in sync again", 20*time.Second, func() bool {
		for p := range int32(partitions) {
			if at := well.partition("t", p); len(at.ISR) != 3 {
				return false
			}
		}
		return true
	})
}
