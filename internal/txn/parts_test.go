package txn

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// parts are partitions of topics, as their leaders keep them (see package
// replica): which producer has a transaction open, in which epoch, and what
// became of every batch.
type parts struct {
	mu     sync.Mutex
	of     map[whose]*part
	done   map[int64][]kafka.TopicPartition // who has the marker of a PREPARE, by the place of that
	all    []*batch
	asked  map[Producer]bool   // to commit, by a client
	ends   map[Producer]string // what clients of version 2 were told of their transaction's end
	older  map[Producer]bool   // ended under version 0 or 1: the epoch has several transactions
	writes int
}

type whose struct {
	tp       kafka.TopicPartition
	producer int64
}

// part is one producer in one partition.
type part struct {
	epoch       int16
	coordinator int32
	markers     map[int16]int // so many came that take a guard of this epoch away
	open        []*batch
}

// batch is one of a transaction. Its fate is empty while that is open.
type batch struct {
	Producer
	tp   kafka.TopicPartition
	fate string
}

func newParts() *parts {
	return &parts{of: map[whose]*part{}, done: map[int64][]kafka.TopicPartition{}, asked: map[Producer]bool{},
		ends: map[Producer]string{}, older: map[Producer]bool{}}
}

func (ps *parts) part(tp kafka.TopicPartition, producer int64) *part {
	w := whose{tp, producer}
	if ps.of[w] == nil {
		ps.of[w] = &part{epoch: -1, coordinator: -1, markers: map[int16]int{}}
	}
	return ps.of[w]
}

// guard is drawn before the coordinator is asked, and good for write.
func (ps *parts) guard(tp kafka.TopicPartition, p Producer) int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.part(tp, p.ID).markers[p.Epoch]
}

// write appends a batch that the coordinator has let in, unless it is of an older
// epoch, or a marker came since.
func (ps *parts) write(tp kafka.TopicPartition, p Producer, guard int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	pt := ps.part(tp, p.ID)
	if p.Epoch < pt.epoch || len(pt.open) == 0 && guard != pt.markers[p.Epoch] {
		return
	}
	b := &batch{Producer: p, tp: tp}
	pt.epoch, pt.open, ps.all = p.Epoch, append(pt.open, b), append(ps.all, b)
	ps.writes++
}

// mark ends a transaction in a partition: that of the PREPARE at this place.
func (ps *parts) mark(at int64, m Marker, tp kafka.TopicPartition) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	pt := ps.part(tp, m.ID)
	newer := m.Version >= version2 && m.Epoch < math.MaxInt16
	switch {
	case m.CoordinatorEpoch < pt.coordinator:
		return kafka.TransactionCoordinatorFenced
	case m.Epoch < pt.epoch, newer && len(pt.open) > 0 && pt.epoch == m.Epoch:
		ps.done[at] = append(ps.done[at], tp) // it comes late and is not needed
		return kafka.InvalidProducerEpoch
	}
	pt.coordinator = m.CoordinatorEpoch
	fate := "aborted"
	if m.Commit {
		fate = "committed"
	}
	for _, b := range pt.open {
		b.fate = fate
		if m.Version < version2 {
			ps.older[b.Producer] = true
		}
	}
	pt.epoch, pt.open = m.Epoch, nil
	for e := range int16(math.MaxInt8) { // epochs that a history comes to
		if !newer || e < m.Epoch {
			pt.markers[e]++
		}
	}
	ps.done[at] = append(ps.done[at], tp)
	return nil
}

// has says whether a partition has the marker of the PREPARE at a place.
func (ps *parts) has(at int64, tp kafka.TopicPartition) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return slices.Contains(ps.done[at], tp)
}

// ask notes that a client wants to commit.
func (ps *parts) ask(p Producer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.asked[p] = true
}

// told notes what a client of version 2 was told of its transaction.
func (ps *parts) told(p Producer, commit bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ends[p] = "aborted"
	if commit {
		ps.ends[p] = "committed"
	}
}

// check looks at all batches when everything is over: none is open, those of one
// transaction have one fate, it is what the client was told, and none is committed
// unless its own producer asked for that (invariant 6).
func (ps *parts) check() error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	fates := map[Producer]*batch{}
	for _, b := range ps.all {
		switch first := fates[b.Producer]; {
		case b.fate == "":
			return fmt.Errorf("a batch of %+v in %s hangs", b.Producer, b.tp)
		case b.fate == "committed" && !ps.asked[b.Producer]:
			return fmt.Errorf("a batch of %+v in %s is committed, and nobody asked for that", b.Producer, b.tp)
		case ps.older[b.Producer]:
		case ps.ends[b.Producer] != "" && ps.ends[b.Producer] != b.fate:
			return fmt.Errorf("a batch of %+v in %s is %s, the client was told %s", b.Producer, b.tp, b.fate, ps.ends[b.Producer])
		case first == nil:
			fates[b.Producer] = b
		case first.fate != b.fate:
			return fmt.Errorf("%+v is torn: %s in %s, %s in %s", b.Producer, b.fate, b.tp, first.fate, first.tp)
		}
	}
	return nil
}
