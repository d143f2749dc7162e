package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/controller/plan"
)

func decommissionCmd(a *app) *cobra.Command {
	var flags moveFlags
	c := &cobra.Command{
		Use: "decommission NODE", Short: "Take a node out of the cluster", Args: cobra.ExactArgs(1),
		Long: "Take a node out of the cluster. While it runs its replicas are moved off it, and if it votes in the quorum a node that\n" +
			"learns gets a vote first, so that there are as many as before, and it loses its own. Then stop it, and run the same\n" +
			"command again: a node that is stopped and has nothing is forgotten.",
		Example: "  myelin cluster decommission 3",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseNode(args[0])
			if err != nil {
				return err
			}
			if flags.nowait {
				return usage("--no-wait: what follows needs the moves to be done")
			}
			return decommission(a, c.Context(), id, flags)
		},
	}
	flags.flags(c)
	return c
}

// decommission does the next steps for a node that is to go:
//
//	drain       its replicas go elsewhere, and no new ones come
//	vote        it leaves the voters, after another came in its place
//	unregister  once it is stopped, the cluster forgets it
func decommission(a *app, ctx context.Context, id int32, flags moveFlags) error {
	serves := false
	flags.first = func(ctx context.Context, m *mover) error {
		if !serves {
			return nil
		}
		return m.cordon(ctx, id, true)
	}
	if err := move(a, ctx, flags, func(f *clusterFacts) (*plan.Plan, error) {
		n := f.node(id)
		if n == nil {
			return nil, missing("there is no node %d; see: myelin cluster info", id)
		}
		if serves = n.State == "in service"; n.Replicas == 0 {
			return &plan.Plan{}, nil
		}
		return f.planned([]int32{id})
	}); err != nil || a.dryRun {
		return err
	}
	m, f, err := survey(a, ctx)
	if err != nil {
		return err
	}
	defer m.cl.Close()
	n := f.node(id)
	if n.Quorum == "voter" || n.Quorum == "leader" {
		if err := m.passVote(ctx, f, id); err != nil {
			return err
		}
	}
	if n.State == "in service" {
		a.hint("node %d has nothing left and no vote; stop it, then run again: myelin cluster decommission %d", id, id)
		return nil
	}
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	resp, err := req.RequestWith(ctx, m.cl)
	if err == nil {
		err = codeError(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil && !isAny(err, kerr.BrokerIDNotRegistered) {
		return fmt.Errorf("node %d: %w", id, err)
	}
	a.hint("node %d is forgotten", id)
	return nil
}

// passVote takes a node's vote away. A node that learns and serves votes in its
// place from before on, if there is one: one change at a time, and never with
// fewer voters than there were.
func (m *mover) passVote(ctx context.Context, f *clusterFacts, id int32) error {
	voters, was := 0, (*quorumMember)(nil)
	var heir *quorumMember
	for i := range f.quorum.members {
		q := &f.quorum.members[i]
		n := f.node(q.Node)
		switch {
		case q.Node == id && q.Role != "learner":
			was = q
		case q.Role != "learner":
			voters++
		case heir == nil && q.Node != id && n != nil && n.State == "in service" && len(q.listeners) > 0:
			heir = q
		}
	}
	if was == nil {
		return nil
	}
	if heir != nil {
		m.a.hint("node %d, directory %s, gets a vote in the quorum", heir.Node, heir.Directory)
		if err := m.addVoter(ctx, heir); err != nil {
			return fmt.Errorf("a vote for node %d: %w", heir.Node, err)
		}
		voters++
	}
	switch {
	case voters == 0:
		return &fault{exitFailed, fmt.Sprintf("node %d is the only voter, and no other node with a controller listener learns; start one first", id)}
	case voters%2 == 0:
		m.a.hint("%d voters are left: they survive no more failures than %d; let a node that learns vote: myelin cluster quorum add-voter NODE", voters, voters-1)
	}
	m.a.hint("node %d, directory %s, loses its vote", was.Node, was.Directory)
	return m.untilVotes(ctx, id, false, func() error {
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = id, was.id
		resp, err := req.RequestWith(ctx, m.cl)
		if err == nil {
			err = codeError(resp.ErrorCode, resp.ErrorMessage)
		}
		if isAny(err, kerr.VoterNotFound) {
			return nil
		}
		return err
	})
}

// addVoter lets a learner vote, and waits until it does.
func (m *mover) addVoter(ctx context.Context, q *quorumMember) error {
	listeners, err := voterListeners(q, "")
	if err != nil {
		return err
	}
	return m.untilVotes(ctx, q.Node, true, func() error {
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.TimeoutMillis = int32(m.a.timeout.Milliseconds())
		req.VoterID, req.VoterDirectoryID, req.Listeners = q.Node, q.id, listeners
		resp, err := req.RequestWith(ctx, m.cl)
		if err == nil {
			err = codeError(resp.ErrorCode, resp.ErrorMessage)
		}
		if isAny(err, kerr.DuplicateVoter) {
			return nil
		}
		return err
	})
}

// untilVotes asks for a change of the voters until the quorum shows it, or
// the time for answers is over. The quorum may choose another leader meanwhile.
func (m *mover) untilVotes(ctx context.Context, id int32, votes bool, ask func() error) error {
	end := time.Now().Add(max(m.a.timeout, settle))
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	err := ask()
	for {
		q, asked := askQuorum(ctx, m.cl)
		if asked == nil && q.votes(id) == votes {
			return nil
		}
		if time.Now().After(end) {
			if err == nil {
				err = asked
			}
			if err == nil {
				err = fmt.Errorf("the quorum does not show it after %v", max(m.a.timeout, settle))
			}
			return err
		}
		select { //house:select who interrupts leaves it as it is
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err != nil {
			err = ask()
		}
	}
}

// votes says whether a node is one of the voters.
func (q *quorumFacts) votes(id int32) bool {
	for _, m := range q.members {
		if m.Node == id && m.Role != "learner" {
			return true
		}
	}
	return false
}
