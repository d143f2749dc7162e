package coordinator

import (
	"bytes"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// sliceLog is a log in memory. Commits come by themselves, or are held until
// commit or lose is called.
type sliceLog struct {
	mu        sync.Mutex
	epoch     int32
	batches   [][]byte // stamped
	end       int64
	committed int64
	hold      bool
	refuse    error // of the next append
	deaf      error // of the next read
	waiters   []waiter
}

type waiter struct {
	end  int64
	done func(error)
}

// set changes what the log does from now on.
func (l *sliceLog) set(change func(l *sliceLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *sliceLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuse; err != nil {
		l.refuse = nil
		return 0, err
	}
	if epoch != l.epoch {
		return 0, kafka.NotLeaderOrFollower
	}
	return l.add(bytes.Clone(batch)), nil
}

func (l *sliceLog) add(b []byte) int64 {
	record.Stamp(b, l.end, l.epoch)
	h, err := record.Check(b)
	if err != nil {
		panic(err)
	}
	l.batches = append(l.batches, b)
	l.end = h.NextOffset()
	return l.end
}

func (l *sliceLog) Committed(end int64, done func(error)) {
	l.mu.Lock()
	if !l.hold {
		l.committed = l.end
	}
	if end > l.committed {
		l.waiters = append(l.waiters, waiter{end, done})
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	done(nil)
}

// commit lets everything up to end be committed.
func (l *sliceLog) commit(end int64) {
	l.mu.Lock()
	l.committed = end
	var woken, rest []waiter
	for _, w := range l.waiters {
		if w.end <= end {
			woken = append(woken, w)
		} else {
			rest = append(rest, w)
		}
	}
	l.waiters = rest
	l.mu.Unlock()
	for _, w := range woken {
		w.done(nil)
	}
}

// lose cuts off what is not committed, as a new leader without it would, and
// tells who waits.
func (l *sliceLog) lose() {
	l.mu.Lock()
	for n := len(l.batches); n > 0; n-- {
		h, _ := record.ParseHeader(l.batches[n-1])
		if h.BaseOffset < l.committed {
			break
		}
		l.batches, l.end = l.batches[:n-1], h.BaseOffset
	}
	woken := l.waiters
	l.waiters = nil
	l.mu.Unlock()
	for _, w := range woken {
		w.done(kafka.NotLeaderOrFollower)
	}
}

func (l *sliceLog) Read(from int64) ([]byte, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.deaf; err != nil {
		l.deaf = nil
		return nil, 0, err
	}
	for _, b := range l.batches {
		if h, _ := record.ParseHeader(b); h.NextOffset() > from {
			return bytes.Clone(b), h.NextOffset(), nil
		}
	}
	return nil, from, nil
}

// leads is the epoch in which the log takes appends.
func (l *sliceLog) leads() (epoch int32) {
	l.set(func(l *sliceLog) { epoch = l.epoch })
	return epoch
}
