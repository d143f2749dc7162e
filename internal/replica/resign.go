package replica

import (
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
)

// A disk that hangs fails nobody: calls only do not come back. A follower of such
// a disk leaves the ISR (see [partition.Partition.Tick]). A leader that finds
// itself there, with others in sync that could go on, gives its leadership up: it
// answers NOT_LEADER_OR_FOLLOWER to who waits and who comes, and has the metadata
// told that its replica is lost, so that one of the others is elected. Once the
// disk answers, the metadata hears where the replica is, and it follows. So does a
// leader that refuses records because its disk is full.
//
// It says so by itself, without waiting for the image: that may come from a log on
// the same disk.

// overseer is a table as it looks at how its replicas fare.
type overseer struct{ *Table }

// plight is how long the disk has owed a replica an answer; it belongs to the
// overseer.
type plight struct {
	since   int64 // ms
	turn    uint32
	flushed int64
	full    bool
	lost    bool // the metadata was told that this replica is lost
}

// oversee has led partitions look for followers that lag, and leaders for
// themselves. It does no I/O and waits for none.
func (t overseer) oversee() {
	if !t.env.sharing.Load() {
		return
	}
	now := t.env.nowMs()
	var told []Placed
	t.Each(func(r *Replica) {
		if !r.shared.Load() {
			return
		}
		if t.cfg.ISR != nil && r.Leads() {
			r.tick(now)
		}
		if p, ok := t.judge(r, now); ok {
			told = append(told, p)
		}
	})
	if len(told) > 0 {
		t.cfg.Named(told)
	}
}

// judge looks whether a replica's disk hangs, and gives what the metadata is to
// know.
func (t overseer) judge(r *Replica, now int64) (Placed, bool) {
	home := r.at.Load().dir.ID
	if t.cfg.Named == nil || kafka.ReservedDir(home) || t.env.stall <= 0 {
		return Placed{}, false
	}
	at := Placed{TopicPartition: r.tp, TopicID: r.id, Dir: home}
	full := r.log().Home().Room() != commitlog.Plenty
	waits := plighted{r}.look(now, full)
	switch hangs := waits && now-r.plight.since > t.env.stall.Milliseconds(); {
	case !waits && r.plight.lost:
		r.plight.lost = false
		r.mu.Lock()
		r.mu.resigned = false
		r.mu.Unlock()
		t.env.logger.Info("the disk serves again", "partition", r.tp.String())
		return at, true
	case hangs && !r.plight.lost && plighted{r}.resign(now):
		r.plight.lost = true
		t.env.logger.Warn("leadership is given up: the disk does not answer, or is full", "partition", r.tp.String(), "full", full, "ms", now-r.plight.since)
		at.Dir = kafka.DirLost
		return at, true
	}
	return Placed{}, false
}

// plighted is a replica as its overseer sees it.
type plighted struct{ *Replica }

// look says whether something waits for the disk, or nothing can come for it is
// full, and notes since when that is so.
func (r plighted) look(now int64, full bool) bool {
	turn, held := r.turn.holder()
	r.mu.Lock()
	owes := r.mu.part.Owes()
	flushed := r.mu.part.Flush()
	r.mu.Unlock()
	p := &r.plight
	if !held {
		turn = 0
	}
	if full {
		if !p.full {
			p.since = now
		}
	} else if !held && !owes || p.full || turn != p.turn || flushed != p.flushed {
		p.since, p.turn, p.flushed = now, turn, flushed
	}
	p.full = full
	return full || (held || owes) && now > p.since
}

// resign gives leadership up if the others can do without.
func (r plighted) resign(now int64) bool {
	if r.Offline() != nil {
		return false
	}
	r.mu.Lock()
	ok := r.mu.part.Role() == partition.Leader && r.mu.part.Dispensable(now)
	r.mu.resigned = r.mu.resigned || ok
	r.mu.Unlock()
	if ok {
		r.dismiss(r.wrap(kafka.NotLeaderOrFollower), false)
	}
	return ok
}
