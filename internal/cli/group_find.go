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
	"github.com/twmb/franz-go/pkg/kgo"
)

// describedGroup is a group of any kind.
type describedGroup struct {
	Group       string        `json:"group"`
	Type        string        `json:"type"`
	State       string        `json:"state"`
	Protocol    string        `json:"protocol_type,omitempty"` // of a classic group
	Assignor    string        `json:"assignor"`
	Epoch       int32         `json:"epoch"`            // what the members should have; -1 in a classic group
	Assignment  int32         `json:"assignment_epoch"` // what the target is made for; -1 in a classic group
	Coordinator int32         `json:"coordinator"`
	Lag         int64         `json:"lag"`
	Reasons     []groupReason `json:"reasons"`
	Members     []groupMember `json:"members"`
	Offsets     []groupOffset `json:"offsets"`

	Topology *groupTopology `json:"topology,omitempty"` // of a streams group
}

// groupReason is why some partitions have unread records.
type groupReason struct {
	Reason     string   `json:"reason"`
	Partitions []string `json:"partitions"`
	Why        string   `json:"why"`
	Next       string   `json:"next,omitempty"`
}

type groupMember struct {
	Member   string            `json:"member"`
	Instance string            `json:"instance,omitempty"`
	Rack     string            `json:"rack,omitempty"`
	Client   string            `json:"client"`
	Host     string            `json:"host"`
	Epoch    int32             `json:"epoch"`             // -1 in a classic group
	Classic  bool              `json:"classic,omitempty"` // a classic member of a group that is not classic
	Topics   []string          `json:"topics"`            // what it wants
	Regex    string            `json:"regex,omitempty"`   // what it wants
	Assigned []topicPartitions `json:"assigned"`
	Target   []topicPartitions `json:"target,omitzero"` // what it is to have, if that is something else
	Process  string            `json:"process,omitempty"`
	Tasks    *memberTasks      `json:"tasks,omitempty"` // of a member of a streams group
}

// memberTasks are the tasks of a member, as SUBTOPOLOGY_PARTITION.
type memberTasks struct {
	Active  []string `json:"active"`
	Standby []string `json:"standby"`
	Warmup  []string `json:"warmup"`
	Target  []string `json:"target,omitzero"` // the active ones it is to have, if those are others
}

type topicPartitions struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
}

// client is who a member is in a few words.
func (m groupMember) client() string {
	name := m.Member
	if m.Instance != "" {
		name = m.Instance
	}
	if m.Client == "" || strings.HasPrefix(name, m.Client) {
		return name
	}
	return name + " (" + m.Client + ")"
}

func has(list []topicPartitions, p place) bool {
	return slices.ContainsFunc(list, func(t topicPartitions) bool { return t.Topic == p.topic && slices.Contains(t.Partitions, p.partition) })
}

// assigned turns a set into a sorted list.
func assigned(set kadm.TopicsSet) []topicPartitions {
	list := []topicPartitions{}
	for _, t := range set.Sorted() {
		slices.Sort(t.Partitions)
		list = append(list, topicPartitions{t.Topic, t.Partitions})
	}
	return list
}

// changed is target, or nil if it is what a member has.
func changed(target, has []topicPartitions) []topicPartitions {
	same := func(x, y topicPartitions) bool { return x.Topic == y.Topic && slices.Equal(x.Partitions, y.Partitions) }
	if slices.EqualFunc(target, has, same) {
		return nil
	}
	return target
}

func partitionsText(list []topicPartitions) string {
	parts := make([]string, len(list))
	for i, t := range list {
		parts[i] = t.Topic + ":" + ranges(t.Partitions)
	}
	return orDash(strings.Join(parts, " "))
}

// ranges writes sorted numbers as 0-2,5.
func ranges(list []int32) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		text := strconv.Itoa(int(list[i]))
		if j > i {
			text += "-" + strconv.Itoa(int(list[j]))
		}
		parts = append(parts, text)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// find asks for a group without knowing its kind: each kind has an API of its
// own, and names are in one space. It is an error if the group is of another kind
// than this tree is about. On a cluster that is new it waits for the coordinator.
func (a groups) find(ctx context.Context, cl *kgo.Client, group string) (*describedGroup, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		g, err := a.findNow(ctx, cl, group)
		if !isAny(err, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress) {
			return g, err
		}
		//house:select either ends the wait; the next request looks at ctx
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (a groups) findNow(ctx context.Context, cl *kgo.Client, group string) (*describedGroup, error) {
	adm := kadm.NewClient(cl)
	for _, describe := range []func() (*describedGroup, error){
		func() (*describedGroup, error) { return describeConsumer(ctx, adm, group) },
		func() (*describedGroup, error) { return describeClassic(ctx, adm, group) },
		func() (*describedGroup, error) { return describeShare(ctx, adm, group) },
		func() (*describedGroup, error) { return describeStreams(ctx, cl, group) },
	} {
		g, err := describe()
		switch {
		case otherKind(err):
		case err != nil:
			return nil, refusal("group "+group, err, "")
		case a.kind != "" && a.kind != g.Type:
			return nil, &fault{exitFailed, "group " + group + " is a " + g.Type + " group, not a " + a.kind + " group; see: myelin group describe " + group}
		default:
			return g, nil
		}
	}
	return nil, missing("group %s does not exist; list groups with: %s list", group, a.command())
}

// otherKind tells whether a broker refuses to describe a group because it is of
// another kind, or does not know the kind at all. The client has no error values
// for the latter.
func otherKind(err error) bool {
	if err == nil {
		return false
	}
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) && len(shards.Errs) > 0 {
		err = shards.Errs[0].Err
	}
	return isAny(err, kerr.GroupIDNotFound, kerr.UnsupportedVersion) || strings.Contains(err.Error(), "request key is unknown") ||
		strings.Contains(err.Error(), "broker is too old")
}

func describeClassic(ctx context.Context, adm *kadm.Client, group string) (*describedGroup, error) {
	got, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return nil, err
	}
	d, ok := got[group]
	switch {
	case !ok || d.State == "Dead":
		return nil, kerr.GroupIDNotFound
	case d.Err != nil:
		return nil, d.Err
	}
	g := &describedGroup{Group: group, Type: classicGroup, State: d.State, Protocol: d.ProtocolType, Assignor: d.Protocol, Epoch: -1, Assignment: -1,
		Coordinator: d.Coordinator.NodeID}
	for _, m := range d.Members {
		row := groupMember{Member: m.MemberID, Instance: deref(m.InstanceID), Client: m.ClientID, Host: host(m.ClientHost), Epoch: -1,
			Topics: []string{}, Assigned: []topicPartitions{}}
		if join, ok := m.Join.AsConsumer(); ok {
			row.Topics = join.Topics
		}
		if mine, ok := m.Assigned.AsConsumer(); ok {
			set := kadm.TopicsSet{}
			for _, t := range mine.Topics {
				set.Add(t.Topic, t.Partitions...)
			}
			row.Assigned = assigned(set)
		}
		g.Members = append(g.Members, row)
	}
	return g.sorted(), nil
}

func describeConsumer(ctx context.Context, adm *kadm.Client, group string) (*describedGroup, error) {
	got, err := adm.DescribeConsumerGroups(ctx, group)
	if err != nil {
		return nil, err
	}
	d, ok := got[group]
	if err := d.Err; err != nil || !ok {
		return nil, cmp.Or[error](err, kerr.GroupIDNotFound)
	}
	g := &describedGroup{Group: group, Type: consumerGroup, State: d.State, Assignor: d.AssignorName, Epoch: d.Epoch, Assignment: d.AssignmentEpoch,
		Coordinator: d.Coordinator.NodeID}
	for _, m := range d.Members {
		row := groupMember{Member: m.MemberID, Instance: deref(m.InstanceID), Rack: deref(m.RackID), Client: m.ClientID, Host: host(m.ClientHost),
			Epoch: m.MemberEpoch, Classic: m.MemberType == 0, Topics: m.SubscribedTopics, Regex: deref(m.SubscribedTopicRegex), Assigned: assigned(m.Assignment)}
		row.Target = changed(assigned(m.TargetAssignment), row.Assigned)
		g.Members = append(g.Members, row)
	}
	return g.sorted(), nil
}

func describeShare(ctx context.Context, adm *kadm.Client, group string) (*describedGroup, error) {
	got, err := adm.DescribeShareGroups(ctx, group)
	if err != nil {
		return nil, err
	}
	d, ok := got[group]
	if err := d.Err; err != nil || !ok {
		return nil, cmp.Or[error](err, kerr.GroupIDNotFound)
	}
	g := &describedGroup{Group: group, Type: shareGroup, State: d.GroupState, Assignor: d.Assignor, Epoch: d.GroupEpoch, Assignment: d.AssignmentEpoch,
		Coordinator: d.Coordinator.NodeID}
	for _, m := range d.Members {
		g.Members = append(g.Members, groupMember{Member: m.MemberID, Rack: deref(m.RackID), Client: m.ClientID, Host: host(m.ClientHost),
			Epoch: m.MemberEpoch, Topics: m.SubscribedTopicNames, Assigned: assigned(m.Assignment)})
	}
	return g.sorted(), nil
}

// sorted puts the members in an order that is the same each time.
func (g *describedGroup) sorted() *describedGroup {
	slices.SortFunc(g.Members, func(x, y groupMember) int {
		return cmp.Or(strings.Compare(x.Instance, y.Instance), strings.Compare(x.Client, y.Client), strings.Compare(x.Member, y.Member))
	})
	if g.Members == nil {
		g.Members = []groupMember{}
	}
	return g
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// host is a client's address as people write it; brokers put a slash before it.
func host(s string) string { return strings.TrimPrefix(s, "/") }
