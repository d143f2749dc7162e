package commitlog

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// DumpField is a named value of a [DumpLine].
type DumpField struct {
	Name  string
	Value any // int, int16, int32, int64, bool, string, []byte or nil
}

// DumpLine is one thing that a file holds: a batch, a record, an index entry.
// The fields come in the order of the layout.
type DumpLine struct {
	Kind   string // "batch", "record", "offset", "time", "aborted", "producer", "epoch", and others of the small files
	Fields []DumpField
}

// ErrUnknownFile says that a name is none of a log's files.
var ErrUnknownFile = errors.New("not a file of a log")

// Dump reads one file of a log or of a log directory, known by its name, and
// visits what it holds. With records, the records of each batch too. It changes
// nothing, and needs no Home: the log may be open.
//
// A batch whose CRC is wrong is visited with valid = false. What cannot be
// walked over ends the dump with an error that says where.
func Dump(f vfs.FS, name string, records bool, visit func(DumpLine) error) error {
	base, suffix, ok := segment.ParseName(path.Base(name))
	if !ok {
		return dumpSmall(f, name, visit)
	}
	for _, ending := range []string{cleanedSuffix, swapSuffix, deletedSuffix} {
		suffix = strings.TrimSuffix(suffix, ending)
	}
	switch suffix {
	case segment.LogSuffix:
		return dumpLog(f, name, records, visit)
	case segment.IdxSuffix:
		entries, err := segment.ReadOffsets(f, name, base)
		return dumpEach(entries, err, visit, func(e segment.OffsetEntry) DumpLine {
			return DumpLine{"offset", []DumpField{{"offset", e.Offset}, {"position", e.Position}}}
		})
	case segment.TimeSuffix:
		entries, err := segment.ReadTimes(f, name, base)
		return dumpEach(entries, err, visit, func(e segment.TimeEntry) DumpLine {
			return DumpLine{"time", []DumpField{{"timestamp", e.Timestamp}, {"offset", e.Offset}}}
		})
	case segment.TxnSuffix:
		entries, err := segment.ReadAborted(f, name)
		return dumpEach(entries, err, visit, func(a segment.AbortedTxn) DumpLine {
			return DumpLine{"aborted", []DumpField{{"producerId", a.ProducerID}, {"firstOffset", a.First},
				{"lastOffset", a.Last}, {"lastStableOffset", a.Stable}}}
		})
	case segment.SumsSuffix:
		return dumpSums(f, name, base, visit)
	case snapshotSuffix:
		return dumpSnapshot(f, name, visit)
	}
	return fmt.Errorf("%s: %w", name, ErrUnknownFile)
}

func dumpEach[T any](all []T, err error, visit func(DumpLine) error, line func(T) DumpLine) error {
	for _, e := range all {
		if err := visit(line(e)); err != nil {
			return err
		}
	}
	return err
}

func dumpSnapshot(f vfs.FS, name string, visit func(DumpLine) error) error {
	data, err := vfs.ReadFile(f, name, maxSnapshot)
	if err != nil {
		return err
	}
	p := newProducerState()
	if err := p.decode(data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return dumpEach(p.Describe(), nil, visit, func(d Producer) DumpLine {
		return DumpLine{"producer", []DumpField{{"producerId", d.ID}, {"producerEpoch", d.Epoch},
			{"lastSequence", d.LastSequence}, {"lastTimestamp", d.LastTimestamp},
			{"coordinatorEpoch", d.CoordinatorEpoch}, {"currentTxnFirstOffset", d.TxnFirst}}}
	})
}

func dumpLog(f vfs.FS, name string, records bool, visit func(DumpLine) error) error {
	file, err := f.Open(name, vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	size, err := file.Size()
	if err != nil {
		return err
	}
	s := newScanner(file, 0, size)
	for s.Next() {
		body, err := s.Body()
		if err != nil {
			return fmt.Errorf("%s: at %d: %w", name, s.pos, err)
		}
		_, bad := record.Check(body)
		if err := visit(batchLine(&s.head, s.pos, bad == nil)); err != nil {
			return err
		}
		if records && bad == nil {
			if err := dumpRecords(body, visit); err != nil {
				return fmt.Errorf("%s: at %d: %w", name, s.pos, err)
			}
		}
	}
	if s.err != nil {
		return fmt.Errorf("%s: %w", name, s.err)
	}
	return nil
}

func batchLine(h *record.Header, pos int64, valid bool) DumpLine {
	return DumpLine{"batch", []DumpField{
		{"baseOffset", h.BaseOffset}, {"lastOffset", h.LastOffset()}, {"count", h.Count},
		{"baseSequence", h.BaseSequence}, {"lastSequence", h.LastSequence()},
		{"producerId", h.ProducerID}, {"producerEpoch", h.ProducerEpoch}, {"partitionLeaderEpoch", h.LeaderEpoch},
		{"isTransactional", h.Attributes.Has(record.Transactional)}, {"isControl", h.Attributes.Has(record.Control)},
		{"position", pos}, {"maxTimestamp", h.MaxTimestamp}, {"size", h.Size()}, {"magic", int16(h.Magic)},
		{"compresscodec", h.Attributes.Codec().String()}, {"crc", int64(h.CRC)}, {"isvalid", valid},
	}}
}

func dumpRecords(body []byte, visit func(DumpLine) error) error {
	var r record.Reader
	defer r.Release()
	for r.Reset(body, record.DefaultLimit); r.Next(); {
		rec := r.Record()
		line := DumpLine{"record", []DumpField{{"offset", rec.Offset}, {"timestamp", rec.Timestamp}}}
		if r.Header().Attributes.Has(record.Control) {
			t, epoch, err := record.ParseEndTxnMarker(rec)
			if err == nil && (t == record.Abort || t == record.Commit) {
				line.Fields = append(line.Fields, DumpField{"endTxnMarker", map[record.ControlType]string{
					record.Abort: "ABORT", record.Commit: "COMMIT"}[t]}, DumpField{"coordinatorEpoch", epoch})
			}
		}
		line.Fields = append(line.Fields, DumpField{"key", orNil(rec.Key)}, DumpField{"value", orNil(rec.Value)})
		for _, h := range rec.Headers {
			line.Fields = append(line.Fields, DumpField{"header " + h.Key, orNil(h.Value)})
		}
		if err := visit(line); err != nil {
			return err
		}
	}
	return r.Err()
}

// orNil makes a null an untyped nil.
func orNil(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
