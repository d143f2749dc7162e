package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// quorumFacts are what the leader of the metadata quorum says of it.
type quorumFacts struct {
	leader  int32
	epoch   int32
	mark    int64 // high watermark
	members []quorumMember
}

// quorumMember is a voter or a learner.
type quorumMember struct {
	Node      int32    `json:"node"`
	Directory string   `json:"directory_id"`
	Role      string   `json:"role"` // leader, voter or learner
	End       int64    `json:"log_end_offset"`
	Lag       int64    `json:"lag"`
	Fetched   int64    `json:"last_fetch_ms"`     // Unix milliseconds; -1 not known
	CaughtUp  int64    `json:"last_caught_up_ms"` // the same
	Addresses []string `json:"addresses"`         // NAME://HOST:PORT, where controllers hear it

	id        kafka.UUID
	listeners []kmsg.DescribeQuorumResponseNodeListener
}

func quorumCmd(a *app) *cobra.Command {
	describe := &cobra.Command{
		Use: "describe", Short: "Show who leads the metadata quorum, who votes and who learns", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			q, err := askQuorum(c.Context(), cl)
			if err != nil {
				return fmt.Errorf("the quorum: %w", err)
			}
			return showQuorum(a, q, time.Now())
		},
	}
	return parent("quorum", "Look at the metadata quorum and change who votes", describe, addVoterCmd(a), removeVoterCmd(a))
}

func showQuorum(a *app, q *quorumFacts, now time.Time) error {
	if a.output == "table" || a.output == "wide" {
		fmt.Fprintf(a.Out, "leader %s  epoch %d  high watermark %d\n\n", nodeName(q.leader), q.epoch, q.mark)
	}
	age := func(ms int64) string {
		if ms <= 0 {
			return "-"
		}
		return max(now.Sub(time.UnixMilli(ms)), 0).Round(time.Millisecond).String()
	}
	return show(a, q.members,
		column[quorumMember]{"NODE", false, func(m quorumMember) string { return strconv.Itoa(int(m.Node)) }},
		column[quorumMember]{"ROLE", false, func(m quorumMember) string { return m.Role }},
		column[quorumMember]{"END", false, func(m quorumMember) string { return numberOrDash(m.End) }},
		column[quorumMember]{"LAG", false, func(m quorumMember) string { return numberOrDash(m.Lag) }},
		column[quorumMember]{"FETCHED", true, func(m quorumMember) string { return age(m.Fetched) }},
		column[quorumMember]{"CAUGHT-UP", false, func(m quorumMember) string { return age(m.CaughtUp) }},
		column[quorumMember]{"DIRECTORY", false, func(m quorumMember) string { return m.Directory }},
		column[quorumMember]{"ADDRESS", false, func(m quorumMember) string {
			if len(m.Addresses) == 0 {
				return "-"
			}
			return m.Addresses[0]
		}})
}

// askQuorum asks the controller for its quorum.
func askQuorum(ctx context.Context, cl *kgo.Client) (*quorumFacts, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = codeError(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("an answer about %d topics", len(resp.Topics))
	}
	p := &resp.Topics[0].Partitions[0]
	if err := codeError(p.ErrorCode, p.ErrorMessage); err != nil {
		return nil, err
	}
	q := &quorumFacts{leader: p.LeaderID, epoch: p.LeaderEpoch, mark: p.HighWatermark, members: []quorumMember{}}
	end := p.HighWatermark
	for _, v := range p.CurrentVoters {
		if v.ReplicaID == p.LeaderID {
			end = v.LogEndOffset
		}
	}
	add := func(list []kmsg.DescribeQuorumResponseTopicPartitionReplicaState, role string) {
		for _, r := range list {
			m := quorumMember{Node: r.ReplicaID, Directory: kafka.UUID(r.ReplicaDirectoryID).String(), Role: role, End: r.LogEndOffset, Lag: -1,
				Fetched: r.LastFetchTimestamp, CaughtUp: r.LastCaughtUpTimestamp, Addresses: []string{}, id: r.ReplicaDirectoryID}
			if role == "voter" && r.ReplicaID == p.LeaderID {
				m.Role = "leader"
			}
			if r.LogEndOffset >= 0 {
				m.Lag = max(end-r.LogEndOffset, 0)
			}
			for _, n := range resp.Nodes {
				if n.NodeID == r.ReplicaID {
					m.listeners = n.Listeners
				}
			}
			for _, l := range m.listeners {
				m.Addresses = append(m.Addresses, l.Name+"://"+net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
			}
			q.members = append(q.members, m)
		}
	}
	add(p.CurrentVoters, "voter")
	add(p.Observers, "learner")
	return q, nil
}

// codeError is the error of a code and what the broker says to it.
func codeError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil && *message != "" {
		return fmt.Errorf("%s: %w", *message, err)
	}
	return err
}

func addVoterCmd(a *app) *cobra.Command {
	var address string
	c := &cobra.Command{
		Use: "add-voter NODE", Short: "Let a node that learns vote", Args: cobra.ExactArgs(1),
		Long: "Let a node that learns vote. It has to run and to be in the list of `myelin cluster quorum describe` as a learner.\n" +
			"Voters are added one at a time; an even number of them survives no more failures than one less.",
		Example: "  myelin cluster quorum add-voter 4",
		RunE: func(c *cobra.Command, args []string) error {
			return changeVoters(a, c.Context(), args[0], "learner", func(ctx context.Context, cl *kgo.Client, m *quorumMember) error {
				req := kmsg.NewPtrAddRaftVoterRequest()
				req.TimeoutMillis = int32(a.timeout.Milliseconds())
				req.VoterID, req.VoterDirectoryID = m.Node, m.id
				listeners, err := voterListeners(m, address)
				if err != nil {
					return err
				}
				req.Listeners = listeners
				if ok, err := a.confirm(fmt.Sprintf("node %d, directory %s, will vote", m.Node, m.Directory)); !ok {
					return err
				}
				resp, err := req.RequestWith(ctx, cl)
				if err == nil {
					err = codeError(resp.ErrorCode, resp.ErrorMessage)
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&address, "address", "", "HOST:PORT where controllers reach the node, if the quorum does not say")
	return c
}

// voterListeners are where a voter is heard: what the quorum says, or address.
func voterListeners(m *quorumMember, address string) ([]kmsg.AddRaftVoterRequestListener, error) {
	var all []kmsg.AddRaftVoterRequestListener
	for _, l := range m.listeners {
		n := kmsg.NewAddRaftVoterRequestListener()
		n.Name, n.Host, n.Port = l.Name, l.Host, l.Port
		all = append(all, n)
	}
	if address == "" && len(all) > 0 {
		return all, nil
	}
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		return nil, usage("--address %s: want HOST:PORT where controllers reach node %d", address, m.Node)
	}
	n := kmsg.NewAddRaftVoterRequestListener()
	n.Name, n.Host, n.Port = "CONTROLLER", host, uint16(number)
	return []kmsg.AddRaftVoterRequestListener{n}, nil
}

func removeVoterCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "remove-voter NODE", Short: "Take a node's vote away; it goes on learning if it runs", Args: cobra.ExactArgs(1),
		Example: "  myelin cluster quorum remove-voter 3",
		RunE: func(c *cobra.Command, args []string) error {
			return changeVoters(a, c.Context(), args[0], "voter", func(ctx context.Context, cl *kgo.Client, m *quorumMember) error {
				if ok, err := a.confirm(fmt.Sprintf("node %d, directory %s, will not vote any more", m.Node, m.Directory)); !ok {
					return err
				}
				req := kmsg.NewPtrRemoveRaftVoterRequest()
				req.VoterID, req.VoterDirectoryID = m.Node, m.id
				resp, err := req.RequestWith(ctx, cl)
				if err == nil {
					err = codeError(resp.ErrorCode, resp.ErrorMessage)
				}
				return err
			})
		},
	}
}

// changeVoters finds a member by its node and role and does something to it. The
// leader is a voter too.
func changeVoters(a *app, ctx context.Context, name, role string, change func(context.Context, *kgo.Client, *quorumMember) error) error {
	id, err := parseNode(name)
	if err != nil {
		return err
	}
	cl, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	q, err := askQuorum(ctx, cl)
	if err != nil {
		return fmt.Errorf("the quorum: %w", err)
	}
	for i := range q.members {
		m := &q.members[i]
		if m.Node != id || m.Role != role && (role != "voter" || m.Role != "leader") {
			continue
		}
		if err := change(ctx, cl, m); err != nil {
			return fmt.Errorf("node %d: %w", id, err)
		}
		return nil
	}
	return missing("node %d is not a %s of the quorum; see: myelin cluster quorum describe", id, role)
}
