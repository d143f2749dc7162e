package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/myelin-stream/myelin/internal/controller/plan"
)

// The properties by which Kafka throttles the copying of replicas.
var (
	throttleRates = []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate"}
	throttleLists = []string{"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"}
)

// throttle bounds what each node of a plan takes in and gives for the copying, in
// bytes a second, in Kafka's way: the rate is a property of the nodes, and which
// replicas it is for a property of the topics.
func (m *mover) throttle(ctx context.Context, p *plan.Plan, rate int64) error {
	leaders, followers, nodes := map[string][]string{}, map[string][]string{}, map[int32]bool{}
	for _, move := range p.Moves {
		for _, id := range move.From {
			leaders[move.Topic] = append(leaders[move.Topic], fmt.Sprintf("%d:%d", move.ID, id))
			nodes[id] = true
		}
		for _, id := range move.To {
			if !slices.Contains(move.From, id) {
				followers[move.Topic] = append(followers[move.Topic], fmt.Sprintf("%d:%d", move.ID, id))
				nodes[id] = true
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(leaders)) {
		lists := []kadm.AlterConfig{}
		for i, list := range [][]string{leaders[topic], followers[topic]} {
			if text := strings.Join(list, ","); text != "" {
				lists = append(lists, kadm.AlterConfig{Op: kadm.SetConfig, Name: throttleLists[i], Value: &text})
			}
		}
		resp, err := m.adm.AlterTopicConfigs(ctx, lists, topic)
		if err = cmp.Or(err, altered(resp)); err != nil {
			return fmt.Errorf("throttle of topic %s: %w", topic, err)
		}
	}
	text := strconv.FormatInt(rate, 10)
	rates := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: throttleRates[0], Value: &text}, {Op: kadm.SetConfig, Name: throttleRates[1], Value: &text}}
	resp, err := m.adm.AlterBrokerConfigs(ctx, rates, slices.Sorted(maps.Keys(nodes))...)
	if err = cmp.Or(err, altered(resp)); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

// unthrottle takes every bound away that throttle could have set.
func (m *mover) unthrottle(ctx context.Context) error {
	details, err := m.adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	gone := func(names []string) (all []kadm.AlterConfig) {
		for _, n := range names {
			all = append(all, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: n})
		}
		return all
	}
	configs, err := m.adm.DescribeTopicConfigs(ctx, details.Names()...)
	if err != nil {
		return err
	}
	for _, r := range configs {
		throttled := slices.ContainsFunc(r.Configs, func(c kadm.Config) bool { return slices.Contains(throttleLists, c.Key) && c.MaybeValue() != "" })
		if !throttled {
			continue
		}
		resp, err := m.adm.AlterTopicConfigs(ctx, gone(throttleLists), r.Name)
		if err = cmp.Or(err, altered(resp)); err != nil {
			return fmt.Errorf("throttle of topic %s: %w", r.Name, err)
		}
	}
	f := &clusterFacts{}
	if err := f.askCluster(ctx, m.cl); err != nil {
		return err
	}
	var nodes []int32
	for _, n := range f.nodes {
		nodes = append(nodes, n.Node)
	}
	resp, err := m.adm.AlterBrokerConfigs(ctx, gone(throttleRates), nodes...)
	if err = cmp.Or(err, altered(resp)); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

// altered is the first error among what was said to changed properties.
func altered(all kadm.AlterConfigsResponses) error {
	for _, r := range all {
		if r.Err != nil {
			return refusal(r.Name, r.Err, r.ErrMessage)
		}
	}
	return nil
}
