package peer

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// server is a node that answers AllocateProducerIds with numbers counted up, and
// whatever else behave makes of a request.
type server struct {
	t    *testing.T
	net  *memnet.Network
	ln   net.Listener
	node int32

	// tells is what ApiVersions says beside itself.
	tells []msg.APIVersionsResponseAPIKey

	// behave may take over: it writes to the connection what it wants, and says
	// whether it did, and whether the connection goes on.
	behave func(c net.Conn, key, version int16, frame []byte) (taken, on bool)

	work sync.WaitGroup
	mu   sync.Mutex
	seen []int16 // versions of the requests
}

func serve(t *testing.T, n *memnet.Network, addr string) *server {
	ln, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, net: n, ln: ln, node: 2}
	s.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.work.Go(func() { s.talk(c) })
		}
	})
	return s
}

func (s *server) talk(c net.Conn) {
	defer c.Close()
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
		if key == kafka.KeyAPIVersions {
			s.greet(c, frame)
			continue
		}
		s.mu.Lock()
		s.seen = append(s.seen, version)
		s.mu.Unlock()
		if s.behave != nil {
			taken, on := s.behave(c, key, version, frame)
			if !on {
				return
			}
			if taken {
				continue
			}
		}
		if _, err := c.Write(answerTo(frame)); err != nil {
			return
		}
	}
}

func (s *server) greet(c net.Conn, frame []byte) {
	h := msg.NewRequestHeader()
	var r wire.Reader
	r.Reset(frame)
	h.Decode(&r, 2)
	req, resp := msg.NewAPIVersionsRequest(), msg.NewAPIVersionsResponse()
	req.Decode(&r, greetVersion)
	if req.ClusterID != nil && (*req.ClusterID != "cluster" || req.NodeID != s.node) {
		resp.ErrorCode = int16(kafka.RebootstrapRequired)
	}
	resp.APIKeys = append(s.tells, msg.APIVersionsResponseAPIKey{APIKey: kafka.KeyAPIVersions, MaxVersion: 5})
	b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(h.CorrelationID))
	b = resp.Append(b, greetVersion)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, _ = c.Write(b)
}

// answerTo is the answer to AllocateProducerIds: the block begins at the number of
// the broker that asked.
func answerTo(frame []byte) []byte {
	h := msg.NewRequestHeader()
	var r wire.Reader
	r.Reset(frame)
	h.Decode(&r, 2)
	req, resp := msg.NewAllocateProducerIDsRequest(), msg.NewAllocateProducerIDsResponse()
	req.Decode(&r, 0)
	resp.ProducerIDStart = int64(req.BrokerID)
	b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(h.CorrelationID))
	b = resp.Append(append(b, 0), 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (s *server) stop() {
	s.ln.Close()
	s.work.Wait()
	if n := s.net.Conns(); n != 0 {
		s.t.Errorf("%d connections are left", n)
	}
}

// stand is a pool with a network to itself.
type stand struct {
	*Pool
	t       *testing.T
	net     *memnet.Network
	cancel  context.CancelFunc
	ended   chan error
	mu      sync.Mutex
	down    int
	refused int
}

func newStand(t *testing.T, change func(*Config)) *stand {
	s := &stand{t: t, net: memnet.New(), ended: make(chan error, 1)}
	cfg := Config{
		Self: 1, ClusterID: "cluster", ClientID: "node-1", Logger: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return s.net.Host("node1").Dial(ctx, "tcp", addr)
		},
		Address: func(node int32, controller bool) (string, bool) { return "node2:9093", node != 9 },
		Down:    func(int32) { s.mu.Lock(); s.down++; s.mu.Unlock() },
		Refused: func(int32) { s.mu.Lock(); s.refused++; s.mu.Unlock() },
	}
	if change != nil {
		change(&cfg)
	}
	s.Pool = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.ended <- s.Run(ctx) }()
	return s
}

func (s *stand) end() {
	s.cancel()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
}

func (s *stand) told() (down, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down, s.refused
}

// ask asks node 2 for producer ids in the name of a number, which is answered.
func (s *stand) ask(ctx context.Context, number int32) error {
	return askOn(ctx, s.To(2, Control), number)
}

func askOn(ctx context.Context, c *Conn, number int32) error {
	req, resp := msg.NewAllocateProducerIDsRequest(), msg.NewAllocateProducerIDsResponse()
	req.BrokerID = number
	if err := c.Do(ctx, &req, &resp, 0); err != nil {
		return err
	}
	if resp.ProducerIDStart != int64(number) {
		return errOrder
	}
	return nil
}

func within1s(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	t.Cleanup(cancel)
	return ctx
}
