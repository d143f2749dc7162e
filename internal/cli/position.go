package cli

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// position is a place in every partition of a topic, as a user writes it.
//
//	start      the oldest record
//	end        after the newest record
//	N          offset N
//	+N         N after the oldest; for a group, N after where it stands
//	-N         N before the end; for a group, N before where it stands
//	@TIME      the first record at or after a time: 2006-01-02, 2006-01-02T15:04:05Z,
//	           milliseconds since 1970, or how long ago: @90s, @2h, @7d
type position struct {
	kind byte // 's', 'e', 'n' offset, '+' or '-' relative, '@' time
	n    int64
}

func parsePosition(s string, now time.Time) (position, error) {
	switch s {
	case "start", "earliest", "beginning", "oldest":
		return position{kind: 's'}, nil
	case "end", "latest", "newest":
		return position{kind: 'e'}, nil
	case "":
		return position{}, usage("an offset is empty: want start, end, N, +N, -N or @TIME")
	}
	if s[0] == '@' {
		t, err := parseTime(s[1:], now)
		return position{'@', t}, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return position{}, usage("%s is no offset: want start, end, N, +N, -N or @TIME such as @2h or @2006-01-02", s)
	}
	switch s[0] {
	case '+':
		return position{'+', n}, nil
	case '-':
		return position{'-', -n}, nil
	}
	return position{'n', n}, nil
}

// parseTime reads a point in time and returns milliseconds since 1970.
func parseTime(s string, now time.Time) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))).UnixMilli(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d).UnixMilli(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, usage("@%s is no time: want 2006-01-02, 2006-01-02T15:04:05Z, milliseconds since 1970, or how long ago: 90s, 2h, 7d", s)
}

// place is one partition.
type place struct {
	topic     string
	partition int32
}

// String is the place as the commands take it.
func (p place) String() string { return p.topic + "/" + strconv.Itoa(int(p.partition)) }

// dashed is the place as Kafka writes it.
func (p place) dashed() string { return p.topic + "-" + strconv.Itoa(int(p.partition)) }

// bounds are where the partitions of some topics start and end.
type bounds struct {
	start, end map[place]int64
	offline    []place // those that nobody serves now, sorted
}

func (b bounds) sorted() []place {
	all := make([]place, 0, len(b.start))
	for p := range b.start {
		all = append(all, p)
	}
	sortPlaces(all)
	return all
}

func sortPlaces(all []place) { slices.SortFunc(all, comparePlaces) }

func comparePlaces(x, y place) int {
	return cmp.Or(strings.Compare(x.topic, y.topic), cmp.Compare(x.partition, y.partition))
}

func (b bounds) topics() []string {
	var names []string
	for _, p := range b.sorted() {
		names = append(names, p.topic)
	}
	return slices.Compact(names)
}

// away are the errors of a partition that nobody serves now.
func away(err error) bool {
	return isAny(err, kerr.LeaderNotAvailable, kerr.ReplicaNotAvailable, kerr.NotLeaderForPartition, kerr.KafkaStorageError)
}

// passed takes out the error of a request of which some parts failed, if all of
// them did so in a way that may be.
func passed(err error, may func(error) bool) error {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) && !slices.ContainsFunc(shards.Errs, func(e kadm.ShardError) bool { return !may(e.Err) }) {
		return nil
	}
	return err
}

// reachable are the offsets of partitions that answered. Those that nobody serves
// are left out, or have an error of their own.
func reachable(got kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	return got, passed(err, away)
}

// limits asks for the bounds of topics; only, if not empty, names the
// partitions that matter.
func limits(ctx context.Context, adm *kadm.Client, topics []string, only []int32) (bounds, error) {
	b := bounds{start: map[place]int64{}, end: map[place]int64{}}
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return b, err
	}
	for _, topic := range topics {
		d, ok := details[topic]
		if !ok {
			d.Err = kerr.UnknownTopicOrPartition
		}
		if d.Err != nil {
			return b, refusal("topic "+topic, d.Err, "")
		}
		for _, n := range only {
			if _, ok := d.Partitions[n]; !ok {
				return b, missing("topic %s has no partition %d; see: myelin topic describe %s", topic, n, topic)
			}
		}
	}
	starts, err := reachable(adm.ListStartOffsets(ctx, topics...))
	if err != nil {
		return b, err
	}
	ends, err := reachable(adm.ListEndOffsets(ctx, topics...))
	if err != nil {
		return b, err
	}
	for _, t := range details.Sorted() {
		for _, part := range t.Partitions.Sorted() {
			p := place{t.Topic, part.Partition}
			o, have := starts.Lookup(p.topic, p.partition)
			e, known := ends.Lookup(p.topic, p.partition)
			switch err := cmp.Or(o.Err, e.Err); {
			case len(only) > 0 && !slices.Contains(only, p.partition):
			case !have, !known, away(err):
				b.offline = append(b.offline, p)
			case err != nil:
				return b, refusal("topic "+p.topic, err, "")
			default:
				b.start[p], b.end[p] = o.Offset, e.Offset
			}
		}
	}
	return b, nil
}

// offlineFault names the partitions that nobody serves, nil if there are none.
func (b bounds) offlineFault() error {
	if len(b.offline) == 0 {
		return nil
	}
	code := exitPartial
	if len(b.start) == 0 {
		code = exitFailed
	}
	return &fault{code, offlineText(b.offline)}
}

func offlineText(list []place) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.topic + "/" + strconv.Itoa(int(p.partition))
	}
	return "offline, no broker serves them now: " + strings.Join(names, ", ") + "; see: myelin storage dirs"
}

// resolve turns a position into an offset of each partition. Offsets beyond the
// bounds become the nearest bound.
func (b bounds) resolve(ctx context.Context, adm *kadm.Client, at position) (map[place]int64, error) {
	got := map[place]int64{}
	var byTime kadm.ListedOffsets
	if at.kind == '@' {
		var err error
		if byTime, err = reachable(adm.ListOffsetsAfterMilli(ctx, at.n, b.topics()...)); err != nil {
			return nil, err
		}
	}
	for p, start := range b.start {
		n := at.n
		switch at.kind {
		case 's':
			n = start
		case 'e':
			n = b.end[p]
		case '+':
			n = start + at.n
		case '-':
			n = b.end[p] - at.n
		case '@':
			o, ok := byTime.Lookup(p.topic, p.partition)
			if !ok || o.Err != nil {
				return nil, refusal("topic "+p.topic, cmp.Or[error](o.Err, kerr.UnknownTopicOrPartition), "")
			}
			if n = o.Offset; n < 0 {
				n = b.end[p]
			}
		}
		got[p] = min(max(n, start), b.end[p])
	}
	return got, nil
}
