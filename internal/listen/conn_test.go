package listen

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/kafka"
)

func TestAnswersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		p.produce("la", "lb", "nc", "ld", "0", "ne")
		synctest.Wait()
		p.quiet() // c and e are due, but a is before them
		s.settle(1, nil)
		synctest.Wait()
		p.quiet()
		s.settle(0, nil)
		p.want(0, "la")
		p.want(0, "lb")
		p.want(0, "nc")
		synctest.Wait()
		p.quiet()
		s.settle(2, fmt.Errorf("x: %w", kafka.NotEnoughReplicasAfterAppend))
		p.want(kafka.NotEnoughReplicasAfterAppend, "ld")
		p.got++ // "0" is never answered
		p.want(0, "ne")
		p.Close()
	})
}

func TestOthersWaitForProduce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		p.produce("la")
		p.echo("b")
		p.produce("lc")
		synctest.Wait()
		if n := s.echoes(); n != 0 {
			t.Fatalf("%d other requests started before Produce was answered", n)
		}
		s.settle(0, nil)
		p.want(0, "la")
		p.want(0, "b")
		synctest.Wait()
		s.settle(1, nil)
		p.want(0, "lc")
		p.Close()
	})
}

func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{timeo: 5 * time.Second}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		start := time.Now()
		p.produce("la", "lb")
		p.want(kafka.RequestTimedOut, "la")
		if d := time.Since(start); d < 5*time.Second || d > 5*time.Second+10*time.Millisecond {
			t.Errorf("timed out after %v", d)
		}
		p.want(kafka.RequestTimedOut, "lb")
		s.settle(0, nil) // too late, and harmless
		s.settle(1, errors.New("x"))
		p.produce("lc")
		synctest.Wait()
		s.settle(2, nil)
		p.want(0, "lc")
		p.Close()
	})
}

// TestLateAtOnce pins a request that gives no time at all: its slot may be sent
// while the reader still puts it in its place.
func TestLateAtOnce(t *testing.T) {
	s := &stage{timeo: -time.Second}
	dial, end := s.runTCP(t, nil)
	defer end()
	p := dial()
	for range 200 {
		p.produce("la", "nb", "lc")
		p.want(kafka.RequestTimedOut, "la")
		p.want(0, "nb")
		p.want(kafka.RequestTimedOut, "lc")
	}
	s.mu.Lock()
	later := s.later
	s.mu.Unlock()
	for _, done := range later {
		done(nil)
	}
	p.Close()
}

func TestRingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		for range ringSize + 10 {
			p.produce("lx")
		}
		synctest.Wait()
		if n := len(s.later); n != ringSize {
			t.Fatalf("%d requests under way, want %d", n, ringSize)
		}
		for i := range ringSize + 10 {
			synctest.Wait()
			s.settle(i, nil)
		}
		for range ringSize + 10 {
			p.want(0, "lx")
		}
		p.Close()
	})
}

// TestPieces sends requests in pieces of every size, and so that they straddle
// the end of the read buffer.
func TestPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		var stream []byte
		var bodies []string
		for i := range 60 {
			body := "n" + strings.Repeat(string(rune('a'+i%26)), i*i*7)
			bodies = append(bodies, body)
			stream = append(stream, frame(kafka.KeyProduce, 3, int32(i+1), body)...)
		}
		go func() {
			for i := 1; len(stream) > 0; i++ {
				n := min(len(stream), 1+i*i%9973)
				p.write(stream[:n])
				stream = stream[n:]
				if i%3 == 0 && len(stream) > 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		for _, b := range bodies {
			p.want(0, b)
		}
		p.Close()
	})
}

func TestLargeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		for _, n := range []int{readSize - 15, readSize - 14, readSize - 13, readSize, 1 << 20, frameAtOnce + 1, 9 << 20} {
			body := "n" + strings.Repeat("x", n-1)
			go p.produce(body, "nz")
			p.want(0, body)
			p.want(0, "nz")
		}
		p.Close()
	})
}

func TestBadFramesClose(t *testing.T) {
	for name, b := range map[string][]byte{
		"negative length":  {0xff, 0xff, 0xff, 0xff, 0, 0},
		"2 GiB":            {0x7f, 0xff, 0xff, 0xff, 0, 0},
		"over the maximum": {0x06, 0x40, 0, 1, 0, 0},
		"empty":            {0, 0, 0, 0},
		"HTTP":             []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":              {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"unknown key":      frame(999, 0, 1, ""),
		"unknown version":  frame(kafka.KeyProduce, 2, 1, "n"),
		"refused":          frame(kafka.KeyProduce, 3, 1, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{}
				dial, end := s.run(t, nil)
				defer end()
				good, bad := dial(), dial()
				bad.produce("na")
				bad.write(b)
				bad.want(0, "na")
				bad.ended()
				good.echo("still here")
				good.want(0, "still here")
				good.Close()
			})
		})
	}
}

// TestRefusedAfterLater pins acks=0: its error closes the connection, but what
// was asked before is still answered.
func TestRefusedAfterLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		p.produce("la", "x", "nb")
		synctest.Wait()
		p.quiet()
		s.settle(0, nil)
		p.want(0, "la")
		p.ended()
	})
}

func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		p.produce("la", "lb")
		p.write([]byte{0, 0, 1}) // and half a length
		synctest.Wait()
		p.Close()
		synctest.Wait()
		s.settle(1, nil)
		s.settle(0, nil)
		q := dial()
		q.echo("next")
		q.want(0, "next")
		q.Close()
	})
}

func TestSlowReaderIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, nil)
		defer end()
		p, q := dial(), dial()
		go func() {
			for range 100 {
				if _, err := p.Write(frame(kafka.KeyHeartbeat, 0, 1, strings.Repeat("x", 10000))); err != nil {
					return
				}
			}
		}()
		time.Sleep(20 * time.Second)
		q.echo("unharmed")
		q.want(0, "unharmed")
		time.Sleep(20 * time.Second)
		if _, err := p.Write([]byte{0}); err == nil {
			t.Error("a client that does not read was not closed")
		}
		q.Close()
	})
}

func TestIdleIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{hold: make(chan struct{}), timeo: time.Hour}
		dial, end := s.run(t, func(c *Config) { c.MaxIdle = time.Minute })
		defer end()
		idle, half, waits, waitsToo := dial(), dial(), dial(), dial()
		half.write([]byte{0, 0})
		waits.echo("wait")
		waitsToo.produce("la")
		time.Sleep(30 * time.Second)
		idle.echo("x")
		idle.want(0, "x")
		time.Sleep(40 * time.Second)
		half.ended()
		idle.echo("y")
		idle.want(0, "y")
		time.Sleep(2 * time.Minute)
		idle.ended()
		close(s.hold)
		waits.want(0, "wait")
		waitsToo.want(kafka.RequestTimedOut, "la")
	})
}

func TestMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{mute: 3 * time.Second}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		start := time.Now()
		p.echo("a")
		p.echo("b")
		p.want(0, "a")
		if d := time.Since(start); d > 0 {
			t.Errorf("the answer came after %v", d)
		}
		p.want(0, "b")
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("the next answer came after %v", d)
		}
		p.Close()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{hold: make(chan struct{})}
		dial, end := s.run(t, nil)
		waits, later, stuck := dial(), dial(), dial()
		waits.echo("wait")
		later.produce("la", "lb")
		synctest.Wait()
		stuck.produce("lc")
		synctest.Wait()
		start := time.Now()
		ended := make(chan struct{})
		go func() { end(); close(ended) }()
		waits.want(0, "wait")
		waits.ended()
		synctest.Wait()
		later.quiet()
		s.settle(0, nil)
		s.settle(1, nil)
		later.want(0, "la")
		later.want(0, "lb")
		later.ended()
		<-ended
		if d := time.Since(start); d < defaultDrain || d > defaultDrain+time.Second {
			t.Errorf("drained in %v", d)
		}
		stuck.ended()
		s.settle(2, nil)
	})
}

func TestDrainIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, end := (&stage{}).run(t, nil)
		p := dial()
		p.echo("a")
		p.want(0, "a")
		closed := make(chan struct{})
		go func() { // as clients do
			defer close(closed)
			p.ended()
			p.Close()
		}()
		start := time.Now()
		end()
		if d := time.Since(start); d > 0 {
			t.Errorf("drained in %v", d)
		}
		<-closed
	})
}

func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, end := (&stage{}).run(t, func(c *Config) { c.Limits.PerIP = 2 })
		defer end()
		a, b, c := dial(), dial(), dial()
		c.ended()
		a.Close()
		synctest.Wait()
		d := dial()
		d.echo("d")
		d.want(0, "d")
		b.Close()
		d.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		dial, end := (&stage{}).run(t, func(c *Config) { c.Limits.Conns = 1 })
		defer end()
		a, b := dial(), dial()
		b.echo("b")
		synctest.Wait()
		b.quiet()
		a.Close()
		b.want(0, "b")
		b.Close()
	})
}

func TestConnectionLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, func(c *Config) { c.Limits = Limits{PerIP: 1, Overrides: map[string]int{"client": 2}} })
		defer end()
		a, b, c := dial(), dial(), dial()
		c.ended()
		s.server.SetLimits(Limits{Conns: 2})
		d := dial()
		d.echo("d")
		synctest.Wait()
		d.quiet()
		s.server.SetLimits(Limits{Conns: 3})
		d.want(0, "d")
		for _, p := range []*peer{a, b, d} {
			p.Close()
		}
	})
}

func TestPendingFrameLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, end := (&stage{}).run(t, func(c *Config) { c.Listeners[0].Authenticate, c.MaxPending = true, 16<<10 })
		defer end()
		p := dial()
		p.write([]byte{0, 0, 0x40, 1})
		p.ended()
		q := dial()
		q.echo("not before authentication")
		q.ended()
	})
}

// memory is a range of a file that has no descriptor.
type memory struct {
	b        []byte
	released int
	short    bool
}

func (m *memory) Len() int                   { return len(m.b) }
func (m *memory) Fd() (uintptr, int64, bool) { return 0, 0, false }
func (m *memory) Ready(at int) int           { return len(m.b) - at }
func (m *memory) Release()                   { m.released++ }
func (m *memory) ReadAt(p []byte, off int) error {
	if m.short && off+len(p) > len(m.b)/2 {
		return errors.New("cut off")
	}
	copy(p, m.b[off:])
	return nil
}

func TestRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small := &memory{b: bytes.Repeat([]byte("s"), 1000)}
		large := &memory{b: bytes.Repeat([]byte("L"), 1<<20)}
		s := &stage{files: []api.Range{small, large, small}}
		dial, end := s.run(t, nil)
		defer end()
		p := dial()
		p.echo("a")
		p.echo("b")
		body := string(small.b) + string(large.b) + string(small.b)
		p.want(0, "a"+body)
		p.want(0, "b"+body)
		synctest.Wait() // released after the last byte is sent
		if small.released != 4 || large.released != 2 {
			t.Errorf("released %d and %d times", small.released, large.released)
		}
		large.short = true
		p.echo("c")
		var head [14]byte
		if _, err := p.Read(head[:]); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; {
			_, err = p.Read(make([]byte, 4096))
		}
		synctest.Wait()
		if large.released != 3 {
			t.Errorf("released %d times", large.released)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{hold: make(chan struct{})}
		dial, end := s.run(t, func(c *Config) { c.MaxQueued = 3 * readSize })
		defer end()
		// Two clients begin a frame of 128 KiB each and stop in the middle; that
		// is all there is, and a third is not read.
		slow := []*peer{dial(), dial()}
		big := "n" + strings.Repeat("x", 2*readSize)
		for _, p := range slow {
			f := frame(kafka.KeyProduce, 3, 1, big)
			p.write(f[:1000])
		}
		synctest.Wait()
		third := dial()
		third.echo("me too")
		synctest.Wait()
		third.quiet()
		for _, p := range slow {
			f := frame(kafka.KeyProduce, 3, 1, big)
			go func() {
				if _, err := p.Write(f[1000:]); err != nil {
					t.Error(err)
				}
			}()
		}
		for _, p := range slow {
			p.want(0, big)
		}
		third.want(0, "me too")
		for _, p := range append(slow, third) {
			p.Close()
		}
	})
}

// TestBudgetIsNotHeldForNothing: clients that announce frames and send next to
// nothing of them keep the memory only as long as nobody else wants it.
func TestBudgetIsNotHeldForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, func(c *Config) { c.MaxQueued = 8 << 20 })
		defer end()
		f := frame(kafka.KeyProduce, 3, 1, "n"+strings.Repeat("x", 4<<20))
		var stalled []*peer
		for range 40 {
			p := dial()
			p.write(f[:100])
			stalled = append(stalled, p)
		}
		synctest.Wait()
		start := time.Now()
		p := dial()
		p.echo("me too")
		for range 12 {
			time.Sleep(time.Second / 2)
			for _, p := range stalled {
				_, _ = p.Write(f[:1]) // it may be closed by now
			}
		}
		p.want(0, "me too")
		if d := time.Since(start); d > 8*time.Second {
			t.Errorf("answered after %v", d)
		}
		p.Close()
		for _, p := range stalled {
			p.Close()
		}
	})
}

// TestBudgetOverdraft pins that connections in the middle of large frames do not
// wait for each other for ever.
func TestBudgetOverdraft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		dial, end := s.run(t, func(c *Config) { c.MaxQueued = 5 << 20 })
		defer end()
		body := "n" + strings.Repeat("y", 9<<20)
		var all []*peer
		for range 6 {
			p := dial()
			all = append(all, p)
			go p.produce(body)
		}
		for _, p := range all {
			p.want(0, body)
			p.Close()
		}
	})
}
