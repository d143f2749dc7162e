package group

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// A disk that stalls in a commit keeps nobody from seeing the figures.
func TestWalkWaitsForNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log, gate := slicelog.New(1), make(chan struct{})
		s, wait := open(ctx, t, log, nil)
		defer wait()
		defer cancel()
		s.Elect(0, 1)
		synctest.Wait()
		commit := func(group string) kafka.Code {
			req := msg.NewOffsetCommitRequest()
			req.GroupID = group
			req.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{CommittedOffset: 7, CommittedMetadata: new("")}}}}
			return kafka.Code(s.OffsetCommit(ctx, Client{Version: 9}, &req).Topics[0].Partitions[0].ErrorCode)
		}
		want := func(when string, groups int, most time.Duration) {
			t.Helper()
			n, begin := 0, time.Now()
			s.Walk(func(*Seen) { n++ })
			if took := time.Since(begin); n != groups || took > most {
				t.Errorf("%s: %d groups in %v, want %d in %v", when, n, took, groups, most)
			}
		}
		if code := commit("a"); code != kafka.None {
			t.Fatal(code.Name())
		}
		want("at rest", 1, 0)
		log.Watch(func(int64, []byte) { <-gate })
		done := make(chan kafka.Code, 1)
		go func() { done <- commit("b") }()
		synctest.Wait()
		want("stalled", 0, 100*time.Millisecond)
		if f := s.Coordinator(); f.LeftOut != 1 {
			t.Errorf("%d partitions left out", f.LeftOut)
		}
		close(gate)
		if code := <-done; code != kafka.None {
			t.Error(code.Name())
		}
		want("at rest again", 2, 0)
	})
}
