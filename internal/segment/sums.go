package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math"
	"sort"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// The layout of .sums, which is ours: docs/format/sums.md.
const (
	sumsMagic  = "MyS1"
	pieceHead  = 32
	blockEntry = 12
	sealSize   = pieceHead + 8 + 16 + 3*12

	kindBlocks = 0
	kindSeal   = 1

	// blockBytes is how much of the log a block has, or a little more: it ends
	// where a batch does.
	blockBytes = 64 << 10
	maxSums    = 64 << 20 // bytes of a file: enough for any segment
)

// Block is a run of whole batches and its checksum.
type Block struct {
	Begin, End int64 // positions in .log
	CRC        uint32
	Last       int64 // last offset in it
}

// block is a Block in less memory.
type block struct {
	begin, end uint32
	crc        uint32
	last       uint32 // - base
}

func (b *block) whole(base int64) Block {
	return Block{Begin: int64(b.begin), End: int64(b.end), CRC: b.crc, Last: base + int64(b.last)}
}

// seal is what the last piece says of a closed segment.
type seal struct {
	size   int64 // of .log
	next   int64 // base of the next segment, -1 if there is none
	newest stamp
	files  [3]fileSum
}

// fileSum is the checksum of an index file.
type fileSum struct {
	bytes int64
	crc   uint32
}

// sealed are the files that a seal covers, in its order.
var sealed = [3]string{IdxSuffix, TimeSuffix, TxnSuffix}

func appendPiece(b []byte, base, at int64, kind, n uint32) []byte {
	b = append(b, sumsMagic...)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(base))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint32(b, kind)
	return binary.BigEndian.AppendUint32(b, n)
}

// closePiece puts the checksum into the piece that is all of b.
func closePiece(b []byte) []byte {
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

// encodeBlocks writes pieces of blocks, each without a gap.
func encodeBlocks(base int64, all []block) []byte {
	var out []byte
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].begin == all[n-1].end {
			n++
		}
		p := appendPiece(nil, base, int64(all[0].begin), kindBlocks, uint32(n))
		for _, b := range all[:n] {
			p = binary.BigEndian.AppendUint32(p, b.end-b.begin)
			p = binary.BigEndian.AppendUint32(p, b.crc)
			p = binary.BigEndian.AppendUint32(p, b.last)
		}
		out = append(out, closePiece(p)...)
		all = all[n:]
	}
	return out
}

func (s *seal) encode(base int64) []byte {
	p := appendPiece(nil, base, s.size, kindSeal, uint32(len(s.files)))
	p = binary.BigEndian.AppendUint64(p, uint64(s.next))
	p = binary.BigEndian.AppendUint64(p, uint64(s.newest.timestamp))
	p = binary.BigEndian.AppendUint64(p, uint64(s.newest.offset))
	for _, f := range s.files {
		p = binary.BigEndian.AppendUint64(p, uint64(f.bytes))
		p = binary.BigEndian.AppendUint32(p, f.crc)
	}
	return closePiece(p)
}

// parsePiece reads the piece that data begins with: its size, and what it holds.
func parsePiece(data []byte, base int64) (size int, blocks []block, end *seal) {
	be := binary.BigEndian
	if len(data) < pieceHead || string(data[:4]) != sumsMagic || int64(be.Uint64(data[8:])) != base {
		return 0, nil, nil
	}
	at, kind, n := int64(be.Uint64(data[16:])), be.Uint32(data[24:]), int64(be.Uint32(data[28:]))
	switch kind {
	case kindBlocks:
		size = int(min(pieceHead+n*blockEntry, math.MaxInt32))
	case kindSeal:
		size = sealSize
	}
	if size == 0 || size > len(data) || be.Uint32(data[4:]) != crc32.Checksum(data[8:size], castagnoli) || at < 0 {
		return 0, nil, nil
	}
	if kind == kindSeal {
		s := &seal{size: at, next: int64(be.Uint64(data[pieceHead:]))}
		s.newest = stamp{int64(be.Uint64(data[pieceHead+8:])), int64(be.Uint64(data[pieceHead+16:]))}
		for i := range s.files {
			e := data[pieceHead+24+12*i:]
			s.files[i] = fileSum{int64(be.Uint64(e)), be.Uint32(e[8:])}
		}
		return size, nil, s
	}
	blocks = make([]block, 0, n)
	for e := data[pieceHead:size]; len(e) > 0; e = e[blockEntry:] {
		end := at + int64(be.Uint32(e))
		if end == at || end > math.MaxUint32 {
			return 0, nil, nil
		}
		blocks = append(blocks, block{uint32(at), uint32(end), be.Uint32(e[4:]), be.Uint32(e[8:])})
		at = end
	}
	return size, blocks, nil
}

// parseSums reads a file: the blocks that end at or before size, rising and
// without overlap, and the seal if it counts. bad is how many bytes are no piece.
func parseSums(data []byte, base, size int64) (blocks []block, end *seal, bad int) {
	for len(data) > 0 {
		n, more, s := parsePiece(data, base)
		if n == 0 {
			next := bytes.Index(data[1:], []byte(sumsMagic))
			if next < 0 {
				next = len(data) - 1
			}
			data, bad, end = data[next+1:], bad+next+1, nil
			continue
		}
		data, end = data[n:], s
		if len(more) == 0 {
			continue
		}
		keep := sort.Search(len(blocks), func(i int) bool { return blocks[i].end > more[0].begin })
		blocks = append(blocks[:keep], more...)
	}
	blocks = blocks[:sort.Search(len(blocks), func(i int) bool { return int64(blocks[i].end) > size })]
	if end != nil && end.size != size {
		end = nil
	}
	return blocks, end, bad
}

// Sums is what a .sums file says, for tools.
type Sums struct {
	Blocks []Block
	Sealed bool
	Next   int64 // base of the next segment, -1 if not known
	// Files are the index files' checksums by suffix, if Sealed.
	Files map[string]uint32
	Bytes map[string]int64
	// Bad is how many bytes of the file are no piece.
	Bad int
}

// ReadSums reads a .sums file for a segment whose .log has size bytes. A missing
// one is [fs.ErrNotExist].
func ReadSums(f vfs.FS, name string, base, size int64) (Sums, error) {
	data, err := vfs.ReadFile(f, name, maxSums)
	if err != nil {
		return Sums{}, err
	}
	blocks, end, bad := parseSums(data, base, size)
	out := Sums{Next: -1, Bad: bad}
	for i := range blocks {
		out.Blocks = append(out.Blocks, blocks[i].whole(base))
	}
	if end != nil {
		out.Sealed, out.Next, out.Files, out.Bytes = true, end.next, map[string]uint32{}, map[string]int64{}
		for i, suffix := range sealed {
			out.Files[suffix], out.Bytes[suffix] = end.files[i].crc, end.files[i].bytes
		}
	}
	return out, nil
}

// readSums reads the segment's file; without one there are no blocks.
func (s *summing) readSums() ([]block, *seal, error) {
	data, err := vfs.ReadFile(s.seg.cfg.FS, s.seg.path(SumsSuffix), maxSums)
	if gone := s.seg.names.ours(); gone != nil {
		return nil, nil, gone
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	blocks, end, _ := parseSums(data, s.seg.base, s.seg.size.Load())
	return blocks, end, nil
}

// readSeal reads only the last piece; nil if it is no seal that counts.
func (s *summing) readSeal() (*seal, error) {
	end, err := s.lastSeal()
	if end != nil && end.size != s.seg.size.Load() {
		return nil, err // it was written since
	}
	return end, err
}

// lastSeal is the seal, also of another size.
func (s *summing) lastSeal() (*seal, error) {
	if s.seg.cfg.NoSums {
		return nil, nil //nolint:nilnil // no seal is no error
	}
	f, err := s.seg.cfg.FS.Open(s.seg.path(SumsSuffix), vfs.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no seal is no error
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	size, err := f.Size()
	if err != nil || size < sealSize {
		return nil, err
	}
	var b [sealSize]byte
	if _, err := f.ReadAt(b[:], size-sealSize); err != nil {
		return nil, err
	}
	if err := s.seg.names.ours(); err != nil {
		return nil, err
	}
	_, _, end := parsePiece(b[:], s.seg.base)
	return end, nil
}

// holds tells whether data is what the seal says of file i of [sealed].
func (s *seal) holds(i int, data []byte) bool {
	return s.files[i] == fileSum{int64(len(data)), crc32.Checksum(data, castagnoli)}
}
