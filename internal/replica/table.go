package replica

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
)

// Config is what a table needs. Self, Dirs, Pool and Now must be set.
type Config struct {
	// Self is this broker's id.
	Self int32
	// Dirs are the log directories, at least one, in the order of log.dirs. The
	// caller closes the homes after Run returned; the flushers must run as long
	// as the table does.
	Dirs []Dir
	// Broken are the paths of directories that failed before they were open.
	Broken []string
	// Movers is how many replicas are moved between directories at once
	// (num.replica.alter.log.dirs.threads); 0 means as many as directories.
	Movers int
	// Named is told where replicas are whose directory the metadata does not
	// name, or not rightly; a new replica serves once Apply brings the name. It
	// must not wait. Nil: the metadata need not know.
	Named func([]Placed)
	// Pool opens batches where a topic's rules demand it.
	Pool *record.Pool
	// ISR takes proposals to the controller; nil while there are no followers.
	ISR partition.ISR
	// Roled is told of every replica whose role or leader changed, after it did and
	// in that order for each: see [Follower.Following]. It must not wait. Nil:
	// nobody is told.
	Roled  func(*Replica)
	Now    func() time.Time
	Logger *slog.Logger

	// Openers is how many logs are opened at once in each directory; 0 means 8.
	Openers int
	// OpenWait is how long a request waits for a replica that is opening; 0
	// means 1 s.
	OpenWait time.Duration
	// LagMax and StallMax are those of [partition.Config]; 0 means 30 s and 2 s.
	LagMax, StallMax time.Duration
	// RetentionEvery is how often retention runs (log.retention.check.interval.ms);
	// 0 means 5 minutes.
	RetentionEvery time.Duration
	// CheckpointEvery is how often the durable points are written down; 0
	// means 5 s.
	CheckpointEvery time.Duration
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.OpenWait, time.Second)
	set(&c.LagMax, 30*time.Second)
	set(&c.StallMax, 2*time.Second)
	set(&c.RetentionEvery, 5*time.Minute)
	set(&c.CheckpointEvery, 5*time.Second)
	if c.Openers <= 0 {
		c.Openers = 8
	}
	if c.Movers <= 0 {
		c.Movers = len(c.Dirs)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Assignment is what the cluster's image says of one partition that this broker
// holds.
type Assignment struct {
	kafka.TopicPartition
	TopicID kafka.UUID
	// Dir is the directory that the metadata names for this replica, or one of
	// the reserved ids. It decides only what the disks leave open.
	Dir kafka.UUID
	// Config may be shared by all partitions of a topic and is not changed.
	Config *TopicConfig
	Role   partition.Assignment
}

// Placed says in which directory a replica is.
type Placed struct {
	kafka.TopicPartition
	TopicID, Dir kafka.UUID
}

// Delta is a change of what this broker holds.
type Delta struct {
	// Assigned are partitions that are new here or changed in role or config.
	Assigned []Assignment
	// Removed are partitions whose folder is to go: the topic was deleted, or
	// the replica moved away.
	Removed []kafka.TopicPartition
	// Complete: Assigned is all this broker holds; whatever else is open or on
	// disk goes. So begins a broker that has read its first image.
	Complete bool
}

// Table holds the replicas of this broker.
type Table struct {
	cfg  Config
	env  *env
	dirs []*directory // in the order of log.dirs

	index index         // what Get reads
	clock atomic.Uint32 // ticks since the begin

	mu struct {
		sync.Mutex // memory only
		slots      map[kafka.TopicPartition]*slot
		slept      map[string]*Counters                // by topic, of replicas that went to sleep
		surveyed   bool                                // the directories were listed: slots get their place
		preferred  map[kafka.TopicPartition]*directory // where replicas shall be that are not here yet
		moves      []*move                             // that wait for a mover
	}
	movable chan struct{} // wakes movers
	pace    pace
}

// NewTable makes a table without replicas. Nothing is opened before Run.
func NewTable(cfg Config) *Table {
	cfg.defaults()
	t := &Table{cfg: cfg, env: &env{
		self: cfg.Self, pool: cfg.Pool, now: cfg.Now, isr: cfg.ISR, roled: cfg.Roled,
		logger: cfg.Logger, lagMax: cfg.LagMax, stall: cfg.StallMax,
	}}
	for _, d := range cfg.Dirs {
		t.dirs = append(t.dirs, newDirectory(d, cfg.Openers))
	}
	t.env.ill = ward{t}.ill
	t.env.holders.New = func() any { return new(holder) }
	t.env.entries.New = func() any { return &entry{wake: make(chan signal, 1)} }
	t.mu.slots, t.mu.slept = map[kafka.TopicPartition]*slot{}, map[string]*Counters{}
	t.mu.preferred = map[kafka.TopicPartition]*directory{}
	t.movable = make(chan struct{}, cfg.Movers)
	t.pace.now, t.pace.turn = cfg.Now, make(chan struct{}, 1)
	t.SetMoveRate(math.MaxInt64)
	return t
}

// Apply takes in a change of the cluster's image. It does no I/O: Run opens and
// closes logs and changes roles, in the order of Apply for each partition.
func (t *Table) Apply(d Delta) {
	var lost []misplaced
	t.mu.Lock()
	removed := d.Removed
	if d.Complete {
		removed = t.othersLocked(d.Assigned)
		for _, dir := range t.dirs {
			dir.sweep = true
		}
	}
	seen := newChanges()
	for _, tp := range removed {
		if s := t.mu.slots[tp]; s != nil {
			delete(t.mu.slots, tp)
			lost = append(lost, t.leaveLocked(s)...)
			seen.remove(s)
		}
	}
	for i := range d.Assigned {
		lost = append(lost, t.assignLocked(&d.Assigned[i], seen)...)
	}
	t.publishLocked(seen)
	t.mu.Unlock()
	t.tell(lost)
	t.callAll()
}

// assignLocked says which slots have no place.
func (t *Table) assignLocked(a *Assignment, seen *changes) (lost []misplaced) {
	s := t.mu.slots[a.TopicPartition]
	same := s != nil && s.id == a.TopicID
	switch {
	case !same:
		if s != nil {
			lost = t.leaveLocked(s)
			seen.remove(s)
		}
		s = newSlot(a)
		seen.add(s)
	case s.broken() && (s.lane == nil || !s.lane.busy):
		again := newSlot(a) // another try, where the folder is
		if again.lane = s.lane; s.lane != nil {
			s.lane.now = again
		}
		s = again
		seen.add(s)
	}
	t.mu.slots[a.TopicPartition] = s
	s.want = a
	if t.mu.surveyed {
		lost = append(lost, placer{t}.seatLocked(s)...)
	}
	return lost
}

// leaveLocked has a slot's folder taken out of the way; one without a folder is
// given back as lost.
func (t *Table) leaveLocked(s *slot) []misplaced {
	l := s.lane
	mover{t}.dropLocked(s)
	if l == nil {
		return []misplaced{{s, fmt.Errorf("partition %s: %w", s.tp, kafka.UnknownTopicOrPartition)}}
	}
	l.old, l.now = append(l.old, s), nil
	l.dir.holds--
	l.dir.queue.add(l)
	return nil
}

// othersLocked lists what is held and not in the list.
func (t *Table) othersLocked(keep []Assignment) []kafka.TopicPartition {
	in := make(map[kafka.TopicPartition]bool, len(keep))
	for i := range keep {
		in[keep[i].TopicPartition] = true
	}
	var out []kafka.TopicPartition
	for tp := range t.mu.slots {
		if !in[tp] {
			out = append(out, tp)
		}
	}
	slices.SortFunc(out, kafka.TopicPartition.Compare)
	return out
}

// publishLocked lets readers see what changed.
func (t *Table) publishLocked(seen *changes) {
	t.index.publish(seen)
	for topic := range seen.byName {
		if t.index.find(topic) == nil {
			delete(t.mu.slept, topic)
		}
	}
}

// slots lists all, sorted by topic and partition.
func (t *Table) slots() []*slot {
	if list := t.index.sorted.Load(); list != nil {
		return *list
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slotsLocked()
}

func (t *Table) slotsLocked() []*slot {
	if list := t.index.sorted.Load(); list != nil {
		return *list
	}
	return t.index.all(t.mu.slots)
}

// Get finds a replica. If its log is still opening it waits a little.
//
// Errors: UNKNOWN_TOPIC_OR_PARTITION if this broker does not hold it; whether it
// exists elsewhere is for the image to tell. NOT_LEADER_OR_FOLLOWER if it is not
// open in time, KAFKA_STORAGE_ERROR if it cannot be opened.
func (t *Table) Get(topic string, p int32) (*Replica, error) {
	list := t.index.find(topic)
	if p < 0 || int(p) >= len(list) || list[p] == nil {
		return nil, fmt.Errorf("partition %s-%d: %w", topic, p, kafka.UnknownTopicOrPartition)
	}
	return t.wait(list[p])
}

// GetID is [Table.Get] by topic id; an unknown one is UNKNOWN_TOPIC_ID.
func (t *Table) GetID(id kafka.UUID, p int32) (*Replica, error) {
	list := t.index.findID(id)
	if list == nil {
		return nil, fmt.Errorf("topic id %s: %w", id, kafka.UnknownTopicID)
	}
	if p < 0 || int(p) >= len(list) || list[p] == nil {
		return nil, fmt.Errorf("partition %s-%d: %w", id, p, kafka.UnknownTopicOrPartition)
	}
	return t.wait(list[p])
}

// wait gives a slot's replica. A log that is asked for is opened before others,
// one that is asleep now.
func (t *Table) wait(s *slot) (*Replica, error) {
	t.touch(s)
	if r := s.replica.Load(); r != nil {
		return r, nil
	}
	timer := time.NewTimer(t.cfg.OpenWait)
	defer timer.Stop()
	for late := false; ; {
		opened := sleeper{t}.hurry(s)
		if r := s.replica.Load(); r != nil {
			return r, nil
		}
		if f := s.fault.Load(); f != nil {
			return nil, f.err
		}
		if late {
			break
		}
		if opened == nil {
			continue // it came, and went to sleep again before this looked
		}
		//house:select the slot is looked at after either
		select {
		case <-opened:
		case <-timer.C:
			late = true
		}
	}
	return nil, fmt.Errorf("partition %s is still opening: %w", s.tp, kafka.NotLeaderOrFollower)
}

// hurry has a slot opened before others. What it gives is closed when the slot
// has a replica or a fault; nil if it has. A replica may be gone again before
// who waited looks.
func (t sleeper) hurry(s *slot) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.replica.Load() != nil || s.fault.Load() != nil {
		return nil
	}
	if s.opened == nil {
		s.opened = make(chan struct{})
	}
	s.called = true
	if l := s.lane; l != nil {
		t.wakeLocked(s)
		l.dir.queue.hurry(l)
		l.dir.call(1)
	}
	return s.opened
}

// Each calls do for every open replica, sorted by topic and partition.
func (t *Table) Each(do func(*Replica)) {
	for _, s := range t.slots() {
		if r := s.replica.Load(); r != nil {
			do(r)
		}
	}
}

// Opening is how many replicas are assigned and neither open, asleep nor failed.
func (t *Table) Opening() (n int) {
	list := t.slots()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range list {
		if !s.asleep && s.replica.Load() == nil && s.fault.Load() == nil {
			n++
		}
	}
	return n
}
