package commitlog

import (
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
