package coordinator

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// notebook is a machine that keeps nothing.
type notebook struct{}

func (notebook) Replay(Record) error { return nil }
func (notebook) Loaded(*Turn)        {}
func (notebook) Alarm(string, *Turn) {}
func (notebook) Closed(error)        {}

// What the metrics are told of a runtime, and that who asks waits for nobody's
// turn.
func TestFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slicelog.New(1)
		log.Deaf(kafka.KafkaStorageError)
		slow := 3 * time.Second
		r, err := New(Config[notebook]{Topic: "t", Now: time.Now, New: func(int32, *Timeline) notebook { return notebook{} }, Partitions: func() int32 { return 2 },
			Open: func(context.Context, int32) (Log, int32, error) {
				time.Sleep(slow)
				return log, 1, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Elect(0, 1)
		synctest.Wait()
		want := func(when string, f Figures) {
			t.Helper()
			if got := r.Figures(); got != f {
				t.Errorf("%s: %+v, want %+v", when, got, f)
			}
		}
		want("at first", Figures{Loading: 1})
		time.Sleep(slow)
		synctest.Wait()
		want("it could not be read", Figures{Loading: 1, Failures: 1})
		time.Sleep(retryFirst + slow)
		synctest.Wait()
		loaded := Figures{Active: 1, Failures: 1, Loads: 1, LoadTime: slow, LongestLoad: slow}
		want("it could", loaded)
		put := func(keys string) error {
			return r.Write(ctx, 0, func(_ notebook, t *Turn) error {
				for k := range strings.FieldsSeq(keys) {
					t.Put([]byte(k), []byte("v"))
				}
				return nil
			})
		}
		if err := put("a b c"); err != nil {
			t.Fatal(err)
		}
		loaded.Batches, loaded.Records = 1, 3
		want("one batch", loaded)
		gate, in := make(chan struct{}), make(chan struct{})
		go func() {
			_ = r.Read(0, func(notebook) error {
				close(in)
				<-gate
				return nil
			})
		}()
		<-in
		written := make(chan error, 2)
		for range 2 {
			go func() { written <- put("d") }()
		}
		synctest.Wait()
		loaded.Waiting = 2
		want("somebody has the turn", loaded)
		close(gate)
		for range 2 {
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
		loaded.Waiting, loaded.Batches, loaded.Records = 0, 3, 5
		want("at last", loaded)
		cancel()
		<-done
		want("closed", Figures{Failures: 1, Loads: 1, LoadTime: slow, LongestLoad: slow, Batches: 3, Records: 5})
	})
}
