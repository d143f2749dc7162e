package segment

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// summing is the part of a segment that makes its checksums: see
// docs/format/sums.md.
//
//	| blocks in the file | pending: whole blocks | open: the block that grows |
//	                                        |
//	                                      synced: only what lies below may be written
//
// The writer adds; whoever writes the caches of a log persists. Both fields of
// the tail are guarded by the segment's mu, and only the writer changes open.
type summing struct {
	seg *Segment
	tail
	made []block // the writer's: blocks that one Write ends
}

// tail is what is summed and not in the file yet.
type tail struct {
	open    block
	pending []block
	synced  int64 // data below this position is durable
	inFile  int64 // blocks of the file reach up to here, a short last one too
	fileEnd int64 // where the next piece goes; -1 if that is not known
}

// begin makes the next block begin at position at.
func (s *summing) begin(at, fileEnd int64) {
	s.tail = tail{open: block{begin: uint32(at), end: uint32(at)}, synced: at, inFile: at, fileEnd: fileEnd}
}

// sum takes written batches in: the block that is open now, and in made those
// that ended. It is the writer's; nothing is published.
func (s *summing) sum(bufs [][]byte, marks []Mark) block {
	open := s.open
	s.made = s.made[:0]
	var rest []byte
	for i := range marks {
		m := &marks[i]
		if len(rest) == 0 {
			rest, bufs = bufs[0], bufs[1:]
		}
		open.crc = sumBatch(open.crc, rest[:m.Bytes], m)
		rest = rest[m.Bytes:]
		open.end += uint32(m.Bytes)
		open.last = uint32(m.LastOffset - s.seg.base)
		if open.end-open.begin >= blockBytes {
			s.made = append(s.made, open)
			open = block{begin: open.end, end: open.end}
		}
	}
	return open
}

// sumBatch goes on with a checksum over a batch, which it hashes only where
// that is cheaper than to combine.
func sumBatch(sum uint32, b []byte, m *Mark) uint32 {
	if m.Head <= 0 || len(b)-m.Head < hashBelow {
		return crc32.Update(sum, castagnoli, b)
	}
	out := combine(crc32.Update(sum, castagnoli, b[:m.Head]), m.CRC, len(b)-m.Head)
	if invariant.On {
		invariant.Check(out == crc32.Update(sum, castagnoli, b), "batch that ends at %d has another checksum than it says", m.LastOffset)
	}
	return out
}

// PersistSums writes the sums of what is durable. It syncs nothing: what a crash
// takes of them is made again.
func (s *summing) PersistSums() error {
	s.seg.mu.Lock()
	t := s.tail
	n := 0
	for n < len(t.pending) && int64(t.pending[n].end) <= t.synced {
		n++
	}
	whole := slices.Clone(t.pending[:n])
	short := n == len(t.pending) && t.open.end > t.open.begin && int64(t.open.end) <= t.synced
	s.seg.mu.Unlock()
	if n == 0 && (!short || int64(t.open.end) == t.inFile) {
		return nil
	}
	data := encodeBlocks(s.seg.base, whole)
	firm, inFile := len(data), t.inFile
	if n > 0 {
		inFile = int64(whole[n-1].end)
	}
	if short {
		data = append(data, encodeBlocks(s.seg.base, []block{t.open})...)
		inFile = int64(t.open.end)
	}
	at, err := s.writeSums(data, t.fileEnd)
	if err != nil {
		return err
	}
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	s.pending = slices.Delete(s.pending, 0, n)
	s.inFile, s.fileEnd = inFile, at+int64(firm)
	return nil
}

// writeSums writes data into the file at a position, or at its end if that is
// negative, and gives the position.
func (s *summing) writeSums(data []byte, at int64) (int64, error) {
	flag := vfs.ReadWrite | vfs.CreateNew
	if at == 0 {
		flag |= vfs.Truncate
	}
	s.seg.names.take()
	defer s.seg.names.give()
	if err := s.seg.names.ours(); err != nil {
		return at, err
	}
	f, err := s.seg.cfg.FS.Open(s.seg.path(SumsSuffix), flag)
	if err != nil {
		return at, err
	}
	if at < 0 {
		if at, err = f.Size(); err != nil {
			return at, errors.Join(err, f.Close())
		}
	}
	_, err = f.WriteAt(data, at)
	return at, errors.Join(err, f.Close())
}

// SyncIndexes ends what is kept beside the data of a segment that is closed and
// synced: it writes the sums that are missing and the seal over the index files,
// and makes all of them durable, so that an unclean start need not look at a
// segment below the recovery point. next is the base of the segment that
// follows, -1 if none does. Of a segment that was replaced there is nothing to do.
func (s *summing) SyncIndexes(next int64) error {
	if s.seg.names.gone.Load() {
		return nil
	}
	if !s.seg.cfg.NoSums {
		if err := s.seal(next); err != nil {
			return err
		}
	}
	for _, suffix := range []string{IdxSuffix, TimeSuffix, TxnSuffix, SumsSuffix} {
		f, err := s.seg.cfg.FS.Open(s.seg.path(suffix), vfs.ReadWrite)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// seal writes the last piece.
func (s *summing) seal(next int64) error {
	if err := s.PersistSums(); err != nil {
		return err
	}
	end, err := s.sealNow(next)
	if err != nil {
		return err
	}
	s.seg.mu.Lock()
	at := s.fileEnd
	if s.open.end > s.open.begin && int64(s.open.end) == s.inFile { // the short block stays now
		if at >= 0 {
			at += pieceHead + blockEntry
		}
		s.open = block{begin: s.open.end, end: s.open.end}
	}
	s.seg.mu.Unlock()
	if at, err = s.writeSums(end.encode(s.seg.base), at); err != nil {
		return err
	}
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	s.fileEnd = at + sealSize
	return nil
}

// sealNow looks at the index files as they are.
func (s *summing) sealNow(next int64) (*seal, error) {
	end := &seal{size: s.seg.size.Load(), next: next}
	ts, offset, err := s.seg.Newest()
	if err != nil {
		return nil, err
	}
	end.newest = stamp{ts, offset}
	for i, suffix := range sealed {
		if end.files[i], err = s.sumFile(suffix); err != nil {
			return nil, err
		}
	}
	return end, nil
}

// reseal writes the seal anew after some of the files in it were. The others
// are to stay what they were said to be: they may be wrong as well.
func (s *summing) reseal(old *seal, anew ...int) error {
	if old == nil || s.seg.cfg.NoSums {
		return nil
	}
	end := *old
	for _, i := range anew {
		var err error
		if end.files[i], err = s.sumFile(sealed[i]); err != nil {
			return err
		}
	}
	s.seg.mu.Lock()
	at := s.fileEnd
	s.seg.mu.Unlock()
	at, err := s.writeSums(end.encode(s.seg.base), at)
	if err != nil {
		return err
	}
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	s.fileEnd = at + sealSize
	return nil
}

// sumFile is the checksum of an index file as it is; a missing one is empty.
func (s *summing) sumFile(suffix string) (fileSum, error) {
	data, err := vfs.ReadFile(s.seg.cfg.FS, s.seg.path(suffix), 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return fileSum{int64(len(data)), crc32.Checksum(data, castagnoli)}, err
}

// cutSums takes away what the file says of bytes from position at on, durably:
// they are about to change.
func (s *summing) cutSums(at int64) error {
	blocks, _, err := s.readSums()
	if err != nil {
		return err
	}
	s.seg.mu.Lock()
	blocks = mergeBlocks(blocks, s.pending)
	if s.open.end > s.open.begin {
		blocks = mergeBlocks(blocks, []block{s.open})
	}
	s.seg.mu.Unlock()
	n := len(blocks)
	for n > 0 && int64(blocks[n-1].end) > at {
		n--
	}
	return s.replaceSums(blocks[:n], at)
}

// mergeBlocks adds blocks that lie behind, or take the place of the last.
func mergeBlocks(all, more []block) []block {
	for _, b := range more {
		for len(all) > 0 && all[len(all)-1].end > b.begin {
			all = all[:len(all)-1]
		}
		all = append(all, b)
	}
	return all
}

// replaceSums makes blocks all that the file says, durably, and begins the next
// block at position at.
func (s *summing) replaceSums(blocks []block, at int64) error {
	data := encodeBlocks(s.seg.base, blocks)
	there, err := vfs.Exists(s.seg.cfg.FS, s.seg.path(SumsSuffix))
	if err != nil {
		return err
	}
	if there || len(data) > 0 {
		f, err := s.seg.cfg.FS.Create(s.seg.path(SumsSuffix))
		if err != nil {
			return err
		}
		if len(data) > 0 {
			_, err = f.WriteAt(data, 0)
		}
		if err == nil {
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	s.begin(at, int64(len(data)))
	return nil
}

// Resum begins to sum anew at position at: recovery is the writer then, and says
// what it finds with Sum.
func (s *summing) Resum(at int64) {
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	if s.open.end > s.open.begin {
		s.pending = append(s.pending, s.open)
	}
	s.open = block{begin: uint32(at), end: uint32(at)}
	s.inFile = min(s.inFile, at) // opening took it for granted that the file has all
}

// Sum takes the next whole batch in.
func (s *summing) Sum(b []byte, m Mark) {
	if s.seg.cfg.NoSums {
		return
	}
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	s.open = s.sum([][]byte{b}, []Mark{m})
	s.pending = append(s.pending, s.made...)
}

// Blocks gives the sums of the file, those behind the end of the data too: what
// they speak of was durable once. Torn tells that the file holds bytes which are
// no piece, as a process that is killed while it writes one may leave.
func (s *summing) Blocks() (list []Block, torn bool, err error) {
	if s.seg.cfg.NoSums {
		return nil, false, nil
	}
	data, err := vfs.ReadFile(s.seg.cfg.FS, s.seg.path(SumsSuffix), maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	blocks, _, bad := parseSums(data, s.seg.base, math.MaxInt64)
	list = make([]Block, len(blocks))
	for i := range blocks {
		list[i] = blocks[i].whole(s.seg.base)
	}
	return list, bad > 0, nil
}

// Sealed is what the file's last piece says: how large the data was when the
// segment was closed, and the base of the following segment. -1 and -1 without a
// seal.
func (s *summing) Sealed() (size, next int64, err error) {
	end, err := s.lastSeal()
	if err != nil || end == nil {
		return -1, -1, err
	}
	return end.size, end.next, nil
}

// Recovered ends what recovery found: data is durable up to the segment's size,
// everything from position own on was verified, and if the file had sums of
// bytes that are gone, or bytes that are no sums, it loses them, durably.
func (s *summing) Recovered(own int64, stale bool) error {
	size := s.seg.size.Load()
	s.seg.own.Store(min(own, size))
	s.seg.guard.drop()
	s.seg.mu.Lock()
	s.synced = size
	s.seg.mu.Unlock()
	if !stale || s.seg.cfg.NoSums {
		return nil
	}
	return s.cutSums(size)
}

// Remake makes the indexes anew out of what somebody else walks over.
type Remake struct {
	seg *Segment
	x   index
}

// Remake begins with no batch.
func (s *summing) Remake() *Remake {
	return &Remake{s.seg, index{newest: stamp{-1, -1}}}
}

// Note takes the next batch in.
func (r *Remake) Note(m Mark) { r.seg.note(&r.x, m, m.Position) }

// Done writes the indexes and puts them in place.
func (r *Remake) Done() error {
	if err := r.x.write(r.seg); err != nil {
		return err
	}
	r.seg.install(&r.x)
	return nil
}

// Cut is Truncate that leaves the indexes to the caller.
func (s *summing) Cut(size int64) error {
	if err := s.cutSums(size); err != nil {
		return err
	}
	err := s.seg.Raw(func(f vfs.File) error {
		if err := f.Truncate(size); err != nil {
			return err
		}
		return f.Sync()
	})
	if err != nil {
		return err
	}
	s.seg.size.Store(size)
	s.seg.cutGuard(size)
	return nil
}

// Durable is up to where the data is durable.
func (s *summing) Durable() int64 {
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	return min(s.synced, s.seg.size.Load())
}

// Summer makes sums of batches that are there already.
type Summer struct {
	base int64
	open block
	made []block
}

// Summer begins at position at.
func (s *summing) Summer(at int64) *Summer {
	return &Summer{base: s.seg.base, open: block{begin: uint32(at), end: uint32(at)}}
}

// Add takes the next whole batch in.
func (s *Summer) Add(b []byte, m Mark) {
	s.open.crc = sumBatch(s.open.crc, b, &m)
	s.open.end += uint32(m.Bytes)
	s.open.last = uint32(m.LastOffset - s.base)
	if s.open.end-s.open.begin >= blockBytes {
		s.made = append(s.made, s.open)
		s.open = block{begin: s.open.end, end: s.open.end}
	}
}

// Blocks ends the open block and gives all.
func (s *Summer) Blocks() (out []Block) {
	if s.open.end > s.open.begin {
		s.made = append(s.made, s.open)
		s.open = block{begin: s.open.end, end: s.open.end}
	}
	for i := range s.made {
		out = append(out, s.made[i].whole(s.base))
	}
	return out
}

// SetSums gives a closed segment sums for all of its data, and the seal.
func (s *summing) SetSums(all []Block, next int64) error {
	blocks := make([]block, len(all))
	for i, b := range all {
		blocks[i] = block{uint32(b.Begin), uint32(b.End), b.CRC, uint32(b.Last - s.seg.base)}
	}
	old, err := s.readSeal()
	if err != nil {
		return err
	}
	end, err := s.sealNow(next)
	if err != nil {
		return err
	}
	if old != nil { // what it says of the index files is for MendIndexes to compare
		end.files = old.files
	}
	s.seg.names.take()
	defer s.seg.names.give()
	if err := s.seg.names.ours(); err != nil {
		return err
	}
	if err := vfs.WriteAtomic(s.seg.cfg.FS, s.seg.path(SumsSuffix), append(encodeBlocks(s.seg.base, blocks), end.encode(s.seg.base)...)); err != nil {
		return err
	}
	s.seg.mu.Lock()
	defer s.seg.mu.Unlock()
	s.fileEnd = -1
	s.seg.guard.drop()
	return nil
}

// MendIndexes compares the index files with the seal and makes those anew that
// are wrong, all but the list of aborted transactions: for that it tells what
// the right one is supposed to be made from, see [Segment.SetAborted].
func (s *summing) MendIndexes() (mended, aborted bool, err error) {
	end, err := s.readSeal()
	if err != nil || end == nil {
		return false, false, err
	}
	var bad [3]bool
	for i, suffix := range sealed {
		sum, err := s.sumFile(suffix)
		if err != nil {
			return false, false, err
		}
		bad[i] = end.files[i] != sum
	}
	if bad[0] || bad[1] {
		x, err := s.seg.view()
		if err == nil {
			err = x.write(s.seg)
		}
		if err == nil {
			err = s.reseal(end, 0, 1)
		}
		if err != nil {
			return false, false, err
		}
	}
	return bad[0] || bad[1], bad[2], nil
}
