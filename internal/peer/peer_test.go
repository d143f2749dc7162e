package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Many callers share a connection: each gets its own answer, over one line.
func TestPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, func(c *Config) { c.Rand = rand.New(rand.NewPCG(1, 2)) })
		node := serve(t, s.net, "node2:9093")
		s.net.Latency("node1", "node2", 20*time.Millisecond)
		s.net.Latency("node2", "node1", 20*time.Millisecond)
		began := time.Now()
		var callers sync.WaitGroup
		for i := range int32(100) {
			callers.Go(func() {
				if err := s.ask(t.Context(), i); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		// One round trip to connect, one to greet, one for all requests.
		if took := time.Since(began); took > 130*time.Millisecond {
			t.Errorf("100 requests took %v on a way of 40 ms", took)
		}
		if n := s.net.Conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
		s.end()
		if err := s.ask(t.Context(), 1); !errors.Is(err, ErrUnsent) || !errors.Is(err, ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
		node.stop()
	})
}

// What was never sent and what may have been done are told apart.
func TestErrors(t *testing.T) {
	const none, down, unsent = "", "down", "unsent"
	for _, c := range []struct {
		name   string
		behave func(c net.Conn, n int) (taken, on bool)
		want   []string // of three requests, one after the other
	}{
		{"answers", nil, []string{none, none, none}},
		{"closes", func(c net.Conn, n int) (bool, bool) { return false, n != 1 }, []string{none, down, none}},
		{"half an answer", func(c net.Conn, n int) (bool, bool) {
			if n != 1 {
				return false, true
			}
			_, _ = c.Write([]byte{0, 0, 0, 20, 0, 0})
			return true, false
		}, []string{none, down, none}},
		{"an answer to another", func(c net.Conn, n int) (bool, bool) {
			if n != 1 {
				return false, true
			}
			_, _ = c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 99})
			return true, true
		}, []string{none, down, none}},
		{"a size that cannot be", func(c net.Conn, n int) (bool, bool) {
			if n != 1 {
				return false, true
			}
			_, _ = c.Write([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 2})
			return true, true
		}, []string{none, down, none}},
		{"says nothing", func(c net.Conn, n int) (bool, bool) { return n == 1, true }, []string{none, down, none}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, nil)
				node := serve(t, s.net, "node2:9093")
				n := -1
				if c.behave != nil {
					node.behave = func(conn net.Conn, _, _ int16, _ []byte) (bool, bool) { n++; return c.behave(conn, n) }
				}
				for i, want := range c.want {
					got := none
					switch err := s.ask(t.Context(), int32(i)); {
					case errors.Is(err, ErrUnsent):
						got = unsent
					case errors.Is(err, ErrDown):
						got = down
					case err != nil:
						t.Fatal(err)
					}
					if got != want {
						t.Errorf("request %d: %q, want %q", i, got, want)
					}
				}
				s.end()
				node.stop()
			})
		})
	}
}

// Nobody listens, nobody is known, another node answers: nothing was sent, and the
// pauses between the attempts grow.
func TestUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		if err := askOn(t.Context(), s.To(9, Control), 1); !errors.Is(err, ErrUnsent) || !errors.Is(err, errNoAddress) {
			t.Errorf("without an address: %v", err)
		}
		began := time.Now()
		for range 10 {
			if err := s.ask(t.Context(), 1); !errors.Is(err, ErrUnsent) || kafka.CodeOf(err) != kafka.NetworkException {
				t.Errorf("refused: %v", err)
			}
		}
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("10 attempts took %v", took)
		}
		if down, refused := s.told(); down != 0 || refused != 10 {
			t.Errorf("told of %d that broke and %d that were refused", down, refused)
		}
		node := serve(t, s.net, "node2:9093")
		node.node = 3
		if err := s.ask(t.Context(), 1); !errors.Is(err, ErrUnsent) || !errors.Is(err, errStranger) {
			t.Errorf("a stranger: %v", err)
		}
		if err := askOn(t.Context(), s.To(-2, Control), 1); err != nil {
			t.Errorf("an address of which nothing is known: %v", err)
		}
		node.node = 2
		if err := s.ask(t.Context(), 1); err != nil {
			t.Error(err)
		}
		s.end()
		node.stop()
	})
}

// A reset ends what is under way, is told of, and the next request finds a new line.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		node := serve(t, s.net, "node2:9093")
		if err := s.ask(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		node.behave = func(net.Conn, int16, int16, []byte) (bool, bool) { return true, true }
		done := make(chan error, 2)
		for i := range int32(2) {
			go func() { done <- s.ask(t.Context(), i) }()
		}
		synctest.Wait()
		s.net.Reset("node1", "node2")
		for range 2 {
			if err := <-done; !errors.Is(err, ErrDown) {
				t.Error(err)
			}
		}
		synctest.Wait()
		if down, _ := s.told(); down != 1 {
			t.Errorf("told of %d", down)
		}
		node.behave = nil
		if err := s.ask(t.Context(), 3); err != nil {
			t.Error(err)
		}
		s.end()
		node.stop()
	})
}

// A cable that is pulled says nothing. A caller leaves when its time is over; the
// line is given up when it was silent for as long as its purpose allows, and what
// was still to be written then was not sent.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		node := serve(t, s.net, "node2:9093")
		if err := askOn(t.Context(), s.To(2, Raft), 1); err != nil {
			t.Fatal(err)
		}
		s.net.CutBoth("node1", "node2")
		began := time.Now()
		err := askOn(within1s(t), s.To(2, Raft), 2)
		if !errors.Is(err, ErrDown) || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := askOn(t.Context(), s.To(2, Raft), 3); !errors.Is(err, ErrDown) || time.Since(began) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := askOn(within1s(t), s.To(2, Raft), 4); !errors.Is(err, ErrUnsent) {
			t.Error(err)
		}
		s.net.HealBoth("node1", "node2")
		if err := askOn(t.Context(), s.To(2, Raft), 5); err != nil {
			t.Error(err)
		}
		s.end()
		node.stop()
	})
}

// An answer that comes after its caller left does not reach another one.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		node := serve(t, s.net, "node2:9093")
		n := 0
		node.behave = func(c net.Conn, _, _ int16, frame []byte) (bool, bool) {
			if n++; n == 1 {
				time.Sleep(3 * time.Second)
			}
			return false, true
		}
		if err := s.ask(within1s(t), 1); !errors.Is(err, ErrDown) {
			t.Error(err)
		}
		if err := s.ask(t.Context(), 2); err != nil {
			t.Error(err)
		}
		if n := s.net.Conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
		s.end()
		node.stop()
	})
}

// The end of the pool ends who waits, be it for an answer, a connection or a pause.
func TestEndWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		node := serve(t, s.net, "node2:9093")
		node.behave = func(net.Conn, int16, int16, []byte) (bool, bool) { return true, true }
		done := make(chan error, 3)
		go func() { done <- s.ask(t.Context(), 1) }()
		synctest.Wait()
		s.net.CutBoth("node1", "node2")
		go func() { done <- askOn(t.Context(), s.To(2, Fetch), 1) }()
		_ = askOn(t.Context(), s.To(9, Control), 1)
		go func() { done <- askOn(t.Context(), s.To(9, Control), 1) }()
		synctest.Wait()
		s.end()
		s.net.HealBoth("node1", "node2")
		for range 3 {
			if err := <-done; !errors.Is(err, ErrDown) && !errors.Is(err, ErrUnsent) {
				t.Error(err)
			}
		}
		node.stop()
	})
}

// A node of another build is spoken to in the versions that it has.
func TestVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		node := serve(t, s.net, "node2:9093")
		node.tells = []msg.APIVersionsResponseAPIKey{
			{APIKey: kafka.KeyFetch, MinVersion: 4, MaxVersion: 16}, {APIKey: kafka.KeyMetadata, MinVersion: 13, MaxVersion: 20},
		}
		node.behave = func(c net.Conn, key, version int16, frame []byte) (bool, bool) {
			resp, _ := msg.NewResponse(key)
			b := append(make([]byte, 4), frame[4:8]...)
			b = resp.Append(append(b, 0), version)
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			_, _ = c.Write(b)
			return true, true
		}
		fetch, fetched := msg.NewFetchRequest(), msg.NewFetchResponse()
		for _, v := range []int16{18, 15} {
			if err := s.To(2, Fetch).Do(t.Context(), &fetch, &fetched, v); err != nil {
				t.Fatal(err)
			}
		}
		meta, answer := msg.NewMetadataRequest(), msg.NewMetadataResponse()
		err := s.To(2, Fetch).Do(t.Context(), &meta, &answer, 12)
		if !errors.Is(err, ErrUnsent) || !errors.Is(err, kafka.UnsupportedVersion) {
			t.Error(err)
		}
		if !slices.Equal(node.seen, []int16{16, 15}) {
			t.Errorf("asked in versions %v", node.seen)
		}
		s.end()
		node.stop()
	})
}

// A large answer lands in the caller's buffer, which grows once and is used again;
// a caller that leaves in the middle of it loses the buffer, not more.
func TestInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		node := serve(t, s.net, "node2:9093")
		records := bytes.Repeat([]byte("record"), 1<<20)
		half := false
		node.behave = func(c net.Conn, key, version int16, frame []byte) (bool, bool) {
			resp := msg.NewFetchResponse()
			resp.Responses = []msg.FetchResponseResponse{{Partitions: []msg.FetchResponseResponsePartition{{Records: records}}}}
			b := append(make([]byte, 4), frame[4:8]...)
			b = resp.Append(append(b, 0), version)
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			if half {
				_, _ = c.Write(b[:len(b)/2])
				time.Sleep(5 * time.Second)
				b = b[len(b)/2:]
			}
			_, _ = c.Write(b)
			return true, true
		}
		var buf []byte
		var first *byte
		req, resp := msg.NewFetchRequest(), msg.NewFetchResponse()
		for i := range 4 {
			half = i == 3
			err := s.To(2, Fetch).DoInto(within1s(t), &req, &resp, 17, &buf)
			if half {
				if !errors.Is(err, ErrDown) || buf != nil {
					t.Errorf("%v, and a buffer of %d bytes", err, len(buf))
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Responses[0].Partitions[0].Records; !bytes.Equal(got, records) {
				t.Errorf("%d bytes", len(got))
			}
			if i == 1 {
				first = &buf[0]
			} else if i > 1 && &buf[0] != first {
				t.Error("the buffer was not used again")
			}
		}
		half = false
		if err := s.To(2, Fetch).DoInto(t.Context(), &req, &resp, 17, &buf); err != nil {
			t.Error(err)
		}
		s.end()
		node.stop()
	})
}
