package metrics

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Group is a group that this broker coordinates, of whatever kind.
type Group struct {
	Name    string
	Kind    string // classic, consumer, share, streams
	State   string
	Members int
	Offsets []GroupOffset
}

// GroupOffset is how far a group is in a partition. Of a share group Committed is
// the first offset that is not done.
type GroupOffset struct {
	Topic     string
	Partition int32
	Committed int64
	Lag       int64   // records up to the high watermark that are not consumed; -1 if unknown
	Seconds   float64 // age of the first of those, 0 without any; negative if unknown
}

// lag is how many records a group has yet to consume, as far as is known.
func (g *Group) lag() (sum int64) {
	for i := range g.Offsets {
		sum += max(0, g.Offsets[i].Lag)
	}
	return sum
}

// Bounds say which groups have series of their own, so that a scrape does not
// grow with the groups.
type Bounds struct {
	Include    func(group string) bool // nil: all
	Groups     int                     // at most so many, those that lag most
	Partitions int                     // of those at most so many partitions, in the same order
}

// Census is what a scrape says of all groups: counts of all, and the groups that
// the bounds let through. It never holds more than twice as many groups as those.
type Census struct {
	Groups        []Group // after Bound
	GroupsLeft    int     // that are not in Groups
	PartitionLeft int     // partitions of Groups that have no series of their own, see Whole

	Count   map[KindState]int
	Members map[string]int // by kind
	Offsets int            // committed, without share groups'

	bounds Bounds
	seen   int      // groups that were added
	kept   []ranked // of those, what may come through
	whole  int      // so many of Groups show their partitions
}

// KindState is a kind of group and one of its states.
type KindState struct{ Kind, State string }

// ranked is a group and how many records it has yet to consume.
type ranked struct {
	lag int64
	g   Group
}

// NewCensus takes no group in yet.
func NewCensus(b Bounds) *Census {
	return &Census{Count: map[KindState]int{}, Members: map[string]int{}, bounds: b}
}

// Add takes a group in.
func (c *Census) Add(g *Group) {
	c.seen++
	c.Count[KindState{g.Kind, g.State}]++
	c.Members[g.Kind] += g.Members
	if g.Kind != "share" {
		c.Offsets += len(g.Offsets)
	}
	if c.bounds.Include != nil && !c.bounds.Include(g.Name) {
		return
	}
	c.kept = append(c.kept, ranked{g.lag(), *g})
	if len(c.kept) > 2*c.bounds.Groups {
		c.cut()
	}
}

// cut keeps of the groups those that rank first, in order.
func (c *Census) cut() {
	slices.SortFunc(c.kept, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(y.lag, x.lag), cmp.Compare(y.g.Members, x.g.Members), strings.Compare(x.g.Name, y.g.Name))
	})
	n := min(len(c.kept), c.bounds.Groups)
	clear(c.kept[n:])
	c.kept = c.kept[:n]
}

// Bound leaves out what the bounds do not let through, when all groups are added.
// Those groups come first that lag most; of groups that lag alike the larger come
// first, then the order is that of their names.
func (c *Census) Bound() {
	c.cut()
	c.Groups, c.whole, c.PartitionLeft = nil, 0, 0
	left, full := c.bounds.Partitions, false
	for i := range c.kept {
		g := &c.kept[i].g
		sortOffsets(g.Offsets)
		c.Groups = append(c.Groups, *g)
		if full = full || len(g.Offsets) > left; full {
			c.PartitionLeft += len(g.Offsets)
		} else {
			left -= len(g.Offsets)
			c.whole++
		}
	}
	c.GroupsLeft = c.seen - len(c.Groups)
}

// Whole are the groups whose partitions have series of their own. Their Seconds
// are worth to be known.
func (c *Census) Whole() []Group { return c.Groups[:c.whole] }

func sortOffsets(list []GroupOffset) {
	slices.SortFunc(list, func(x, y GroupOffset) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
}

// GroupStats are counters of the groups of one kind.
type GroupStats struct {
	Kind          string
	Rebalances    int64
	LastRebalance time.Time // zero: none yet
	Sessions      int64     // that expired
}

// GroupCoordinator is what the group coordinator counts.
type GroupCoordinator struct {
	Kinds                     []GroupStats
	Commits, Expired, Deleted int64 // offsets
}

// Coordinator is how the partitions of an internal topic are coordinated.
type Coordinator struct {
	Name            string // group, transaction, share
	Active, Loading int    // partitions
	Waiting         int64  // requests that wait for their turn
	Loads, Failures int64
	LoadTime        time.Duration // of all loads
	LongestLoad     time.Duration
	Batches         int64
	Records         int64
	LeftOut         int64 // partitions that a scrape did not see
}

// Transactions is what the transaction coordinator knows and counts.
type Transactions struct {
	IDs, Open, Ending int
	Oldest            time.Duration // age of the oldest of Open and Ending, 0 without any

	Started, Committed, Aborted, TimedOut, Expired int64
}

// Share is what leaders of share partitions and the share coordinator count.
type Share struct {
	Sessions, SessionPartitions int
	Evicted                     uint64
	Held                        int64    // records that are locked
	Acks                        [5]int64 // records, by the number of the acknowledge type
	Requests, Timeouts          int64
	Loads                       int64
	LoadTime                    time.Duration

	States                  int // share partitions that are kept by the coordinator here
	Writes, Refused, Failed int64
	WriteTime               time.Duration

	Letters, LettersLost int64 // records for dead-letter topics; those that did not get there
}
