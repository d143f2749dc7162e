package torture

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// harm is one thing that happens to a file behind everybody's back.
type harm struct {
	file string
	at   int64 // of the byte, or where the file ends from now on
	bit  int   // which bit turns; < 0 cuts the file off
}

func (h harm) String() string {
	if h.bit < 0 {
		return fmt.Sprintf("%s cut off at %d", h.file, h.at)
	}
	return fmt.Sprintf("bit %d of byte %d of %s turned", h.bit, h.at, h.file)
}

// do harms a disk.
func (h harm) do(disk *vfs.Mem) error {
	f, err := disk.Open(h.file, vfs.ReadWrite)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // memory
	if h.bit < 0 {
		return f.Truncate(h.at)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], h.at); err != nil {
		return err
	}
	b[0] ^= 1 << h.bit
	_, err = f.WriteAt(b[:], h.at)
	return err
}

// victim is a directory to be harmed, as its owner left it.
type victim struct {
	opt   options
	disk  *vfs.Mem
	logs  []*history
	kinds map[string][]vfs.Info // files by what they are, with their paths for names
	names []string              // of kinds, sorted
	wrap  func(vfs.FS) vfs.FS   // what whoever opens it sees; nil: the disk
}

// newVictim takes what is on a disk.
func newVictim(opt options, disk *vfs.Mem, logs []*history) (*victim, error) {
	v := &victim{opt: opt, disk: disk, logs: logs, kinds: map[string][]vfs.Info{}}
	if err := v.list(root); err != nil {
		return nil, err
	}
	for name := range v.kinds {
		v.names = append(v.names, name)
	}
	slices.Sort(v.names)
	return v, nil
}

func (v *victim) list(dir string) error {
	files, err := v.disk.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, i := range files {
		name := path.Join(dir, i.Name)
		if i.Dir {
			if err := v.list(name); err != nil {
				return err
			}
			continue
		}
		if i.Size == 0 {
			continue
		}
		kind := i.Name
		if _, suffix, ok := segment.ParseName(i.Name); ok {
			kind = suffix
		}
		i.Name = name
		v.kinds[kind] = append(v.kinds[kind], i)
	}
	return nil
}

// draw draws a harm: every kind of file as often as the others, every byte of a
// kind too.
func (v *victim) draw(dice *rand.Rand, flip bool) (kind string, h harm) {
	kind = v.names[dice.IntN(len(v.names))]
	if dice.IntN(3) == 0 {
		kind = segment.LogSuffix // what counts most
	}
	files := v.kinds[kind]
	f := files[dice.IntN(len(files))]
	h = harm{file: f.Name, at: dice.Int64N(f.Size), bit: -1}
	if flip {
		h.bit = dice.IntN(8)
	}
	return kind, h
}

// outcome is what a harm led to.
type outcome int

const (
	unharmed outcome = iota // everything is served as it was
	known                   // some is not, and the log says so
	refused                 // a log, or the directory, does not open
)

// how says when a file is harmed, and who is to find it.
type how struct {
	live  bool // right after the directory was opened, not while nobody has it
	scrub bool // the scrubber must notice, before anybody reads
}

// suffer harms the directory and holds what is served to what was written.
func (v *victim) suffer(kind string, h harm, how how) (worst outcome, err error) {
	live := how.live
	disk := v.disk.Fork()
	s := &story{opt: v.opt, fs: disk, now: began.AddDate(0, 0, 1)}
	if v.wrap != nil {
		s.fs = v.wrap(disk)
	}
	for i, hist := range v.logs {
		s.parts = append(s.parts, &part{index: i, tp: partitionOf(i), hist: hist})
	}
	if !live {
		if err := h.do(disk); err != nil {
			return 0, err
		}
	}
	if err := s.openHomes(); err != nil {
		if live || strings.Contains(h.file, "/t-") {
			return 0, fmt.Errorf("harm of one log refuses the directory: %w", err)
		}
		return refused, nil
	}
	for _, p := range s.parts {
		hurt := strings.HasPrefix(h.file, path.Join(root, p.tp.String())+"/")
		if _, err := s.openLog(p); err != nil {
			if live || !mayRefuse(kind) || !hurt && path.Dir(h.file) != root {
				return 0, fmt.Errorf("%s does not open: %w", p.tp, err)
			}
			worst, p.log = refused, nil
		}
	}
	if live {
		if err := h.do(disk); err != nil {
			return 0, err
		}
	}
	if how.scrub {
		s.scrubbed(s.parts[0])
	}
	for _, p := range s.parts {
		if p.log == nil {
			continue
		}
		if hurt := strings.HasPrefix(h.file, path.Join(root, p.tp.String())+"/"); hurt && how.scrub && len(p.log.Damage()) == 0 {
			return 0, fmt.Errorf("%s was scrubbed, and nothing was found", p.tp)
		}
		hurt := strings.HasPrefix(h.file, path.Join(root, p.tp.String())+"/")
		missing, err := p.hist.served(p.log)
		switch damage := p.log.Damage(); {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", p.tp, err)
		case missing > 0 && !hurt && path.Dir(h.file) != root:
			return 0, fmt.Errorf("%s: %d batches are not served, and nothing happened to it", p.tp, missing)
		case missing > 0 && len(damage) == 0:
			return 0, fmt.Errorf("%s: %d batches are not served, and nothing is known to be damaged", p.tp, missing)
		case hurt && kind == segment.LogSuffix && len(damage) == 0:
			return 0, fmt.Errorf("%s was read whole, and nobody noticed", p.tp)
		case missing > 0:
			worst = max(worst, known)
		}
	}
	return worst, nil
}

// mayRefuse says which files a log may refuse to open without: who it belongs
// to, and what was deleted, cannot be guessed.
func mayRefuse(kind string) bool {
	return kind == "partition.metadata" || kind == "log-start-offset-checkpoint"
}

// served reads a log whole, stepping over what it says is damaged, and holds
// every byte that it gives out to what was written. It counts the batches of
// records that it does not give out.
func (h *history) served(l *commitlog.Log) (missing int, err error) {
	start := max(l.Start(), h.start)
	got := map[int64]bool{}
	end := max(l.End(), h.end())
	for at := l.Start(); at < l.End(); {
		data, next, err := readSome(l, at)
		if err != nil {
			return 0, err
		}
		for len(data) > 0 {
			b, err := h.original(data)
			if err != nil {
				return 0, fmt.Errorf("wrong bytes at %d: %w", at, err)
			}
			got[b.head.BaseOffset] = true
			data = data[len(b.bytes):]
		}
		at = max(next, at+1)
	}
	s := h.fold()
	for _, b := range h.whole[at(h.whole, start):] {
		if b.head.BaseOffset < end && len(b.entries) > 0 && !got[b.head.BaseOffset] {
			missing++
		}
	}
	if missing > 0 {
		return missing, nil
	}
	// Where all is there, so must be what readers of committed records skip.
	if aborted, err := l.Aborted(l.Start(), l.End()); err == nil {
		err = h.sameAborted(aborted, s, l.Start(), l.End())
		return 0, err
	}
	return 0, nil
}

// readSome reads from an offset on, and gives where to go on.
func readSome(l *commitlog.Log, at int64) ([]byte, int64, error) {
	r, err := l.Read(at, 1<<16, l.End(), true)
	if err != nil {
		for _, d := range l.Damage() {
			if d.From <= at && at < d.To {
				return nil, d.To, nil
			}
		}
		return nil, at + 1, nil // unreadable, offset by offset
	}
	if r.Len() == 0 {
		return nil, l.End(), nil
	}
	data := make([]byte, r.Len())
	_, err = r.ReadAt(data, 0)
	r.Release()
	if err != nil {
		return nil, 0, err
	}
	next := at
	for rest := data; len(rest) > 0; {
		n := record.Size(rest)
		if n == 0 || n > len(rest) {
			return nil, 0, fmt.Errorf("read at %d gives no whole batch", at)
		}
		head, err := record.ParseHeader(rest)
		if err != nil {
			return nil, 0, fmt.Errorf("read at %d: %w", at, err)
		}
		next, rest = head.NextOffset(), rest[n:]
	}
	return data, next, nil
}

// original finds the batch that was written where data's first one says it is.
func (h *history) original(data []byte) (*batch, error) {
	head, err := record.ParseHeader(data)
	if err != nil {
		return nil, err
	}
	i := at(h.whole, head.BaseOffset)
	if i == len(h.whole) || !bytes.HasPrefix(data, h.whole[i].bytes) {
		return nil, fmt.Errorf("batch of offsets %d to %d was never written", head.BaseOffset, head.LastOffset())
	}
	return h.whole[i], nil
}

// isLast tells whether a file is a log's active segment.
func (v *victim) isLast(name string) bool {
	for _, f := range v.kinds[segment.LogSuffix] {
		if path.Dir(f.Name) == path.Dir(name) && f.Name > name {
			return false
		}
	}
	return true
}
