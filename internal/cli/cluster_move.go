package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/controller/plan"
)

// The properties by which Kafka throttles the copying of replicas.
var (
	throttleRates = []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate"}
	throttleLists = []string{"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"}
)

// progress is how far a partition has come that is being reassigned.
type progress struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
	Adding    []int32 `json:"adding"`
	Removing  []int32 `json:"removing"`
	Copied    int64   `json:"bytes_copied"`
	Bytes     int64   `json:"bytes_to_copy"`
}

// start hands a plan to the controller.
func (m *mover) start(ctx context.Context, p *plan.Plan) error {
	var req kadm.AlterPartitionAssignmentsReq
	for _, move := range p.Moves {
		req.Assign(move.Topic, move.ID, move.To)
	}
	done, failures := 0, []error(nil)
	resp, err := m.adm.AlterPartitionAssignments(ctx, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Sorted() {
		if r.Err != nil {
			failures = append(failures, refusal(fmt.Sprintf("%s/%d", r.Topic, r.Partition), r.Err, r.ErrMessage))
		} else {
			done++
		}
	}
	return partial(done, failures)
}

// prefer lets the first replica of each partition lead that was moved. Where that
// fails the controller's own balance does it later.
func (m *mover) prefer(ctx context.Context, p *plan.Plan) {
	set := kadm.TopicsSet{}
	for _, move := range p.Moves {
		set.Add(move.Topic, move.ID)
	}
	if _, err := m.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set); err != nil {
		m.a.hint("leaders stay where they are for now: %s", oneLine(err))
	}
}

// cordon keeps new replicas off a node, or lets them come again (KIP-1066).
func (m *mover) cordon(ctx context.Context, id int32, on bool) error {
	all := "*"
	change := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "cordoned.log.dirs"}
	if on {
		change.Op, change.Value = kadm.SetConfig, &all
	}
	resp, err := m.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{change}, id)
	if err = cmp.Or(err, altered(resp)); err != nil {
		return fmt.Errorf("new replicas on node %d: %w", id, err)
	}
	return nil
}

// mover moves replicas.
type mover struct {
	a   *app
	cl  *kgo.Client
	adm *kadm.Client
}

func newMover(a *app, ctx context.Context) (*mover, error) {
	cl, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(int32(min(a.timeout.Milliseconds(), 1<<31-1)))
	return &mover{a, cl, adm}, nil
}

// under lists what is being reassigned, with what was copied of it.
func (m *mover) under(ctx context.Context) ([]progress, error) {
	got, err := m.adm.ListPartitionReassignments(ctx, nil)
	if err != nil {
		return nil, err
	}
	f := &clusterFacts{sizes: map[nodePlace]int64{}}
	if err := f.askCluster(ctx, m.cl); err != nil {
		return nil, err
	}
	f.askDirectories(ctx, m.adm)
	rows := []progress{}
	for _, r := range got.Sorted() {
		row := progress{Topic: r.Topic, Partition: r.Partition, Replicas: r.Replicas, Adding: r.AddingReplicas, Removing: r.RemovingReplicas}
		whole := int64(0)
		for _, id := range r.Replicas {
			if !slices.Contains(r.AddingReplicas, id) {
				whole = max(whole, f.sizes[nodePlace{id, place{r.Topic, r.Partition}}])
			}
		}
		for _, id := range r.AddingReplicas {
			row.Copied += min(f.sizes[nodePlace{id, place{r.Topic, r.Partition}}], whole)
			row.Bytes += whole
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (m *mover) show(rows []progress) error {
	return show(m.a, rows,
		column[progress]{"TOPIC", false, func(p progress) string { return p.Topic }},
		column[progress]{"PARTITION", false, func(p progress) string { return strconv.Itoa(int(p.Partition)) }},
		column[progress]{"REPLICAS", false, func(p progress) string { return ids(p.Replicas) }},
		column[progress]{"ADDING", false, func(p progress) string { return orDash(ids(p.Adding)) }},
		column[progress]{"REMOVING", false, func(p progress) string { return orDash(ids(p.Removing)) }},
		column[progress]{"COPIED", false, func(p progress) string { return fmt.Sprintf("%d of %d", p.Copied, p.Bytes) }})
}

// wait shows progress until nothing is being reassigned.
func (m *mover) wait(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		rows, err := m.under(ctx)
		if err != nil && !errors.Is(err, kerr.NotController) {
			return err
		}
		var copied, bytes int64
		for _, r := range rows {
			copied, bytes = copied+r.Copied, bytes+r.Bytes
		}
		if text := fmt.Sprintf("%s left, %d of %d bytes copied", count(int64(len(rows)), "partition"), copied, bytes); text != said && err == nil {
			said = text
			m.a.hint("%s", text)
		}
		if err == nil && len(rows) == 0 {
			return nil
		}
		select { //house:select who interrupts leaves the moves to the controller
		case <-ctx.Done():
			return &fault{exitFailed, "interrupted; the moves go on, see: myelin cluster rebalance status"}
		case <-tick.C:
		}
	}
}

// cancel takes back what is being reassigned.
func (m *mover) cancel(ctx context.Context, rows []progress) error {
	var req kadm.AlterPartitionAssignmentsReq
	for _, r := range rows {
		req.CancelAssign(r.Topic, r.Partition)
	}
	resp, err := m.adm.AlterPartitionAssignments(ctx, req)
	if err != nil {
		return err
	}
	done, failures := 0, []error(nil)
	for _, r := range resp.Sorted() {
		switch {
		case r.Err == nil:
			done++
		case !errors.Is(r.Err, kerr.NoReassignmentInProgress): // else it ended meanwhile
			failures = append(failures, refusal(fmt.Sprintf("%s/%d", r.Topic, r.Partition), r.Err, r.ErrMessage))
		}
	}
	m.a.hint("%s as before", count(int64(done), "partition"))
	return partial(done, failures)
}

// throttle bounds what each node of a plan takes in for the copying, in bytes a
// second, in Kafka's way: the rate is a property of the nodes, and which replicas
// it is for a property of the topics. That of the leaders is set too, though ours
// do not serve it yet.
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
