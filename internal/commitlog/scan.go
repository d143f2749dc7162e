package commitlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

const (
	headerWindow = 4 << 10   // read at once to look for headers
	bodyWindow   = 256 << 10 // read at once to look at whole batches
)

// errTorn is the class of batches of which the end is missing.
var errTorn = errors.New("batch is cut off")

// scanner walks over the batches of a file.
//
//	for s.Next() {
//		use(s.pos, s.head)
//	}
//	return s.err
//
// In a file that is verified as it is read, Next ends where damage begins; Onward
// steps over it.
//
// It looks at headers only, and reads as little as it can, unless Body is asked
// for.
type scanner struct {
	file vfs.File
	end  int64 // where the batches end
	next int64

	skipped bool // it stepped over damage

	pos  int64 // of the batch that Next moved to
	head record.Header
	err  error

	buf    []byte
	at     int64 // position of buf[0]
	window int
}

func newScanner(f vfs.File, from, end int64) *scanner {
	return &scanner{file: f, next: from, end: end, window: headerWindow}
}

// reset makes s walk over another file, or part, with the buffer it has.
func (s *scanner) reset(f vfs.File, from, end int64) {
	*s = scanner{file: f, next: from, end: end, window: headerWindow, buf: s.buf[:0]}
}

// Next moves to the next batch; false at the end or on an error, which wraps
// errTorn if the file ends inside the batch, and a Kafka code if it is none.
func (s *scanner) Next() bool {
	if s.err != nil || s.next >= s.end {
		return false
	}
	s.pos = s.next
	if rest := s.end - s.pos; rest < record.HeaderSize {
		s.err = fmt.Errorf("%d bytes at %d: %w", rest, s.pos, errTorn)
		if _, err := s.bytes(s.pos, int(rest)); damageIn(err) != nil {
			s.err = err
		}
		return false
	}
	b, err := s.bytes(s.pos, record.HeaderSize)
	if err == nil {
		s.head, err = record.ParseHeader(b)
	}
	if err != nil {
		s.err = fmt.Errorf("at %d: %w", s.pos, err)
		return false
	}
	s.next = s.pos + int64(s.head.Size())
	if s.next > s.end {
		s.err = fmt.Errorf("batch at %d of %d bytes, %d are there: %w", s.pos, s.head.Size(), s.end-s.pos, errTorn)
		return false
	}
	return true
}

// Body gives the whole batch, until the next call.
func (s *scanner) Body() ([]byte, error) {
	s.window = bodyWindow
	return s.bytes(s.pos, s.head.Size())
}

// bytes gives n bytes at pos out of the window, which it moves as needed.
func (s *scanner) bytes(pos int64, n int) ([]byte, error) {
	if off := pos - s.at; off >= 0 && off+int64(n) <= int64(len(s.buf)) {
		return s.buf[off : off+int64(n)], nil
	}
	want := int(min(int64(max(n, s.window)), s.end-pos))
	if want < n {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, pos, io.ErrUnexpectedEOF)
	}
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.at = s.buf[:want], pos
	got, err := s.file.ReadAt(s.buf, pos)
	if got < n {
		s.buf = s.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	s.buf = s.buf[:got]
	return s.buf[:n], nil
}

// Onward is Next that steps over damage.
func (s *scanner) Onward() bool {
	for !s.Next() {
		if !s.skip() {
			return false
		}
	}
	return true
}

// skip steps over damage that Next met: true if the walk goes on behind it.
func (s *scanner) skip() bool {
	damage := damageIn(s.err)
	if damage != nil {
		s.err, s.next, s.buf, s.skipped = nil, damage.To, s.buf[:0], true
	}
	return damage != nil
}

// Below is Next that steps over damage in which offset does not lie.
func (s *scanner) Below(offset int64) bool {
	for !s.Next() {
		if damage := damageIn(s.err); damage == nil || damage.Next > offset || !s.skip() {
			return false
		}
	}
	return true
}

// damageIn finds the damage that err tells of, nil if it does not.
func damageIn(err error) *segment.DamageError {
	damage := new(segment.DamageError)
	if !errors.As(err, &damage) {
		return nil
	}
	return damage
}

// walk is [segment.Walk] for record batches.
func walk(f vfs.File, from, to int64, visit func(segment.Mark) error) error {
	s := newScanner(f, from, to)
	for s.Onward() {
		if err := visit(s.mark()); err != nil {
			return err
		}
	}
	return s.err
}

// audit is walk for whole batches, up to the first whose checksum is wrong.
func audit(f vfs.File, from, to int64, visit func(segment.Mark) error) error {
	return auditBodies(f, from, to, func(m segment.Mark, _ []byte) error { return visit(m) })
}

// auditBodies is audit that shows the batches.
func auditBodies(f vfs.File, from, to int64, visit func(segment.Mark, []byte) error) error {
	s := newScanner(f, from, to)
	for s.Next() {
		body, err := s.Body()
		if err == nil {
			_, err = record.Check(body)
		}
		if err != nil {
			return fmt.Errorf("at %d: %w", s.pos, err)
		}
		if err := visit(s.mark(), body); err != nil {
			return err
		}
	}
	if errors.Is(s.err, errTorn) {
		return fmt.Errorf("%w: %w", kafka.CorruptMessage, s.err)
	}
	return s.err
}

func (s *scanner) mark() segment.Mark {
	m := markOf(&s.head)
	m.Position = s.pos
	return m
}

func markOf(h *record.Header) segment.Mark {
	return segment.Mark{
		LastOffset: h.LastOffset(), MaxTimestamp: h.MaxTimestamp, Bytes: h.Size(),
		Head: record.HeadSize, CRC: h.CRC,
	}
}

// marker reads a control batch: whether it ends a transaction, and how.
func marker(b []byte) (t record.ControlType, coordinatorEpoch int32, ok bool, err error) {
	var r record.Reader
	r.Reset(b, record.DefaultLimit)
	defer r.Release()
	if !r.Next() {
		// Compaction may have left the batch without its record.
		return 0, 0, false, r.Err()
	}
	t, coordinatorEpoch, err = record.ParseEndTxnMarker(r.Record())
	return t, coordinatorEpoch, err == nil && (t == record.Abort || t == record.Commit), err
}

// storageError gives an I/O error the code that clients see. Damage has its own.
func storageError(what string, err error) error {
	if err == nil {
		return nil
	}
	if damageIn(err) != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, kafka.KafkaStorageError, err)
}
