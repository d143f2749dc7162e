package coordinator

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// load replays the partition's log into a fresh machine and makes it live. It
// tries again until that works or the partition is closed.
//
// The partition is live only when all that was read is committed, so a fresh
// machine's newest state is its committed state too.
func (p *partition[M]) load() {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		begun := p.rt.cfg.Now()
		l, err := p.replayLog()
		if err == nil {
			p.rt.stats.loaded(p.rt.cfg.Now().Sub(begun))
			p.install(l)
			return
		}
		if p.ctx.Err() != nil {
			return
		}
		p.rt.stats.failures.Add(1)
		level := slog.LevelWarn
		if pause < retryTold {
			level = slog.LevelDebug
		}
		p.rt.cfg.Logger.Log(p.ctx, level, "coordinator cannot load its partition", "topic", p.rt.cfg.Topic, "partition", p.id,
			"err", err, "again_in", pause)
		t := time.NewTimer(pause)
		//house:select with both ready one more try finds the partition closed
		select {
		case <-t.C:
		case <-p.ctx.Done():
			t.Stop()
			return
		}
	}
}

// install makes a loaded state live, unless the partition was closed meanwhile.
func (p *partition[M]) install(l *live[M]) {
	p.take()
	if p.ctx.Err() != nil {
		why := p.closed
		if why == nil { // it is about to be
			why = fmt.Errorf("%s-%d has moved: %w", p.rt.cfg.Topic, p.id, kafka.NotCoordinator)
		}
		p.give()
		l.stop(why)
		return
	}
	p.live = l
	p.active.Store(true)
	t := Turn{Now: p.rt.cfg.Now(), alarms: &l.alarms}
	out, err := p.decide(l, &t, func(m M, t *Turn) error {
		m.Loaded(t)
		l.tl.loading = false
		return nil
	})
	p.give()
	if err == nil {
		p.later(l, out)
	}
}

// replayLog reads the log from its start to its end and waits until all of it is
// committed.
func (p *partition[M]) replayLog() (*live[M], error) {
	log, epoch, err := p.rt.cfg.Open(p.ctx, p.id)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if epoch < p.epoch { // the replica has not heard yet
		return nil, fmt.Errorf("its log is led in epoch %d, not yet in %d: %w", epoch, p.epoch, kafka.NotLeaderOrFollower)
	}
	tl := NewTimeline()
	l := &live[M]{log: log, epoch: epoch, tl: tl, machine: p.rt.cfg.New(p.id, tl), over: make(chan struct{})}
	if m, ok := any(l.machine).(Leader); ok {
		m.Led(epoch)
	}
	rp := replayer{machine: l.machine, open: map[int64][]Record{}}
	rp.observer, _ = rp.machine.(Observer)
	for {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		batches, next, err := log.Read(l.written)
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", l.written, err)
		}
		if len(batches) == 0 {
			break
		}
		if next <= l.written {
			return nil, fmt.Errorf("read at %d: next is %d", l.written, next)
		}
		if err := rp.batches(batches); err != nil {
			return nil, err
		}
		l.written = next
	}
	if l.written == 0 || invariant.Planted("coordinator/early") {
		return l, nil
	}
	fate := make(chan error, 1)
	log.Committed(l.written, func(err error) { fate <- err })
	//house:select both end the wait; once it is closed nobody needs the fate
	select {
	case err := <-fate:
		l.committed.Store(l.written)
		return l, err
	case <-p.ctx.Done():
		return nil, p.ctx.Err()
	}
}

// replayer feeds a log's batches to a machine. What a transaction wrote counts
// from its commit marker on; one that is open at the log's end does not count.
// An observer sees to that itself.
type replayer struct {
	machine  Machine
	observer Observer // the machine, if it is one
	reader   record.Reader
	open     map[int64][]Record // by producer id
}

func (rp *replayer) batches(b []byte) error {
	for len(b) > 0 {
		n := record.Size(b)
		if n == 0 || n > len(b) {
			return fmt.Errorf("a batch is cut off: %w", kafka.CorruptMessage)
		}
		if err := rp.batch(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (rp *replayer) batch(b []byte) error {
	h, err := record.Check(b)
	if err != nil {
		return err
	}
	defer rp.reader.Release()
	for rp.reader.Reset(b, record.DefaultLimit); rp.reader.Next(); {
		if err := rp.record(&h, rp.reader.Record()); err != nil {
			return fmt.Errorf("record at %d: %w", rp.reader.Record().Offset, err)
		}
	}
	return rp.reader.Err()
}

func (rp *replayer) record(h *record.Header, r *record.Record) error {
	switch {
	case h.Attributes.Has(record.Control):
		return rp.marker(h, r)
	case r.Key == nil:
		return errors.New("no key")
	case h.Attributes.Has(record.Transactional) && rp.observer != nil:
		return rp.observer.ReplayTxn(Producer{h.ProducerID, h.ProducerEpoch}, Record{bytes.Clone(r.Key), bytes.Clone(r.Value), r.Offset})
	case h.Attributes.Has(record.Transactional):
		rp.open[h.ProducerID] = append(rp.open[h.ProducerID], Record{bytes.Clone(r.Key), bytes.Clone(r.Value), r.Offset})
		return nil
	default:
		return rp.machine.Replay(Record{bytes.Clone(r.Key), bytes.Clone(r.Value), r.Offset})
	}
}

func (rp *replayer) marker(h *record.Header, r *record.Record) error {
	typ, epoch, err := record.ParseEndTxnMarker(r)
	if err != nil || typ != record.Commit && typ != record.Abort {
		return err
	}
	if rp.observer != nil {
		return rp.observer.Marker(Marker{ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch, CoordinatorEpoch: epoch,
			Commit: typ == record.Commit})
	}
	held := rp.open[h.ProducerID]
	delete(rp.open, h.ProducerID)
	if typ == record.Abort {
		return nil
	}
	for _, r := range held {
		if err := rp.machine.Replay(r); err != nil {
			return err
		}
	}
	return nil
}
