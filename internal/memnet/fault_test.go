package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatencyKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := pair(t, n)
		begin := time.Now()
		n.Latency("a", "b", time.Second)
		write(t, a, "slow")
		n.Latency("a", "b", 0)
		write(t, a, "fast")
		read(t, b, "slowfast")
		if d := time.Since(begin); d != time.Second {
			t.Errorf("arrived after %v, want 1s", d)
		}
		write(t, b, "back")
		read(t, a, "back")
		if d := time.Since(begin); d != time.Second {
			t.Errorf("the way back took until %v, want no time", d)
		}
	})
}

// TestCutOneWay: what was sent before arrives, what is sent meanwhile waits, the
// other direction works, and nobody hears of it.
func TestCutOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := pair(t, n)
		write(t, a, "before ")
		n.Cut("a", "b")
		write(t, a, "meanwhile")
		a.(*conn).CloseWrite()
		write(t, b, "other way")
		read(t, a, "other way")
		read(t, b, "before ")
		b.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := b.Read(make([]byte, 1)); err == nil {
			t.Error("something came through a cut")
		}
		b.SetReadDeadline(time.Time{})
		n.Latency("a", "b", time.Second)
		n.Heal("a", "b")
		begin := time.Now()
		if rest, err := io.ReadAll(b); string(rest) != "meanwhile" || err != nil || time.Since(begin) != time.Second {
			t.Errorf("after healing: %q, %v after %v", rest, err, time.Since(begin))
		}
	})
}

func TestDialAcrossCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		if _, err := n.Host("b").Listen("tcp", ":9"); err != nil {
			t.Fatal(err)
		}
		n.Cut("b", "a") // the answer cannot come back
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, "tcp", "b:9"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialing across a cut: %v, want the deadline", err)
		}
		time.AfterFunc(time.Second, func() { n.Heal("b", "a") })
		begin := time.Now()
		if _, err := n.Host("a").Dial(t.Context(), "tcp", "b:9"); err != nil || time.Since(begin) != time.Second {
			t.Errorf("dialing until healed: %v after %v", err, time.Since(begin))
		}
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := pair(t, n)
		write(t, a, "lost")
		time.AfterFunc(time.Second, func() { n.Reset("b", "a") })
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading at a reset: %v", err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading after a reset: %v", err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("writing after a reset: %v", err)
		}
		if n.Conns() != 0 {
			t.Errorf("%d connections are left", n.Conns())
		}
	})
}

func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Host("b").Listen("tcp", ":9")
		if err != nil {
			t.Fatal(err)
		}
		other, _ := pair(t, n) // a to b
		n.Crash("b")
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after a crash: %v", err)
		}
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading from a crashed host: %v", err)
		}
		if _, err := n.Host("a").Dial(t.Context(), "tcp", "b:9"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialing a crashed host: %v", err)
		}
	})
}

// TestHold: a connection that was given up speaks after the one that replaced it.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		first, err := n.Host("a").Dial(context.Background(), "tcp", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		oldEnd, _ := l.Accept()
		if got := n.Hold("a", "b"); got != 1 {
			t.Errorf("%d connections are held, want 1", got)
		}
		write(t, first, "late")
		first.Close()
		second, err := n.Host("a").Dial(context.Background(), "tcp", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		newEnd, _ := l.Accept()
		write(t, second, "early")
		read(t, newEnd, "early")
		oldEnd.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := oldEnd.Read(make([]byte, 1)); err == nil {
			t.Error("a connection that is held spoke")
		}
		oldEnd.SetReadDeadline(time.Time{})
		if got := n.Release("a", "b"); got != 1 {
			t.Errorf("%d connections had something to say, want 1", got)
		}
		if rest, err := io.ReadAll(oldEnd); string(rest) != "late" || err != nil {
			t.Errorf("after the release: %q, %v", rest, err)
		}
		newEnd.Close()
		second.Close()
		oldEnd.Close()
		l.Close()
	})
}

// TestJitter: each chunk takes as long as what it is says, and order stays.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := pair(t, n)
		n.Jitter(func(c Chunk) time.Duration {
			if c.From != "a" || c.To != "b" {
				return 0
			}
			return time.Duration(3-c.Number) * time.Second
		})
		begin := time.Now()
		write(t, a, "x")
		write(t, a, "y")
		read(t, b, "xy")
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("arrived after %v, want 3s", d)
		}
	})
}
