package commitlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// ScrubConfig says how a log directory is scrubbed. Home and Now must be set.
type ScrubConfig struct {
	Home *Home
	// BytesPerSecond is how much is read at most. 0 is 20 MiB.
	BytesPerSecond int64
	// Interval is within which everything is to be looked at once. A pass goes as
	// slowly as that allows, if it does under BytesPerSecond; otherwise it takes
	// longer, and says so. 0 is 7 days.
	Interval time.Duration
	Now      func() time.Time
	Logger   *slog.Logger
}

// ScrubStats is what a scrubber did since it was made.
type ScrubStats struct {
	Bytes    int64     // read
	Damaged  int64     // ranges that nobody had found before
	Mended   int64     // caches made anew: indexes, sums, snapshots
	Passes   int64     // over all of the directory
	LastPass time.Time // when the last one ended, also of an earlier process; zero: none has
}

// Scrubber reads all data of a log directory again and again, slowly, so that
// rot is found while there may be another copy:
//
//	every closed segment, and what is durable of active ones   against its sums; where there are none,
//	                                                           batch by batch, and sums are made
//	index files of closed segments                             against the seal; made anew
//	producer snapshots, epoch files                            made anew
//
// Logs that nobody has open stay closed: of them only the data is looked at, the
// caches are when they are opened. What is damaged is noted, see [Log.Damage].
// It keeps out of the way: what was not in memory before it is not after it.
type Scrubber struct {
	cfg  ScrubConfig
	rate float64       // bytes per second of this pass
	debt time.Duration // not yet slept
	at   scrubPosition
	kept time.Duration // slept since the position was saved

	bytes, damaged, mended, passes atomic.Int64
	last                           atomic.Int64 // unix ms
}

const (
	scrubFile  = ".myelin_scrub"
	scrubDelay = time.Minute      // after a start, which has better to do
	scrubKeep  = 30 * time.Second // how often the position is saved
	scrubSlow  = 1 << 20          // bytes per second, at least
)

// scrubPosition is the content of .myelin_scrub: docs/format/scrub.md.
type scrubPosition struct {
	Begun     time.Time `json:"begun"` // the pass that is under way
	Ended     time.Time `json:"ended"` // the last whole one
	Topic     string    `json:"topic"` // done up to and with this segment
	Partition int32     `json:"partition"`
	Segment   int64     `json:"segment"`
}

func (p *scrubPosition) log() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: p.Topic, Partition: p.Partition}
}

// NewScrubber makes a scrubber; Run works.
func NewScrubber(cfg ScrubConfig) *Scrubber {
	if cfg.BytesPerSecond <= 0 {
		cfg.BytesPerSecond = 20 << 20
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 7 * 24 * time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Scrubber{cfg: cfg}
}

// Stats tells what it did.
func (s *Scrubber) Stats() ScrubStats {
	out := ScrubStats{Bytes: s.bytes.Load(), Damaged: s.damaged.Load(), Mended: s.mended.Load(), Passes: s.passes.Load()}
	if ms := s.last.Load(); ms != 0 {
		out.LastPass = time.UnixMilli(ms)
	}
	return out
}

// Run scrubs until ctx ends. It goes on where it, or the process before, left
// off.
func (s *Scrubber) Run(ctx context.Context) error {
	s.load()
	wait := scrubDelay
	if s.at.Begun.IsZero() && !s.at.Ended.IsZero() {
		wait = max(wait, s.due().Sub(s.cfg.Now()))
	}
	for s.sleep(ctx, wait) == nil {
		s.Pass(ctx)
		wait = max(s.due().Sub(s.cfg.Now()), scrubDelay)
	}
	s.save()
	return nil
}

// due is when the next pass begins: it shall end before everything is an interval
// old.
func (s *Scrubber) due() time.Time { return s.at.Ended.Add(s.cfg.Interval / 10) }

// Pass goes over everything once, or on from where the last pass was cut off.
func (s *Scrubber) Pass(ctx context.Context) {
	h := s.cfg.Home
	logs, err := h.Logs()
	if err != nil {
		s.cfg.Logger.Error("log directory cannot be scrubbed", "dir", h.path, "error", err)
		return
	}
	fresh := s.at.Begun.IsZero()
	if fresh {
		s.at = scrubPosition{Begun: s.cfg.Now(), Ended: s.at.Ended, Segment: -1}
	}
	s.pace(logs)
	before := s.Stats()
	for _, tp := range logs {
		if !fresh && tp.Compare(s.at.log()) < 0 {
			continue
		}
		if s.at.log() != tp {
			s.at.Topic, s.at.Partition, s.at.Segment = tp.Topic, tp.Partition, -1
		}
		if err := s.log(ctx, tp); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("log cannot be scrubbed", "log", tp.String(), "error", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
	took := s.cfg.Now().Sub(s.at.Begun)
	now := s.Stats()
	s.cfg.Logger.Info("scrubbed", "dir", h.path, "bytes", now.Bytes-before.Bytes, "took", took.String(),
		"damaged", now.Damaged-before.Damaged, "mended", now.Mended-before.Mended)
	if took > s.cfg.Interval {
		s.cfg.Logger.Warn("scrubbing takes longer than log.scrub.interval.ms: raise log.scrub.bytes.per.second", "dir", h.path,
			"took", took.String(), "interval", s.cfg.Interval.String())
	}
	s.at = scrubPosition{Ended: s.cfg.Now(), Segment: -1}
	s.last.Store(s.at.Ended.UnixMilli())
	s.passes.Add(1)
	s.save()
}

// pace sets the speed of a pass: all in four fifths of the interval.
func (s *Scrubber) pace(logs []kafka.TopicPartition) {
	var total int64
	for _, tp := range logs {
		if l := s.cfg.Home.openLog(tp); l != nil {
			total += l.Size()
		} else if known, ok := s.cfg.Home.Resting(tp); ok {
			total += known.Size()
		} else if list, err := s.cfg.Home.fs.ReadDir(s.cfg.Home.join(tp.String())); err == nil {
			for _, i := range list {
				total += i.Size
			}
		}
	}
	left := s.cfg.Interval*4/5 - s.cfg.Now().Sub(s.at.Begun)
	s.rate = float64(s.cfg.BytesPerSecond)
	if left > 0 {
		s.rate = min(max(float64(total)/left.Seconds(), scrubSlow), s.rate)
	}
}

// take waits until n bytes may be read.
func (s *Scrubber) take(ctx context.Context, n int) error {
	s.bytes.Add(int64(n))
	s.debt += time.Duration(float64(n) / s.rate * float64(time.Second))
	if s.debt < 5*time.Millisecond {
		return ctx.Err()
	}
	debt := s.debt
	s.debt = 0
	if s.kept += debt; s.kept > scrubKeep {
		s.save()
	}
	return s.sleep(ctx, debt)
}

func (s *Scrubber) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	//house:select whoever is woken looks at ctx
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err()
}

// load reads the position; without one, or with one that is not right, it begins
// anew.
func (s *Scrubber) load() {
	data, err := vfs.ReadFile(s.cfg.Home.fs, s.cfg.Home.join(scrubFile), 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	var at scrubPosition
	if err == nil && string(head) != scrubHead(body) {
		err = errMalformed
	}
	if err == nil {
		err = json.Unmarshal(body, &at)
	}
	if err != nil {
		s.cfg.Logger.Warn("position of the scrubber is unreadable: begun anew", "dir", s.cfg.Home.path, "error", err)
		return
	}
	s.at = at
	if !at.Ended.IsZero() {
		s.last.Store(at.Ended.UnixMilli())
	}
}

func scrubHead(body []byte) string { return fmt.Sprintf("myelin scrub 0 %08x", crcOf(body)) }

// save writes the position; without it a pass is begun anew, so that is all an
// error costs.
func (s *Scrubber) save() {
	s.kept = 0
	body, err := json.Marshal(s.at)
	if err == nil {
		body = append(body, '\n')
		err = vfs.WriteAtomic(s.cfg.Home.fs, s.cfg.Home.join(scrubFile), append([]byte(scrubHead(body)+"\n"), body...))
	}
	if err != nil {
		s.cfg.Logger.Warn("position of the scrubber is not kept", "dir", s.cfg.Home.path, "error", err)
	}
}

// openLog gives a log that is open, nil if it is not.
func (h *Home) openLog(tp kafka.TopicPartition) *Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.mu.open[tp]
	if l == nil || l.segments.Load() == nil {
		return nil
	}
	return l
}

// Damaged counts the damaged ranges that are known, of logs that sleep too.
func (h *Home) Damaged() int {
	open := h.openLogs()
	n := 0
	h.mu.Lock()
	for tp, ranges := range h.mu.hurt {
		if h.mu.open[tp] == nil {
			n += ranges
		}
	}
	h.mu.Unlock()
	for _, l := range open {
		n += len(l.Damage())
	}
	return n
}

// pacedFile reads at the scrubber's pace, and leaves in memory what was there.
type pacedFile struct {
	vfs.File
	ctx   context.Context
	scrub *Scrubber
}

// ReadAt is [io.ReaderAt]'s.
func (f *pacedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.scrub.take(f.ctx, len(p)); err != nil {
		return 0, err
	}
	had := f.Cached(off, int64(len(p)))
	n, err := f.File.ReadAt(p, off)
	if had < int64(n)/4 {
		_ = f.Advise(off, int64(n), vfs.DontNeed) // only memory
	}
	return n, err
}

// pacedFS opens slow files, for who looks at logs that are not open.
type pacedFS struct {
	vfs.FS
	ctx   context.Context
	scrub *Scrubber
}

// Open is [vfs.FS]'s.
func (f pacedFS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	file, err := f.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &pacedFile{file, f.ctx, f.scrub}, nil
}

// log scrubs one log.
func (s *Scrubber) log(ctx context.Context, tp kafka.TopicPartition) error {
	l := s.cfg.Home.openLog(tp)
	if l == nil {
		return s.closedLog(ctx, tp)
	}
	if l.Failed() != nil {
		return nil //nolint:nilerr // it was reported when it happened
	}
	known := len(l.Damage())
	x := logScrub{Scrubber: s, ctx: ctx, l: l}
	err := x.run()
	s.damaged.Add(int64(max(len(l.Damage())-known, 0)))
	if errors.Is(err, fs.ErrClosed) {
		return nil // the log, or the segment, went away meanwhile
	}
	return err
}

// closedLog scrubs the data of a log that nobody has open, and does not open it.
func (s *Scrubber) closedLog(ctx context.Context, tp kafka.TopicPartition) error {
	h := s.cfg.Home
	dir := h.join(tp.String())
	list, err := h.fs.ReadDir(dir)
	if err != nil {
		return ignoreGone(err)
	}
	var bases []int64
	for _, i := range list {
		if base, suffix, ok := segment.ParseName(i.Name); ok && suffix == segment.LogSuffix && !i.Dir {
			bases = append(bases, base)
		}
	}
	for i, base := range bases {
		if base <= s.at.Segment {
			continue
		}
		next := int64(-1)
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		slow := pacedFS{h.fs, ctx, s}
		found, err := CheckSegment(slow, dir, base, next)
		if err == nil && len(found) > 0 { // perhaps somebody was writing
			found, err = CheckSegment(slow, dir, base, next)
		}
		if err != nil || h.openLog(tp) != nil {
			return ignoreGone(err)
		}
		if err := s.note(tp, dir, base, found); err != nil {
			return err
		}
		s.at.Segment = base
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
