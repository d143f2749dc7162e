package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// AbortedTxn is a transaction that was rolled back, as .txnindex keeps it:
//
//	offset size  field
//	     0    2  version, 0
//	     2    8  producer id
//	    10    8  first offset of the transaction
//	    18    8  offset of its abort marker
//	    26    8  last stable offset when the marker was written
type AbortedTxn struct {
	ProducerID int64
	First      int64
	Last       int64
	Stable     int64
}

const abortedEntry = 34

func (a AbortedTxn) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(a.ProducerID))
	b = binary.BigEndian.AppendUint64(b, uint64(a.First))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Last))
	return binary.BigEndian.AppendUint64(b, uint64(a.Stable))
}

func parseAborted(b []byte) (AbortedTxn, bool) {
	be := binary.BigEndian
	a := AbortedTxn{
		ProducerID: int64(be.Uint64(b[2:])),
		First:      int64(be.Uint64(b[10:])),
		Last:       int64(be.Uint64(b[18:])),
		Stable:     int64(be.Uint64(b[26:])),
	}
	return a, be.Uint16(b) == 0 && a.First >= 0 && a.First <= a.Last
}

// AppendAborted adds a transaction whose abort marker is in this segment. It is
// written at once and synced with the segment; recovery makes it anew. One that
// is in already is left alone. On a full disk it waits in memory: Persist writes
// it, and the segment is not sealed without it.
func (s *Segment) AppendAborted(a AbortedTxn) error {
	all, err := s.Aborted()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(have AbortedTxn) bool { return have.Last == a.Last }) {
		return nil
	}
	s.mu.Lock()
	s.mu.aborted = append(s.mu.aborted, a)
	s.mu.unwritten++
	s.mu.Unlock()
	if err := persistAborted(s); !vfs.IsNoSpace(err) {
		return err
	}
	return nil
}

// persistAborted writes the transactions that the file lacks.
func persistAborted(s *Segment) error {
	s.mu.Lock()
	all, n := s.mu.aborted, s.mu.unwritten
	s.mu.Unlock()
	if n == 0 {
		return nil
	}
	f, err := s.cfg.FS.Open(s.path(TxnSuffix), vfs.ReadWrite|vfs.CreateNew)
	if err != nil {
		return err
	}
	var b []byte
	for _, a := range all[len(all)-n:] {
		b = a.append(b)
	}
	_, err = f.WriteAt(b, int64(len(all)-n)*abortedEntry)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.unwritten = max(0, s.mu.unwritten-n)
	return nil
}

// Aborted gives the rolled back transactions in the order of their markers. The
// slice is not to be changed.
func (s *Segment) Aborted() ([]AbortedTxn, error) {
	s.mu.Lock()
	in, all := s.mu.abortedIn, s.mu.aborted
	s.mu.Unlock()
	if in {
		return slices.Clip(all), nil
	}
	all, err := s.readAborted()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.abortedIn {
		s.mu.aborted, s.mu.abortedIn = all, true
	}
	return slices.Clip(s.mu.aborted), nil
}

func (s *Segment) readAborted() ([]AbortedTxn, error) {
	end, err := s.readSeal()
	if err != nil {
		return nil, err
	}
	data, err := vfs.ReadFile(s.cfg.FS, s.path(TxnSuffix), max(s.size.Load(), 1<<20))
	if gone := s.names.ours(); gone != nil {
		return nil, gone
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if end != nil && !end.holds(2, data) {
		return nil, fmt.Errorf("segment %d: %s is not what was sealed: %w", s.base, TxnSuffix, ErrBadIndex)
	}
	var all []AbortedTxn
	for i := 0; i+abortedEntry <= len(data); i += abortedEntry {
		a, ok := parseAborted(data[i : i+abortedEntry])
		if !ok || a.Last < s.base {
			return nil, fmt.Errorf("segment %d, aborted transaction %d: %w", s.base, i/abortedEntry, ErrBadIndex)
		}
		all = append(all, a)
	}
	return all, nil
}

// SetAborted makes all the list, on disk too, where it was found to be wrong.
func (s *summing) SetAborted(all []AbortedTxn) error {
	end, err := s.readSeal()
	if err != nil {
		return err
	}
	if err := s.writeAborted(all); err != nil {
		return err
	}
	s.seg.mu.Lock()
	s.seg.mu.aborted, s.seg.mu.abortedIn, s.seg.mu.unwritten = all, true, 0
	s.seg.mu.Unlock()
	return s.reseal(end, 2)
}

func (s *summing) writeAborted(all []AbortedTxn) error {
	var data []byte
	for _, a := range all {
		data = a.append(data)
	}
	s.seg.names.take()
	defer s.seg.names.give()
	if err := s.seg.names.ours(); err != nil {
		return err
	}
	if len(data) == 0 {
		return removeIfThere(s.seg.cfg.FS, s.seg.path(TxnSuffix))
	}
	return vfs.WriteAtomic(s.seg.cfg.FS, s.seg.path(TxnSuffix), data)
}

// ClearAborted forgets them, on disk too: recovery and truncation find them
// again among the batches.
func (s *Segment) ClearAborted() error {
	s.mu.Lock()
	s.mu.aborted, s.mu.abortedIn, s.mu.unwritten = nil, true, 0
	s.mu.Unlock()
	return removeIfThere(s.cfg.FS, s.path(TxnSuffix))
}
