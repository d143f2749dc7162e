package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func groupCmd(a *app) *cobra.Command {
	c := parent("group", "List, describe, move and delete consumer groups",
		groupListCmd(a), groupDescribeCmd(a), groupSeekCmd(a), groupDeleteCmd(a))
	c.Aliases = []string{"groups"}
	return c
}

type listedGroup struct {
	Group       string `json:"group"`
	State       string `json:"state"`
	Type        string `json:"protocol_type"`
	Coordinator int32  `json:"coordinator"`
}

func groupListCmd(a *app) *cobra.Command {
	var states []string
	c := &cobra.Command{
		Use: "list", Short: "List groups", Args: cobra.NoArgs, Aliases: []string{"ls"},
		RunE: func(c *cobra.Command, _ []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			got, err := adm.ListGroups(c.Context(), states...)
			if err != nil {
				return err
			}
			var rows []listedGroup
			for _, g := range got.Sorted() {
				rows = append(rows, listedGroup{g.Group, g.State, g.ProtocolType, g.Coordinator})
			}
			if len(rows) == 0 {
				a.hint("no groups; one appears when a consumer joins: myelin consume TOPIC -g NAME")
			}
			return show(a, rows,
				column[listedGroup]{"GROUP", false, func(g listedGroup) string { return g.Group }},
				column[listedGroup]{"STATE", false, func(g listedGroup) string { return g.State }},
				column[listedGroup]{"PROTOCOL", false, func(g listedGroup) string { return g.Type }},
				column[listedGroup]{"COORDINATOR", true, func(g listedGroup) string { return strconv.Itoa(int(g.Coordinator)) }})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only groups in these states: Stable, Empty, PreparingRebalance, ...")
	return c
}

type describedGroup struct {
	Group       string        `json:"group"`
	State       string        `json:"state"`
	Assignor    string        `json:"assignor"`
	Coordinator int32         `json:"coordinator"`
	Lag         int64         `json:"lag"`
	Why         string        `json:"why,omitempty"`
	Members     []groupMember `json:"members"`
	Offsets     []groupOffset `json:"offsets"`
}

type groupMember struct {
	Member   string   `json:"member"`
	Instance string   `json:"instance,omitempty"`
	Client   string   `json:"client"`
	Host     string   `json:"host"`
	Topics   []string `json:"topics"`
	Assigned int      `json:"partitions"`
}

type groupOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"`
	Start     int64  `json:"log_start_offset"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
	Member    string `json:"member,omitempty"`
	Metadata  string `json:"metadata,omitempty"`
	Error     string `json:"error,omitempty"`
}

func groupDescribeCmd(a *app) *cobra.Command {
	var members bool
	c := &cobra.Command{
		Use: "describe GROUP...", Short: "Show a group's state, members, offsets and lag", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, groups []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			lags, err := adm.Lag(c.Context(), groups...)
			if err != nil {
				return err
			}
			var all []describedGroup
			for _, l := range lags.Sorted() {
				if err := l.Error(); err != nil {
					return refusal("group "+l.Group, err, "")
				}
				if l.State == "Dead" {
					return refusal("group "+l.Group, kerr.GroupIDNotFound, "")
				}
				all = append(all, groupOf(l))
			}
			if a.output != "table" && a.output != "wide" {
				return show(a, all, column[describedGroup]{"GROUP", false, func(g describedGroup) string { return g.Group }})
			}
			for i, g := range all {
				if i > 0 {
					fmt.Fprintln(a.Out)
				}
				if err := showGroup(a, g, members); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&members, "members", false, "the members rather than the offsets")
	return c
}

func groupOf(l kadm.DescribedGroupLag) describedGroup {
	g := describedGroup{Group: l.Group, State: l.State, Assignor: l.Protocol, Coordinator: l.Coordinator.NodeID,
		Members: []groupMember{}, Offsets: []groupOffset{}}
	for _, m := range l.Members {
		row := groupMember{Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Topics: []string{}}
		if m.InstanceID != nil {
			row.Instance = *m.InstanceID
		}
		if join, ok := m.Join.AsConsumer(); ok {
			row.Topics = join.Topics
		}
		if mine, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range mine.Topics {
				row.Assigned += len(t.Partitions)
			}
		}
		g.Members = append(g.Members, row)
	}
	for _, o := range l.Lag.Sorted() {
		row := groupOffset{Topic: o.Topic, Partition: o.Partition, Committed: o.Commit.At, Start: o.Start.Offset, End: o.End.Offset, Lag: o.Lag, Metadata: o.Commit.Metadata}
		if o.Member != nil {
			row.Member = o.Member.MemberID
		}
		if o.Err != nil {
			row.Error = o.Err.Error()
		}
		g.Lag += max(o.Lag, 0)
		g.Offsets = append(g.Offsets, row)
	}
	g.Why = whyBehind(g)
	return g
}

// whyBehind says in words what stands between a group and the end, or "".
func whyBehind(g describedGroup) string {
	lost, idle := 0, 0
	for _, o := range g.Offsets {
		if o.Committed >= 0 && o.Committed < o.Start {
			lost++
		}
		if o.Lag > 0 && o.Member == "" && len(g.Members) > 0 {
			idle++
		}
	}
	switch {
	case lost > 0:
		return fmt.Sprintf("%d partitions: the committed offset is older than the oldest record, so records were deleted unread", lost)
	case g.Lag > 0 && len(g.Members) == 0:
		return "nobody reads: the group has no members"
	case g.State == "PreparingRebalance" || g.State == "CompletingRebalance":
		return "a rebalance is under way; nothing is read meanwhile"
	case idle > 0:
		return fmt.Sprintf("%d partitions with unread records are assigned to no member", idle)
	case g.Lag > 0:
		return "members read, but are behind; run it again to see whether the lag falls"
	}
	return ""
}

func showGroup(a *app, g describedGroup, members bool) error {
	fmt.Fprintf(a.Out, "group %s  state %s  assignor %s  members %d  lag %d\n", g.Group, g.State, orDash(g.Assignor), len(g.Members), g.Lag)
	if g.Why != "" {
		a.hint("%s", g.Why)
	}
	fmt.Fprintln(a.Out)
	if members {
		return show(a, g.Members,
			column[groupMember]{"MEMBER", false, func(m groupMember) string { return m.Member }},
			column[groupMember]{"INSTANCE", true, func(m groupMember) string { return orDash(m.Instance) }},
			column[groupMember]{"CLIENT", false, func(m groupMember) string { return m.Client }},
			column[groupMember]{"HOST", false, func(m groupMember) string { return m.Host }},
			column[groupMember]{"PARTITIONS", false, func(m groupMember) string { return strconv.Itoa(m.Assigned) }})
	}
	return show(a, g.Offsets,
		column[groupOffset]{"TOPIC", false, func(o groupOffset) string { return o.Topic }},
		column[groupOffset]{"PARTITION", false, func(o groupOffset) string { return strconv.Itoa(int(o.Partition)) }},
		column[groupOffset]{"COMMITTED", false, func(o groupOffset) string { return offsetText(o.Committed) }},
		column[groupOffset]{"END", false, func(o groupOffset) string { return offsetText(o.End) }},
		column[groupOffset]{"LAG", false, func(o groupOffset) string { return offsetText(o.Lag) }},
		column[groupOffset]{"MEMBER", false, func(o groupOffset) string { return orDash(o.Member) }},
		column[groupOffset]{"ERROR", true, func(o groupOffset) string { return o.Error }})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func offsetText(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func groupDeleteCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP...", Short: "Delete groups without members, and their offsets", Args: cobra.MinimumNArgs(1), Aliases: []string{"rm"},
		ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, groups []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			ok, err := a.confirm("These groups and their committed offsets go for good:", groups...)
			if err != nil || !ok {
				return err
			}
			got, err := adm.DeleteGroups(c.Context(), groups...)
			if err != nil {
				return err
			}
			var failed []error
			gone := 0
			for _, r := range got.Sorted() {
				switch {
				case errors.Is(r.Err, kerr.NonEmptyGroup):
					failed = append(failed, &fault{exitFailed, fmt.Sprintf("group %s has members; stop them first, see: myelin group describe %s --members", r.Group, r.Group)})
				case r.Err != nil:
					failed = append(failed, refusal("group "+r.Group, r.Err, ""))
				default:
					gone++
					fmt.Fprintln(a.Out, r.Group)
				}
			}
			return partial(gone, failed)
		},
	}
}
