package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Repaired is what [Repair] did with one file.
type Repaired struct {
	File string `json:"file"`
	Done string `json:"done"`
}

// RepairConfig says what to repair. FS, Path and Found must be set.
type RepairConfig struct {
	FS     vfs.FS
	Path   string
	Found  *Checked // by [Check], of the directory as it is now
	Now    func() time.Time
	Logger *slog.Logger
	Begin  func(kafka.TopicPartition) int64 // see RehearseConfig
}

// ErrRepair says that a repair was not begun, and why.
var ErrRepair = errors.New("not repaired")

// Repair makes the caches anew that a check found wrong: it takes the files away,
// opens the logs in question, which makes them from the batches, and closes them.
// In a directory that was not closed in order it only takes them away: the next
// start makes them, with all else that it has to do.
//
// It never changes a .log file. Everything is done over an overlay first, and if
// that would change one, nothing is done and the error is an [ErrRepair].
func Repair(cfg RepairConfig) ([]Repaired, error) {
	over := vfs.NewOverlay(cfg.FS)
	if _, err := (&repair{RepairConfig: cfg, fs: over}).run(); err != nil {
		return nil, fmt.Errorf("%w: tried out without writing: %w", ErrRepair, err)
	}
	changes, err := over.Changes(cfg.Path)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if strings.HasSuffix(c.Name, segment.LogSuffix) {
			return nil, fmt.Errorf("%w: it would change records: %s would be %s (%d bytes, now %d)", ErrRepair, c.Name, c.What, c.After, c.Before)
		}
	}
	return (&repair{RepairConfig: cfg, fs: cfg.FS}).run()
}

// repair is a repair under way, on the overlay or on the disk.
type repair struct {
	RepairConfig
	fs    vfs.FS
	done  []Repaired
	logs  []string           // folders of the logs to open, in order
	bases map[string][]int64 // folder -> segments whose caches were taken away
	// aborted are, by folder, segments whose list of aborted transactions is wrong.
	aborted map[string][]int64
}

func (r *repair) run() ([]Repaired, error) {
	r.bases, r.aborted = map[string][]int64{}, map[string][]int64{}
	for _, p := range r.Found.Problems {
		if p.Repairable && !p.Pending {
			if err := r.takeAway(p); err != nil {
				return r.done, err
			}
		}
	}
	if len(r.done) == 0 {
		return nil, nil
	}
	if !r.Found.Clean {
		return r.done, r.fs.SyncDir(r.Path)
	}
	return r.done, r.reopen()
}

// takeAway removes a file that is made anew, and what would keep it from being.
func (r *repair) takeAway(p Problem) error {
	folder, name := path.Split(p.File)
	folder = strings.TrimSuffix(folder, "/")
	later := "; the next start makes it anew"
	if r.Found.Clean {
		later = " and made anew from the batches"
	}
	if folder == "" && r.Found.Clean {
		later = " and written anew"
	}
	base, suffix, ok := segment.ParseName(name)
	aborted := ok && suffix == segment.TxnSuffix
	if !aborted || !r.Found.Clean { // that list is replaced where it lies
		if err := r.remove(p.File); err != nil {
			return err
		}
	}
	r.done = append(r.done, Repaired{p.File, "removed" + later})
	if folder == "" {
		return nil
	}
	if !slices.Contains(r.logs, folder) {
		r.logs = append(r.logs, folder)
	}
	switch {
	case aborted:
		r.aborted[folder] = append(r.aborted[folder], base)
	case ok && suffix != snapshotSuffix && !slices.Contains(r.bases[folder], base):
		r.bases[folder] = append(r.bases[folder], base)
	}
	return nil
}

func (r *repair) remove(name string) error {
	err := r.fs.Remove(path.Join(r.Path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// reopen opens and closes the logs in question as an owner does, so that it is
// the owner's code that makes their caches.
func (r *repair) reopen() (err error) {
	// The manifest says of a log at rest that its caches are as they should be.
	if err := r.remove(manifestFile); err != nil {
		return err
	}
	h, err := OpenHome(HomeConfig{FS: r.fs, Path: r.Path, Now: r.Now, Logger: r.Logger})
	if err != nil {
		return err
	}
	h.SetEpoch(h.PreviousEpoch())
	defer func() { err = errors.Join(err, h.Close(err == nil)) }()
	for _, folder := range r.logs {
		tp, ok := parseFolder(folder)
		if !ok {
			continue
		}
		at := int64(0)
		if r.Begin != nil {
			at = r.Begin(tp)
		}
		l, _, err := Open(Config{Home: h, Topic: tp.Topic, Partition: tp.Partition, TopicID: writtenID(r.fs, path.Join(r.Path, folder)), Logger: r.Logger,
			Tunables: Tunables{KeepAll: true}, Begin: at})
		if err != nil {
			return err
		}
		if err := errors.Join(remakeCaches(l, r.bases[folder], r.aborted[folder]), l.Close()); err != nil {
			return err
		}
	}
	return nil
}

// remakeCaches makes the index files of some segments, which were taken away, and
// the lists of aborted transactions of others, and seals them.
func remakeCaches(l *Log, bases, aborted []int64) error {
	r := reading{segs: *l.segments.Load(), log: l}
	for i, s := range r.segs {
		next := int64(-1)
		if i+1 < len(r.segs) {
			next = r.segs[i+1].Base()
		}
		if slices.Contains(aborted, s.Base()) {
			if _, err := r.findAborted(i); err != nil {
				return err
			}
		}
		if slices.Contains(bases, s.Base()) {
			if err := errors.Join(s.Rebuild(), s.Seal(), s.SyncIndexes(next)); err != nil {
				return err
			}
		}
	}
	return nil
}
