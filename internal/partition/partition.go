package partition

import (
	"fmt"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Role is what this replica is to its partition.
type Role int8

// The roles. Without one the replica answers nobody.
const (
	None Role = iota
	Leader
	Follower
)

var roleNames = [...]string{"none", "leader", "follower"}

// String is the role in lower case.
func (r Role) String() string { return roleNames[r] }

// Config is what a partition's rules depend on. It may change: see
// [Partition.SetConfig].
type Config struct {
	// Self is this broker's id.
	Self int32
	// MinISR is min.insync.replicas. More than there are replicas counts as
	// the number of replicas, as in Kafka.
	MinISR int32
	// LagMax is for how many ms a follower may not have caught up before it
	// leaves the ISR (replica.lag.time.max.ms, 30000).
	LagMax int64
	// StallMax is for how many ms a follower that is behind may flush nothing
	// before it leaves the ISR, as long as MinISR others remain. It keeps one
	// stalled disk from stopping producers for LagMax. 0 turns the rule off.
	StallMax int64
}

// Assignment is what the cluster's image says of the partition.
type Assignment struct {
	Leader         int32 // kafka.NoBroker while there is none
	LeaderEpoch    int32
	PartitionEpoch int32 // counts every change the controller makes
	Replicas       []int32
	ISR            []int32
	// Recovering: the leader was chosen from outside the ISR, with the operator's
	// leave, and may miss what was committed.
	Recovering bool
}

// ISRChange proposes a new ISR to the controller, which accepts it only if the
// partition is still at these epochs.
type ISRChange struct {
	LeaderEpoch    int32
	PartitionEpoch int32
	ISR            []Member
}

// Member is a broker in a proposed ISR, with the incarnation that was seen to
// be in sync (KIP-903); -1 is unknown.
type Member struct {
	Broker int32
	Epoch  int64
}

// ISR is how proposals reach the controller. The answer comes back as a step:
// [Partition.ISRRefused], or an assignment with the new ISR.
type ISR interface {
	Propose(tp kafka.TopicPartition, change ISRChange)
}

// Effects are what the caller has to do after a step.
type Effects struct {
	// Advanced: the high watermark moved, so committed waiters and fetches may
	// go on.
	Advanced bool
	// Durable: the flushed end of the whole ISR moved.
	Durable bool
	// RoleChanged: the replica became or ceased to be leader or follower, or
	// got another leader or epoch. Waiters of the older epoch must be told.
	RoleChanged bool
	// Propose is a new ISR to send to the controller; nil if none.
	Propose *ISRChange
}

// Partition is one replica's state. It is not safe for concurrent use.
type Partition struct {
	cfg  Config
	at   Assignment
	role Role

	epochStart int64 // log end when this leadership began; leader only
	hw         int64
	safe       int64 // see Safe; a leader's is brought up to date when it ceases to be one
	durable    int64 // flushed on the whole maximal ISR; leader only
	local      local
	remote     []remote // the other replicas, by broker id; leader only

	demands queue     // what must be durable and is not everywhere
	pending *proposal // the ISR change on its way
}

// local is this replica's own log.
type local struct {
	written, flushed int64
}

// remote is what the leader knows of a follower.
type remote struct {
	id          int32
	end         int64 // where it fetches from: its flushed end; -1 unknown
	brokerEpoch int64
	eligible    bool
	caughtUp    int64 // when it last had all there was, ms
	moved       int64 // when its end last moved or there was nothing to move to
	lastFetch   int64 // when it last fetched, and what the log's end was then
	lastEnd     int64
}

// proposal is an ISR change that the controller has not decided yet.
type proposal struct {
	isr []int32
}

// New makes a replica without a role, whose log is written and flushed up to
// end and known to be committed up to hw.
func New(cfg Config, hw, end int64) *Partition {
	return &Partition{cfg: cfg, at: Assignment{Leader: kafka.NoBroker, LeaderEpoch: kafka.NoEpoch, PartitionEpoch: -1},
		hw: min(hw, end), local: local{written: end, flushed: end}}
}

// Role is the replica's role now.
func (p *Partition) Role() Role { return p.role }

// Leader is the broker that leads and the epoch in which it does.
func (p *Partition) Leader() (id, epoch int32) { return p.at.Leader, p.at.LeaderEpoch }

// PartitionEpoch counts the controller's changes to the partition.
func (p *Partition) PartitionEpoch() int32 { return p.at.PartitionEpoch }

// ISR is the set that the controller has committed.
func (p *Partition) ISR() []int32 { return p.at.ISR }

// Replicas is the assigned set, the preferred leader first.
func (p *Partition) Replicas() []int32 { return p.at.Replicas }

// HighWatermark is the offset below which everything is committed.
func (p *Partition) HighWatermark() int64 { return p.hw }

// Durable is the offset below which everything is on stable storage of the
// whole ISR, as far as the leader knows. On a follower it is its own.
func (p *Partition) Durable() int64 {
	if p.role == Leader {
		return p.durable
	}
	return p.local.flushed
}

// EpochStart is where the log ended when this replica began to lead.
func (p *Partition) EpochStart() int64 { return p.epochStart }

// SetConfig takes new rules. A lower MinISR may let the high watermark go on.
func (p *Partition) SetConfig(cfg Config) Effects {
	p.cfg = cfg
	return p.advance(Effects{})
}

// Assign takes what the controller decided. What is older than what the replica
// has already is ignored. The caller then has the log begin the leader epoch,
// if the replica leads, or tells the fetcher, if it follows.
func (p *Partition) Assign(a Assignment, now int64) Effects {
	if a.LeaderEpoch < p.at.LeaderEpoch || a.PartitionEpoch < p.at.PartitionEpoch {
		return Effects{}
	}
	newEpoch := a.LeaderEpoch != p.at.LeaderEpoch || a.Leader != p.at.Leader
	if a.PartitionEpoch != p.at.PartitionEpoch || newEpoch {
		p.pending = nil
	}
	was := p.role
	p.safe = p.Safe()
	if a.Recovering {
		p.safe = 0
	}
	p.at = a
	p.at.Replicas, p.at.ISR = slices.Clone(a.Replicas), slices.Clone(a.ISR)

	switch {
	case a.Leader == p.cfg.Self:
		p.role = Leader
	case slices.Contains(a.Replicas, p.cfg.Self):
		p.role = Follower
	default:
		p.role = None
	}
	fx := Effects{RoleChanged: newEpoch || p.role != was}
	if p.role != Leader {
		p.remote, p.demands = nil, queue{}
		return fx
	}
	if fx.RoleChanged {
		p.lead()
	}
	p.followers(now)
	return p.advance(fx)
}

// lead begins a leadership. What the log holds from before counts as written
// and flushed here; of the others nothing is known until they fetch.
func (p *Partition) lead() {
	p.epochStart = p.local.written
	p.durable = min(p.local.flushed, p.durableFloor())
	p.remote, p.demands = nil, queue{}
	if p.local.flushed < p.local.written {
		p.demands.add(p.local.flushed, p.local.written)
	}
}

// durableFloor is what may be called durable everywhere at the start of a
// leadership: what was committed.
func (p *Partition) durableFloor() int64 { return p.hw }

// followers makes the list of the others fit the assignment. One that is new
// gets the whole of LagMax to catch up.
func (p *Partition) followers(now int64) {
	var list []remote
	for _, id := range p.at.Replicas {
		if id == p.cfg.Self {
			continue
		}
		r := remote{id: id, end: kafka.NoOffset, brokerEpoch: -1, caughtUp: now, moved: now, lastEnd: math.MaxInt64}
		if old := p.find(id); old != nil {
			r = *old
		}
		list = append(list, r)
	}
	p.remote = list
}

func (p *Partition) find(id int32) *remote {
	for i := range p.remote {
		if p.remote[i].id == id {
			return &p.remote[i]
		}
	}
	return nil
}

// minISR is how many must be in sync for acks=all and for the high watermark.
func (p *Partition) minISR() int {
	return max(1, min(int(p.cfg.MinISR), len(p.at.Replicas)))
}

// CheckEpoch refuses a request that expects another leader epoch than the one
// here; kafka.NoEpoch expects none (KIP-320). With needLeader it then refuses
// if this replica does not lead.
//
// Errors: FENCED_LEADER_EPOCH for a caller behind, UNKNOWN_LEADER_EPOCH for one
// ahead, NOT_LEADER_OR_FOLLOWER.
func (p *Partition) CheckEpoch(epoch int32, needLeader bool) error {
	switch {
	case epoch != kafka.NoEpoch && epoch < p.at.LeaderEpoch:
		return fmt.Errorf("epoch %d, now %d: %w", epoch, p.at.LeaderEpoch, kafka.FencedLeaderEpoch)
	case epoch != kafka.NoEpoch && epoch > p.at.LeaderEpoch:
		return fmt.Errorf("epoch %d, still %d: %w", epoch, p.at.LeaderEpoch, kafka.UnknownLeaderEpoch)
	case p.role == None, needLeader && p.role != Leader:
		return kafka.NotLeaderOrFollower
	}
	return nil
}

// Admit refuses an append that cannot be answered: by one who does not lead
// (NOT_LEADER_OR_FOLLOWER and the errors of [Partition.CheckEpoch]) or, for
// acks=all, while too few are in sync (NOT_ENOUGH_REPLICAS).
func (p *Partition) Admit(epoch int32, all bool) error {
	if err := p.CheckEpoch(epoch, true); err != nil {
		return err
	}
	if n := p.minISR(); all && len(p.at.ISR) < n {
		return fmt.Errorf("%d in sync, %d needed: %w", len(p.at.ISR), n, kafka.NotEnoughReplicas)
	}
	return nil
}

// LatestKnown refuses to tell the latest offset while the leader does not know
// yet how far its predecessor had committed (KIP-207): OFFSET_NOT_AVAILABLE.
func (p *Partition) LatestKnown() error {
	if p.role == Leader && p.epochStart > p.hw {
		return fmt.Errorf("high watermark %d below the epoch's start %d: %w", p.hw, p.epochStart, kafka.OffsetNotAvailable)
	}
	return nil
}
