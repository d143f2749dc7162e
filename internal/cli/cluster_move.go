package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/controller/plan"
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

// survey is newMover with what the cluster is like now. Who gets one closes its
// client.
func survey(a *app, ctx context.Context) (*mover, *clusterFacts, error) {
	m, err := newMover(a, ctx)
	if err != nil {
		return nil, nil, err
	}
	f, err := gather(a, ctx, m.cl)
	if err != nil {
		m.cl.Close()
		return nil, nil, err
	}
	return m, f, nil
}

// under lists what is being reassigned, with what was copied of it.
func (m *mover) under(ctx context.Context) ([]progress, error) {
	got, err := askMoves(ctx, m.cl)
	if err != nil {
		return nil, err
	}
	f := &clusterFacts{sizes: map[nodePlace]int64{}}
	if err := f.askCluster(ctx, m.cl); err != nil {
		return nil, err
	}
	f.askDirectories(ctx, m.adm)
	rows := []progress{}
	for _, row := range got {
		at, whole := place{row.Topic, row.Partition}, int64(0)
		for _, id := range row.Replicas {
			if !slices.Contains(row.Adding, id) {
				whole = max(whole, f.sizes[nodePlace{id, at}])
			}
		}
		for _, id := range row.Adding {
			row.Copied += min(f.sizes[nodePlace{id, at}], whole)
			row.Bytes += whole
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// askMoves asks what is being reassigned, without how far it is, by topic and
// partition. kadm does not ask for all.
func askMoves(ctx context.Context, cl *kgo.Client) ([]progress, error) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = codeError(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("what is being moved: %w", err)
	}
	var rows []progress
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			rows = append(rows, progress{Topic: t.Topic, Partition: p.Partition, Replicas: p.Replicas, Adding: p.AddingReplicas, Removing: p.RemovingReplicas})
		}
	}
	slices.SortFunc(rows, func(x, y progress) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
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
