package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/controller/plan"
)

// moveFlags are what all commands have that move replicas.
type moveFlags struct {
	throttle string
	nowait   bool

	first func(ctx context.Context, m *mover) error // to be done before the moves; nil: nothing
}

func (f *moveFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.throttle, "throttle", "", "bytes a second that each node takes in for this at most, such as 50MiB")
	c.Flags().BoolVar(&f.nowait, "no-wait", false, "return when the controller has taken the plan; a throttle stays then")
}

func rebalanceCmd(a *app) *cobra.Command {
	return parent("rebalance", "Move replicas so that all nodes carry alike", rebalancePlanCmd(a), rebalanceApplyCmd(a), rebalanceStatusCmd(a),
		rebalanceCancelCmd(a), rebalanceUnthrottleCmd(a))
}

// planFlags say what is to come of a plan.
type planFlags struct {
	without  []int32
	replicas int
	topics   []string
}

func (f *planFlags) flags(c *cobra.Command) {
	c.Flags().Int32SliceVar(&f.without, "without", nil, "nodes that are to end up with nothing")
	c.Flags().IntVar(&f.replicas, "replicas", 0, "instead, give every partition that has fewer this many replicas")
	c.Flags().StringSliceVar(&f.topics, "topic", nil, "with --replicas: only the partitions of these topics")
}

func (f *planFlags) plan(facts *clusterFacts) (*plan.Plan, error) {
	switch {
	case f.replicas < 0 || f.replicas > 0 && len(f.without) > 0 || f.replicas == 0 && len(f.topics) > 0:
		return nil, usage("--replicas wants a number, and goes with --topic, not with --without")
	case f.replicas > 0:
		return facts.grown(f.replicas, f.topics)
	}
	return facts.planned(f.without)
}

func rebalancePlanCmd(a *app) *cobra.Command {
	var (
		want planFlags
		file string
	)
	c := &cobra.Command{
		Use: "plan", Short: "Show what would be moved, and what comes of it", Args: cobra.NoArgs,
		Example: "  myelin cluster rebalance plan\n" +
			"  myelin cluster rebalance plan --without 3 --write plan.json    # as if node 3 were to go",
		RunE: func(c *cobra.Command, _ []string) error {
			m, f, err := survey(a, c.Context())
			if err != nil {
				return err
			}
			defer m.cl.Close()
			p, err := want.plan(f)
			if err != nil {
				return err
			}
			if file != "" {
				if err := writePlan(file, p); err != nil {
					return err
				}
			}
			return showPlan(a, p)
		},
	}
	want.flags(c)
	c.Flags().StringVar(&file, "write", "", "also write the plan to a file, in the form of Kafka's kafka-reassign-partitions")
	return c
}

func rebalanceApplyCmd(a *app) *cobra.Command {
	var (
		want  planFlags
		file  string
		flags moveFlags
	)
	c := &cobra.Command{
		Use: "apply", Short: "Make a plan and carry it out", Args: cobra.NoArgs,
		Example: "  myelin cluster rebalance apply --throttle 50MiB\n" +
			"  myelin cluster rebalance apply --replicas 3 --topic orders    # from one replica to three\n" +
			"  myelin cluster rebalance apply --file plan.json",
		RunE: func(c *cobra.Command, _ []string) error {
			return move(a, c.Context(), flags, func(f *clusterFacts) (*plan.Plan, error) {
				if file != "" {
					return f.readPlan(file)
				}
				return want.plan(f)
			})
		},
	}
	want.flags(c)
	c.Flags().StringVar(&file, "file", "", "carry out the plan in this file, in the form of Kafka's kafka-reassign-partitions")
	flags.flags(c)
	return c
}

// move shows a plan, asks, carries it out and waits.
func move(a *app, ctx context.Context, flags moveFlags, make func(*clusterFacts) (*plan.Plan, error)) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	rate := int64(0)
	if flags.throttle != "" {
		var err error
		if rate, err = parseRate(flags.throttle); err != nil {
			return err
		}
	}
	m, f, err := survey(a, ctx)
	if err != nil {
		return err
	}
	defer m.cl.Close()
	p, err := make(f)
	if err != nil {
		return err
	}
	if len(p.Moves) == 0 {
		a.hint("nothing to move")
		if flags.first != nil && !a.dryRun {
			return flags.first(ctx, m)
		}
		return nil
	}
	if err := showPlan(a, p); err != nil {
		return err
	}
	if ok, err := a.confirm(fmt.Sprintf("%s to reassign, %d bytes to copy", count(int64(len(p.Moves)), "partition"), p.Bytes)); !ok {
		return err
	}
	if flags.first != nil {
		if err := flags.first(ctx, m); err != nil {
			return err
		}
	}
	if rate > 0 {
		if err := m.throttle(ctx, p, rate); err != nil {
			return err
		}
	}
	if err := m.start(ctx, p); err != nil {
		if rate > 0 {
			a.hint("the throttle stays; see: myelin cluster rebalance status and unthrottle")
		}
		return err
	}
	if flags.nowait {
		a.hint("started; see: myelin cluster rebalance status")
		return nil
	}
	if err := m.wait(ctx, p); err != nil {
		return err
	}
	m.prefer(ctx, p)
	if rate > 0 {
		return m.unthrottle(ctx)
	}
	return nil
}

func rebalanceStatusCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what is being moved and how far it is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := newMover(a, c.Context())
			if err != nil {
				return err
			}
			defer m.cl.Close()
			rows, err := m.under(c.Context())
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				a.hint("nothing is being moved")
			}
			return m.show(rows)
		},
	}
}

func rebalanceCancelCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "cancel", Short: "Take back every move that is not done yet", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := newMover(a, c.Context())
			if err != nil {
				return err
			}
			defer m.cl.Close()
			rows, err := m.under(c.Context())
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				a.hint("nothing is being moved")
				return nil
			}
			if ok, err := a.confirm(fmt.Sprintf("%s would stay where they were; what was copied is deleted", count(int64(len(rows)), "partition"))); !ok {
				return err
			}
			if err := m.cancel(c.Context(), rows); err != nil {
				return err
			}
			return m.unthrottle(c.Context())
		},
	}
}

func rebalanceUnthrottleCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "unthrottle", Short: "Take away every bound on the copying of replicas", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := newMover(a, c.Context())
			if err != nil {
				return err
			}
			defer m.cl.Close()
			if a.dryRun {
				a.hint("nothing was done (--dry-run)")
				return nil
			}
			return m.unthrottle(c.Context())
		},
	}
}

func drainCmd(a *app) *cobra.Command {
	var flags moveFlags
	c := &cobra.Command{
		Use: "drain NODE", Short: "Move all replicas off a node", Args: cobra.ExactArgs(1),
		Long: "Move all replicas off a node. It goes on running, without any: what it votes for in the quorum it keeps, and no new\n" +
			"replica is placed on it (it is cordoned, KIP-1066) until it is undrained.",
		Example: "  myelin cluster drain 3 --throttle 50MiB",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseNode(args[0])
			if err != nil {
				return err
			}
			flags.first = func(ctx context.Context, m *mover) error { return m.cordon(ctx, id, true) }
			return move(a, c.Context(), flags, func(f *clusterFacts) (*plan.Plan, error) { return f.planned([]int32{id}) })
		},
	}
	flags.flags(c)
	return c
}

func undrainCmd(a *app) *cobra.Command {
	var flags moveFlags
	c := &cobra.Command{
		Use: "undrain NODE", Short: "Give a node its share of replicas again", Args: cobra.ExactArgs(1),
		Example: "  myelin cluster undrain 3",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseNode(args[0])
			if err != nil {
				return err
			}
			flags.first = func(ctx context.Context, m *mover) error { return m.cordon(ctx, id, false) }
			return move(a, c.Context(), flags, func(f *clusterFacts) (*plan.Plan, error) {
				if n := f.node(id); n == nil || n.State != "in service" {
					return nil, missing("node %d is not in service; see: myelin cluster info", id)
				}
				return f.planned(nil)
			})
		},
	}
	flags.flags(c)
	return c
}

func replaceCmd(a *app) *cobra.Command {
	var (
		flags moveFlags
		with  int32
	)
	c := &cobra.Command{
		Use: "replace NODE --with OTHER", Short: "Give all that one node has to another", Args: cobra.ExactArgs(1),
		Long: "Give all replicas of one node to another, each in the place of the first among the replicas. The first may be dead.\n" +
			"Its vote in the quorum is another thing: see myelin cluster quorum add-voter and remove-voter.",
		Example: "  myelin cluster replace 3 --with 4",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseNode(args[0])
			if err != nil {
				return err
			}
			if with < 0 || with == id {
				return usage("--with: say which node takes over")
			}
			return move(a, c.Context(), flags, func(f *clusterFacts) (*plan.Plan, error) { return f.replaced(id, with) })
		},
	}
	flags.flags(c)
	c.Flags().Int32Var(&with, "with", -1, "the node that takes over")
	return c
}
