package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The kinds of groups, in Kafka's words.
const (
	classicGroup  = "classic"
	consumerGroup = "consumer" // KIP-848
	shareGroup    = "share"    // KIP-932
	streamsGroup  = "streams"  // KIP-1071
)

// groups is the command tree over groups of one kind, or of all kinds.
type groups struct {
	*app
	kind string // "" for all
}

// command is what the tree is called.
func (a groups) command() string {
	if a.kind == "" {
		return "myelin group"
	}
	return "myelin " + a.kind + "-group"
}

// noun is "groups", or "share groups" and the like.
func (a groups) noun() string { return strings.TrimSpace(a.kind + " groups") }

func groupCmd(a *app) *cobra.Command {
	all := groups{a, ""}
	c := parent("group", "List, describe, move and delete groups of every kind",
		groupListCmd(all), groupDescribeCmd(all), groupSeekCmd(all), groupOffsetsCmd(all), groupDeleteCmd(all))
	c.Long = "List, describe, move and delete groups: those of consumers (classic and KIP-848), share groups (KIP-932) and groups of\n" +
		"Kafka Streams (KIP-1071). Their names are in one space, so these commands find the kind by themselves; myelin share-group\n" +
		"and myelin streams-group are the same for one kind."
	c.Aliases = []string{"groups"}
	return c
}

func shareGroupCmd(a *app) *cobra.Command {
	share := groups{a, shareGroup}
	c := parent("share-group", "The commands of group, for share groups",
		groupListCmd(share), groupDescribeCmd(share), groupSeekCmd(share), groupOffsetsCmd(share), groupDeleteCmd(share))
	c.Aliases = []string{"share-groups"}
	return c
}

func streamsGroupCmd(a *app) *cobra.Command {
	streams := groups{a, streamsGroup}
	c := parent("streams-group", "The commands of group, for groups of Kafka Streams, and their topologies",
		groupListCmd(streams), groupDescribeCmd(streams), groupTopologyCmd(streams), groupSeekCmd(streams), groupOffsetsCmd(streams),
		groupDeleteCmd(streams))
	c.Aliases = []string{"streams-groups"}
	return c
}

type listedGroup struct {
	Group       string `json:"group"`
	Type        string `json:"type"`
	State       string `json:"state"`
	Protocol    string `json:"protocol_type,omitempty"`
	Coordinator int32  `json:"coordinator"`
	Lag         *int64 `json:"lag,omitempty"` // with --lag-over
}

func groupListCmd(a groups) *cobra.Command {
	var states, kinds []string
	lag := int64(-1)
	c := &cobra.Command{
		Use: "list", Short: "List " + a.noun(), Args: cobra.NoArgs, Aliases: []string{"ls"},
		RunE: func(c *cobra.Command, _ []string) error {
			if a.kind != "" {
				kinds = []string{a.kind}
			}
			for _, k := range kinds {
				if !slices.Contains([]string{classicGroup, consumerGroup, shareGroup, streamsGroup}, strings.ToLower(k)) {
					return usage("--type %s: want classic, consumer, share or streams", k)
				}
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			rows, err := listGroups(c.Context(), cl, states, kinds)
			if err != nil {
				return err
			}
			if lag >= 0 {
				if rows, err = behind(c.Context(), kadm.NewClient(cl), rows, lag); err != nil {
					return err
				}
			}
			if len(rows) == 0 {
				a.hint("%s", a.none(len(states) > 0 || a.kind == "" && len(kinds) > 0 || lag >= 0))
			}
			return showGroups(a.app, rows, lag >= 0)
		},
	}
	c.Flags().Int64Var(&lag, "lag-over", -1, "only groups that have more unread records than this, and how many")
	c.Flags().StringSliceVar(&states, "state", nil, "only in these states: Stable, Empty, PreparingRebalance, Reconciling, ...")
	if a.kind == "" {
		c.Flags().StringSliceVar(&kinds, "type", nil, "only of these types: classic, consumer, share, streams")
	}
	return c
}

func showGroups(a *app, rows []listedGroup, lag bool) error {
	cols := []column[listedGroup]{
		{"GROUP", false, func(g listedGroup) string { return g.Group }},
		{"TYPE", false, func(g listedGroup) string { return g.Type }},
		{"STATE", false, func(g listedGroup) string { return g.State }},
		{"PROTOCOL", true, func(g listedGroup) string { return orDash(g.Protocol) }},
		{"COORDINATOR", true, func(g listedGroup) string { return strconv.Itoa(int(g.Coordinator)) }},
	}
	if lag {
		cols = append(cols, column[listedGroup]{"LAG", false, func(g listedGroup) string { return offsetText(*g.Lag) }})
	}
	return show(a, rows, cols...)
}

// behind keeps the groups with more unread records than so many, in the partitions
// in which they have committed. Partitions that are offline or gone do not count.
func behind(ctx context.Context, adm *kadm.Client, rows []listedGroup, over int64) ([]listedGroup, error) {
	all, err := manyStandings(ctx, adm, rows)
	if err != nil {
		return nil, err
	}
	topics := map[string]bool{}
	for _, at := range all {
		for p := range at {
			topics[p.topic] = true
		}
	}
	f, err := factsOf(ctx, adm, slices.Sorted(maps.Keys(topics)), time.Now())
	if err != nil {
		return nil, err
	}
	kept := []listedGroup{}
	for _, row := range rows {
		var lag int64
		for p, s := range all[row.Group] {
			if end, ok := f.end[p]; ok {
				lag += max(lagOf(row.Type, s, f.start[p], end), 0)
			}
		}
		if row.Lag = &lag; lag > over {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

// none says what to do when a list is empty.
func (a groups) none(filtered bool) string {
	switch {
	case filtered:
		return "no such groups"
	case a.kind == shareGroup:
		return "no share groups; one appears when a member joins: myelin consume TOPIC --share NAME"
	case a.kind == streamsGroup:
		return "no streams groups; one appears when a Kafka Streams application with group.protocol=streams starts"
	}
	return "no groups; one appears when a consumer joins: myelin consume TOPIC -g NAME"
}

// listGroups asks every broker for its groups. A broker that does not tell types
// knows consumer groups of the classic protocol only.
func listGroups(ctx context.Context, cl *kgo.Client, states, kinds []string) ([]listedGroup, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, kinds
	rows := []listedGroup{}
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, err
		}
		for _, g := range resp.Groups {
			kind := strings.ToLower(g.GroupType)
			if kind == "" {
				kind = classicGroup
			}
			rows = append(rows, listedGroup{g.Group, kind, g.GroupState, g.ProtocolType, shard.Meta.NodeID, nil})
		}
	}
	slices.SortFunc(rows, func(x, y listedGroup) int { return strings.Compare(x.Group, y.Group) })
	return rows, nil
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

// busy is the fault of a change that a group with members refuses.
func (a groups) busy(group string) error {
	return &fault{exitFailed, fmt.Sprintf("group %s has members; stop them first, see: %s describe %s --members", group, a.command(), group)}
}

func groupDeleteCmd(a groups) *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP...", Short: "Delete " + a.noun() + " without members, and their offsets", Args: cobra.MinimumNArgs(1), Aliases: []string{"rm"},
		ValidArgsFunction: a.complete,
		RunE: func(c *cobra.Command, names []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			var plan []string
			for _, name := range names {
				g, err := a.find(c.Context(), cl, name)
				if err != nil {
					return err
				}
				plan = append(plan, fmt.Sprintf("%s (%s, %s)", name, g.Type, g.State))
				if own := g.internalTopics(); len(own) > 0 {
					plan = append(plan, fmt.Sprintf("  its topics stay; delete them with: myelin topic delete %s", strings.Join(own, " ")))
				}
			}
			ok, err := a.confirm("These groups and what they have committed go for good:", plan...)
			if err != nil || !ok {
				return err
			}
			return a.delete(c.Context(), kadm.NewClient(cl), names)
		},
	}
}

func (a groups) delete(ctx context.Context, adm *kadm.Client, names []string) error {
	got, err := adm.DeleteGroups(ctx, names...)
	if err != nil {
		return err
	}
	var failed []error
	gone := 0
	for _, r := range got.Sorted() {
		switch {
		case errors.Is(r.Err, kerr.NonEmptyGroup):
			failed = append(failed, a.busy(r.Group))
		case r.Err != nil:
			failed = append(failed, refusal("group "+r.Group, r.Err, ""))
		default:
			gone++
			fmt.Fprintln(a.Out, r.Group)
		}
	}
	return partial(gone, failed)
}
