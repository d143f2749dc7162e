package errand

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Of many who send, each parcel is carried once, or its sender left; one load at a
// time goes to each destination, in the order in which its parcels came; and no line
// is left over.
func TestLines(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			busy := map[int]bool{}
			carried := map[int]int{}
			loads := 0
			l := newLines(3, func(_ context.Context, to int, load []*parcel[int]) {
				mu.Lock()
				if busy[to] {
					t.Errorf("two loads at once to %d", to)
				}
				if len(load) == 0 || len(load) > 3 {
					t.Errorf("a load of %d", len(load))
				}
				busy[to] = true
				loads++
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				busy[to] = false
				for _, p := range load {
					carried[p.is]++
					if p.is%7 == 0 {
						p.err = kafka.NotLeaderOrFollower
					}
				}
			})
			var tasks sync.WaitGroup
			left := 0
			for i := range 200 {
				to, wait := rng.IntN(2), time.Duration(rng.IntN(300))*time.Millisecond
				patience := time.Hour
				if rng.IntN(4) == 0 {
					patience = time.Duration(1+rng.IntN(50))*time.Millisecond + time.Microsecond
				}
				tasks.Go(func() {
					time.Sleep(wait)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					err := l.send(ctx, to, i)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == context.DeadlineExceeded:
						left++
					case carried[i] != 1:
						t.Errorf("%d was carried %d times: %v", i, carried[i], err)
					case (err != nil) != (i%7 == 0):
						t.Errorf("%d: %v", i, err)
					}
				})
			}
			tasks.Wait()
			if len(l.mu.waiting) != 0 {
				t.Errorf("%d lines are left", len(l.mu.waiting))
			}
			for i, n := range carried {
				if n > 1 {
					t.Errorf("%d was carried %d times", i, n)
				}
			}
			if left == 0 || loads >= len(carried) {
				t.Errorf("%d left, %d loads for %d parcels: this shows nothing", left, loads, len(carried))
			}
		})
	}
}

// Whoever is to carry next and leaves passes that on.
func TestLineIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		var order []string
		l := newLines(1, func(_ context.Context, _ int, load []*parcel[string]) {
			<-hold
			order = append(order, load[0].is)
		})
		leaving, leave := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		go_ := func(ctx context.Context, name string) {
			tasks.Go(func() { _ = l.send(ctx, 1, name) })
			synctest.Wait()
		}
		go_(t.Context(), "first")
		go_(leaving, "second")
		go_(t.Context(), "third")
		l.mu.Lock() // the second is told to carry, and leaves before it looks
		q := l.mu.waiting[1]
		second := q.parcels[0]
		l.mu.Unlock()
		leave()
		synctest.Wait()
		if slices.Contains(q.parcels, second) {
			t.Error("it is still in the line")
		}
		close(hold)
		tasks.Wait()
		if !slices.Equal(order, []string{"first", "third"}) || len(l.mu.waiting) != 0 {
			t.Errorf("carried %v, %d lines are left", order, len(l.mu.waiting))
		}

		// The same, where it was told already.
		p := &parcel[string]{mine: true, wake: make(chan bool, 1)}
		next := &parcel[string]{wake: make(chan bool, 1)}
		q = &queue[string]{parcels: []*parcel[string]{p, next}}
		l.mu.waiting[1] = q
		l.leave(1, q, p)
		if !next.mine || !<-next.wake {
			t.Error("nobody carries")
		}
		l.leave(1, q, next)
		if len(l.mu.waiting) != 0 {
			t.Error("a line without errands is left")
		}
	})
}
