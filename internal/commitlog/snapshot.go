package commitlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path"
	"slices"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// A producer snapshot, <offset>.snapshot, is the producer state before that
// offset. Kafka's layout, version 1:
//
//	offset size  field
//	     0    2  version, 1
//	     2    4  CRC-32C of what follows
//	     6    4  number of entries
//	    10   46  each entry:
//	                8  producer id            4  last offset − first offset
//	                2  epoch                  8  timestamp of the last batch, ms
//	                4  last sequence          4  coordinator epoch
//	                8  last offset            8  first offset of the open transaction
//
// -1 stands for none. A producer has an entry for each of its batches that are
// remembered, the newest last, so that a batch sent again is known after a
// restart too. Kafka writes the newest alone, and takes the last of several.
const (
	snapshotSuffix   = ".snapshot"
	snapshotVersion  = 1
	snapshotHead     = 10
	snapshotProducer = 46
	maxSnapshot      = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes a snapshot as of offset at. A batch at or above it, which the
// holder of the turn has taken in already but not yet appended, is left out: if
// a crash took it, its producer must be able to send it again.
func (p *ProducerState) encode(at int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*producer, 0, len(p.byID))
	for _, e := range p.byID {
		if e.doubt && e.txnFirst < 0 {
			continue // one that is not known may go on anywhere
		}
		if e = e.asOf(at); e != nil {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *producer) int { return cmp.Compare(a.id, b.id) })
	be := binary.BigEndian
	b := make([]byte, snapshotHead, snapshotHead+len(all)*snapshotProducer)
	be.PutUint16(b, snapshotVersion)
	entries := 0
	for _, e := range all {
		txnFirst := e.txnFirst
		if txnFirst >= at {
			txnFirst = -1
		}
		known := e.batches[:e.n]
		for len(known) > 0 && known[len(known)-1].lastOffset >= at {
			known = known[:len(known)-1]
		}
		if len(known) == 0 {
			known = []batchTrace{{lastSequence: -1, lastOffset: -1}}
		}
		for i, t := range known {
			if i == len(known)-1 {
				t.timestamp = e.timestamp
			}
			b = be.AppendUint64(b, uint64(e.id))
			b = be.AppendUint16(b, uint16(e.epoch))
			b = be.AppendUint32(b, uint32(t.lastSequence))
			b = be.AppendUint64(b, uint64(t.lastOffset))
			b = be.AppendUint32(b, uint32(t.delta))
			b = be.AppendUint64(b, uint64(t.timestamp))
			b = be.AppendUint32(b, uint32(e.coordinatorEpoch))
			b = be.AppendUint64(b, uint64(txnFirst))
			entries++
		}
	}
	be.PutUint32(b[6:], uint32(entries))
	be.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
	return b
}

// decode replaces the state by a snapshot's.
func (p *ProducerState) decode(b []byte) error {
	be := binary.BigEndian
	switch {
	case len(b) < snapshotHead:
		return fmt.Errorf("%d bytes: %w", len(b), errMalformed)
	case be.Uint16(b) != snapshotVersion:
		return fmt.Errorf("version %d: %w", be.Uint16(b), errMalformed)
	case be.Uint32(b[2:]) != crc32.Checksum(b[6:], castagnoli):
		return fmt.Errorf("wrong CRC: %w", errMalformed)
	case int64(be.Uint32(b[6:]))*snapshotProducer != int64(len(b)-snapshotHead):
		return fmt.Errorf("%d entries in %d bytes: %w", be.Uint32(b[6:]), len(b), errMalformed)
	}
	p.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	for b = b[snapshotHead:]; len(b) > 0; b = b[snapshotProducer:] {
		e := &producer{
			id: int64(be.Uint64(b)), epoch: int16(be.Uint16(b[8:])), timestamp: int64(be.Uint64(b[26:])),
			coordinatorEpoch: int32(be.Uint32(b[34:])), txnFirst: int64(be.Uint64(b[38:])),
		}
		last := batchTrace{
			lastSequence: int32(be.Uint32(b[10:])), lastOffset: int64(be.Uint64(b[14:])),
			delta: int32(be.Uint32(b[22:])), timestamp: e.timestamp,
		}
		if before := p.byID[e.id]; before != nil && before.epoch == e.epoch {
			e.batches, e.n = before.batches, before.n
		}
		if last.lastSequence >= 0 {
			e.remember(last)
		}
		if e.txnFirst >= 0 && p.byID[e.id] == nil {
			p.open = append(p.open, txn{producer: e.id, first: e.txnFirst})
		}
		p.byID[e.id] = e
	}
	slices.SortFunc(p.open, func(a, b txn) int { return cmp.Compare(a.first, b.first) })
	return nil
}

// snapshotFiles are the producer snapshots of one log.
type snapshotFiles struct {
	fs     vfs.FS
	dir    string
	logger *slog.Logger
}

// load finds the newest good snapshot at or below max, reads it into state and
// gives its offset; without one the state is empty and the offset is floor.
// Snapshots above max tell of a past that is gone, those below floor lack batches
// that are gone: they are removed, and bad ones too.
func (s *snapshotFiles) load(state *ProducerState, floor, maxOffset int64) (int64, error) {
	offsets, err := s.list()
	if err != nil {
		return 0, err
	}
	slices.Reverse(offsets)
	for _, off := range offsets {
		name := s.name(off)
		if floor <= off && off <= maxOffset {
			data, err := vfs.ReadFile(s.fs, name, maxSnapshot)
			if err == nil {
				err = state.decode(data)
			}
			if err == nil {
				return off, nil
			}
			if !errors.Is(err, errMalformed) {
				return 0, err
			}
			s.logger.Warn("producer snapshot is unreadable", "file", name, "error", err)
		}
		if err := s.fs.Remove(name); err != nil {
			return 0, err
		}
	}
	state.reset()
	return floor, nil
}

func (s *snapshotFiles) name(offset int64) string {
	return path.Join(s.dir, segment.Name(offset, snapshotSuffix))
}

// list gives the offsets of the snapshots on disk, rising.
func (s *snapshotFiles) list() ([]int64, error) {
	files, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, i := range files {
		if off, suffix, ok := segment.ParseName(i.Name); ok && suffix == snapshotSuffix {
			out = append(out, off)
		}
	}
	return out, nil
}

// drop removes the snapshots for which gone is true.
func (s *snapshotFiles) drop(gone func(offset int64) bool) error {
	offsets, err := s.list()
	if err != nil {
		return err
	}
	for _, off := range offsets {
		if gone(off) {
			if err := s.fs.Remove(s.name(off)); err != nil {
				return err
			}
		}
	}
	return nil
}
