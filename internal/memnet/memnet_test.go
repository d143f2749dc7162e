package memnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair opens a connection from host a to host b.
func pair(t *testing.T, n *Network) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	dialed, err = n.Host("a").Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v, want %q", b, err, want)
	}
}

func TestRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := pair(t, n)
		write(t, a, "ping")
		read(t, b, "ping")
		write(t, b, "pong")
		read(t, a, "pong")
		if a.RemoteAddr().String() != b.LocalAddr().String() || a.LocalAddr().String() != b.RemoteAddr().String() {
			t.Errorf("ends disagree: %v-%v and %v-%v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
		}
		write(t, a, "last words")
		a.Close()
		if rest, err := io.ReadAll(b); string(rest) != "last words" || err != nil {
			t.Errorf("after the peer closed: %q, %v", rest, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to a closed peer: %v, want EPIPE", err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading a closed connection: %v, want net.ErrClosed", err)
		}
		b.Close()
		if n.Conns() != 0 {
			t.Errorf("%d connections are left", n.Conns())
		}
	})
}

func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, New())
		write(t, a, "question")
		a.(*conn).CloseWrite()
		if q, err := io.ReadAll(b); string(q) != "question" || err != nil {
			t.Errorf("read %q, %v", q, err)
		}
		write(t, b, "answer")
		read(t, a, "answer")
	})
}

func TestWriterWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := pair(t, n)
		big := bytes.Repeat([]byte("0123456789"), DefaultBuffer/2)
		done := make(chan error, 1)
		go func() {
			_, err := a.Write(big)
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("a write of %d bytes returned (%v) with nobody reading", len(big), err)
		default:
		}
		got := make([]byte, len(big))
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, big) {
			t.Errorf("what arrived differs, error %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, New())
		begin := time.Now()
		a.SetReadDeadline(begin.Add(3 * time.Second))
		_, err := a.Read(make([]byte, 1))
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("read at the deadline: %v", err)
		}
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("the deadline came after %v, want 3s", d)
		}
		a.SetReadDeadline(time.Time{})
		write(t, b, "x")
		read(t, a, "x")

		// A deadline set while a read waits wakes it.
		go func() {
			time.Sleep(time.Second)
			a.SetDeadline(time.Now())
		}()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read under a deadline set later: %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write after the deadline: %v", err)
		}
	})
}

func TestCloseWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, New())
		go func() {
			time.Sleep(time.Second)
			a.Close()
		}()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read while closing: %v, want net.ErrClosed", err)
		}
	})
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Listen("localhost:9092")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("0.0.0.0:9092"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening twice: %v, want EADDRINUSE", err)
		}
		if _, err := n.Dial(t.Context(), "localhost:9093"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialing where nobody listens: %v, want ECONNREFUSED", err)
		}
		for _, bad := range []string{"nowhere", "h:x", "h:70000"} {
			if _, err := n.Listen(bad); err == nil {
				t.Errorf("Listen(%q) passed", bad)
			}
		}
		waiting, err := n.Dial(t.Context(), "localhost:9092")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that nobody accepted: %v, want ECONNRESET", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		if _, err := n.Listen("localhost:9092"); err != nil {
			t.Errorf("the address is not free again: %v", err)
		}
	})
}

func TestFullBacklogHoldsDialers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, _ := n.Listen("localhost:1")
		for range backlog {
			if _, err := n.Dial(t.Context(), "localhost:1"); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			time.Sleep(time.Second)
			l.Accept()
		}()
		begin := time.Now()
		if _, err := n.Dial(t.Context(), "localhost:1"); err != nil || time.Since(begin) != time.Second {
			t.Errorf("dialing a full listener: %v after %v, want nil after 1s", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Dial(ctx, "localhost:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialing a full listener under a deadline: %v", err)
		}
	})
}

// TestTrace runs a small exchange under faults twice and compares what happened
// when.
func TestTrace(t *testing.T) {
	trace := func() (lines []string) {
		synctest.Test(t, func(t *testing.T) {
			n := New()
			n.Latency("a", "b", 7*time.Millisecond)
			n.Latency("b", "a", 2*time.Millisecond)
			begin := time.Now()
			a, b := pair(t, n)
			for i := range 20 {
				if i == 10 {
					n.CutBoth("a", "b")
					time.AfterFunc(time.Second, func() { n.HealBoth("a", "b") })
				}
				write(t, a, fmt.Sprintf("%02d", i))
				read(t, b, fmt.Sprintf("%02d", i))
				lines = append(lines, fmt.Sprint(i, time.Since(begin)))
			}
		})
		return lines
	}
	first, second := trace(), trace()
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("two runs differ:\n%v\n%v", first, second)
	}
	if want := "10 1.086s"; first[10] != want { // 9 dialing, 10 x 7, a second cut, 7
		t.Errorf("the write after the cut arrived at %q, want %q", first[10], want)
	}
}
