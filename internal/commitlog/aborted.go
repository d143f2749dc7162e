package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// abortedIn gives the rolled back transactions of segment i. A list that is not as
// it was sealed is made anew: a wrong one would show a reader what was rolled
// back.
func (r *reading) abortedIn(i int) ([]AbortedTxn, error) {
	all, err := r.segs[i].Aborted()
	if !errors.Is(err, segment.ErrBadIndex) {
		return all, err
	}
	r.log.logger.Warn("list of aborted transactions is wrong, made anew", "log", r.log.tp.String(), "segment", r.segs[i].Base(), "error", err)
	return r.findAborted(i)
}

// findAborted makes the list of segment i from the newest producer snapshot at or
// below it and the batches behind that.
func (r *reading) findAborted(i int) ([]AbortedTxn, error) {
	state, segs := newProducerState(), r.segs
	from, err := r.log.snaps.newest(state, segs[0].Base(), segs[i].Base())
	if err != nil {
		return nil, err
	}
	var found []AbortedTxn
	for j, seg := range segs[:i+1] {
		if j < i && segs[j+1].Base() <= from {
			continue
		}
		err := seg.With(func(f vfs.File) error {
			s := newScanner(f, 0, seg.Size())
			for s.Onward() {
				if s.head.LastOffset() < from {
					continue
				}
				a, is, err := s.account(state)
				if err != nil {
					return err
				}
				if is && j == i {
					found = append(found, a)
				}
			}
			return s.err
		})
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", seg.Base(), err)
		}
	}
	return found, segs[i].SetAborted(found)
}

// account takes the scanner's batch into a producer state. If it rolls a
// transaction back, that comes back.
func (s *scanner) account(state *ProducerState) (AbortedTxn, bool, error) {
	if !s.head.Idempotent() {
		return AbortedTxn{}, false, nil
	}
	if !s.head.Attributes.Has(record.Control) {
		state.Update(&s.head)
		return AbortedTxn{}, false, nil
	}
	body, err := s.Body()
	if err != nil {
		return AbortedTxn{}, false, err
	}
	t, epoch, ok, err := marker(body)
	if err != nil || !ok {
		return AbortedTxn{}, false, err
	}
	a, is := state.end(&s.head, t, epoch)
	return a, is, nil
}

// newest reads the newest good snapshot from floor to at, and changes no file;
// without one the state is empty and the offset is floor.
func (s *snapshotFiles) newest(state *ProducerState, floor, at int64) (int64, error) {
	offsets, err := s.list()
	if err != nil {
		return 0, err
	}
	for _, off := range slices.Backward(offsets) {
		if off < floor || off > at {
			continue
		}
		data, err := vfs.ReadFile(s.fs, s.name(off), maxSnapshot)
		if err == nil {
			err = state.decode(data)
		}
		if err == nil {
			return off, nil
		}
		if !errors.Is(err, errMalformed) {
			return 0, err
		}
	}
	state.reset()
	return floor, nil
}

// Aborted lists the rolled back transactions that overlap [from, to), by their
// first offset.
func (l *Log) Aborted(from, to int64) ([]AbortedTxn, error) { return abortedOf(l, from, to, nil) }

// Aborted lists, by their first offset, the rolled back transactions that a
// read_committed reader of a range of l must skip which it reads from an offset
// on. The range ends below to. As in Kafka some may be listed that begin behind
// the range, before the next batch that the index knows.
func (r *Range) Aborted(l *Log, from, to int64) ([]AbortedTxn, error) {
	return abortedOf(l, from, to, r)
}

func abortedOf(l *Log, from, to int64, in *Range) ([]AbortedTxn, error) {
	var out []AbortedTxn
	err := steady(l, func(r *reading) (err error) {
		out, err = r.aborted(from, to, in)
		return err
	})
	if err != nil {
		return nil, storageError("log "+l.tp.String()+": aborted transactions", err)
	}
	slices.SortFunc(out, func(a, b AbortedTxn) int { return cmp.Compare(a.First, b.First) })
	return out, nil
}

// aborted looks for the end of the range only when there is a transaction to
// compare with it.
func (r *reading) aborted(from, to int64, in *Range) (out []AbortedTxn, err error) {
	for i := r.segmentOf(from); i < len(r.segs); i++ {
		all, err := r.abortedIn(i)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if in != nil {
				if to, err = r.behind(in, to); err != nil {
					return nil, err
				}
				in = nil
			}
			if a.Last >= from && a.First < to {
				out = append(out, a)
			}
			if a.Stable >= to {
				i = len(r.segs) // all that follow began later
				break
			}
		}
	}
	return out, nil
}

// behind is an offset behind all that a range holds, as near as the index can
// tell; at most to.
func (r *reading) behind(in *Range, to int64) (int64, error) {
	i := r.segmentOf(in.seg.Base())
	if r.segs[i] != in.seg {
		return to, nil // it was replaced: a longer list does no harm
	}
	offset, ok, err := in.seg.Ceiling(in.Off() + int64(in.Len()))
	switch {
	case err != nil:
		return 0, err
	case ok:
		return min(to, offset), nil
	case i+1 < len(r.segs):
		return min(to, r.segs[i+1].Base()), nil
	}
	return to, nil
}
