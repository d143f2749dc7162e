package txn

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// What the metrics are told: transactions as they begin and are decided, each
// once, and not again when the log is loaded.
func TestFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		begin := func(id string) Producer {
			req := msg.NewInitProducerIDRequest()
			req.TransactionalID, req.TransactionTimeoutMs = &id, 30_000
			p := b.s.InitProducerID(t.Context(), &req)
			who := Producer{p.ProducerID, p.ProducerEpoch}
			code := b.s.AddPartitions(t.Context(), Joining{ID: id, Producer: who, Partitions: []kafka.TopicPartition{{Topic: "t"}}, Version: version2})
			if p.ErrorCode != 0 || code != kafka.None {
				t.Fatal(id, p.ErrorCode, code)
			}
			return who
		}
		end := func(id string, who Producer, commit bool) {
			req := msg.NewEndTxnRequest()
			req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Committed = id, who.ID, who.Epoch, commit
			if code := b.s.EndTxn(t.Context(), &req, 5).ErrorCode; code != 0 {
				t.Fatal(id, code)
			}
		}
		want := func(when, text string) {
			t.Helper()
			synctest.Wait()
			now, s := b.s.Standing(), b.s.Stats()
			age := time.Duration(0)
			if !now.Oldest.IsZero() {
				age = time.Since(now.Oldest)
			}
			got := fmt.Sprintf("ids %d open %d ending %d oldest %v; started %d committed %d aborted %d timed out %d expired %d", now.IDs, now.Open, now.Ending, age,
				s.Started.Load(), s.Committed.Load(), s.Aborted.Load(), s.TimedOut.Load(), s.Expired.Load())
			if got != text {
				t.Errorf("%s: %s, want %s", when, got, text)
			}
		}
		end("committed", begin("committed"), true)
		end("aborted", begin("aborted"), false)
		begin("forgotten")
		time.Sleep(5 * time.Second)
		ending := begin("ending")
		b.desk.close()
		time.Sleep(time.Second)
		end("ending", ending, true)
		want("one open, one ending", "ids 4 open 1 ending 1 oldest 6s; started 4 committed 2 aborted 1 timed out 0 expired 0")
		b.reload()
		want("loaded again", "ids 4 open 1 ending 1 oldest 6s; started 4 committed 2 aborted 1 timed out 0 expired 0")
		b.desk.open()
		time.Sleep(time.Minute)
		want("after a time-out", "ids 4 open 0 ending 0 oldest 0s; started 4 committed 2 aborted 2 timed out 1 expired 0")
		time.Sleep(b.s.cfg.Expiration + 2*b.s.cfg.ExpireEvery)
		want("all expired", "ids 0 open 0 ending 0 oldest 0s; started 4 committed 2 aborted 2 timed out 1 expired 4")
		if f := b.s.Coordinator(); f.Active != 1 || f.Loading != 0 || f.Loads != 2 || f.Failures != 0 || f.Waiting != 0 || f.Records == 0 {
			t.Errorf("coordinator: %+v", f)
		}
	})
}

// A disk that stalls keeps nobody from seeing the figures.
func TestStandingWaitsForNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, gate := newBench(t, nil), make(chan struct{})
		defer b.stop()
		b.log.Watch(func(int64, []byte) { <-gate })
		done := make(chan int16, 1)
		go func() {
			req, id := msg.NewInitProducerIDRequest(), "a"
			req.TransactionalID, req.TransactionTimeoutMs = &id, 30_000
			done <- b.s.InitProducerID(t.Context(), &req).ErrorCode
		}()
		synctest.Wait()
		begin := time.Now()
		if now, took := b.s.Standing(), time.Since(begin); now.IDs != 0 || took > 100*time.Millisecond || b.s.Coordinator().LeftOut != 1 {
			t.Errorf("%+v in %v", now, took)
		}
		close(gate)
		if code := <-done; code != 0 || b.s.Standing().IDs != 1 {
			t.Errorf("error %d, then %+v", code, b.s.Standing())
		}
	})
}
