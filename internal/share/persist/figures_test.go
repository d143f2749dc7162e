package persist

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// A disk that stalls keeps nobody from seeing the figures.
func TestWalkWaitsForNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, gate := newRig(t, slicelog.New(0), nil), make(chan struct{})
		defer func() { r.stop() }()
		r.log.Watch(func(int64, []byte) { <-gate })
		done := make(chan error, 1)
		go func() { done <- r.s.Initialize(t.Context(), share.Key{Group: "g", TopicID: topicID(1)}, 0, 0) }()
		synctest.Wait()
		seen, begin := 0, time.Now()
		r.s.Walk(func(*Seen) { seen++ })
		n := r.s.Len()
		if took := time.Since(begin); seen != 0 || n != 0 || took > 200*time.Millisecond || r.s.Coordinator().LeftOut != 2 {
			t.Errorf("saw %d of %d in %v", seen, n, took)
		}
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.s.Walk(func(*Seen) { seen++ })
		if n := r.s.Len(); seen != 1 || n != 1 {
			t.Errorf("then saw %d of %d", seen, n)
		}
	})
}
