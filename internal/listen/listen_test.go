package listen

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/quota"
)

// stage is a broker of two keys, for tests: Produce (0), whose answer comes when
// the test says so, and Echo (12), which answers at once.
//
// The body of a Produce is one byte that says what to do:
//
//	'n' answer now   'l' later, see settle   '0' never (acks=0)   'x' close
//
// An answer's body is a code (int16), then the request's body.
type stage struct {
	mu    sync.Mutex
	later []func(error) // in the order of the requests
	echo  int           // Echo requests that started
	files []api.Range
	mute  time.Duration
	timeo time.Duration
	hold  chan struct{} // Echo of "wait" waits for it, one of "park" for the client's end

	server *Server
}

func (s *stage) produce(c *api.Call, out *api.Reply) {
	body := c.Body
	at := out.At()
	out.Buf = append(append(out.Buf, 0, 0), body...)
	switch body[0] {
	case 'l':
		slot := c.Later(out, c.Time.Add(s.timeo))
		done := slot.Expect(at)
		s.mu.Lock()
		s.later = append(s.later, done)
		s.mu.Unlock()
	case '0':
		out.Drop()
	case 'x':
		out.Refuse()
	}
}

func (s *stage) settle(i int, err error) {
	s.mu.Lock()
	done := s.later[i]
	s.mu.Unlock()
	done(err)
}

func (s *stage) echoes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.echo
}

func (s *stage) answer(c *api.Call, out *api.Reply) {
	s.mu.Lock()
	s.echo++
	files := s.files
	s.mu.Unlock()
	out.Room(2 + len(c.Body))
	out.Buf = append(append(out.Buf, 0, 0), c.Body...)
	wait, park := string(c.Body) == "wait", string(c.Body) == "park"
	c.Free()
	if park {
		s.park(c)
	}
	if wait {
		select {
		case <-s.hold:
		case <-c.Ctx.Done():
		}
	}
	for _, f := range files {
		if err := out.AddFile(f); err != nil {
			out.Refuse()
		}
	}
	out.Mute = s.mute
}

// park waits until the client has gone, and tells the test.
func (s *stage) park(c *api.Call) {
	c.Conn.Parked.Store(true)
	for !c.Conn.Gone.Load() && c.Ctx.Err() == nil {
		c.Conn.Park.Wait()
	}
	c.Conn.Parked.Store(false)
	s.hold <- struct{}{}
}

func (s *stage) table(t testing.TB) *api.Table {
	t.Helper()
	table, err := api.NewTable(api.Config{
		Extra: []api.Row{
			{Key: kafka.KeyProduce, Name: "Produce", Served: api.Versions{Min: 3, Max: 3}, Pipelined: true, Serve: s.produce},
			{Key: kafka.KeyHeartbeat, Name: "Heartbeat", Served: api.Versions{}, Serve: s.answer},
		},
		Authorizer: auth.AllowAll{}, Quotas: quota.Unlimited{}, Metrics: metrics.NewRequests(),
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// run starts a Server on an in-memory network and returns how to connect and
// how to end it.
func (s *stage) run(t *testing.T, change func(*Config)) (dial func() *peer, end func()) {
	t.Helper()
	n := memnet.New()
	l, err := n.Listen("broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	return s.runOn(t, l, func() (net.Conn, error) { return n.Dial(t.Context(), "broker:9092") }, change)
}

// runTCP is run on loopback, outside a bubble.
func (s *stage) runTCP(t *testing.T, change func(*Config)) (dial func() *peer, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return s.runOn(t, l, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, change)
}

func (s *stage) runOn(t *testing.T, l net.Listener, connect func() (net.Conn, error), change func(*Config)) (dial func() *peer, end func()) {
	t.Helper()
	if s.timeo == 0 {
		s.timeo = 30 * time.Second
	}
	cfg := Config{Listeners: []Listener{{Name: "PLAINTEXT", Net: l}}, Table: s.table(t),
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSockets()}
	if change != nil {
		change(&cfg)
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.server = srv
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	dial = func() *peer {
		t.Helper()
		c, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		return &peer{t: t, Conn: c}
	}
	return dial, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if srv.budget.mu.used != 0 {
			t.Errorf("%d bytes of the budget were not given back", srv.budget.mu.used)
		}
	}
}

// peer is a client that counts its requests.
type peer struct {
	t *testing.T
	net.Conn
	sent, got int32
}

func frame(key, version int16, id int32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = append(b, 0xff, 0xff)
	return append(b, body...)
}

func (p *peer) produce(bodies ...string) {
	p.t.Helper()
	var b []byte
	for _, body := range bodies {
		p.sent++
		b = append(b, frame(kafka.KeyProduce, 3, p.sent, body)...)
	}
	p.write(b)
}

func (p *peer) echo(body string) {
	p.t.Helper()
	p.sent++
	p.write(frame(kafka.KeyHeartbeat, 0, p.sent, body))
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// want reads the next answer and checks its order, code and body.
func (p *peer) want(code kafka.Code, body string) {
	p.t.Helper()
	p.got++
	p.wantID(p.got, code, body)
}

func (p *peer) wantID(id int32, code kafka.Code, body string) {
	p.t.Helper()
	if err := p.answer(id, code, body); err != nil {
		p.t.Fatal(err)
	}
}

// answer reads an answer and says what is wrong with it.
func (p *peer) answer(id int32, code kafka.Code, body string) error {
	var head [10]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return fmt.Errorf("answer %d: %w", id, err)
	}
	rest := make([]byte, int(binary.BigEndian.Uint32(head[:]))-6)
	if _, err := io.ReadFull(p, rest); err != nil {
		return fmt.Errorf("answer %d: %w", id, err)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != id {
		return fmt.Errorf("answer to request %d, want %d", got, id)
	}
	if got := kafka.Code(binary.BigEndian.Uint16(head[8:])); got != code {
		return fmt.Errorf("answer %d: %v, want %v", id, got, code)
	}
	if string(rest) != body {
		return fmt.Errorf("answer %d: %d bytes %.40q, want %d bytes %.40q", id, len(rest), rest, len(body), body)
	}
	return nil
}

// quiet checks that nothing is there to read now.
func (p *peer) quiet() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(time.Millisecond))
	var b [1]byte
	if n, err := p.Read(b[:]); n != 0 || err == io.EOF {
		p.t.Fatalf("read %d bytes, %v; want nothing yet", n, err)
	}
	p.SetReadDeadline(time.Time{})
}

// ended checks that the server closed the connection.
func (p *peer) ended() {
	p.t.Helper()
	var b [1]byte
	if n, err := p.Read(b[:]); n != 0 || err == nil {
		p.t.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}
