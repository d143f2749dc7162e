package coordinator

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// flushedLog commits only what its Flush is called for.
type flushedLog struct {
	*slicelog.Log
	plain, held, flushed atomic.Int32
	onFlush              func()
}

func (l *flushedLog) Append(epoch int32, batch []byte) (int64, error) {
	l.plain.Add(1)
	return l.Log.Append(epoch, batch)
}

func (l *flushedLog) AppendHeld(epoch int32, batch []byte) (int64, error) {
	l.held.Add(1)
	return l.Log.Append(epoch, batch)
}

func (l *flushedLog) Flush() {
	l.flushed.Add(1)
	l.onFlush()
	l.Commit()
	l.Hold()
}

// TestFlushByWhoWaits: who waits for a commit flushes it after giving the turn
// back, also where the log refused the batch; who has nothing to wait for does
// not, and what nobody waits for, or not for long, is left to the log.
func TestFlushByWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &flushedLog{Log: slicelog.New(1)}
		rt, err := New(Config[*keeper]{
			Topic: "topic", Partitions: func() int32 { return 1 }, Now: time.Now,
			Open: func(context.Context, int32) (Log, int32, error) { return log, 1, nil },
			New: func(_ int32, tl *Timeline) *keeper {
				return &keeper{&bench{said: make(chan string, 100)}, NewTable[string, string](tl, strings.Compare)}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		log.Hold()
		log.onFlush = func() { // a turn that was kept would deadlock here
			if err := rt.Read(0, func(*keeper) error { return nil }); err != nil {
				t.Errorf("read beside a flush: %v", err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- rt.Run(ctx) }()
		rt.Elect(0, 1)
		synctest.Wait()

		expect := func(what string, err, want error, plain, held, flushed int32) {
			t.Helper()
			if !errors.Is(err, want) || log.plain.Load() != plain || log.held.Load() != held || log.flushed.Load() != flushed {
				t.Errorf("%s: %v; %d plain appends, %d held, %d flushes", what, err, log.plain.Load(), log.held.Load(), log.flushed.Load())
			}
		}
		put := func(_ *keeper, turn *Turn) error { turn.Put([]byte("k"), []byte("v")); return nil }
		expect("put", rt.Write(ctx, 0, put), nil, 0, 1, 1)
		expect("look", rt.Write(ctx, 0, func(*keeper, *Turn) error { return nil }), nil, 0, 1, 1)
		expect("no", rt.Write(ctx, 0, func(*keeper, *Turn) error { return kafka.InvalidRequest }), kafka.InvalidRequest, 0, 1, 1)
		log.Refuse(kafka.NotEnoughReplicas)
		expect("refused", rt.Write(ctx, 0, put), kafka.NotEnoughReplicas, 0, 2, 2)
		expect("alarm", rt.Write(ctx, 0, func(_ *keeper, turn *Turn) error {
			turn.Wake("delete k", turn.Now.Add(time.Second))
			return nil
		}), nil, 0, 2, 2)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expect("rung", nil, nil, 1, 2, 2)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		expect("hurried", rt.Write(short, 0, put), context.DeadlineExceeded, 2, 2, 2)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
