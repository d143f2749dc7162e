package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share"
)

// memState is a persister in memory that fails when it is told to.
type memState struct {
	mu struct {
		sync.Mutex
		slow   time.Duration
		fails  error // instead of storing
		lost   error // after storing
		states map[share.Key]*share.State
		counts map[share.Key]int32
	}
}

func newMemState() *memState {
	m := &memState{}
	m.mu.states, m.mu.counts = map[share.Key]*share.State{}, map[share.Key]int32{}
	return m
}

// behave says how it goes on.
func (m *memState) behave(slow time.Duration, fails, lost error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.slow, m.mu.fails, m.mu.lost = slow, fails, lost
}

// wait is how slow it is, and how it fails.
func (m *memState) wait() error {
	m.mu.Lock()
	slow := m.mu.slow
	m.mu.Unlock()
	if slow > 0 {
		<-time.NewTimer(slow).C
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.fails
}

func (m *memState) Read(_ context.Context, key share.Key, _ int32) (share.State, error) {
	if err := m.wait(); err != nil {
		return share.State{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.mu.states[key]; s != nil {
		return *s, nil
	}
	return share.State{StartOffset: share.NoStart}, nil
}

func (m *memState) Write(_ context.Context, key share.Key, u share.Update) error {
	if err := m.wait(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mu.states[key]
	if s == nil {
		s = &share.State{}
		m.mu.states[key] = s
	}
	of := map[int64]share.Batch{}
	end := u.StartOffset
	for _, b := range append(s.Batches, u.Batches...) {
		for o := b.First; o <= b.Last; o++ {
			of[o] = b
		}
		end = max(end, b.Last+1)
	}
	s.StartOffset, s.Batches = u.StartOffset, nil
	m.mu.counts[key] = u.DeliveryComplete
	for o := u.StartOffset; o < end; o++ {
		b, ok := of[o]
		n := len(s.Batches) - 1
		switch {
		case !ok:
		case n >= 0 && s.Batches[n].Last == o-1 && s.Batches[n].State == b.State && s.Batches[n].Count == b.Count:
			s.Batches[n].Last = o
		default:
			s.Batches = append(s.Batches, share.Batch{First: o, Last: o, State: b.State, Count: b.Count})
		}
	}
	return m.mu.lost
}

// show prints what is stored of a partition of topic t.
func (m *memState) show(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, s := range m.mu.states {
		if name != fmt.Sprintf("t-%d", key.Partition) {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "start %d, %d complete", s.StartOffset, m.mu.counts[key])
		for _, x := range s.Batches {
			fmt.Fprintf(&b, ", %d-%d %s(%d)", x.First, x.Last, []string{"available", "acquired", "acknowledged", "archiving", "archived"}[x.State], x.Count)
		}
		return b.String()
	}
	return "nothing"
}

// outbox takes dead letters, or fails when it is told to.
type outbox struct {
	mu struct {
		sync.Mutex
		slow  time.Duration
		fails string
		sent  []string
	}
}

func (o *outbox) Send(ctx context.Context, key share.Key, letters []share.Letter) []error {
	errs := make([]error, len(letters))
	o.mu.Lock()
	slow := o.mu.slow
	o.mu.Unlock()
	if slow > 0 {
		wait := time.NewTimer(slow)
		defer wait.Stop()
		//house:select in a bubble only one of the two can come
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, l := range letters {
		if o.mu.fails != "" {
			errs[i] = errors.New(o.mu.fails)
			continue
		}
		o.mu.sent = append(o.mu.sent, fmt.Sprintf("%s t-%d: %d-%d(%d) %s\n", key.Group, key.Partition, l.First, l.Last, l.Count, l.Cause))
	}
	return errs
}

// show lists what was sent, and says how it goes on.
func (o *outbox) show(slow time.Duration, fails string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	sent := o.mu.sent
	o.mu.slow, o.mu.fails, o.mu.sent = slow, fails, nil
	slices.Sort(sent) // two partitions send side by side
	return strings.Join(sent, "")
}

// codeNamed is the error of a name, nil for "".
func codeNamed(name string) error {
	for c := range kafka.Code(140) {
		if name != "" && c.Name() == name {
			return c
		}
	}
	return nil
}

// stageLog is a replica as a share.Log.
type stageLog struct {
	r     *replica.Replica
	epoch int32
}

func (l stageLog) Epoch() int32 { return l.epoch }
func (l stageLog) Start() int64 { return l.r.LogStart() }

func (l stageLog) OffsetFor(at int64) (int64, error) {
	f, err := l.r.OffsetFor(replica.OffsetQuery{Timestamp: at, CurrentEpoch: kafka.NoEpoch, FromLeader: true})
	return f.Offset, err
}

// transactional is a batch of n records of producer 7.
func transactional(n int, sequence int32) []byte {
	b := record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: 7, Epoch: 1, Sequence: sequence}}
	for range n {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
	}
	return b.Bytes()
}

// appendTxn appends a batch that its coordinator knows of.
func appendTxn(t *testing.T, r *replica.Replica, b []byte) {
	t.Helper()
	h, err := record.CheckClient(b)
	if err != nil {
		t.Fatal(err)
	}
	guard, _ := r.Guard(&h, true)
	if _, err := r.Append(replica.Batch{Bytes: b, Header: h, Epoch: kafka.NoEpoch, Guard: guard}); err != nil {
		t.Fatal(err)
	}
}

// appendMarker ends a transaction.
func appendMarker(t *testing.T, r *replica.Replica, b []byte) {
	t.Helper()
	h, err := record.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(replica.Batch{Bytes: b, Header: h, Epoch: kafka.NoEpoch, Origin: replica.Marker}); err != nil {
		t.Fatal(err)
	}
}
