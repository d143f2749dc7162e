package cli

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// groupOffset is where a group stands in one partition.
type groupOffset struct {
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	Committed  int64  `json:"committed"` // of a share group: all before it is dealt with
	Start      int64  `json:"log_start_offset"`
	Stable     int64  `json:"last_stable_offset"`
	End        int64  `json:"end"`
	Lag        int64  `json:"lag"`
	Member     string `json:"member,omitempty"` // who has it; one of several in a share group
	Metadata   string `json:"metadata,omitempty"`
	LastCommit string `json:"last_commit,omitempty"` // if it was found among the newest commits
	Reason     string `json:"reason,omitempty"`
	Error      string `json:"error,omitempty"`

	Delivery *delivery `json:"delivery,omitempty"` // of a share group
}

func (o groupOffset) place() place { return place{o.Topic, o.Partition} }

// lagFacts is what the cluster knows of the partitions that matter to a group.
type lagFacts struct {
	now                time.Time
	start, end, stable map[place]int64
	ids                map[string][16]byte   // of topics
	epochs             map[place]int32       // of leaders
	gone               map[string]bool       // topics that do not exist
	offline            map[place]bool        // partitions that nobody serves
	open               map[place]blockingTxn // at the last stable offset
	tail               commitTail            // what the group did of late
	wrote              map[place]float64     // records per second, lately
}

// blockingTxn is the transaction that holds the last stable offset.
type blockingTxn struct {
	producer int64
	epoch    int16
	first    int64
	silent   time.Duration // since it last wrote
	id       string        // "" if no coordinator knows of it
}

// standing is one committed offset, or the start of a share partition.
type standing struct {
	at       int64
	lag      int64 // of share partitions, -1 if the broker did not tell
	metadata string
	err      error
}

// standings are where a group is in the partitions it knows.
func standings(ctx context.Context, adm *kadm.Client, g *describedGroup) (map[place]standing, error) {
	all, err := manyStandings(ctx, adm, []listedGroup{{Group: g.Group, Type: g.Type}})
	return all[g.Group], err
}

// manyStandings are those of several groups, by name.
func manyStandings(ctx context.Context, adm *kadm.Client, groups []listedGroup) (map[string]map[place]standing, error) {
	all := map[string]map[place]standing{}
	var share, other []string
	for _, g := range groups {
		all[g.Group] = map[place]standing{}
		if g.Type == shareGroup {
			share = append(share, g.Group)
		} else {
			other = append(other, g.Group)
		}
	}
	if len(share) > 0 { // none would mean every one
		got, err := adm.DescribeShareGroupOffsets(ctx, share...)
		if err != nil {
			return nil, err
		}
		for _, d := range got {
			if d.Err != nil {
				return nil, refusal("group "+d.Group, d.Err, "")
			}
			for _, o := range d.Offsets.Sorted() {
				all[d.Group][place{o.Topic, o.Partition}] = standing{o.StartOffset, o.Lag, "", o.Err}
			}
		}
	}
	if len(other) == 0 {
		return all, nil
	}
	for _, d := range adm.FetchManyOffsets(ctx, other...) {
		if d.Err != nil {
			return nil, refusal("group "+d.Group, d.Err, "")
		}
		for _, o := range d.Fetched.Sorted() {
			if o.At >= 0 || o.Err != nil {
				all[d.Group][place{o.Topic, o.Partition}] = standing{o.At, -1, o.Metadata, o.Err}
			}
		}
	}
	return all, nil
}

// topics are all that a group has to do with, sorted.
func (g *describedGroup) topics(at map[place]standing) []string {
	var names []string
	for p := range at {
		names = append(names, p.topic)
	}
	for _, m := range g.Members {
		names = append(names, m.Topics...)
		for _, t := range slices.Concat(m.Assigned, m.Target) {
			names = append(names, t.Topic)
		}
	}
	if g.Topology != nil {
		names = append(names, g.Topology.sources()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// factsOf asks for the ends of topics, of which some may be gone.
func factsOf(ctx context.Context, adm *kadm.Client, topics []string, now time.Time) (*lagFacts, error) {
	f := &lagFacts{now: now, start: map[place]int64{}, end: map[place]int64{}, stable: map[place]int64{}, gone: map[string]bool{}, ids: map[string][16]byte{},
		epochs: map[place]int32{}, offline: map[place]bool{}, open: map[place]blockingTxn{}, wrote: map[place]float64{}}
	if len(topics) == 0 {
		return f, nil
	}
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, topic := range topics {
		d, ok := details[topic]
		switch {
		case !ok, isAny(d.Err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
			f.gone[topic] = true
		case d.Err != nil:
			return nil, refusal("topic "+topic, d.Err, "")
		default:
			there = append(there, topic)
			f.ids[topic] = d.ID
			for _, part := range d.Partitions {
				f.epochs[place{topic, part.Partition}] = part.LeaderEpoch
			}
		}
	}
	if len(there) == 0 {
		return f, nil
	}
	for _, list := range []struct {
		ask  func(context.Context, ...string) (kadm.ListedOffsets, error)
		into map[place]int64
	}{{adm.ListStartOffsets, f.start}, {adm.ListEndOffsets, f.end}, {adm.ListCommittedOffsets, f.stable}} {
		got, err := reachable(list.ask(ctx, there...))
		if err != nil {
			return nil, err
		}
		for _, t := range there {
			for _, part := range details[t].Partitions {
				p := place{t, part.Partition}
				o, ok := got.Lookup(p.topic, p.partition)
				if !ok || o.Err != nil {
					f.offline[p] = true
					continue
				}
				list.into[p] = o.Offset
			}
		}
	}
	return f, nil
}

// places are the partitions to tell of: those the group stands in, and all of the
// topics its members want.
func (g *describedGroup) places(at map[place]standing, f *lagFacts) []place {
	set := map[place]bool{}
	for p := range at {
		set[p] = true
	}
	wanted := map[string]bool{}
	for _, m := range g.Members {
		for _, t := range m.Topics {
			wanted[t] = true
		}
		for _, t := range slices.Concat(m.Assigned, m.Target) {
			for _, n := range t.Partitions {
				set[place{t.Topic, n}] = true
			}
		}
	}
	if g.Topology != nil {
		for _, t := range g.Topology.sources() {
			wanted[t] = true
		}
	}
	for p := range f.end {
		if wanted[p.topic] {
			set[p] = true
		}
	}
	for p := range f.offline {
		if wanted[p.topic] {
			set[p] = true
		}
	}
	all := make([]place, 0, len(set))
	for p := range set {
		all = append(all, p)
	}
	sortPlaces(all)
	return all
}

// measure fills in where the group stands and how far that is from the end.
func (g *describedGroup) measure(at map[place]standing, f *lagFacts) {
	g.Offsets = []groupOffset{}
	for _, p := range g.places(at, f) {
		s, ok := at[p]
		if !ok {
			s = standing{at: -1, lag: -1}
		}
		o := groupOffset{Topic: p.topic, Partition: p.partition, Committed: s.at, Start: -1, Stable: -1, End: -1, Lag: -1, Metadata: s.metadata}
		if s.err != nil {
			o.Error = s.err.Error()
		}
		if end, ok := f.end[p]; ok {
			o.Start, o.Stable, o.End = f.start[p], f.stable[p], end
			o.Lag = lagOf(g.Type, s, f.start[p], end)
		}
		if i := slices.IndexFunc(g.Members, func(m groupMember) bool { return has(m.Assigned, p) }); i >= 0 {
			o.Member = g.Members[i].Member
		}
		if points := f.tail.commits[p]; len(points) > 0 {
			o.LastCommit = points[len(points)-1].at.UTC().Format(time.RFC3339)
		}
		g.Lag += max(o.Lag, 0)
		g.Offsets = append(g.Offsets, o)
	}
}

// lagOf counts what is unread: all if nothing was committed. Brokers count it for
// share groups, in which records behind the start may be dealt with too, and nobody
// can where one has not begun: -1.
func lagOf(kind string, s standing, start, end int64) int64 {
	switch {
	case kind == shareGroup && (s.lag >= 0 || s.at < 0):
		return s.lag
	case s.at < 0:
		return max(end-start, 0)
	}
	return max(end-s.at, 0)
}

// blockers finds which transactions hold the last stable offset of partitions.
func (f *lagFacts) blockers(ctx context.Context, adm *kadm.Client) error {
	var topics []string
	for p, end := range f.end {
		if f.stable[p] < end {
			topics = append(topics, p.topic)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	slices.Sort(topics)
	open, err := openTransactions(ctx, adm, slices.Compact(topics))
	if err != nil || len(open) == 0 {
		return err
	}
	slices.SortFunc(open, func(x, y kadm.DescribedProducer) int {
		return cmp.Compare(y.CurrentTxnStartOffset, x.CurrentTxnStartOffset)
	})
	var producers []int64
	for _, o := range open { // the first offset comes last and stays
		p := place{o.Topic, o.Partition}
		f.open[p] = blockingTxn{producer: o.ProducerID, epoch: o.ProducerEpoch, first: o.CurrentTxnStartOffset, silent: f.now.Sub(time.UnixMilli(o.LastTimestamp))}
		producers = append(producers, o.ProducerID)
	}
	listed, err := adm.ListTransactions(ctx, producers, nil)
	if err != nil {
		return err
	}
	known, err := describeTransactions(ctx, adm, listed.TransactionalIDs())
	if err != nil {
		return err
	}
	for p, txn := range f.open {
		for _, t := range known {
			if t.Producer == txn.producer && slices.Contains(t.Partitions, p.dashed()) {
				txn.id = t.ID
				f.open[p] = txn
			}
		}
	}
	return nil
}
