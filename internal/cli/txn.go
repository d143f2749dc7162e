package cli

import (
	"context"
	"fmt"
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

func txnCmd(a *app) *cobra.Command {
	c := parent("txn", "List, describe and end transactions",
		txnListCmd(a), txnDescribeCmd(a), txnHangingCmd(a), txnAbortCmd(a), txnTerminateCmd(a))
	c.Aliases = []string{"transaction", "transactions"}
	return c
}

type transaction struct {
	ID          string   `json:"transactional_id"`
	State       string   `json:"state"`
	Producer    int64    `json:"producer_id"`
	Epoch       int16    `json:"producer_epoch"`
	Coordinator int32    `json:"coordinator"`
	Started     string   `json:"started,omitempty"`
	OpenSeconds float64  `json:"open_seconds,omitempty"`
	TimeoutMs   int32    `json:"timeout_ms"`
	Partitions  []string `json:"partitions"`
}

func (t transaction) open() string {
	if t.Started == "" {
		return "-"
	}
	return time.Duration(t.OpenSeconds * float64(time.Second)).Round(time.Second).String()
}

func txnListCmd(a *app) *cobra.Command {
	var (
		states    []string
		producers []int64
		pattern   string
		older     time.Duration
	)
	c := &cobra.Command{
		Use: "list", Short: "List transactional ids and what they do", Args: cobra.NoArgs, Aliases: []string{"ls"},
		RunE: func(c *cobra.Command, _ []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			listed, err := adm.ListTransactionsByTxPattern(c.Context(), producers, states, pattern)
			if err != nil {
				return err
			}
			rows, err := describeTransactions(c.Context(), adm, listed.TransactionalIDs())
			if err != nil {
				return err
			}
			rows = slices.DeleteFunc(rows, func(t transaction) bool {
				return older > 0 && t.OpenSeconds < older.Seconds()
			})
			switch filtered := len(states)+len(producers) > 0 || pattern != "" || older > 0; {
			case len(rows) == 0 && filtered:
				a.hint("no such transactions")
			case len(rows) == 0:
				a.hint("no transactions; one appears when a producer with a transactional id begins, such as: myelin produce TOPIC --txn ID")
			}
			return showTransactions(a, rows)
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only in these states: Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort")
	c.Flags().Int64SliceVar(&producers, "producer-id", nil, "only of these producer ids")
	c.Flags().StringVar(&pattern, "match", "", "only transactional ids that match this regular expression")
	c.Flags().DurationVar(&older, "older", 0, "only transactions that are open for longer, such as 5m")
	return c
}

func txnDescribeCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "describe ID...", Short: "Show what transactional ids are doing, and in which partitions", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, ids []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			rows, err := describeTransactions(c.Context(), adm, ids)
			if err != nil {
				return err
			}
			return showTransactions(a, rows)
		},
	}
}

// openStates are those of a transaction that has begun and not ended. Brokers tell
// when the last one began in other states too.
var openStates = []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"}

// describeTransactions asks for the transactions of ids, which may be none.
func describeTransactions(ctx context.Context, adm *kadm.Client, ids []string) ([]transaction, error) {
	if len(ids) == 0 {
		return []transaction{}, nil
	}
	got, err := adm.DescribeTransactions(ctx, ids...)
	if err != nil {
		return nil, err
	}
	rows := []transaction{}
	for _, d := range got.Sorted() {
		if isAny(d.Err, kerr.TransactionalIDNotFound) {
			return nil, missing("transactional id %s does not exist; list them with: myelin txn list", d.TxnID)
		}
		if d.Err != nil {
			return nil, refusal("transactional id "+d.TxnID, d.Err, "")
		}
		t := transaction{ID: d.TxnID, State: d.State, Producer: d.ProducerID, Epoch: d.ProducerEpoch, Coordinator: d.Coordinator,
			TimeoutMs: d.TimeoutMillis, Partitions: []string{}}
		if d.StartTimestamp >= 0 && slices.Contains(openStates, d.State) {
			began := time.UnixMilli(d.StartTimestamp)
			t.Started, t.OpenSeconds = began.UTC().Format(time.RFC3339), time.Since(began).Seconds()
		}
		for _, topic := range d.Topics.Sorted() {
			for _, p := range topic.Partitions {
				t.Partitions = append(t.Partitions, topic.Topic+"-"+strconv.Itoa(int(p)))
			}
		}
		rows = append(rows, t)
	}
	return rows, nil
}

func showTransactions(a *app, rows []transaction) error {
	return show(a, rows,
		column[transaction]{"ID", false, func(t transaction) string { return t.ID }},
		column[transaction]{"STATE", false, func(t transaction) string { return t.State }},
		column[transaction]{"PRODUCER", false, func(t transaction) string { return strconv.FormatInt(t.Producer, 10) }},
		column[transaction]{"EPOCH", false, func(t transaction) string { return strconv.Itoa(int(t.Epoch)) }},
		column[transaction]{"OPEN", false, transaction.open},
		column[transaction]{"TIMEOUT", true, func(t transaction) string {
			return (time.Duration(t.TimeoutMs) * time.Millisecond).String()
		}},
		column[transaction]{"COORDINATOR", true, func(t transaction) string { return strconv.Itoa(int(t.Coordinator)) }},
		column[transaction]{"PARTITIONS", false, func(t transaction) string { return orDash(strings.Join(t.Partitions, " ")) }})
}

// hanging is a transaction that is open in a partition.
type hanging struct {
	Topic            string `json:"topic"`
	Partition        int32  `json:"partition"`
	Producer         int64  `json:"producer_id"`
	Epoch            int16  `json:"producer_epoch"`
	CoordinatorEpoch int32  `json:"coordinator_epoch"`
	First            int64  `json:"first_offset"`
	Last             string `json:"last_written"`
	Why              string `json:"why"`
}

// slack is how much longer than a transaction may take at most one has to be
// silent before it is called hanging, unless the user says.
const slack = 5 * time.Minute

func txnHangingCmd(a *app) *cobra.Command {
	var older time.Duration
	c := &cobra.Command{
		Use: "hanging [TOPIC...]", Short: "Find transactions that nobody will end", ValidArgsFunction: a.completeTopics,
		Long: "Find transactions that are open in a partition, silent for a long time, and of which no coordinator knows: consumers\n" +
			"that read committed records wait behind them for ever, and nothing is cleaned. End one with myelin txn abort.",
		RunE: func(c *cobra.Command, topics []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			rows, err := findHanging(c.Context(), adm, topics, older)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				a.hint("no transaction hangs")
			}
			err = show(a, rows,
				column[hanging]{"TOPIC", false, func(h hanging) string { return h.Topic }},
				column[hanging]{"PARTITION", false, func(h hanging) string { return strconv.Itoa(int(h.Partition)) }},
				column[hanging]{"PRODUCER", false, func(h hanging) string { return strconv.FormatInt(h.Producer, 10) }},
				column[hanging]{"EPOCH", false, func(h hanging) string { return strconv.Itoa(int(h.Epoch)) }},
				column[hanging]{"FIRST OFFSET", false, func(h hanging) string { return strconv.FormatInt(h.First, 10) }},
				column[hanging]{"LAST WRITTEN", false, func(h hanging) string { return h.Last }},
				column[hanging]{"WHY", false, func(h hanging) string { return h.Why }})
			for _, h := range rows {
				a.hint("end it with: myelin txn abort %s %d --offset %d", h.Topic, h.Partition, h.First)
			}
			return err
		},
	}
	c.Flags().DurationVar(&older, "older", 15*time.Minute+slack, "silent for at least so long; less than transaction.max.timeout.ms finds live ones")
	return c
}

// findHanging looks at every open transaction of the partitions that has been
// silent for so long, and asks its coordinator whether it knows of it.
func findHanging(ctx context.Context, adm *kadm.Client, topics []string, older time.Duration) ([]hanging, error) {
	open, err := openTransactions(ctx, adm, topics)
	if err != nil {
		return nil, err
	}
	rows := []hanging{}
	var ids []int64
	for _, p := range open {
		if last := time.UnixMilli(p.LastTimestamp); time.Since(last) >= older {
			ids = append(ids, p.ProducerID)
			rows = append(rows, hanging{Topic: p.Topic, Partition: p.Partition, Producer: p.ProducerID, Epoch: p.ProducerEpoch,
				CoordinatorEpoch: p.CoordinatorEpoch, First: p.CurrentTxnStartOffset, Last: last.UTC().Format(time.RFC3339)})
		}
	}
	if len(rows) == 0 {
		return rows, nil
	}
	listed, err := adm.ListTransactions(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	known, err := describeTransactions(ctx, adm, listed.TransactionalIDs())
	if err != nil {
		return nil, err
	}
	kept := rows[:0]
	for _, h := range rows {
		i := slices.IndexFunc(known, func(t transaction) bool { return t.Producer == h.Producer })
		switch {
		case i < 0:
			h.Why = "no transactional id has this producer"
		case !slices.Contains(known[i].Partitions, h.Topic+"-"+strconv.Itoa(int(h.Partition))):
			h.Why = known[i].ID + " does not have this partition in its transaction"
		default:
			continue // its coordinator will end it
		}
		kept = append(kept, h)
	}
	return kept, nil
}

// openTransactions lists the producers with a transaction open in a partition,
// by topic, partition and producer.
func openTransactions(ctx context.Context, adm *kadm.Client, topics []string) ([]kadm.DescribedProducer, error) {
	details, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	for _, name := range topics {
		if err := details[name].Err; err != nil {
			return nil, refusal("topic "+name, err, "")
		}
	}
	described, err := adm.DescribeProducers(ctx, details.TopicsSet())
	if err != nil {
		return nil, err
	}
	var open []kadm.DescribedProducer
	for _, t := range described.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			if p.Err != nil {
				return nil, refusal(fmt.Sprintf("partition %s-%d", p.Topic, p.Partition), p.Err, "")
			}
			for _, d := range p.ActiveProducers.Sorted() {
				if d.CurrentTxnStartOffset >= 0 {
					open = append(open, d)
				}
			}
		}
	}
	return open, nil
}

func txnAbortCmd(a *app) *cobra.Command {
	var (
		offset   int64
		producer int64
	)
	c := &cobra.Command{
		Use: "abort TOPIC PARTITION --offset N", Short: "Write the abort marker of a hanging transaction into a partition", Args: cobra.ExactArgs(2),
		Long: "Write the marker that ends a transaction in one partition, past its coordinator. It is for transactions that\n" +
			"myelin txn hanging finds; one that is alive loses what it wrote there. To end a live one in all its partitions:\n" +
			"myelin txn terminate.",
		ValidArgsFunction: a.completeTopics,
		RunE: func(c *cobra.Command, args []string) error {
			partition, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || partition < 0 {
				return usage("partition %s: want a number", args[1])
			}
			if offset < 0 && producer < 0 {
				return usage("say which transaction: --offset N, its first offset, or --producer-id N; find them with: myelin txn hanging")
			}
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			return a.abort(c.Context(), adm, hanging{Topic: args[0], Partition: int32(partition), First: offset, Producer: producer})
		},
	}
	c.Flags().Int64Var(&offset, "offset", -1, "the first offset of the transaction in that partition")
	c.Flags().Int64Var(&producer, "producer-id", -1, "its producer id")
	return c
}

func (a *app) abort(ctx context.Context, adm *kadm.Client, which hanging) error {
	open, err := openTransactions(ctx, adm, []string{which.Topic})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(open, func(p kadm.DescribedProducer) bool {
		return p.Partition == which.Partition && (which.First < 0 || p.CurrentTxnStartOffset == which.First) &&
			(which.Producer < 0 || p.ProducerID == which.Producer)
	})
	if i < 0 {
		return missing("no such transaction is open in %s-%d; those that are: myelin txn list --state Ongoing, and myelin txn hanging --older 0s %s", which.Topic, which.Partition, which.Topic)
	}
	p := open[i]
	if id, err := ownerOf(ctx, adm, p); err == nil && id != "" {
		a.hint("%s has this transaction open and its coordinator will end it; to abort it now, and in all its partitions: myelin txn terminate %s", id, id)
	}
	if !a.yes || a.dryRun {
		a.hint("nothing was written; add --yes to abort the transaction of producer %d that begins at offset %d of %s-%d",
			p.ProducerID, p.CurrentTxnStartOffset, p.Topic, p.Partition)
		return nil
	}
	set := kadm.TopicsSet{}
	set.Add(p.Topic, p.Partition)
	// A partition that never saw a marker of this producer knows no coordinator
	// epoch; 0 is the least that a marker may have.
	got, err := adm.WriteTxnMarkers(ctx, kadm.TxnMarkers{ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch,
		CoordinatorEpoch: max(p.CoordinatorEpoch, 0), Topics: set})
	if err != nil {
		return err
	}
	for _, r := range got.SortedPartitions() {
		if r.Err != nil {
			return refusal(fmt.Sprintf("the marker in %s-%d", r.Topic, r.Partition), r.Err, "")
		}
	}
	a.hint("aborted the transaction of producer %d in %s-%d", p.ProducerID, p.Topic, p.Partition)
	return nil
}

// ownerOf is the transactional id whose coordinator knows of an open transaction
// in a partition, "" if none does.
func ownerOf(ctx context.Context, adm *kadm.Client, p kadm.DescribedProducer) (string, error) {
	listed, err := adm.ListTransactions(ctx, []int64{p.ProducerID}, nil)
	if err != nil {
		return "", err
	}
	known, err := describeTransactions(ctx, adm, listed.TransactionalIDs())
	if err != nil {
		return "", err
	}
	for _, t := range known {
		if t.Producer == p.ProducerID && slices.Contains(t.Partitions, place{p.Topic, p.Partition}.dashed()) {
			return t.ID, nil
		}
	}
	return "", nil
}

func txnTerminateCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "terminate ID", Short: "Abort what a transactional id has open and fence its producer", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !a.yes || a.dryRun {
				a.hint("nothing was done; add --yes to abort what %s has open: its producer is fenced and has to begin anew", args[0])
				return nil
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
			defer cancel()
			if _, err := describeTransactions(ctx, kadm.NewClient(cl), args); err != nil {
				return err // an id that is not there would be made
			}
			return terminate(ctx, cl, args[0])
		},
	}
}

// terminate takes over a transactional id, as a producer that starts does: that
// ends what the one before has open. Until it is ended the coordinator asks to
// come again.
func terminate(ctx context.Context, cl *kgo.Client, id string) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, int32(time.Minute.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		if err = kerr.ErrorForCode(resp.ErrorCode); !isAny(err, kerr.ConcurrentTransactions) {
			if err != nil {
				return refusal("transactional id "+id, err, "")
			}
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("transactional id %s is still being ended: %w", id, ctx.Err())
		}
	}
}
