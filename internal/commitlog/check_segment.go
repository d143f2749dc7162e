package commitlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"path"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// segmentCheck is the check of one segment's files.
type segmentCheck struct {
	fs         vfs.FS
	dir        string
	base, next int64 // of this segment and of the following one, -1 if there is none
	ended      bool  // the last owner closed it in order, though it is the active one
	problems   []Problem

	// What the walk over the batches found.
	end      int64 // offset after the last good batch
	size     int64 // bytes of .log
	batches  int64
	epochs   []epochRun
	follower int64 // base of the next segment by the seal, -1 if it does not say

	offsets []segment.OffsetEntry
	times   []segment.TimeEntry
	wrong   map[string]string // index file -> what is wrong with it first
	newest  int64             // largest timestamp so far
	writers map[int64]bool    // producers with transactional data since their last marker
	aborts  map[int64]abort   // offset of an abort marker
}

// epochRun is a run of batches of one leader epoch.
type epochRun struct {
	epoch       int32
	first, last int64 // offsets
}

type abort struct {
	producer int64
	data     bool // of this transaction lies in this segment
}

func (s *segmentCheck) name(suffix string) string { return segment.Name(s.base, suffix) }
func (s *segmentCheck) path(suffix string) string { return path.Join(s.dir, s.name(suffix)) }

func (s *segmentCheck) problem(suffix string, p Problem) {
	p.File = s.name(suffix)
	s.problems = append(s.problems, p)
}

func (s *segmentCheck) run() error {
	f, err := s.fs.Open(s.path(segment.LogSuffix), vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if s.size, err = f.Size(); err != nil {
		return err
	}
	s.follower, s.newest = -1, -1
	s.wrong, s.writers, s.aborts = map[string]string{}, map[int64]bool{}, map[int64]abort{}
	if err := s.readIndexes(); err != nil {
		return err
	}
	s.walk(f)
	sums, err := s.sums(f)
	if err != nil {
		return err
	}
	if len(s.problems) == 0 || !s.damaged() { // else what the caches are compared with is wrong itself
		s.finishIndexes()
		if err := s.transactions(); err != nil {
			return err
		}
	} else {
		s.epochs = nil
	}
	for _, suffix := range []string{segment.IdxSuffix, segment.TimeSuffix, segment.TxnSuffix} {
		if err := s.sealed(suffix, sums); err != nil {
			return err
		}
	}
	return nil
}

// damaged tells whether records are.
func (s *segmentCheck) damaged() bool {
	return slices.ContainsFunc(s.problems, func(p Problem) bool { return p.File == s.name(segment.LogSuffix) })
}

// readIndexes reads both indexes. Kafka's active ones end in zeros.
func (s *segmentCheck) readIndexes() (err error) {
	s.offsets, err = segment.ReadOffsets(s.fs, s.path(segment.IdxSuffix), s.base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i, e := range s.offsets {
		if i > 0 && e.Position == 0 && e.Offset == s.base {
			s.offsets = s.offsets[:i]
			break
		}
	}
	s.times, err = segment.ReadTimes(s.fs, s.path(segment.TimeSuffix), s.base)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for i, e := range s.times {
		if i > 0 && e.Timestamp == 0 && e.Offset == s.base {
			s.times = s.times[:i]
			break
		}
	}
	return err
}

// walk looks at every batch, and steps over what is damaged.
func (s *segmentCheck) walk(f vfs.File) {
	limit := int64(math.MaxInt64)
	if s.next >= 0 {
		limit = s.next
	}
	for at := int64(0); at < s.size; {
		sc := newScanner(f, at, s.size)
		why := s.good(sc, limit)
		if why == nil {
			return
		}
		from := sc.pos
		var code kafka.Code
		if !errors.Is(why, errTorn) && !errors.As(why, &code) { // the device does not read
			s.problem(segment.LogSuffix, Problem{Position: from, Bytes: s.size - from, From: s.end, To: s.ceiling(s.end + 1), What: oneLine(why)})
			s.skipIndexes(s.size)
			return
		}
		to, offset := resync(f, from, s.size, s.end)
		if to == s.size {
			offset = s.ceiling(offset)
		}
		s.problem(segment.LogSuffix, Problem{Position: from, Bytes: to - from, From: s.end, To: offset, What: oneLine(why)})
		s.skipIndexes(to)
		at, s.end = to, offset
	}
}

// ceiling is the offset up to which a segment's end is lost: where the next one
// begins, or what is known at least.
func (s *segmentCheck) ceiling(atLeast int64) int64 { return max(atLeast, s.next) }

// good walks until the first batch that is not good, and says why.
func (s *segmentCheck) good(sc *scanner, limit int64) error {
	for sc.Next() {
		h := &sc.head
		if h.BaseOffset < s.end || h.LastOffset() < h.BaseOffset || h.LastOffset() >= limit {
			return fmt.Errorf("batch of offsets %d to %d follows %d: %w", h.BaseOffset, h.LastOffset(), s.end-1, kafka.CorruptMessage)
		}
		body, err := sc.Body()
		if err == nil {
			_, err = record.Check(body)
		}
		if err != nil {
			return err
		}
		s.batches++
		s.end = h.NextOffset()
		s.newest = max(s.newest, h.MaxTimestamp)
		s.follow(h, sc.pos)
		s.note(h, body)
	}
	return sc.err
}

// follow compares a batch with the index entries that lead to it.
func (s *segmentCheck) follow(h *record.Header, pos int64) {
	for len(s.offsets) > 0 && s.offsets[0].Position <= pos {
		e := s.offsets[0]
		if e.Position < pos {
			s.blame(segment.IdxSuffix, fmt.Sprintf("no batch begins at position %d, where offset %d should be", e.Position, e.Offset))
		} else if e.Offset != h.LastOffset() {
			s.blame(segment.IdxSuffix, fmt.Sprintf("the batch at position %d ends with offset %d, not %d", pos, h.LastOffset(), e.Offset))
		}
		s.offsets = s.offsets[1:]
	}
	for len(s.times) > 0 && s.times[0].Offset <= h.LastOffset() {
		e := s.times[0]
		if e.Timestamp < s.newest && e.Offset == h.LastOffset() {
			s.blame(segment.TimeSuffix, fmt.Sprintf("up to offset %d there are records of time %d, younger than %d", e.Offset, s.newest, e.Timestamp))
		}
		s.times = s.times[1:]
	}
}

func (s *segmentCheck) blame(suffix, what string) {
	if s.wrong[suffix] == "" {
		s.wrong[suffix] = what
	}
}

// skipIndexes leaves out the entries of what cannot be read.
func (s *segmentCheck) skipIndexes(to int64) {
	s.offsets = slices.DeleteFunc(s.offsets, func(e segment.OffsetEntry) bool { return e.Position < to })
}

// note keeps what the other files are compared with.
func (s *segmentCheck) note(h *record.Header, body []byte) {
	if n := len(s.epochs); n > 0 && s.epochs[n-1].epoch == h.LeaderEpoch {
		s.epochs[n-1].last = h.LastOffset()
	} else if h.LeaderEpoch >= 0 {
		s.epochs = append(s.epochs, epochRun{h.LeaderEpoch, h.BaseOffset, h.LastOffset()})
	}
	switch {
	case !h.Attributes.Has(record.Transactional):
	case !h.Attributes.Has(record.Control):
		s.writers[h.ProducerID] = true
	default:
		if t, _, ok, err := marker(body); err == nil && ok {
			if t == record.Abort {
				s.aborts[h.BaseOffset] = abort{h.ProducerID, s.writers[h.ProducerID]}
			}
			delete(s.writers, h.ProducerID)
		}
	}
}

// finishIndexes tells of entries behind the batches, and of what was wrong.
func (s *segmentCheck) finishIndexes() {
	whole := len(s.problems) == 0
	if len(s.offsets) > 0 && whole {
		s.blame(segment.IdxSuffix, fmt.Sprintf("offset %d at position %d lies behind the last batch", s.offsets[0].Offset, s.offsets[0].Position))
	}
	if len(s.times) > 0 && whole {
		s.blame(segment.TimeSuffix, fmt.Sprintf("offset %d lies behind the last batch", s.times[0].Offset))
	}
	for _, suffix := range []string{segment.IdxSuffix, segment.TimeSuffix} {
		if what := s.wrong[suffix]; what != "" {
			s.problem(suffix, Problem{What: what, Repairable: true})
		}
	}
}

// transactions compares .txnindex with the abort markers.
func (s *segmentCheck) transactions() error {
	all, err := segment.ReadAborted(s.fs, s.path(segment.TxnSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if !errors.Is(err, segment.ErrBadIndex) {
			return err
		}
		s.problem(segment.TxnSuffix, Problem{What: oneLine(err), Repairable: true})
		return nil
	}
	listed := map[int64]bool{}
	for _, a := range all {
		listed[a.Last] = true
		if m, ok := s.aborts[a.Last]; a.Last < s.base || s.next >= 0 && a.Last >= s.next || ok && m.producer != a.ProducerID {
			s.problem(segment.TxnSuffix, Problem{What: fmt.Sprintf("no abort marker of producer %d lies at offset %d", a.ProducerID, a.Last), Repairable: true})
			return nil
		}
	}
	for at, m := range s.aborts {
		if m.data && !listed[at] {
			s.problem(segment.TxnSuffix, Problem{What: fmt.Sprintf("the transaction of producer %d that was aborted at offset %d is missing", m.producer, at), Repairable: true})
			return nil
		}
	}
	return nil
}

// sums compares the file of checksums with the bytes they were made of.
func (s *segmentCheck) sums(f vfs.File) (segment.Sums, error) {
	sums, err := segment.ReadSums(s.fs, s.path(segment.SumsSuffix), s.base, s.size)
	if errors.Is(err, fs.ErrNotExist) {
		return sums, nil // Kafka's directory, or an older Myelin's
	}
	if err != nil {
		return sums, err
	}
	// A crash leaves bytes that are no piece, or the rest of one that was written
	// over; what they told of is told again behind them.
	if sums.Bad > 0 && (!s.covered(sums) || !sums.Sealed && (s.next >= 0 || s.ended)) {
		s.problem(segment.SumsSuffix, Problem{What: fmt.Sprintf("%d bytes are no piece of it, and what they told of is not told elsewhere", sums.Bad), Repairable: true})
	}
	if sums.Sealed {
		s.follower = sums.Next
	}
	last := s.base - 1
	for _, b := range sums.Blocks {
		s.block(f, b, last)
		last = b.Last
	}
	return sums, s.shortened()
}

// covered tells whether every byte has a sum.
func (s *segmentCheck) covered(sums segment.Sums) bool {
	at := int64(0)
	for _, b := range sums.Blocks {
		if b.Begin > at {
			return false
		}
		at = max(at, b.End)
	}
	return at >= s.size
}

// shortened finds out whether the file ends before bytes that have a sum: only
// what was durable has one, and a truncation takes the sum away first.
func (s *segmentCheck) shortened() error {
	all, err := segment.ReadSums(s.fs, s.path(segment.SumsSuffix), s.base, math.MaxInt64)
	if err != nil || len(all.Blocks) == 0 {
		return err
	}
	b := all.Blocks[len(all.Blocks)-1]
	if b.End <= s.size || b.Last < s.end {
		return nil
	}
	for i, p := range s.problems {
		if p.File == s.name(segment.LogSuffix) && p.Position+p.Bytes == s.size { // a batch that is torn there
			s.problems[i].To = max(p.To, b.Last+1)
			return nil
		}
	}
	s.problem(segment.LogSuffix, Problem{Position: s.size, Bytes: b.End - s.size, From: s.end, To: b.Last + 1, What: "the file ends before bytes that were durable"})
	return nil
}

// block checks one block, unless the batches told already that it is damaged.
func (s *segmentCheck) block(f vfs.File, b segment.Block, last int64) {
	for _, p := range s.problems {
		if p.File == s.name(segment.LogSuffix) && p.Position < b.End && b.Begin < p.Position+p.Bytes {
			return
		}
	}
	buf := make([]byte, b.End-b.Begin)
	n, err := f.ReadAt(buf, b.Begin)
	what := ""
	if err := endOfFile(n, len(buf), err); err != nil {
		what = oneLine(err)
	} else if crc := crc32.Checksum(buf, castagnoli); crc != b.CRC {
		what = fmt.Sprintf("the block has checksum %08x, not %08x: a header is not as it was written", crc, b.CRC)
	}
	if what != "" {
		s.problem(segment.LogSuffix, Problem{Position: b.Begin, Bytes: b.End - b.Begin, From: last + 1, To: b.Last + 1, What: what})
	}
}

// sealed checks an index file against the checksum it was sealed with.
func (s *segmentCheck) sealed(suffix string, sums segment.Sums) error {
	if !sums.Sealed || slices.ContainsFunc(s.problems, func(p Problem) bool { return p.File == s.name(suffix) }) {
		return nil
	}
	data, err := vfs.ReadFile(s.fs, s.path(suffix), 1<<30)
	switch absent := errors.Is(err, fs.ErrNotExist); {
	case absent && sums.Bytes[suffix] > 0:
		s.problem(suffix, Problem{What: "is missing; it is made anew when it is needed", Repairable: true, absent: true})
	case err != nil && !absent:
		return err
	case int64(len(data)) != sums.Bytes[suffix] || crc32.Checksum(data, castagnoli) != sums.Files[suffix]:
		s.problem(suffix, Problem{What: fmt.Sprintf("%d bytes, not the %d it was sealed with, or others", len(data), sums.Bytes[suffix]), Repairable: true})
	}
	return nil
}
