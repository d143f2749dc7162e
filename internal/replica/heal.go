package replica

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// A full disk takes a partition offline in two ways: a flush finds it full,
// which is final for the file, or the log cannot be opened. Neither says anything
// against the disk, so the partition comes back by itself: it is closed, and
// opened from what the device holds. Nobody was told that what is lost then was
// durable. Any other failure of a disk stays until the process starts anew.

// ward is a table as it looks after them.
type ward struct{ *Table }

// healPause is for how many rounds of tidy nothing is tried again after it did
// not help.
const healPause = 4

// ill has a partition looked after that a full disk took offline. It does not
// wait and may be called in a turn.
func (t ward) ill(tp kafka.TopicPartition, cause error) {
	t.mu.Lock()
	s := t.mu.slots[tp]
	if s == nil || s.lane == nil {
		t.mu.Unlock()
		return
	}
	heals := vfs.IsNoSpace(cause)
	if heals {
		d := s.lane.dir
		d.ill = append(d.ill, tp)
	}
	elsewhere := s.want != nil && len(s.want.Role.Replicas) > 1
	t.mu.Unlock()
	if elsewhere && !heals {
		t.forgo(s)
	}
}

// forgo tells the metadata that a replica is lost for now, so that another
// leads.
func (t ward) forgo(s *slot) {
	if t.cfg.Named != nil {
		t.cfg.Named([]Placed{{TopicPartition: s.tp, TopicID: s.id, Dir: kafka.DirLost}})
	}
}

// resigns says whether a replica may not come back in the role that it has: what
// a leader had not flushed is gone from its log and may be in those of followers.
// In the same epoch it would give out those offsets again, to other records, and
// nobody could tell.
func (r opening) resigns(want *Assignment) bool {
	_, epoch := r.Leader()
	return want.Role.Leader == r.env.self && want.Role.LeaderEpoch == epoch && len(want.Role.Replicas) > 1
}

// heal has the openers look at the partitions of a directory that are ill.
func (t ward) heal(d *directory) {
	t.mu.Lock()
	if len(d.ill) == 0 || d.pause > 0 || d.Home.Failed() != nil {
		d.pause = max(0, d.pause-1)
		t.mu.Unlock()
		return
	}
	for _, tp := range d.ill {
		if s := t.mu.slots[tp]; s != nil && s.lane != nil && s.lane.dir == d && s.want != nil {
			d.queue.add(s.lane)
		}
	}
	d.ill = nil
	n := d.queue.len()
	t.mu.Unlock()
	d.call(n)
}

// relapse notes that a partition could not be brought back yet.
func (t ward) relapse(d *directory, tp kafka.TopicPartition, err error) {
	t.mu.Lock()
	d.pause = healPause
	t.mu.Unlock()
	t.ill(tp, err)
}

// ailing says whether the log is at its end for want of room, or was closed for
// that. It is for who serves the lane.
func (r opening) ailing() bool {
	return r.shut || r.Offline() != nil && vfs.IsNoSpace(r.log().Failed())
}

// reopen closes the log and opens it from the device, in a turn of its own. The
// replica has no role then.
func (r opening) reopen(d *directory) error {
	r.turn.lock()
	defer r.turn.leave()
	if !r.shut {
		_ = r.log().Close() // it has failed: it only lets go
		r.shut = true
	}
	c := r.Config()
	log, err := r.open(d, &c)
	if err != nil {
		return err
	}
	r.shut = false
	r.begin(&berth{d, log})
	r.mu.Lock()
	r.mu.closed = nil
	r.mu.Unlock()
	r.fault.Store(nil)
	r.env.logger.Info("partition is back: the disk has room", "partition", r.tp.String(), "end", log.End())
	return nil
}
