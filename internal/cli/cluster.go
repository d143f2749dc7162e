package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func clusterCmd(a *app) *cobra.Command {
	return parent("cluster", "Look at the nodes of a cluster and change what each carries", clusterInfoCmd(a), quorumCmd(a),
		rebalanceCmd(a), drainCmd(a), undrainCmd(a), decommissionCmd(a), replaceCmd(a))
}

// clusterNode is a node as clients and the quorum see it.
type clusterNode struct {
	Node     int32  `json:"node"`
	Address  string `json:"address"`
	Rack     string `json:"rack"`
	State    string `json:"state"`  // in service, fenced, or gone: known to the quorum alone
	Quorum   string `json:"quorum"` // leader, voter, learner or none
	Leaders  int    `json:"leaders"`
	Replicas int    `json:"replicas"`
	Behind   int    `json:"replicas_out_of_sync"`
	Bytes    int64  `json:"bytes"`
	Free     int64  `json:"free_bytes"` // the log directories' together; -1 if not known
	Total    int64  `json:"total_bytes"`

	failed []string // log directories that are offline
}

// clusterFacts are what a cluster says of itself, asked once.
type clusterFacts struct {
	id         string
	controller int32
	nodes      []*clusterNode // by id
	quorum     *quorumFacts   // nil where the cluster does not say
	topics     kadm.TopicDetails
	sizes      map[nodePlace]int64 // bytes of each replica
	now        time.Time
}

// nodePlace is a replica.
type nodePlace struct {
	node int32
	place
}

func (f *clusterFacts) node(id int32) *clusterNode {
	for _, n := range f.nodes {
		if n.Node == id {
			return n
		}
	}
	return nil
}

func clusterInfoCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "info", Short: "Show the nodes: who serves, who votes, and what each carries", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			f, err := gather(a, c.Context(), cl)
			if err != nil {
				return err
			}
			if a.output == "table" || a.output == "wide" {
				partitions := 0
				for _, t := range f.topics {
					partitions += len(t.Partitions)
				}
				fmt.Fprintf(a.Out, "cluster %s  controller %s  topics %d  partitions %d\n\n", f.id, nodeName(f.controller), len(f.topics), partitions)
			}
			rows := make([]clusterNode, len(f.nodes))
			for i, n := range f.nodes {
				rows[i] = *n
			}
			return show(a, rows,
				column[clusterNode]{"NODE", false, func(n clusterNode) string { return strconv.Itoa(int(n.Node)) }},
				column[clusterNode]{"ADDRESS", false, func(n clusterNode) string { return orDash(n.Address) }},
				column[clusterNode]{"RACK", true, func(n clusterNode) string { return orDash(n.Rack) }},
				column[clusterNode]{"STATE", false, func(n clusterNode) string { return n.State }},
				column[clusterNode]{"QUORUM", false, func(n clusterNode) string { return n.Quorum }},
				column[clusterNode]{"LEADERS", false, func(n clusterNode) string { return strconv.Itoa(n.Leaders) }},
				column[clusterNode]{"REPLICAS", false, func(n clusterNode) string { return strconv.Itoa(n.Replicas) }},
				column[clusterNode]{"BEHIND", false, func(n clusterNode) string { return strconv.Itoa(n.Behind) }},
				column[clusterNode]{"BYTES", false, func(n clusterNode) string { return strconv.FormatInt(n.Bytes, 10) }},
				column[clusterNode]{"FREE", false, func(n clusterNode) string { return numberOrDash(n.Free) }},
				column[clusterNode]{"TOTAL", true, func(n clusterNode) string { return numberOrDash(n.Total) }})
		},
	}
}

func nodeName(id int32) string {
	if id < 0 {
		return "none"
	}
	return strconv.Itoa(int(id))
}

func numberOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// gather asks a cluster for all that its commands show. A node that does not
// answer is left out of sizes, and is not an error: it is often why somebody
// looks.
func gather(a *app, ctx context.Context, cl *kgo.Client) (*clusterFacts, error) {
	f := &clusterFacts{controller: -1, sizes: map[nodePlace]int64{}, now: time.Now()}
	if err := f.askCluster(ctx, cl); err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	var err error
	if f.topics, err = adm.ListTopicsWithInternal(ctx); err != nil {
		return nil, err
	}
	if f.quorum, err = askQuorum(ctx, cl); err != nil {
		a.hint("the quorum does not answer: %s", oneLine(err))
	}
	f.joinQuorum()
	for _, t := range f.topics {
		for _, p := range t.Partitions {
			f.count(p)
		}
	}
	f.askDirectories(ctx, adm)
	return f, nil
}

func (f *clusterFacts) askCluster(ctx context.Context, cl *kgo.Client) error {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = codeError(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return fmt.Errorf("the cluster: %w", err)
	}
	f.id, f.controller = resp.ClusterID, resp.ControllerID
	for _, b := range resp.Brokers {
		n := &clusterNode{Node: b.NodeID, Address: net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), State: "in service", Quorum: "none", Free: -1, Total: -1}
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
		if b.IsFenced {
			n.State = "fenced"
		}
		f.nodes = append(f.nodes, n)
	}
	slices.SortFunc(f.nodes, func(x, y *clusterNode) int { return cmp.Compare(x.Node, y.Node) })
	return nil
}

// joinQuorum tells nodes their part in the quorum, and adds those that only the
// quorum knows.
func (f *clusterFacts) joinQuorum() {
	if f.quorum == nil {
		return
	}
	for _, m := range f.quorum.members {
		n := f.node(m.Node)
		if n == nil {
			n = &clusterNode{Node: m.Node, State: "not a broker", Free: -1, Total: -1}
			f.nodes = append(f.nodes, n)
		}
		n.Quorum = m.Role
	}
	slices.SortFunc(f.nodes, func(x, y *clusterNode) int { return cmp.Compare(x.Node, y.Node) })
}

// count adds a partition to what its nodes carry.
func (f *clusterFacts) count(p kadm.PartitionDetail) {
	for _, id := range p.Replicas {
		n := f.node(id)
		if n == nil {
			n = &clusterNode{Node: id, State: "gone", Quorum: "none", Free: -1, Total: -1}
			f.nodes = append(f.nodes, n)
			slices.SortFunc(f.nodes, func(x, y *clusterNode) int { return cmp.Compare(x.Node, y.Node) })
		}
		n.Replicas++
		if id == p.Leader {
			n.Leaders++
		}
		if !slices.Contains(p.ISR, id) {
			n.Behind++
		}
	}
}

// askDirectories asks every node that serves what lies in its log directories.
// One that does not answer says nothing.
func (f *clusterFacts) askDirectories(ctx context.Context, adm *kadm.Client) {
	all, _ := adm.DescribeAllLogDirs(ctx, nil)
	for _, d := range logDirectories(all) {
		n := f.node(d.Node)
		if n == nil {
			continue
		}
		if d.State == "offline" {
			n.failed = append(n.failed, d.Directory)
			continue
		}
		n.Bytes += d.Bytes
		if d.Total > 0 {
			n.Free, n.Total = max(n.Free, 0)+d.Free, max(n.Total, 0)+d.Total
		}
		for _, p := range d.Partitions {
			if !p.Moving {
				f.sizes[nodePlace{d.Node, place{p.Topic, p.Partition}}] = p.Bytes
			}
		}
	}
}
