package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// A snapshot is a file of record batches, in Kafka's form for snapshots, so
// that Apache's tools read it:
//
//	control batch   SNAPSHOT_HEADER (type 3): version (2), last timestamp (8), no tags (1)
//	batches         the machine's records, one value each, about 256 KiB a batch
//	control batch   SNAPSHOT_FOOTER (type 4): version (2), no tags (1)
//
// Offsets count from 0, the leader epoch is the term. Every batch has its
// CRC-32C; a file without a footer is not whole. It is written under a .part
// name and renamed when it is durable.
const (
	snapshotSuffix = ".checkpoint"
	partSuffix     = ".part"
	chunkSize      = 256 << 10
	maxChunk       = 64 << 20 // of one batch, when reading

	snapshotHeader = 3
	snapshotFooter = 4
)

// ErrSnapshot says that a snapshot is missing or damaged.
var ErrSnapshot = errors.New("metadata snapshot cannot be used")

func snapshotName(at mark) string {
	return fmt.Sprintf("%020d-%010d%s", at.index, at.term, snapshotSuffix)
}

// parseSnapshotName is the place that a name is of; false if it is no such name.
func parseSnapshotName(name string) (mark, bool) {
	var at mark
	n, err := fmt.Sscanf(name, "%d-%d"+snapshotSuffix, &at.index, &at.term)
	return at, n == 2 && err == nil && name == snapshotName(at)
}

// snapshotWriter writes one snapshot.
type snapshotWriter struct {
	file    vfs.File
	off     int64
	next    int64 // offset of the next record
	term    int32
	builder record.Builder
}

// writeSnapshot makes the snapshot at a place of the log durable. stop, asked
// between batches, ends it early.
func writeSnapshot(fs vfs.FS, dir string, at mark, records iter.Seq[[]byte], stop func() bool) error {
	return writeCheckpoint(fs, dir, snapshotName(at), snapshotWriter{term: int32(at.term)}, func(w *snapshotWriter) error {
		return w.write(records, stop)
	})
}

// WriteCheckpoint makes a file of records in a snapshot's form durable, beside
// the log: what a cluster begins with, see package metadata.
func WriteCheckpoint(fs vfs.FS, dir, name string, records iter.Seq[[]byte]) error {
	return writeCheckpoint(fs, dir, name, snapshotWriter{}, func(w *snapshotWriter) error {
		return w.write(records, func() bool { return false })
	})
}

func writeCheckpoint(fs vfs.FS, dir, name string, w snapshotWriter, write func(*snapshotWriter) error) error {
	name = dir + "/" + name
	file, err := fs.Create(name + partSuffix)
	if err != nil {
		return err
	}
	w.file = file
	err = errors.Join(write(&w), file.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("snapshot %s: %w", name, err), fs.Remove(name+partSuffix))
	}
	if err := fs.Rename(name+partSuffix, name); err != nil {
		return err
	}
	return fs.SyncDir(dir)
}

func (w *snapshotWriter) write(records iter.Seq[[]byte], stop func() bool) error {
	header := make([]byte, 2+8+1)
	if err := w.control(snapshotHeader, header); err != nil {
		return err
	}
	w.begin(0)
	for value := range records {
		w.builder.Append(record.Record{Value: value})
		if w.builder.Size() < chunkSize {
			continue
		}
		if stop() {
			return ErrStopped
		}
		if err := w.flush(); err != nil {
			return err
		}
		w.begin(0)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.control(snapshotFooter, make([]byte, 2+1)); err != nil {
		return err
	}
	return w.file.Sync()
}

func (w *snapshotWriter) begin(flags record.Attributes) {
	w.builder.Reset()
	w.builder.BaseOffset, w.builder.LeaderEpoch, w.builder.Flags = w.next, w.term, flags
}

func (w *snapshotWriter) control(kind int16, value []byte) error {
	w.begin(record.Control)
	key := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(kind))
	w.builder.Append(record.Record{Key: key, Value: value})
	return w.flush()
}

func (w *snapshotWriter) flush() error {
	n := w.builder.Count()
	if n == 0 {
		return nil
	}
	b := w.builder.Bytes()
	if _, err := w.file.WriteAt(b, w.off); err != nil {
		return err
	}
	w.off += int64(len(b))
	w.next += int64(n)
	return nil
}

// readSnapshot yields the machine's records; the last pair holds the error that
// ended it, if one did. A value is good until the next one.
func readSnapshot(fs vfs.FS, dir string, at mark) iter.Seq2[[]byte, error] {
	return ReadCheckpoint(fs, dir, snapshotName(at))
}

// ReadCheckpoint is readSnapshot of a file by its name.
func ReadCheckpoint(fs vfs.FS, dir, name string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		name := dir + "/" + name
		file, err := fs.Open(name, vfs.ReadOnly)
		if err != nil {
			yield(nil, fmt.Errorf("%w: %w", ErrSnapshot, err))
			return
		}
		more := true
		err = readChunks(file, func(v []byte) bool {
			more = yield(v, nil)
			return more
		})
		err = errors.Join(err, file.Close())
		if err != nil && more {
			yield(nil, fmt.Errorf("%w: %s: %w", ErrSnapshot, name, err))
		}
	}
}

// readChunks reads batches up to the footer, which must be there and last.
func readChunks(file vfs.File, yield func([]byte) bool) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	var reader record.Reader
	for off, first := int64(0), true; ; first = false {
		batch, err := readBatch(file, off, size)
		if err != nil {
			return err
		}
		off += int64(len(batch))
		reader.Reset(batch, maxChunk)
		if kind, ok := controlKind(&reader); ok {
			if first && kind == snapshotHeader {
				continue
			}
			if kind == snapshotFooter && off == size {
				return nil
			}
			return fmt.Errorf("control record %d at the wrong place", kind)
		}
		for reader.Next() {
			if !yield(reader.Record().Value) {
				return nil
			}
		}
		if err := reader.Err(); err != nil {
			return err
		}
	}
}

func controlKind(r *record.Reader) (int16, bool) {
	if !r.Header().Attributes.Has(record.Control) {
		return 0, false
	}
	if !r.Next() || len(r.Record().Key) < 4 {
		return -1, true
	}
	return int16(binary.BigEndian.Uint16(r.Record().Key[2:])), true
}

// readBatch reads and checks the batch at off of a file of the given size.
func readBatch(file io.ReaderAt, off, size int64) ([]byte, error) {
	head := make([]byte, record.HeaderSize)
	if size-off < int64(len(head)) {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := file.ReadAt(head, off); err != nil {
		return nil, err
	}
	n := record.Size(head)
	if n < len(head) || n > maxChunk || int64(n) > size-off {
		return nil, fmt.Errorf("a batch of %d bytes with %d left", n, size-off)
	}
	batch := make([]byte, n)
	if _, err := file.ReadAt(batch, off); err != nil {
		return nil, err
	}
	_, err := record.Check(batch)
	return batch, err
}

// sweep removes snapshots that are older than the one to keep, and parts of one
// that was not finished. A newer one has just been received, and the message that
// brings it into force is on its way.
func sweep(fs vfs.FS, dir string, keep mark) error {
	files, err := fs.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		at, whole := parseSnapshotName(strings.TrimSuffix(f.Name, partSuffix))
		if part := strings.HasSuffix(f.Name, partSuffix); whole && (part || at.index < keep.index) {
			errs = append(errs, fs.Remove(dir+"/"+f.Name))
		}
	}
	return errors.Join(errs...)
}
