package errand

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// A broker that says nothing is waited for until the cluster says that it is out of
// service, at most for as long as there is patience.
func TestSilentBroker(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, map[string][]int32{"t1": {2}})
			r.e.cfg.Markers = func(ctx context.Context, _ int32, _ msg.Request, _ msg.Response, _ int16) error {
				<-ctx.Done()
				return ctx.Err()
			}
			if fenced {
				r.fenced = 2
				time.AfterFunc(time.Second, func() { r.lead(map[string][]int32{"t1": {2}}) })
			}
			begun := time.Now()
			errs := Markers{Errands: r.e}.Write(t.Context(), txn.Marker{Producer: txn.Producer{ID: 7}},
				[]kafka.TopicPartition{{Topic: "t1", Partition: 0}})
			took := time.Since(begun)
			if kafka.CodeOf(errs[0]) != kafka.NetworkException {
				t.Errorf("fenced %v: %v", fenced, errs[0])
			}
			if fenced && took > time.Second+2*lookEvery || !fenced && took != patience {
				t.Errorf("fenced %v: waited %v", fenced, took)
			}
		})
	}
}
