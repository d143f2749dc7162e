package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func groupDescribeCmd(a groups) *cobra.Command {
	var members bool
	c := &cobra.Command{
		Use: "describe GROUP...", Short: "Show state, members, offsets and lag, and why the lag does not shrink", Args: cobra.MinimumNArgs(1),
		Long: "Show the state of groups, where they stand in each partition, and what stands between them and the end, with what to\n" +
			"do about it. Where the topic __consumer_offsets may be read, its newest records tell when a group committed, how fast\n" +
			"it reads and how often it rebalances.",
		ValidArgsFunction: a.complete,
		RunE: func(c *cobra.Command, names []string) error {
			if a.output == "help" {
				return show(a.app, []describedGroup{})
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			var all []describedGroup
			for _, name := range names {
				g, err := a.describe(c.Context(), cl, name)
				if err != nil {
					return err
				}
				all = append(all, *g)
			}
			if a.output != "table" && a.output != "wide" {
				return show(a.app, all, column[describedGroup]{"GROUP", false, func(g describedGroup) string { return g.Group }})
			}
			for i, g := range all {
				if i > 0 {
					fmt.Fprintln(a.Out)
				}
				if err := a.showGroup(g, members); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&members, "members", false, "the members and what they have, rather than the offsets")
	return c
}

// describe finds a group and says how it is.
func (a groups) describe(ctx context.Context, cl *kgo.Client, name string) (*describedGroup, error) {
	g, err := a.find(ctx, cl, name)
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	at, err := standings(ctx, adm, g)
	if err != nil {
		return nil, err
	}
	f, err := factsOf(ctx, adm, g.topics(at), time.Now())
	if err != nil {
		return nil, err
	}
	f.tail = a.tailOf(ctx, adm, name)
	if err := f.blockers(ctx, adm); err != nil {
		a.hint("transactions are not looked at: %s", classify(err).text)
	}
	g.measure(at, f)
	if g.Type == shareGroup {
		found := deliveries(ctx, cl, g, f)
		for i := range g.Offsets {
			if d, ok := found[g.Offsets[i].place()]; ok {
				g.Offsets[i].Delivery = &d
			}
		}
	}
	if err := f.writers(ctx, adm, g); err != nil {
		a.hint("writers are not looked at: %s", classify(err).text)
	}
	g.explain(a.command(), f)
	return g, nil
}

// writers finds how fast others write where the group is behind.
func (f *lagFacts) writers(ctx context.Context, adm *kadm.Client, g *describedGroup) error {
	var topics []string
	for _, o := range g.Offsets {
		if o.Lag > 0 && len(f.tail.commits[o.place()]) > 0 {
			topics = append(topics, o.Topic)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	began := f.now.Add(-lately)
	got, err := reachable(adm.ListOffsetsAfterMilli(ctx, began.UnixMilli(), slices.Compact(topics)...))
	if err != nil {
		return err
	}
	got.Each(func(o kadm.ListedOffset) {
		p := place{o.Topic, o.Partition}
		switch end, ok := f.end[p]; {
		case o.Err != nil || !ok:
		case o.Offset < 0 || o.Timestamp < 0: // nothing since
			f.wrote[p] = 0
		default:
			f.wrote[p] = float64(end-o.Offset) / max(f.now.Sub(time.UnixMilli(o.Timestamp)).Seconds(), 1)
		}
	})
	return nil
}

func (a groups) showGroup(g describedGroup, members bool) error {
	fmt.Fprintf(a.Out, "group %s  type %s  state %s", g.Group, g.Type, g.State)
	if g.Epoch >= 0 {
		fmt.Fprintf(a.Out, "  epoch %d", g.Epoch)
	}
	fmt.Fprintf(a.Out, "  assignor %s  members %d  lag %d\n\n", orDash(g.Assignor), len(g.Members), g.Lag)
	if members {
		return a.showMembers(g)
	}
	if err := show(a.app, g.Offsets, offsetColumns(g.Type)...); err != nil {
		return err
	}
	if len(g.Reasons) > 0 {
		fmt.Fprintln(a.Out)
	}
	writeReasons(a.Out, g.Reasons)
	return nil
}

func offsetColumns(kind string) []column[groupOffset] {
	cols := []column[groupOffset]{
		{"TOPIC", false, func(o groupOffset) string { return o.Topic }},
		{"PARTITION", false, func(o groupOffset) string { return strconv.Itoa(int(o.Partition)) }},
		{"LOG START", true, func(o groupOffset) string { return offsetText(o.Start) }},
		{"COMMITTED", false, func(o groupOffset) string { return offsetText(o.Committed) }},
		{"STABLE", true, func(o groupOffset) string { return offsetText(o.Stable) }},
		{"END", false, func(o groupOffset) string { return offsetText(o.End) }},
		{"LAG", false, func(o groupOffset) string { return offsetText(o.Lag) }},
		{"MEMBER", false, func(o groupOffset) string { return orDash(o.Member) }},
		{"LAST COMMIT", true, func(o groupOffset) string { return orDash(o.LastCommit) }},
		{"REASON", false, func(o groupOffset) string { return orDash(o.Reason) }},
	}
	if kind != shareGroup {
		return cols
	}
	of := func(f func(*delivery) int64) func(groupOffset) string {
		return func(o groupOffset) string {
			if o.Delivery == nil {
				return "-"
			}
			return strconv.FormatInt(f(o.Delivery), 10)
		}
	}
	cols[3].head, cols[8] = "START", column[groupOffset]{"ACCEPTED", true, of(func(d *delivery) int64 { return d.Accepted })}
	return slices.Insert(cols, 7,
		column[groupOffset]{"TO REPEAT", false, of(func(d *delivery) int64 { return d.Waiting })},
		column[groupOffset]{"ARCHIVED", false, of(func(d *delivery) int64 { return d.Archived })},
		column[groupOffset]{"DELIVERIES", false, of(func(d *delivery) int64 { return int64(d.Most) })})
}

// some are the first names of a list, and how many more there are.
func some(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, " ")
	}
	return strings.Join(names[:n], " ") + fmt.Sprintf(" and %d more", len(names)-n)
}

func (a groups) showMembers(g describedGroup) error {
	cols := []column[groupMember]{
		{"MEMBER", false, func(m groupMember) string { return m.Member }},
		{"INSTANCE", true, func(m groupMember) string { return orDash(m.Instance) }},
		{"RACK", true, func(m groupMember) string { return orDash(m.Rack) }},
		{"CLIENT", false, func(m groupMember) string { return orDash(m.Client) }},
		{"HOST", false, func(m groupMember) string { return orDash(m.Host) }},
	}
	if g.Epoch >= 0 {
		cols = append(cols, column[groupMember]{"EPOCH", false, func(m groupMember) string { return strconv.Itoa(int(m.Epoch)) }})
	}
	list := func(names []string) string { return orDash(strings.Join(names, " ")) }
	if g.Type == streamsGroup {
		cols = append(cols,
			column[groupMember]{"PROCESS", true, func(m groupMember) string { return m.Process }},
			column[groupMember]{"ACTIVE", false, func(m groupMember) string { return list(m.Tasks.Active) }},
			column[groupMember]{"STANDBY", false, func(m groupMember) string { return list(m.Tasks.Standby) }},
			column[groupMember]{"WARMUP", false, func(m groupMember) string { return list(m.Tasks.Warmup) }},
			column[groupMember]{"TO HAVE", false, func(m groupMember) string { return list(m.Tasks.Target) }})
		return show(a.app, g.Members, cols...)
	}
	cols = append(cols,
		column[groupMember]{"WANTS", true, func(m groupMember) string {
			return orDash(strings.TrimSpace(strings.Join(m.Topics, " ") + " " + m.Regex))
		}},
		column[groupMember]{"HAS", false, func(m groupMember) string { return partitionsText(m.Assigned) }})
	if slices.ContainsFunc(g.Members, func(m groupMember) bool { return m.Target != nil }) {
		cols = append(cols, column[groupMember]{"TO HAVE", false, func(m groupMember) string {
			if m.Target == nil {
				return "the same"
			}
			return partitionsText(m.Target)
		}})
	}
	if slices.ContainsFunc(g.Members, func(m groupMember) bool { return m.Classic }) {
		cols = append(cols, column[groupMember]{"PROTOCOL", false, func(m groupMember) string {
			if m.Classic {
				return classicGroup
			}
			return g.Type
		}})
	}
	return show(a.app, g.Members, cols...)
}
