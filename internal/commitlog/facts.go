package commitlog

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// resting is a log at rest as the home holds it: a hundred thousand of them
// must cost little, so the facts stay encoded until somebody asks.
type resting struct {
	id    kafka.UUID
	facts string
}

// Rest is what is known of a log that is at rest: everything in it is durable,
// and nothing was written since.
type Rest struct {
	TopicID    kafka.UUID
	Start, End int64
	Segments   []SegmentInfo // rising; the last is active
	Epochs     []EpochStart

	damaged int  // ranges that the damage file lists
	loose   bool // the index files may not have reached the disk
	unnamed bool // neither may the names have; the log is empty then
	suspect bool // it was loose when the machine went down: to be examined

	firstStamp int64   // largest timestamp of the active segment's first batch, -1 when empty
	newestAt   []int64 // for each segment: offset of the batch that has MaxTimestamp
	producers  []byte  // the producers, see encodeTraces; nil when snapshot is set
	snapshot   bool    // the producers are in the snapshot file at End
}

// Size is how many bytes of batches the log holds.
func (r *Rest) Size() (n int64) {
	for i := range r.Segments {
		n += r.Segments[i].Bytes
	}
	return n
}

// LatestEpoch is the newest leader epoch, -1 if none is known.
func (r *Rest) LatestEpoch() int32 {
	if n := len(r.Epochs); n > 0 {
		return r.Epochs[n-1].Epoch
	}
	return kafka.NoEpoch
}

// Overdue tells whether retention has something to delete, or has to look at the
// files to know.
func (r *Rest) Overdue(now int64, t Tunables) bool {
	t = t.withDefaults()
	oldest := r.Segments[0]
	if t.KeepAll || oldest.Active && oldest.Bytes == 0 {
		return false
	}
	if t.RetentionBytes > 0 && r.Size()-oldest.Bytes >= t.RetentionBytes {
		return true
	}
	if t.RetentionAge < 0 {
		return false
	}
	return oldest.MaxTimestamp < 0 || now-oldest.MaxTimestamp > t.RetentionAge.Milliseconds()
}

// The flags that facts begin with.
const (
	factLoose = 1 << iota
	factUnnamed
	factSnapshot
	factSuspect
	factDamaged
)

// encode writes the facts, all numbers as varints:
//
//	flags (one byte), with factDamaged the number of damaged ranges
//	start, end, timestamp of the first batch in the active segment
//	number of segments, of each: base, bytes, newest timestamp, the offset that has it
//	number of epochs, of each: epoch, start
//	length of the producers, the producers
func (r *Rest) encode() string {
	var flags byte
	for _, f := range []struct {
		is   bool
		flag byte
	}{{r.loose, factLoose}, {r.unnamed, factUnnamed}, {r.snapshot, factSnapshot}, {r.suspect, factSuspect},
		{r.damaged > 0, factDamaged}} {
		if f.is {
			flags |= f.flag
		}
	}
	b := append(make([]byte, 0, 64), flags)
	if r.damaged > 0 {
		b = binary.AppendUvarint(b, uint64(r.damaged))
	}
	b = binary.AppendUvarint(b, uint64(r.Start))
	b = binary.AppendUvarint(b, uint64(r.End))
	b = binary.AppendVarint(b, r.firstStamp)
	b = binary.AppendUvarint(b, uint64(len(r.Segments)))
	for i, s := range r.Segments {
		b = binary.AppendUvarint(b, uint64(s.Base))
		b = binary.AppendUvarint(b, uint64(s.Bytes))
		b = binary.AppendVarint(b, s.MaxTimestamp)
		b = binary.AppendVarint(b, r.newestAt[i])
	}
	b = binary.AppendUvarint(b, uint64(len(r.Epochs)))
	for _, e := range r.Epochs {
		b = binary.AppendUvarint(b, uint64(uint32(e.Epoch)))
		b = binary.AppendUvarint(b, uint64(e.Start))
	}
	b = binary.AppendUvarint(b, uint64(len(r.producers)))
	return string(append(b, r.producers...))
}

// decode reads the facts of a log at rest.
func (s resting) decode() (*Rest, error) {
	c := varints{b: []byte(s.facts)}
	flags := c.byte()
	r := &Rest{TopicID: s.id, loose: flags&factLoose != 0, unnamed: flags&factUnnamed != 0,
		snapshot: flags&factSnapshot != 0, suspect: flags&factSuspect != 0}
	if flags&factDamaged != 0 {
		r.damaged = int(min(c.uint(), math.MaxInt32))
	}
	r.Start, r.End, r.firstStamp = int64(c.uint()), int64(c.uint()), c.int()
	n := c.count(4)
	r.Segments, r.newestAt = make([]SegmentInfo, 0, n), make([]int64, 0, n)
	for i := range n {
		info := SegmentInfo{Base: int64(c.uint()), Bytes: int64(c.uint()), MaxTimestamp: c.int(), Active: i == n-1}
		if info.Base < 0 || info.Bytes < 0 || i > 0 && info.Base <= r.Segments[i-1].Base {
			c.bad = true
		}
		r.Segments, r.newestAt = append(r.Segments, info), append(r.newestAt, c.int())
	}
	n = c.count(2)
	r.Epochs = make([]EpochStart, 0, n)
	for range n {
		r.Epochs = append(r.Epochs, EpochStart{Epoch: int32(c.uint()), Start: int64(c.uint())})
	}
	r.producers = c.bytes(c.uint())
	if c.bad || len(c.b) > 0 || len(r.Segments) == 0 || r.Start < 0 || r.End < r.Start || r.Segments[len(r.Segments)-1].Base > r.End {
		return nil, fmt.Errorf("facts of a log at rest: %w", errMalformed)
	}
	return r, nil
}

// doubt marks facts of a log whose indexes were loose when the machine went
// down.
func (s *resting) doubt() {
	if len(s.facts) > 0 && s.facts[0]&factLoose != 0 {
		s.facts = string([]byte{s.facts[0] | factSuspect}) + s.facts[1:]
	}
}

// damaged is how many ranges of the log are damaged.
func (s resting) damaged() int {
	if len(s.facts) == 0 || s.facts[0]&factDamaged == 0 {
		return 0
	}
	n, _ := binary.Uvarint([]byte(s.facts[1:min(len(s.facts), 1+binary.MaxVarintLen64)]))
	return int(min(n, math.MaxInt32))
}

// maxTraces is how many bytes of producers the manifest takes for one log; more
// than that goes into a snapshot file.
const maxTraces = 1 << 10

// encodeTraces writes all producers with all that is remembered of them, which
// a snapshot file has no room for: nil and false if it would be too much. All
// numbers are varints:
//
//	of each producer, by id: id, epoch, coordinator epoch, timestamp,
//	    first offset of its transaction, number of batches
//	    of each batch: last sequence, last − first offset, last offset, timestamp
//
// A batch at or above at is left out, see encode.
func (p *ProducerState) encodeTraces(at int64) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byID) > maxTraces/16 {
		return nil, false
	}
	all := make([]*producer, 0, len(p.byID))
	for _, e := range p.byID {
		if e.doubt && e.txnFirst < 0 {
			continue // one that is not known may go on anywhere
		}
		if e.n == 0 || e.batches[0].lastOffset < at {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *producer) int { return cmp.Compare(a.id, b.id) })
	var b []byte
	for _, e := range all {
		n, txnFirst := e.n, e.txnFirst
		for n > 0 && e.batches[n-1].lastOffset >= at {
			n--
		}
		if txnFirst >= at {
			txnFirst = -1
		}
		for _, v := range []int64{e.id, int64(e.epoch), int64(e.coordinatorEpoch), e.timestamp, txnFirst, int64(n)} {
			b = binary.AppendVarint(b, v)
		}
		for _, t := range e.batches[:n] {
			for _, v := range []int64{int64(t.lastSequence), int64(t.delta), t.lastOffset, t.timestamp} {
				b = binary.AppendVarint(b, v)
			}
		}
		if len(b) > maxTraces {
			return nil, false
		}
	}
	return b, true
}

// decodeTraces replaces the state by what encodeTraces wrote.
func (p *ProducerState) decodeTraces(b []byte) error {
	p.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := varints{b: b}
	for len(c.b) > 0 {
		e := &producer{id: c.int(), epoch: int16(c.int()), coordinatorEpoch: int32(c.int()), timestamp: c.int(), txnFirst: c.int()}
		n := c.int()
		if n < 0 || n > remembered {
			c.bad = true
			break
		}
		for i := range n {
			e.batches[i] = batchTrace{lastSequence: int32(c.int()), delta: int32(c.int()), lastOffset: c.int(), timestamp: c.int()}
		}
		e.n = int(n)
		p.byID[e.id] = e
		if e.txnFirst >= 0 {
			p.open = append(p.open, txn{producer: e.id, first: e.txnFirst})
		}
	}
	if c.bad {
		return fmt.Errorf("producers of a log at rest: %w", errMalformed)
	}
	slices.SortFunc(p.open, func(a, b txn) int { return cmp.Compare(a.first, b.first) })
	return nil
}
