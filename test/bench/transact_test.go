package main

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/myelintest"
)

// onBroker runs do beside a broker in this process that has a topic t.
func onBroker(t *testing.T, partitions int32, do func(ctx context.Context, to target)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	to := target{name: "myelin", addr: myelintest.Start(t).Addr()}
	if err := createTopic(ctx, to.addr, topicSpec{"t", partitions, topicConfigs(nil)}); err != nil {
		t.Fatal(err)
	}
	do(ctx, to)
}

// TestTransactions runs T1's transactions twice, as two measurements do, and
// finds in the log what they must have left: their records and their markers.
func TestTransactions(t *testing.T) {
	onBroker(t, int32(len(txnShape)), func(ctx context.Context, to target) {
		const uncounted = 20
		all := 0
		for range 2 {
			got, err := transactions{d: 20 * time.Millisecond, rest: time.Millisecond}.run(ctx, to, "x", "t")
			if err != nil {
				t.Fatal(err)
			}
			if len(got.seen) == 0 || len(got.end) != len(got.seen) {
				t.Fatalf("%d seen, %d ended", len(got.seen), len(got.end))
			}
			for i, d := range got.seen { // the consumer may see it before the producer reads its answer
				if d <= 0 || got.end[i] <= 0 {
					t.Errorf("seen after %v, EndTxn took %v", d, got.end[i])
				}
			}
			all += uncounted + len(got.seen)
		}
		r, err := newReader(ctx, to, "t")
		if err != nil {
			t.Fatal(err)
		}
		defer r.c.Close()
		for i, n := range txnShape {
			if want := int64(all * (n + 1)); r.next[i] != want {
				t.Errorf("partition %d ends at %d, want %d after %d transactions", i, r.next[i], want, all)
			}
		}
	})
}

// TestReaderCounts: a batch counts once, a marker never.
func TestReaderCounts(t *testing.T) {
	at := func(base int64, b []byte) []byte {
		binary.BigEndian.PutUint64(b, uint64(base))
		return b
	}
	marker := at(4, sealBatch(appendRecord(nil, 0, nil), 1, transactional|control))
	r := &committedReader{next: make([]int64, 1)}
	b := append(at(0, txnBatch(4)), marker...)
	if n := r.batches(0, b); n != 4 || r.next[0] != 5 {
		t.Errorf("%d records, next %d", n, r.next[0])
	}
	b = append(b, at(5, txnBatch(3))...)
	if n := r.batches(0, b[:len(b)-1]); n != 0 || r.next[0] != 5 {
		t.Errorf("of a batch that is cut off: %d records, next %d", n, r.next[0])
	}
	if n := r.batches(0, b); n != 3 || r.next[0] != 8 {
		t.Errorf("%d records, next %d", n, r.next[0])
	}
}

// TestGroupAtRest forms T3's group: its members own everything, evenly, and their
// heartbeats bring nothing new.
func TestGroupAtRest(t *testing.T) {
	onBroker(t, 24, func(ctx context.Context, to target) {
		members, err := joinGroup(ctx, to, "g", "t", 4)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range members {
			defer m.c.Close()
			if m.owned != 6 {
				t.Errorf("member %d owns %d partitions", i, m.owned)
			}
			l := &lane{c: m.c, window: 1, frame: m.steady(), check: heartbeatAnswer}
			if err := l.drive(10); err != nil {
				t.Error(err)
			}
			if changed, err := m.beat(); changed || err != nil {
				t.Errorf("member %d: changed %v, %v", i, changed, err)
			}
		}
		m := members[0]
		m.req.MemberEpoch += 7
		l := &lane{c: m.c, window: 1, frame: m.steady(), check: heartbeatAnswer}
		if err := l.drive(1); err == nil || !strings.Contains(err.Error(), "EPOCH") {
			t.Errorf("an epoch that is not known: %v", err)
		}
		if err := leaveGroup(members[1:]); err != nil {
			t.Error(err)
		}
	})
}

// TestHosting fills a broker as T4 does, and counts.
func TestHosting(t *testing.T) {
	onBroker(t, 1, func(ctx context.Context, to target) {
		h := &host{n: 70, m: &myelin{target: to}}
		if err := h.fill(ctx); err != nil {
			t.Fatal(err)
		}
		if err := h.listed(ctx); err != nil {
			t.Error(err)
		}
		h.n++
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if err := h.listed(short); err == nil {
			t.Error("one too few is enough")
		}
	})
}

// TestSyncState: what T1-flush sets on the peer is set, and is taken back.
func TestSyncState(t *testing.T) {
	onBroker(t, 1, func(ctx context.Context, to target) {
		for _, on := range []bool{true, false} {
			if err := syncState(ctx, to, on); err != nil {
				t.Fatal(err)
			}
			c, err := dial(ctx, to.addr)
			if err != nil {
				t.Fatal(err)
			}
			req := kmsg.NewPtrDescribeConfigsRequest()
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, "__transaction_state", []string{"flush.messages"}
			req.Resources = append(req.Resources, r)
			resp, err := c.call(req, 4)
			c.Close()
			if err != nil {
				t.Fatal(err)
			}
			value := resp.(*kmsg.DescribeConfigsResponse).Resources[0].Configs[0].Value
			if is := value != nil && *value == "1"; is != on {
				t.Errorf("flush.messages on %v, want on %v", is, on)
			}
		}
	})
}
