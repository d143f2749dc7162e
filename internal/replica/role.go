package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
)

// open opens a replica's log and recovers what a crash left. It has no role
// before assign gives it one, so nothing is served that is not flushed: what
// recovery accepted above the durable point is flushed here.
func open(env *env, d *directory, a *Assignment) (*Replica, error) {
	r := &Replica{id: a.TopicID, env: env}
	r.of = r
	r.tp, r.isr, r.logger, r.ill = a.TopicPartition, env.isr, env.logger, env.ill
	r.caching.Store(a.Config.WriteCaching)
	r.set.Store(env.settings(a.Config))
	o := opening{r}
	log, err := o.open(d, a.Config)
	if err != nil {
		return nil, err
	}
	o.begin(&berth{d, log})
	return r, nil
}

// opening is a replica for who gives it a log.
type opening struct{ *Replica }

// open opens the replica's log, all of it flushed.
func (r opening) open(d *directory, c *TopicConfig) (*commitlog.Log, error) {
	var opened atomic.Pointer[commitlog.Log]
	log, found, err := commitlog.Open(commitlog.Config{
		Home: d.Home, Topic: r.tp.Topic, Partition: r.tp.Partition, TopicID: r.id,
		Logger: r.env.logger, Now: r.env.now, Tunables: c.Log,
		OnFlushed: func(end int64, err error) {
			// A flush of a log that was replaced meanwhile says nothing.
			if at := r.at.Load(); at != nil && at.log == opened.Load() {
				r.flushed(end, err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	opened.Store(log)
	if !found.Clean {
		tellRecovery(r.env.logger, r.tp, &found)
	}
	if log.Flushed() < log.End() {
		if err := log.Flush(); err != nil {
			_ = log.Close() // the flush error says more
			return nil, err
		}
	}
	return log, nil
}

// begin starts from what a freshly opened log holds, without a role.
func (r opening) begin(at *berth) {
	log := at.log
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.Store(at)
	r.producers = log.Producers()
	r.mu.end = log.End()
	r.mu.written, r.mu.seen, r.mu.stableSeen = 0, 0, 0
	r.mu.part = partition.New(r.env.rules(&r.set.Load().TopicConfig), log.Start(), r.mu.end)
	r.hw.Store(log.Start())
	r.lso.Store(log.Start())
	r.lead.Store(pack(kafka.NoBroker, kafka.NoEpoch))
}

// close ends the replica: the log is flushed, which answers who waits for that,
// the others hear reason, and the log is closed.
func (r *Replica) close(reason error) error {
	r.turn.lock()
	var a aftermath
	// From here on a turn writes nothing.
	if r.fault.CompareAndSwap(nil, &fault{err: r.wrap(reason)}) && r.log().Flush() == nil {
		r.mu.Lock()
		a = r.settle(r.mu.part.Flushed(r.log().Flushed()))
		r.mu.Unlock()
	} // an error of Flush comes back from Close
	r.turn.leave()
	a.run(&r.board)
	r.dismiss(r.Offline(), true)
	return r.log().Close()
}

// assign gives the replica the role that the image says, in a turn of its own:
// no append is under way while it changes.
func (r *Replica) assign(a partition.Assignment) {
	r.turn.lock()
	if a.Leader == r.env.self && a.LeaderEpoch > r.log().LatestEpoch() && r.Offline() == nil {
		if err := r.log().AssignEpoch(a.LeaderEpoch, r.log().End()); err != nil {
			r.spoil(fmt.Errorf("begin epoch %d: %w", a.LeaderEpoch, err))
		}
	}
	r.mu.Lock()
	fx := r.mu.part.Assign(a, r.env.nowMs())
	role := r.mu.part.Role()
	after := r.settle(fx)
	if r.shared.Store(len(r.mu.part.Replicas()) > 1); r.shared.Load() {
		r.env.sharing.Store(true)
	}
	var filling *Waiter
	if fx.RoleChanged {
		r.mu.resigned = false
		filling = r.mu.filling.cut(maxOffset)
		r.stamp = 0 // another leader may have stamped later times
	}
	r.mu.Unlock()
	r.turn.leave()
	finish(filling, r.wrap(kafka.NotLeaderOrFollower))

	after.run(&r.board)
	switch {
	case r.Offline() != nil:
		r.dismiss(r.Offline(), true)
	case !fx.RoleChanged:
	case role != partition.Leader:
		r.dismiss(r.wrap(kafka.NotLeaderOrFollower), false)
	default:
		r.ring()
	}
	if !fx.RoleChanged {
		return
	}
	if r.Offline() == nil && r.log().Flushed() < r.log().End() {
		r.at.Load().schedule(true)
	}
	if r.env.roled != nil {
		r.env.roled(r)
	}
}

// flushed is what the flusher reports: everything below end is on stable
// storage, or err is final.
func (r *Replica) flushed(end int64, err error) {
	if err != nil {
		r.fail(fmt.Errorf("flush: %w", err))
		return
	}
	r.mu.Lock()
	if r.fault.Load() != nil {
		r.mu.Unlock()
		return
	}
	a := r.settle(r.mu.part.Flushed(min(end, r.log().Flushed()))) // less where it was cut meanwhile
	r.mu.Unlock()
	a.run(&r.board)
}

// fail takes the replica offline: after a failed write or flush nobody can say
// what the disk holds. Whoever waits hears KAFKA_STORAGE_ERROR, and no
// acknowledgement leaves any more, unless the disk was only full: see heal. Not
// to be called in a turn: those who are told may want one.
func (r *Replica) fail(cause error) {
	r.spoil(cause)
	reason := r.Offline()
	if reason == nil || errors.Is(reason, errAsleep) { // it was about to sleep, and will be spoiled by who finds that it cannot
		reason = fmt.Errorf("partition %s: %w: %w", r.tp, cause, kafka.KafkaStorageError)
	}
	r.dismiss(reason, true)
}

// retain deletes segments that are past their retention. Nothing above the high
// watermark goes.
func (r *Replica) retain() error {
	if r.Offline() != nil {
		return nil
	}
	n, err := r.log().Retain(r.HW())
	if n > 0 {
		r.startMoved()
	}
	return err
}

// tellRecovery logs what opening a log that was not closed in order found and
// did, as one line of JSON.
func tellRecovery(logger *slog.Logger, tp kafka.TopicPartition, found *commitlog.Recovered) {
	level := slog.LevelInfo
	if found.CutBytes > 0 || found.Missing > 0 || len(found.Quarantined) > 0 {
		level = slog.LevelWarn
	}
	if !logger.Enabled(context.Background(), level) {
		return
	}
	line, err := json.Marshal(found)
	if err != nil {
		line = []byte(err.Error())
	}
	logger.Log(context.Background(), level, "log recovered", "partition", tp.String(), "recovered", json.RawMessage(line))
}
