package cli

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type seekStep struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Start     int64  `json:"log_start_offset"`
	End       int64  `json:"end"`

	asked int64
}

// moveGroup is a change of a group's offsets, before it is made.
type moveGroup struct {
	group string
	kind  string // "" if there is no such group yet
	steps []seekStep
	left  error // names the partitions that are offline and stay as they are
}

func groupSeekCmd(a groups) *cobra.Command {
	var want seekTo
	c := &cobra.Command{
		Use: "seek GROUP --to POSITION", Short: "Move the offsets of " + a.noun() + " (shows a preview unless --yes)", Args: cobra.ExactArgs(1),
		Long: "Move the committed offsets of a group that has no members, or the start of a share group:\n\n" +
			"  start, end       the oldest record, or after the newest\n" +
			"  N                offset N\n" +
			"  +N, -N           N records further, or back\n" +
			"  @2h, @TIME       the first record from two hours ago, or from a time on\n" +
			"  group:OTHER      where another group stands\n" +
			"  file:FILE        what " + a.command() + " offsets export has written",
		ValidArgsFunction: a.complete,
		RunE: func(c *cobra.Command, args []string) error {
			if want.to == "" {
				return usage("--to: say where: start, end, N, +N, -N, @TIME, group:OTHER or file:FILE")
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			m, err := a.planSeek(c.Context(), cl, args[0], want)
			if err != nil {
				return err
			}
			return a.move(c.Context(), cl, m)
		},
	}
	c.Flags().StringVar(&want.to, "to", "", "start, end, N, +N, -N, @TIME, group:OTHER or file:FILE")
	c.Flags().StringSliceVar(&want.topics, "topics", nil, "only these topics; topics the group never read are added")
	c.Flags().Int32SliceVar(&want.only, "partitions", nil, "only these partitions")
	return c
}

type seekTo struct {
	to     string
	topics []string
	only   []int32
}

// planSeek says where the group would stand.
func (a groups) planSeek(ctx context.Context, cl *kgo.Client, group string, want seekTo) (moveGroup, error) {
	adm := kadm.NewClient(cl)
	now, kind, err := a.committed(ctx, cl, group)
	if err != nil {
		return moveGroup{}, err
	}
	topics := want.topics
	if len(topics) == 0 {
		for p := range now {
			topics = append(topics, p.topic)
		}
		slices.Sort(topics)
		topics = slices.Compact(topics)
	}
	targets, err := a.targetsElsewhere(ctx, cl, group, want.to)
	if err != nil {
		return moveGroup{}, err
	}
	if targets != nil && len(want.topics) == 0 {
		topics = topicsOf(targets)
	}
	if len(topics) == 0 {
		return moveGroup{}, missing("group %s has committed nothing; name the topics with --topics", group)
	}
	b, err := limits(ctx, adm, topics, want.only)
	if err != nil {
		return moveGroup{}, err
	}
	if targets == nil {
		if targets, err = seekTargets(ctx, adm, b, now, want.to); err != nil {
			return moveGroup{}, err
		}
	}
	return moveGroup{group, kind, stepsTo(b, now, targets), b.offlineFault()}, nil
}

func topicsOf(at map[place]int64) []string {
	var names []string
	for p := range at {
		names = append(names, p.topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stepsTo are the changes from where a group is to targets, within the bounds.
func stepsTo(b bounds, now, targets map[place]int64) (steps []seekStep) {
	for _, p := range b.sorted() {
		target, ok := targets[p]
		if !ok {
			continue
		}
		from, had := now[p]
		if !had {
			from = -1
		}
		steps = append(steps, seekStep{p.topic, p.partition, from, min(max(target, b.start[p]), b.end[p]), b.start[p], b.end[p], target})
	}
	return steps
}

// targetsElsewhere are the offsets of another group or of a file, nil if to is a
// position.
func (a groups) targetsElsewhere(ctx context.Context, cl *kgo.Client, group, to string) (map[place]int64, error) {
	if file, ok := strings.CutPrefix(to, "file:"); ok {
		return a.readOffsets(file, group)
	}
	other, ok := strings.CutPrefix(to, "group:")
	if !ok {
		return nil, nil
	}
	at, _, err := groups{a.app, ""}.committed(ctx, cl, other)
	for p, n := range at {
		if n < 0 {
			delete(at, p)
		}
	}
	if err == nil && len(at) == 0 {
		err = missing("group %s has committed nothing; list groups with: myelin group list", other)
	}
	return at, err
}

// seekTargets are the offsets of a position.
func seekTargets(ctx context.Context, adm *kadm.Client, b bounds, now map[place]int64, to string) (map[place]int64, error) {
	at, err := parsePosition(to, time.Now())
	if err != nil {
		return nil, err
	}
	if at.kind == 'n' {
		targets := map[place]int64{}
		for p := range b.start {
			targets[p] = at.n
		}
		return targets, nil
	}
	if at.kind != '+' && at.kind != '-' {
		return b.resolve(ctx, adm, at)
	}
	targets := map[place]int64{}
	for p, from := range now {
		switch {
		case from < 0:
		case at.kind == '-':
			targets[p] = from - at.n
		default:
			targets[p] = from + at.n
		}
	}
	return targets, nil
}

// committed are the offsets of a group and its kind, both empty if there is no
// such group. An offset is -1 where a share group has not begun.
func (a groups) committed(ctx context.Context, cl *kgo.Client, group string) (map[place]int64, string, error) {
	g, err := a.find(ctx, cl, group)
	if err != nil {
		if classify(err).code == exitNotFound {
			return map[place]int64{}, "", nil
		}
		return nil, "", err
	}
	at, err := standings(ctx, kadm.NewClient(cl), g)
	if err != nil {
		return nil, "", err
	}
	all := map[place]int64{}
	for p, s := range at {
		if s.err != nil {
			return nil, "", refusal("group "+group, s.err, "")
		}
		all[p] = s.at
	}
	if len(g.Members) > 0 {
		a.hint("group %s has members; its offsets cannot change until they have stopped", group)
	}
	return all, g.Type, nil
}

// move shows what would change and, with --yes, changes it.
func (a groups) move(ctx context.Context, cl *kgo.Client, m moveGroup) error {
	for _, s := range m.steps {
		if s.asked != s.To {
			a.hint("%s/%d: there is no offset %d now, the nearest is %d", s.Topic, s.Partition, s.asked, s.To)
		}
	}
	if err := showSteps(a.app, m.steps); err != nil {
		return err
	}
	switch {
	case len(m.steps) == 0:
		return cmp.Or[error](m.left, missing("group %s stands nowhere in these partitions, so there is nothing to move", m.group))
	case m.kind == "" && a.kind == shareGroup:
		a.hint("group %s does not exist yet; this makes it", m.group)
	case m.kind == "":
		a.hint("group %s does not exist yet; this makes it, for consumers", m.group)
	}
	if !a.yes || a.dryRun {
		a.hint("nothing was moved; add --yes to move %s so", m.group)
		return m.left
	}
	if m.kind == shareGroup || m.kind == "" && a.kind == shareGroup {
		return cmp.Or(a.alterShare(ctx, kadm.NewClient(cl), m), m.left)
	}
	return cmp.Or(a.commitSteps(ctx, kadm.NewClient(cl), m), m.left)
}

func showSteps(a *app, steps []seekStep) error {
	return show(a, steps,
		column[seekStep]{"TOPIC", false, func(s seekStep) string { return s.Topic }},
		column[seekStep]{"PARTITION", false, func(s seekStep) string { return strconv.Itoa(int(s.Partition)) }},
		column[seekStep]{"FROM", false, func(s seekStep) string { return offsetText(s.From) }},
		column[seekStep]{"TO", false, func(s seekStep) string { return offsetText(s.To) }},
		column[seekStep]{"START", true, func(s seekStep) string { return offsetText(s.Start) }},
		column[seekStep]{"END", false, func(s seekStep) string { return offsetText(s.End) }})
}

func (m moveGroup) offsets() kadm.Offsets {
	offsets := kadm.Offsets{}
	for _, s := range m.steps {
		offsets.AddOffset(s.Topic, s.Partition, s.To, -1)
	}
	return offsets
}

// hasMembers are the answers to a change of a group that is not empty.
func hasMembers(err error) bool {
	return isAny(err, kerr.UnknownMemberID, kerr.NonEmptyGroup, kerr.RebalanceInProgress, kerr.StaleMemberEpoch)
}

func (a groups) commitSteps(ctx context.Context, adm *kadm.Client, m moveGroup) error {
	got, err := adm.CommitOffsets(ctx, m.group, m.offsets())
	if err != nil {
		return refusal("group "+m.group, err, "")
	}
	var failed []error
	for _, r := range got.Sorted() {
		switch {
		case hasMembers(r.Err):
			return a.busy(m.group)
		case r.Err != nil:
			failed = append(failed, refusal(r.Topic+"/"+strconv.Itoa(int(r.Partition)), r.Err, ""))
		}
	}
	return partial(len(m.steps)-len(failed), failed)
}

func (a groups) alterShare(ctx context.Context, adm *kadm.Client, m moveGroup) error {
	got, err := adm.AlterShareGroupOffsets(ctx, m.group, m.offsets())
	switch {
	case hasMembers(err):
		return a.busy(m.group)
	case err != nil:
		return refusal("group "+m.group, err, "")
	}
	var failed []error
	for _, s := range m.steps {
		err, ok := got.Lookup(s.Topic, s.Partition)
		if !ok {
			err = errors.New("the broker did not say whether it moved")
		}
		if err != nil {
			failed = append(failed, refusal(s.Topic+"/"+strconv.Itoa(int(s.Partition)), err, ""))
		}
	}
	return partial(len(m.steps)-len(failed), failed)
}
