package errand

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

func tps(names ...string) (out []kafka.TopicPartition) {
	for _, name := range names {
		tp := kafka.TopicPartition{}
		topic, p, _ := strings.Cut(name, "-")
		tp.Topic = topic
		fmt.Sscan(p, &tp.Partition)
		out = append(out, tp)
	}
	return out
}

func codes(errs []error) (out []kafka.Code) {
	for _, err := range errs {
		out = append(out, kafka.CodeOf(err))
	}
	return out
}

// answerMarkers answers as a broker that leads all, but for the partitions that
// fail.
func answerMarkers(req *msg.WriteTxnMarkersRequest, resp *msg.WriteTxnMarkersResponse, fails map[kafka.TopicPartition]kafka.Code) {
	for _, m := range req.Markers {
		row := msg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
		for _, t := range m.Topics {
			rt := msg.WriteTxnMarkersResponseMarkerTopic{Name: t.Name}
			for _, p := range t.PartitionIndexes {
				rt.Partitions = append(rt.Partitions, msg.WriteTxnMarkersResponseMarkerTopicPartition{PartitionIndex: p,
					ErrorCode: int16(fails[kafka.TopicPartition{Topic: t.Name, Partition: p}])})
			}
			row.Topics = append(row.Topics, rt)
		}
		resp.Markers = append(resp.Markers, row)
	}
}

// Markers go to who leads each partition; each place of the list hears of its own;
// what does not exist any more needs none; what nobody leads fails.
func TestMarkersGoToLeaders(t *testing.T) {
	r := newRig(t, map[string][]int32{"a": {1, 2, 3, 2}, "b": {3, kafka.NoBroker}, "c": {2}})
	r.answer = func(node int32, req msg.Request, resp msg.Response) error {
		answerMarkers(req.(*msg.WriteTxnMarkersRequest), resp.(*msg.WriteTxnMarkersResponse),
			map[kafka.TopicPartition]kafka.Code{{Topic: "a", Partition: 3}: kafka.NotLeaderOrFollower, {Topic: "c"}: kafka.UnknownTopicOrPartition})
		if node == 2 {
			r.lead(map[string][]int32{"a": {1, 2, 3, 2}, "b": {3, kafka.NoBroker}}) // c is deleted meanwhile
		}
		return nil
	}
	var here []kafka.TopicPartition
	w := Markers{Errands: r.e, Most: 8, Here: func(_ context.Context, m txn.Marker, partitions []kafka.TopicPartition, lone bool) func() []error {
		here = partitions
		return func() []error { return make([]error, len(partitions)) }
	}}
	m := txn.Marker{Producer: txn.Producer{ID: 7, Epoch: 2}, CoordinatorEpoch: 5, Commit: true, Version: 2}
	got := codes(w.Write(t.Context(), m, tps("a-0", "a-1", "a-2", "a-3", "b-0", "b-1", "c-0")))
	want := []kafka.Code{0, 0, 0, kafka.NotLeaderOrFollower, 0, kafka.LeaderNotAvailable, 0}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("errors %v, want %v", got, want)
	}
	if fmt.Sprint(here) != "[a-0]" {
		t.Errorf("here: %v", here)
	}
	asked := r.requests()
	if len(asked) != 2 {
		t.Fatalf("%d requests", len(asked))
	}
	for _, a := range asked {
		want := map[int32]string{2: "[{a [1 3]} {c [0]}]", 3: "[{a [2]} {b [0]}]"}[a.node]
		row := a.req.(*msg.WriteTxnMarkersRequest).Markers[0]
		if fmt.Sprint(row.Topics) != want {
			t.Errorf("to %d: %v, want %s", a.node, row.Topics, want)
		}
		if row.ProducerID != 7 || row.ProducerEpoch != 2 || row.CoordinatorEpoch != 5 || !row.TransactionResult || row.TransactionVersion != 2 {
			t.Errorf("to %d: %+v", a.node, row)
		}
	}
}

// What this broker leads alone costs nothing more: no goroutine, no request, no
// allocation.
func TestMarkersHere(t *testing.T) {
	r := newRig(t, map[string][]int32{"a": {1, 1}})
	errs := []error{nil, nil}
	wait := func() []error { return errs }
	w := Markers{Errands: r.e, Most: 8, Here: func(context.Context, txn.Marker, []kafka.TopicPartition, bool) func() []error { return wait }}
	all := tps("a-0", "a-1")
	if n := testing.AllocsPerRun(100, func() { w.Write(t.Context(), txn.Marker{}, all) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// No answer, or one that makes no sense, is a failure of every partition.
func TestMarkersWithoutAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(req msg.Request, resp *msg.WriteTxnMarkersResponse) error
		want   kafka.Code
	}{
		"down":    {func(msg.Request, *msg.WriteTxnMarkersResponse) error { return errDown }, kafka.NetworkException},
		"nothing": {func(msg.Request, *msg.WriteTxnMarkersResponse) error { return nil }, kafka.UnknownServerError},
		"another producer": {func(_ msg.Request, resp *msg.WriteTxnMarkersResponse) error {
			resp.Markers = []msg.WriteTxnMarkersResponseMarker{{ProducerID: 8}}
			return nil
		}, kafka.UnknownServerError},
		"not the partition": {func(_ msg.Request, resp *msg.WriteTxnMarkersResponse) error {
			resp.Markers = []msg.WriteTxnMarkersResponseMarker{{ProducerID: 7}}
			return nil
		}, kafka.UnknownServerError},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, map[string][]int32{"a": {2, 2}})
			r.answer = func(_ int32, req msg.Request, resp msg.Response) error {
				return c.answer(req, resp.(*msg.WriteTxnMarkersResponse))
			}
			got := codes(Markers{Errands: r.e}.Write(t.Context(), txn.Marker{Producer: txn.Producer{ID: 7}}, tps("a-0", "a-1")))
			if fmt.Sprint(got) != fmt.Sprint([]kafka.Code{c.want, c.want}) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// A broker that does not answer is given up after a while; markers of many
// transactions go to one that does in a few requests.
func TestMarkersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, map[string][]int32{"a": {2, 3}})
		r.answer = func(node int32, req msg.Request, resp msg.Response) error {
			if node == 3 {
				return errDown
			}
			time.Sleep(50 * time.Millisecond)
			answerMarkers(req.(*msg.WriteTxnMarkersRequest), resp.(*msg.WriteTxnMarkersResponse), nil)
			return nil
		}
		w := Markers{Errands: r.e}
		var tasks sync.WaitGroup
		for i := range 100 {
			tasks.Go(func() {
				errs := w.Write(t.Context(), txn.Marker{Producer: txn.Producer{ID: int64(i)}}, tps("a-0", "a-1"))
				if errs[0] != nil || kafka.CodeOf(errs[1]) != kafka.NetworkException {
					t.Errorf("%d: %v", i, errs)
				}
			})
		}
		begun := time.Now()
		tasks.Wait()
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		markers, requests := 0, 0
		for _, a := range r.requests() {
			if a.node == 2 {
				requests++
				markers += len(a.req.(*msg.WriteTxnMarkersRequest).Markers)
			}
		}
		if markers != 100 || requests > 2 {
			t.Errorf("%d markers in %d requests", markers, requests)
		}

		silent := newRig(t, map[string][]int32{"a": {2}})
		silent.e.cfg.Markers = func(ctx context.Context, _ int32, _ msg.Request, _ msg.Response, _ int16) error {
			<-ctx.Done()
			return ctx.Err()
		}
		begun = time.Now()
		errs := Markers{Errands: silent.e}.Write(t.Context(), txn.Marker{}, tps("a-0"))
		if took := time.Since(begun); took != patience || kafka.CodeOf(errs[0]) != kafka.NetworkException {
			t.Errorf("after %v: %v", took, errs)
		}
	})
}
