package txn

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// shard is the state of one partition of __transaction_state.
type shard struct {
	s         *Service
	partition int32
	epoch     int32 // the coordinator's, which is the leader's
	ids       *coordinator.Table[string, *transaction]
	open      map[string]*transaction // of ids, those that are ongoing or being ended
	live      bool                    // all is loaded: what is replayed is new

	// What follows is in memory only.
	recoveries map[string]recovery
	waiting    map[string][]chan struct{} // closed when the id's PREPARE is complete
	sending    map[string]*transaction    // PREPAREs whose markers are on their way
	marked     map[string]*transaction    // of those, whose markers are all in: only the COMPLETE is missing

	aborts, expires bool // the alarm is set

	ctx  context.Context // ends when the partition is unloaded
	quit context.CancelFunc
}

// recovery remembers which producer got the newest epoch of an id in exchange
// for its own, so that its request may come twice (KIP-360). It holds only while
// the id has that producer.
type recovery struct {
	now Producer
	was int16
}

func newShard(s *Service, partition int32, tl *coordinator.Timeline) *shard {
	sh := &shard{
		s: s, partition: partition,
		ids:        coordinator.NewTable[string, *transaction](tl, strings.Compare),
		open:       map[string]*transaction{},
		recoveries: map[string]recovery{},
		waiting:    map[string][]chan struct{}{},
		sending:    map[string]*transaction{},
		marked:     map[string]*transaction{},
	}
	sh.ctx, sh.quit = context.WithCancel(context.Background())
	return sh
}

// Led tells the shard its leader epoch, before anything is replayed.
func (sh *shard) Led(epoch int32) { sh.epoch = epoch }

// Replay applies one record. Types and versions of a newer Kafka are passed
// over, as Kafka does (KIP-915).
func (sh *shard) Replay(r coordinator.Record) error {
	err := sh.replay(r)
	if errors.Is(err, state.ErrUnknown) {
		sh.s.cfg.Logger.Warn("a record in "+kafka.TxnTopic+" is not understood and left alone", "err", err)
		return nil
	}
	return err
}

func (sh *shard) replay(r coordinator.Record) error {
	key, err := state.ParseKey(state.Transaction, r.Key)
	if err != nil {
		return err
	}
	k, ok := key.(*state.TransactionLogKey)
	if !ok {
		return nil
	}
	id := k.TransactionalID
	if r.Value == nil {
		sh.ids.Delete(id)
		delete(sh.open, id)
		delete(sh.recoveries, id)
		return nil
	}
	tx, err := parseTransaction(r.Value)
	if err != nil {
		return err
	}
	sh.count(id, tx)
	sh.ids.Put(id, tx)
	if tx.status == Ongoing || tx.status.preparing() {
		sh.open[id] = tx
	} else {
		delete(sh.open, id)
	}
	if tx.status.preparing() {
		return nil
	}
	delete(sh.sending, id)
	delete(sh.marked, id)
	sh.wake(id)
	return nil
}

// wake lets those go on who wait for the end of an id's transaction.
func (sh *shard) wake(id string) {
	for _, w := range sh.waiting[id] {
		close(w)
	}
	delete(sh.waiting, id)
}

// find gives the newest state of an id to decide on, nil if it is not known. A
// PREPARE of which only the COMPLETE is missing counts as complete, and owed is
// that: whoever decides on it has to write it before what comes next.
func (sh *shard) find(id string, now int64) (tx, owed *transaction) {
	tx, _ = sh.ids.Get(id)
	if tx != nil && sh.marked[id] == tx {
		owed = tx.complete(now)
		tx = owed
	}
	return tx, owed
}

// follow writes what comes next, after what is owed. Nothing next and nothing owed
// is nothing to write.
func (sh *shard) follow(t *coordinator.Turn, id string, owed, next *transaction) {
	if owed != nil {
		sh.put(t, id, owed)
	}
	if next != nil {
		sh.put(t, id, next)
	}
}

// put writes the next state of an id, and sees to what comes after: markers, and
// the alarms.
func (sh *shard) put(t *coordinator.Turn, id string, next *transaction) {
	t.Put(recordKey(id), next.marshal(sh.s.cfg.Level()))
	if next.status.preparing() {
		t.After(func(m coordinator.Machine, t *coordinator.Turn, err error) {
			t.Soft()
			if err == nil {
				m.(*shard).send(id)
			}
		})
	}
	sh.arm(t, next.status == Ongoing, true)
}

// Alarms.
const (
	abortAlarm  = "abort"
	expireAlarm = "expire"
)

// arm sets the alarms that are not set.
func (sh *shard) arm(t *coordinator.Turn, aborts, expires bool) {
	if aborts && !sh.aborts {
		sh.aborts = true
		t.Wake(abortAlarm, t.Now.Add(sh.s.cfg.AbortEvery))
	}
	if expires && !sh.expires {
		sh.expires = true
		t.Wake(expireAlarm, t.Now.Add(sh.s.cfg.ExpireEvery))
	}
}

// Loaded sends the markers of all that was being ended: the last coordinator may
// have sent some of them, none, or all.
func (sh *shard) Loaded(t *coordinator.Turn) {
	sh.live = true
	for _, id := range sh.openIDs() {
		tx := sh.open[id]
		if tx.status.preparing() {
			sh.send(id)
		}
		sh.arm(t, tx.status == Ongoing, false)
	}
	sh.arm(t, false, sh.ids.Len() > 0)
}

// openIDs are the ids of open in order. An alarm that came by often and looked at
// all ids would keep requests waiting where a million are idle.
func (sh *shard) openIDs() []string { return slices.Sorted(maps.Keys(sh.open)) }

// Alarm aborts transactions that are overdue, or forgets ids that are idle. What
// does not fit a turn comes in the next.
func (sh *shard) Alarm(name string, t *coordinator.Turn) {
	t.Soft()
	switch name {
	case abortAlarm:
		sh.aborts = false
		sh.abortOverdue(t)
	case expireAlarm:
		sh.expires = false
		sh.expireIdle(t)
	}
}

// atOnce bounds the bytes that an alarm writes in one turn.
const atOnce = 128 << 10

func (sh *shard) abortOverdue(t *coordinator.Turn) {
	now, size := t.Now.UnixMilli(), 0
	for _, id := range sh.openIDs() {
		tx := sh.open[id]
		if tx.status != Ongoing {
			continue
		}
		sh.arm(t, true, false)
		if !tx.overdue(now) {
			continue
		}
		if size > atOnce {
			t.Wake(abortAlarm, t.Now)
			return
		}
		sh.s.cfg.Logger.Info("a transaction is aborted: it was open for longer than its timeout", "transactional_id", id,
			"producer", tx.ID, "epoch", tx.Epoch, "timeout", time.Duration(tx.timeout)*time.Millisecond)
		sh.s.stats.TimedOut.Add(1)
		sh.fence(t, id, tx, tx.fenced(now))
		size += len(id) + 64*(1+len(tx.partitions))
	}
}

func (sh *shard) expireIdle(t *coordinator.Turn) {
	now, size := t.Now, 0
	if sh.s.cfg.Safe != nil {
		now = sh.s.cfg.Safe(now)
	}
	for _, id := range sh.ids.Keys() {
		sh.arm(t, false, true)
		tx, _ := sh.ids.Get(id)
		if !tx.idle(now.UnixMilli(), sh.s.cfg.Expiration.Milliseconds()) {
			continue
		}
		if size > atOnce {
			t.Wake(expireAlarm, t.Now)
			return
		}
		sh.s.stats.Expired.Add(1)
		t.Delete(recordKey(id))
		size += len(id) + 64
	}
}

// Closed ends what the shard has under way. Who waits for a transaction's end
// looks again, and finds the partition gone.
func (sh *shard) Closed(error) {
	sh.quit()
	for _, id := range slices.Sorted(maps.Keys(sh.waiting)) {
		sh.wake(id)
	}
}
