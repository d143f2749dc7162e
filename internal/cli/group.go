package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
}

func groupListCmd(a groups) *cobra.Command {
	var states, kinds []string
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
			if len(rows) == 0 {
				a.hint("%s", a.none(len(states)+len(kinds) > 0))
			}
			return show(a.app, rows,
				column[listedGroup]{"GROUP", false, func(g listedGroup) string { return g.Group }},
				column[listedGroup]{"TYPE", false, func(g listedGroup) string { return g.Type }},
				column[listedGroup]{"STATE", false, func(g listedGroup) string { return g.State }},
				column[listedGroup]{"PROTOCOL", true, func(g listedGroup) string { return orDash(g.Protocol) }},
				column[listedGroup]{"COORDINATOR", true, func(g listedGroup) string { return strconv.Itoa(int(g.Coordinator)) }})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only in these states: Stable, Empty, PreparingRebalance, Reconciling, ...")
	if a.kind == "" {
		c.Flags().StringSliceVar(&kinds, "type", nil, "only of these types: classic, consumer, share, streams")
	}
	return c
}

// none says what to do when a list is empty.
func (a groups) none(filtered bool) string {
	switch {
	case a.kind == shareGroup:
		return "no share groups; one appears when a member joins: myelin consume TOPIC --share NAME"
	case a.kind == streamsGroup:
		return "no streams groups; one appears when a Kafka Streams application with group.protocol=streams starts"
	case filtered:
		return "no such groups"
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
			rows = append(rows, listedGroup{g.Group, kind, g.GroupState, g.ProtocolType, shard.Meta.NodeID})
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
