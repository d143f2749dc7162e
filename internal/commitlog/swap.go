package commitlog

import (
	"math"
	"strings"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Compaction, Kafka's and ours, replaces segments in steps that a crash may cut
// anywhere:
//
//	write   base.log.cleaned       a new segment, or several if one would be too large
//	rename  base.log.swap          the last first: from here on the new ones count
//	rename  old.log.deleted        the segments they replace
//	rename  base.log               the new ones take their place
//	remove  the .deleted files
const (
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".swap"
	deletedSuffix = ".deleted"
)

// finishSwap takes a replacement of segments that was cut off to its end: back
// if a part is still .cleaned, forward otherwise. files is the folder's list.
func (o *opener) finishSwap(files []vfs.Info) error {
	lowest := int64(math.MaxInt64) // base of the first segment that is still .cleaned
	for _, i := range files {
		if base, suffix, ok := segment.ParseName(i.Name); ok && suffix == segment.LogSuffix+cleanedSuffix {
			lowest = min(lowest, base)
		}
	}
	changed := false
	for _, i := range files { // rising by base
		base, suffix, ok := segment.ParseName(i.Name)
		if !ok || !strings.HasSuffix(suffix, swapSuffix) {
			continue
		}
		changed = true
		var err error
		switch {
		case suffix == segment.LogSuffix+swapSuffix && base < lowest:
			err = o.putInPlace(base, files)
		default: // of a part that is not whole, or an index, which is a cache
			err = o.fs.Remove(o.path(i.Name))
		}
		if err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return o.fs.SyncDir(o.dir)
}

// putInPlace makes base.log.swap the segment base.log, and removes the segments
// it replaces: those that begin within its offsets.
func (o *opener) putInPlace(base int64, files []vfs.Info) error {
	name := o.path(segment.Name(base, segment.LogSuffix))
	f, err := o.fs.Open(name+swapSuffix, vfs.ReadOnly)
	if err != nil {
		return err
	}
	size, err := f.Size()
	last := base
	if err == nil {
		s := newScanner(f, 0, size)
		for s.Next() {
			last = max(last, s.head.LastOffset())
		}
		err = s.err
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	for _, i := range files {
		old, suffix, ok := segment.ParseName(i.Name)
		if !ok || old < base || old > last {
			continue
		}
		if isCache(suffix) || suffix == segment.LogSuffix && old > base {
			if err := o.fs.Remove(o.path(i.Name)); err != nil {
				return err
			}
		}
	}
	if err := o.fs.SyncDir(o.dir); err != nil { // or the old ones might come back beside it
		return err
	}
	o.logger.Info("finished a replacement of segments", "log", o.tp.String(), "segment", base, "last", last)
	return o.fs.Rename(name+swapSuffix, name)
}

// isCache tells whether a segment's file is made of its data: all that have one
// suffix, but the data itself and the producer snapshots, which tell of what was
// before.
func isCache(suffix string) bool {
	return suffix != segment.LogSuffix && suffix != snapshotSuffix && strings.LastIndexByte(suffix, '.') == 0
}
