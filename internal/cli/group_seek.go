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
)

type seekStep struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Start     int64  `json:"log_start_offset"`
	End       int64  `json:"end"`
}

func groupSeekCmd(a *app) *cobra.Command {
	var (
		to     string
		topics []string
		only   []int32
	)
	c := &cobra.Command{
		Use: "seek GROUP --to POSITION", Short: "Move a group's offsets (shows a preview unless --yes)", Args: cobra.ExactArgs(1),
		Long: "Move the committed offsets of a group that has no members:\n\n" +
			"  start, end       the oldest record, or after the newest\n" +
			"  N                offset N\n" +
			"  +N, -N           N records further, or back\n" +
			"  @2h, @TIME       the first record from two hours ago, or from a time on\n" +
			"  group:OTHER      where another group stands",
		ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" {
				return usage("--to: say where: start, end, N, +N, -N, @TIME or group:OTHER")
			}
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			steps, left, err := planSeek(a, c.Context(), adm, args[0], seekTo{to, topics, only})
			if err != nil {
				return err
			}
			if err := showSteps(a, steps); err != nil {
				return err
			}
			if !a.yes || a.dryRun {
				a.hint("nothing was moved; add --yes to move %s so", args[0])
				return left
			}
			return cmp.Or(commitSteps(c.Context(), adm, args[0], steps), left)
		},
	}
	c.Flags().StringVar(&to, "to", "", "start, end, N, +N, -N, @TIME or group:OTHER")
	c.Flags().StringSliceVar(&topics, "topics", nil, "only these topics; topics the group never read are added")
	c.Flags().Int32SliceVar(&only, "partitions", nil, "only these partitions")
	return c
}

type seekTo struct {
	to     string
	topics []string
	only   []int32
}

// planSeek says where the group would stand. left names the partitions that are
// offline and stay as they are.
func planSeek(a *app, ctx context.Context, adm *kadm.Client, group string, want seekTo) (steps []seekStep, left, err error) {
	now, err := committed(ctx, adm, group)
	if err != nil {
		return nil, nil, err
	}
	topics := want.topics
	if len(topics) == 0 {
		for p := range now {
			topics = append(topics, p.topic)
		}
		slices.Sort(topics)
		topics = slices.Compact(topics)
	}
	if len(topics) == 0 {
		return nil, nil, missing("group %s has committed nothing; name the topics with --topics", group)
	}
	b, err := limits(ctx, adm, topics, want.only)
	if err != nil {
		return nil, nil, err
	}
	targets, err := seekTargets(ctx, adm, b, now, want.to)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range b.sorted() {
		target, ok := targets[p]
		if !ok {
			continue
		}
		from, had := now[p]
		if !had {
			from = -1
		}
		steps = append(steps, seekStep{p.topic, p.partition, from, min(max(target, b.start[p]), b.end[p]), b.start[p], b.end[p]})
	}
	return steps, b.offlineFault(), nil
}

func seekTargets(ctx context.Context, adm *kadm.Client, b bounds, now map[place]int64, to string) (map[place]int64, error) {
	if other, ok := strings.CutPrefix(to, "group:"); ok {
		return committed(ctx, adm, other)
	}
	at, err := parsePosition(to, time.Now())
	if err != nil {
		return nil, err
	}
	if at.kind != '+' && at.kind != '-' {
		return b.resolve(ctx, adm, at)
	}
	targets := map[place]int64{}
	for p, from := range now {
		if at.kind == '-' {
			targets[p] = from - at.n
		} else {
			targets[p] = from + at.n
		}
	}
	return targets, nil
}

// committed are the offsets a group has committed.
func committed(ctx context.Context, adm *kadm.Client, group string) (map[place]int64, error) {
	got, err := adm.FetchOffsets(ctx, group)
	if err != nil {
		return nil, refusal("group "+group, err, "")
	}
	all := map[place]int64{}
	for _, o := range got.Sorted() {
		if o.Err != nil {
			return nil, refusal("group "+group, o.Err, "")
		}
		if o.At >= 0 {
			all[place{o.Topic, o.Partition}] = o.At
		}
	}
	return all, nil
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

func commitSteps(ctx context.Context, adm *kadm.Client, group string, steps []seekStep) error {
	offsets := kadm.Offsets{}
	for _, s := range steps {
		offsets.AddOffset(s.Topic, s.Partition, s.To, -1)
	}
	got, err := adm.CommitOffsets(ctx, group, offsets)
	if err != nil {
		return refusal("group "+group, err, "")
	}
	var failed []error
	for _, r := range got.Sorted() {
		switch {
		case errors.Is(r.Err, kerr.UnknownMemberID), errors.Is(r.Err, kerr.NonEmptyGroup), errors.Is(r.Err, kerr.RebalanceInProgress):
			return &fault{exitFailed, "group " + group + " has members; stop them first, see: myelin group describe " + group + " --members"}
		case r.Err != nil:
			failed = append(failed, refusal(r.Topic+"/"+strconv.Itoa(int(r.Partition)), r.Err, ""))
		}
	}
	return partial(len(steps)-len(failed), failed)
}
