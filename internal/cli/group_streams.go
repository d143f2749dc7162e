package cli

import (
	"context"
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

// groupTopology is what a Kafka Streams application is made of, as far as the
// broker knows.
type groupTopology struct {
	Epoch         int32           `json:"epoch"`
	Subtopologies []subtopology   `json:"subtopologies"`
	GlobalStores  []topologyStore `json:"global_stores,omitempty"`
	Description   string          `json:"description"` // none, not asked for, failed, or available: that of KIP-1331
}

type subtopology struct {
	ID           string         `json:"subtopology"`
	Sources      []string       `json:"source_topics"`
	Repartitions []string       `json:"repartition_source_topics"` // made for the application
	Sinks        []string       `json:"repartition_sink_topics"`
	Changelogs   []string       `json:"changelog_topics"` // made for the application
	Nodes        []topologyNode `json:"nodes,omitempty"`
}

type topologyNode struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"` // source, processor, sink
	Topics     []string `json:"topics,omitempty"`
	Stores     []string `json:"stores,omitempty"`
	Successors []string `json:"successors,omitempty"`
}

type topologyStore struct {
	Source    topologyNode `json:"source"`
	Processor topologyNode `json:"processor"`
}

// describeStreams asks the group's coordinator, which the client finds for other
// requests by itself but not for this one.
func describeStreams(ctx context.Context, cl *kgo.Client, group string) (*describedGroup, error) {
	req := kmsg.NewPtrStreamsGroupDescribeRequest()
	req.Groups, req.IncludeTopologyDescription = []string{group}, true
	at := kadm.NewClient(cl).FindGroupCoordinators(ctx, group)[group]
	if at.Err != nil {
		return nil, at.Err
	}
	resp, err := req.RequestWith(ctx, cl.Broker(int(at.NodeID)))
	if err != nil {
		return nil, err
	}
	if len(resp.Groups) != 1 {
		return nil, kerr.GroupIDNotFound
	}
	if err := kerr.ErrorForCode(resp.Groups[0].ErrorCode); err != nil {
		return nil, err
	}
	g := streamsOf(resp.Groups[0])
	g.Coordinator = at.NodeID
	return g.sorted(), nil
}

func streamsOf(d kmsg.StreamsGroupDescribeResponseGroup) *describedGroup {
	g := &describedGroup{Group: d.Group, Type: streamsGroup, State: d.State, Assignor: deref(d.AssignorName), Epoch: d.Epoch, Assignment: d.AssignmentEpoch,
		Topology: topologyOf(d)}
	for _, m := range d.Members {
		row := groupMember{Member: m.MemberID, Instance: deref(m.InstanceID), Rack: deref(m.RackID), Client: m.ClientID, Host: host(m.ClientHost),
			Epoch: m.MemberEpoch, Classic: m.IsClassic, Topics: []string{}, Process: m.ProcessID,
			Tasks:    &memberTasks{Active: taskNames(m.Assignment.ActiveTasks), Standby: taskNames(m.Assignment.StandbyTasks), Warmup: taskNames(m.Assignment.WarmupTasks)},
			Assigned: g.Topology.partitions(m.Assignment.ActiveTasks)}
		row.Target = changed(g.Topology.partitions(m.TargetAssignment.ActiveTasks), row.Assigned)
		if target := taskNames(m.TargetAssignment.ActiveTasks); !slices.Equal(target, row.Tasks.Active) {
			row.Tasks.Target = target
		}
		g.Members = append(g.Members, row)
	}
	return g
}

func taskNames(list []kmsg.TaskIDs) []string {
	names := []string{}
	for _, t := range list {
		slices.Sort(t.Partitions)
		for _, p := range t.Partitions {
			names = append(names, t.SubtopologyID+"_"+strconv.Itoa(int(p)))
		}
	}
	slices.Sort(names)
	return names
}

func topologyOf(d kmsg.StreamsGroupDescribeResponseGroup) *groupTopology {
	words := []string{"not asked for", "none", "failed", "available"}
	t := &groupTopology{Epoch: -1, Subtopologies: []subtopology{}, Description: "none"}
	if n := int(d.TopologyDescriptionStatus); n >= 0 && n < len(words) {
		t.Description = words[n]
	}
	if d.Topology == nil {
		return t
	}
	t.Epoch = d.Topology.Epoch
	names := func(list []kmsg.TopicInfo) []string {
		all := []string{}
		for _, i := range list {
			all = append(all, i.Topic)
		}
		return all
	}
	for _, s := range d.Topology.Subtopologies {
		t.Subtopologies = append(t.Subtopologies, subtopology{ID: s.SubtopologyID, Sources: append([]string{}, s.SourceTopics...), Repartitions: names(s.RepartitionSourceTopics),
			Sinks: append([]string{}, s.RepartitionSinkTopics...), Changelogs: names(s.StateChangelogTopics)})
	}
	if d.TopologyDescription == nil {
		return t
	}
	for _, s := range d.TopologyDescription.Subtopologies {
		i := slices.IndexFunc(t.Subtopologies, func(have subtopology) bool { return have.ID == s.SubtopologyID })
		if i < 0 {
			t.Subtopologies = append(t.Subtopologies, subtopology{ID: s.SubtopologyID})
			i = len(t.Subtopologies) - 1
		}
		for _, n := range s.Nodes {
			t.Subtopologies[i].Nodes = append(t.Subtopologies[i].Nodes, nodeOf(n))
		}
	}
	for _, s := range d.TopologyDescription.GlobalStores {
		t.GlobalStores = append(t.GlobalStores, topologyStore{nodeOf(s.Source), nodeOf(s.Processor)})
	}
	return t
}

// nodeOf reads a node of a topology: its type is 1, 2 or 3 (KIP-1331).
func nodeOf(n kmsg.TopologyDescriptionNode) topologyNode {
	kinds := map[int8]string{1: "source", 2: "processor", 3: "sink"}
	node := topologyNode{Name: n.Name, Kind: kinds[n.NodeType], Topics: n.SourceTopics, Stores: n.Stores, Successors: n.Successors}
	if n.SinkTopic != nil {
		node.Topics = append(node.Topics, *n.SinkTopic)
	}
	return node
}

// partitions are what active tasks read.
func (t *groupTopology) partitions(tasks []kmsg.TaskIDs) []topicPartitions {
	set := kadm.TopicsSet{}
	for _, task := range tasks {
		for _, s := range t.Subtopologies {
			if s.ID != task.SubtopologyID {
				continue
			}
			for _, topic := range slices.Concat(s.Sources, s.Repartitions) {
				set.Add(topic, task.Partitions...)
			}
		}
	}
	return assigned(set)
}

// sources are the topics that the application reads.
func (t *groupTopology) sources() []string {
	var all []string
	for _, s := range t.Subtopologies {
		all = append(append(all, s.Sources...), s.Repartitions...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// internalTopics are those that were made for a streams application, nil for
// groups of other kinds.
func (g *describedGroup) internalTopics() []string {
	if g.Topology == nil {
		return nil
	}
	var all []string
	for _, s := range g.Topology.Subtopologies {
		all = append(append(all, s.Repartitions...), s.Changelogs...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func groupTopologyCmd(a groups) *cobra.Command {
	return &cobra.Command{
		Use: "topology GROUP", Short: "Show what a Kafka Streams application is made of", Args: cobra.ExactArgs(1), ValidArgsFunction: a.complete,
		Long: "Show the subtopologies of a Kafka Streams application with the topics they read and the topics that were made for them.\n" +
			"Where the application has sent the description of its topology (KIP-1331), its nodes and stores too.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			g, err := a.find(c.Context(), cl, args[0])
			if err != nil {
				return err
			}
			if a.output != "table" && a.output != "wide" {
				return show(a.app, g.Topology.Subtopologies, column[subtopology]{"SUBTOPOLOGY", false, func(s subtopology) string { return s.ID }})
			}
			return a.showTopology(g)
		},
	}
}

func (a groups) showTopology(g *describedGroup) error {
	fmt.Fprintf(a.Out, "group %s  topology epoch %d  description %s\n\n", g.Group, g.Topology.Epoch, g.Topology.Description)
	list := func(names []string) string { return orDash(strings.Join(names, " ")) }
	err := show(a.app, g.Topology.Subtopologies,
		column[subtopology]{"SUBTOPOLOGY", false, func(s subtopology) string { return s.ID }},
		column[subtopology]{"READS", false, func(s subtopology) string { return list(slices.Concat(s.Sources, s.Repartitions)) }},
		column[subtopology]{"REPARTITIONS TO", false, func(s subtopology) string { return list(s.Sinks) }},
		column[subtopology]{"CHANGELOGS", false, func(s subtopology) string { return list(s.Changelogs) }})
	if err != nil {
		return err
	}
	type row struct {
		where string
		topologyNode
	}
	var rows []row
	for _, s := range g.Topology.Subtopologies {
		for _, n := range s.Nodes {
			rows = append(rows, row{s.ID, n})
		}
	}
	for _, s := range g.Topology.GlobalStores {
		rows = append(rows, row{"global", s.Source}, row{"global", s.Processor})
	}
	if len(rows) == 0 {
		a.hint("\nthe application has not said what its nodes are: group.streams.topology.description.enable=true on the broker asks applications that know KIP-1331")
		return nil
	}
	fmt.Fprintln(a.Out)
	return show(a.app, rows,
		column[row]{"SUBTOPOLOGY", false, func(r row) string { return r.where }},
		column[row]{"NODE", false, func(r row) string { return r.Name }},
		column[row]{"KIND", false, func(r row) string { return r.Kind }},
		column[row]{"TOPICS", false, func(r row) string { return list(r.Topics) }},
		column[row]{"STORES", false, func(r row) string { return list(r.Stores) }},
		column[row]{"THEN", false, func(r row) string { return list(r.Successors) }})
}
