package commitlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Damage is a part of a log that is not as it was written. It is never deleted or
// written over; reads of it fail with CORRUPT_MESSAGE, and all else is served.
type Damage struct {
	Segment  int64     `json:"segment"`  // base offset
	Position int64     `json:"position"` // in its .log file
	Bytes    int64     `json:"bytes"`    // 0 where the file itself is missing
	From     int64     `json:"from"`     // offsets [From, To) lie in it
	To       int64     `json:"to"`
	Reason   string    `json:"reason"`
	Found    time.Time `json:"found"`
}

// damageFile keeps what is known of a log's damage: docs/format/damage.md.
const (
	damageFile = "damage"
	maxDamage  = 64 << 20

	fileMissing = "the segment's file is missing" // a Reason
)

// harm is the part of a log that knows its damage.
type harm struct {
	log  *Log
	gaps atomic.Pointer[[]Damage] // those of all without bytes: whole files are missing

	mu  sync.Mutex // memory only
	all []Damage   // by segment and position
}

// Damage lists what is known to be damaged, by position.
func (h *harm) Damage() []Damage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// setDamage replaces everything.
func (h *harm) setDamage(all []Damage) {
	slices.SortFunc(all, compareDamage)
	var gaps []Damage
	for _, d := range all {
		if d.Bytes == 0 {
			gaps = append(gaps, d)
		}
	}
	h.gaps.Store(nil)
	if len(gaps) > 0 {
		h.gaps.Store(&gaps)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = all
}

func compareDamage(a, b Damage) int {
	if a.Segment != b.Segment {
		return int(min(max(a.Segment-b.Segment, -1), 1))
	}
	return int(min(max(a.Position-b.Position, -1), 1))
}

// missing is the error of a read in a gap; nil elsewhere.
func (h *harm) missing(offset int64) error {
	gaps := h.gaps.Load()
	if gaps == nil {
		return nil
	}
	for _, d := range *gaps {
		if d.From <= offset && offset < d.To {
			return fmt.Errorf("offsets %d to %d are missing: %s: %w", d.From, d.To-1, d.Reason, kafka.CorruptMessage)
		}
	}
	return nil
}

// Verify reads all that this process has neither written nor verified. What it
// finds is on the list of damage then; an error is the device's. It is for a log
// that is small and must be whole.
func (h *harm) Verify() error {
	for _, s := range *h.log.segments.Load() {
		if err := s.Touch(); err != nil {
			return storageError("log "+h.log.tp.String()+": verify", err)
		}
	}
	return nil
}

// Damaged is [segment.Watcher]'s: it notes the damage, in the log's folder too,
// and tells.
func (h *harm) Damaged(s *segment.Segment, hole segment.Hole) {
	h.damaged(damageOf(s.Base(), hole, h.log.now()))
}

func damageOf(base int64, h segment.Hole, now time.Time) Damage {
	return Damage{Segment: base, Position: h.From, Bytes: h.To - h.From, From: h.First, To: h.Next, Reason: h.Reason, Found: now.UTC()}
}

// damaged adds damage that was not known.
func (h *harm) damaged(d Damage) {
	l := h.log
	h.mu.Lock()
	all := make([]Damage, 0, len(h.all)+1)
	known := false
	for _, k := range h.all {
		covers := k.Segment == d.Segment && k.Position <= d.Position && d.Position+d.Bytes <= k.Position+k.Bytes && (k.Bytes > 0) == (d.Bytes > 0)
		gap := k.Bytes == 0 && d.Bytes == 0 && k.From <= d.From && d.To <= k.To
		known = known || covers || gap
		if within := k.Segment == d.Segment && k.Bytes > 0 && d.Position <= k.Position && k.Position+k.Bytes <= d.Position+d.Bytes; !within {
			all = append(all, k)
		}
	}
	all = append(all, d)
	h.mu.Unlock()
	if known {
		return
	}
	h.setDamage(all)
	l.logger.Error("log is damaged; the rest of it is served", "topic", l.tp.Topic, "partition", l.tp.Partition,
		"from", d.From, "to", d.To, "file", l.path(segment.Name(d.Segment, segment.LogSuffix)), "position", d.Position,
		"bytes", d.Bytes, "reason", d.Reason)
	if l.home.onDamage != nil {
		l.home.onDamage(l.tp, d)
	}
	h.keepDamage()
}

// keepDamage writes the damage file. An error is logged and no more: what is
// damaged is found again.
func (h *harm) keepDamage() {
	l := h.log
	l.home.harm.lock()
	defer l.home.harm.unlock()
	all := h.Damage()
	if err := writeDamage(l.fs, l.dir, all); err != nil {
		l.logger.Warn("cannot keep a list of what is damaged", "log", l.tp.String(), "error", err)
	}
	if !l.future {
		l.home.journal.damaged(l.tp, len(all))
	}
}

// forgetDamage drops damage for which gone is true: its bytes were removed, or
// read well again.
func (h *harm) forgetDamage(gone func(Damage) bool) {
	all := h.Damage()
	kept := slices.DeleteFunc(slices.Clone(all), gone)
	if len(kept) == len(all) {
		return
	}
	h.setDamage(kept)
	h.keepDamage()
}

// cutDamage forgets what lies at or above the log's new end.
func (h *harm) cutDamage(end int64) {
	all := h.Damage()
	if !slices.ContainsFunc(all, func(d Damage) bool { return d.To > end }) {
		return
	}
	kept := slices.DeleteFunc(all, func(d Damage) bool { return d.From >= end })
	for i := range kept {
		kept[i].To = min(kept[i].To, end)
	}
	h.setDamage(kept)
	h.keepDamage()
}

func writeDamage(f vfs.FS, dir string, all []Damage) error {
	name := path.Join(dir, damageFile)
	if len(all) == 0 {
		if err := f.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var b bytes.Buffer
	for _, d := range all {
		line, err := json.Marshal(d)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	head := fmt.Appendf(nil, "myelin damage 0 %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return vfs.WriteAtomic(f, name, append(head, b.Bytes()...))
}

// ReadDamage reads the damage file of a log's folder: nothing where there is
// none. One that is not as it was written is an error.
func ReadDamage(f vfs.FS, dir string) ([]Damage, error) {
	name := path.Join(dir, damageFile)
	data, err := vfs.ReadFile(f, name, maxDamage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if want := fmt.Sprintf("myelin damage 0 %08x", crc32.Checksum(body, castagnoli)); string(head) != want {
		return nil, fmt.Errorf("%s: wrong checksum or version: %w", name, errMalformed)
	}
	var out []Damage
	for line := range bytes.Lines(body) {
		var d Damage
		if err := json.Unmarshal(line, &d); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", name, err, errMalformed)
		}
		out = append(out, d)
	}
	return out, nil
}
