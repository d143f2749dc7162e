package torture

import (
	"maps"
	"slices"
	"sort"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// entry is one record as it was given to a log.
type entry struct {
	offset, time int64
	key, value   string
	tombstone    bool
}

// batch is one batch as it was given to a log.
type batch struct {
	head    record.Header
	bytes   []byte
	entries []entry
	ends    record.ControlType // of a marker
	by      int32              // the coordinator's epoch, of a marker
}

func (b *batch) marker() bool { return b.head.Attributes.Has(record.Control) }

// history is what one log was given and what it promised.
type history struct {
	id    kafka.UUID // of the topic
	given []*batch   // in order, also those below start; a truncation takes away for good
	whole []*batch   // what is to be read: given, or what compaction made of it
	start int64      // promised: nothing below comes back
	asked int64      // and nothing from here on may be missing at the front
	acked int64      // promised: everything below is durable
	first int64      // where the log was begun anew
	clean int64      // compaction may have changed what is below
	firm  int64      // it went by markers up to here, which no truncation may reach
	// removing: the log may be whole or gone.
	removing bool
	// emptying: the log may begin here, with nothing in it; 0: no reset is
	// under way.
	emptying int64
	losses   []loss                 // by offset
	epochs   []commitlog.EpochStart // as assigned
	state    *state                 // of all that is given
}

func newHistory(id kafka.UUID) *history {
	return &history{id: id, state: newState()}
}

// end is the offset behind what was given.
func (h *history) end() int64 {
	if n := len(h.given); n > 0 {
		return max(h.given[n-1].head.NextOffset(), h.first)
	}
	return h.first
}

// copy gives a history that goes its own way from here.
func (h *history) copy() *history {
	c := *h
	c.given, c.whole, c.epochs = slices.Clip(h.given), slices.Clip(h.whole), slices.Clip(h.epochs)
	c.state = nil // made anew when it is asked for
	return &c
}

// loss says that batches of a producer from an offset on were given and are gone.
// Whoever takes a batch in forgets the oldest one it remembers, so as many fewer
// are known then. A client has no more than five on the way, so it asks for no
// more.
type loss struct {
	at       int64
	producer int64
	batches  int
}

// lost adds what is lost where the end goes back to an offset.
func (h *history) lost(end int64) []loss {
	counts := map[int64]int{}
	for _, b := range h.given[at(h.given, end):] {
		if b.head.Idempotent() {
			counts[b.head.ProducerID]++
		}
	}
	var all []loss
	for _, l := range h.losses {
		if l.at < end {
			all = append(all, l)
		} else {
			counts[l.producer] += l.batches // what was lost further on was known then too
		}
	}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, loss{end, id, counts[id]})
	}
	return all
}

// at is the index in list of the first batch that ends at or above offset.
func at(list []*batch, offset int64) int {
	return sort.Search(len(list), func(i int) bool { return list[i].head.LastOffset() >= offset })
}

// kind is what an event tells.
type kind int

const (
	given    kind = iota // batch: Append is being called with it
	flushed              // at: everything below is durable
	starting             // at: the start may move up to here from now on
	started              // at: it has moved here
	cutting              // at: a truncation to this offset has begun
	cut                  // at: and has returned
	emptying             // at: a reset to this offset has begun
	emptied              // at: and has returned
	led                  // epoch begins at
	removing             // the log is being removed
	removed              // id: it is gone, and its folder is a new topic's
	cleaning             // at: compaction may change what is below
	cleaned              // list: it has returned, and this is there now
)

// event is one step of a history.
type event struct {
	kind  kind
	at    int64
	batch *batch
	epoch int32
	id    kafka.UUID
	list  []*batch
	firm  int64
}

// apply takes an event in.
func (h *history) apply(e event) {
	switch e.kind {
	case given:
		h.given, h.whole = append(h.given, e.batch), append(h.whole, e.batch)
		h.fold().take(e.batch)
	case flushed:
		h.acked = max(h.acked, e.at)
	case starting:
		h.asked = max(h.asked, e.at)
	case started:
		h.start, h.asked = max(h.start, e.at), max(h.start, e.at)
	case cutting:
		h.acked = min(h.acked, h.boundary(e.at))
	case cut:
		to := h.boundary(e.at)
		if to >= h.end() {
			return // nothing to cut off
		}
		h.losses = h.lost(to)
		h.given = slices.Clip(h.given[:at(h.given, to)])
		h.whole = slices.Clip(h.whole[:at(h.whole, to)])
		h.epochs = slices.DeleteFunc(slices.Clone(h.epochs), func(s commitlog.EpochStart) bool { return s.Start >= to })
		h.state = nil
	case emptying:
		h.acked, h.asked, h.emptying = 0, max(h.asked, e.at), e.at
	case emptied:
		h.given, h.whole, h.epochs, h.state = nil, nil, nil, nil
		h.clean, h.firm, h.losses, h.emptying = 0, 0, nil, 0
		h.first, h.start, h.asked, h.acked = e.at, e.at, e.at, e.at
	case led:
		h.epochs = append(h.epochs, commitlog.EpochStart{Epoch: e.epoch, Start: e.at})
	case removing:
		h.removing = true
	case removed:
		*h = *newHistory(e.id)
	case cleaning:
		h.clean, h.firm = max(h.clean, e.at), max(h.firm, e.firm)
	case cleaned:
		h.whole = slices.Clip(e.list) // the tape is every player's
	}
}

// boundary is where a truncation to offset really cuts: before the batch that
// holds it.
func (h *history) boundary(offset int64) int64 {
	if i := at(h.whole, offset); i < len(h.whole) {
		return min(offset, h.whole[i].head.BaseOffset)
	}
	return offset
}

// fold gives the state of all that is given.
func (h *history) fold() *state {
	if h.state == nil {
		h.state = h.foldTo(h.end())
	}
	return h.state
}

// foldTo gives the state at an offset.
func (h *history) foldTo(end int64) *state {
	s := newState()
	losses := h.losses
	if end < h.end() {
		losses = h.lost(end)
	}
	for _, b := range h.given {
		if b.head.LastOffset() >= end {
			break
		}
		losses = s.lose(losses, b.head.BaseOffset)
		s.take(b)
	}
	s.lose(losses, end)
	return s
}

// settle makes a history of what a log was found to hold after a crash: from
// here on that is promised.
func (h *history) settle(start, end int64) {
	h.losses = h.lost(end)
	h.given = slices.Clip(h.given[:at(h.given, end)])
	h.whole = slices.Clip(h.whole[:at(h.whole, end)])
	h.epochs = slices.DeleteFunc(slices.Clone(h.epochs), func(s commitlog.EpochStart) bool { return s.Start > end })
	if h.end() != end {
		h.first = max(end, h.first)
	}
	h.start, h.asked, h.acked, h.state = start, start, end, nil
}

// told are a producer's batches that must be known for duplicates. Of those that
// compaction may have been at, only the newest is kept.
func (h *history) told(p *producer) []*batch {
	known := p.known()
	for len(known) > 1 && known[0].head.BaseOffset < h.clean {
		known = known[1:]
	}
	return known
}
