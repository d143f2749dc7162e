package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// minder answers what only the leader of the quorum can, and what needs no record
// of the metadata: questions about the quorum and changes of its members. Its error
// says that this node does not lead; every other stands in the answer.
type minder func(context.Context, msg.Request) (msg.Response, error)

// minderOf is who minds requests of an API, nil where nobody does.
func (m door) minderOf(key int16) minder {
	switch key {
	case kafka.KeyDescribeQuorum:
		return minds(m.describe)
	case kafka.KeyAddRaftVoter:
		return minds(m.addVoter)
	case kafka.KeyRemoveRaftVoter:
		return minds(m.removeVoter)
	case kafka.KeyUpdateRaftVoter:
		return minds(m.updateVoter)
	}
	return nil
}

// minds makes a minder of a method.
func minds[Q, S any, PQ pointer[Q], PS pointer[S]](f func(context.Context, *Q) (*S, error)) minder {
	return func(ctx context.Context, req msg.Request) (msg.Response, error) {
		resp, err := f(ctx, (*Q)(req.(PQ)))
		if err != nil {
			return nil, err
		}
		return PS(resp), nil
	}
}

// Voters changes who votes in the quorum.
type Voters struct{ metadata *Metadata }

// Voters is the side of Metadata that changes who votes.
func (m *Metadata) Voters() Voters { return Voters{m} }

// Add answers AddRaftVoter (KIP-853): a node that receives the metadata log
// is to vote. It has to be close to the log's end, and gets the time of the request
// to come there.
//
//	cluster  INCONSISTENT_CLUSTER_ID
//	voter    INVALID_REQUEST, DUPLICATE_VOTER
//	change   REQUEST_TIMED_OUT: it is too far behind, or another change is under way
func (v Voters) Add(ctx context.Context, req *msg.AddRaftVoterRequest, version int16) *msg.AddRaftVoterResponse {
	resp, err := ask[msg.AddRaftVoterResponse](ctx, v.metadata, req, version)
	if err != nil {
		resp = new(msg.NewAddRaftVoterResponse())
		resp.ErrorCode, resp.ErrorMessage = told(err)
	}
	return resp
}

// Remove answers RemoveRaftVoter (KIP-853): a voter votes no more. One that
// is there still receives the log.
//
//	cluster  INCONSISTENT_CLUSTER_ID
//	voter    VOTER_NOT_FOUND, also for the last one
//	change   REQUEST_TIMED_OUT: another change is under way
func (v Voters) Remove(ctx context.Context, req *msg.RemoveRaftVoterRequest) *msg.RemoveRaftVoterResponse {
	resp, err := ask[msg.RemoveRaftVoterResponse](ctx, v.metadata, req, newest(req))
	if err != nil {
		resp = new(msg.NewRemoveRaftVoterResponse())
		resp.ErrorCode, resp.ErrorMessage = told(err)
	}
	return resp
}

// Update answers UpdateRaftVoter (KIP-853): where a voter is reached. Nodes
// of Myelin say it when they register, so this is only taken note of.
//
//	cluster  INCONSISTENT_CLUSTER_ID
//	voter    VOTER_NOT_FOUND, INVALID_REQUEST: without a listener
func (v Voters) Update(ctx context.Context, req *msg.UpdateRaftVoterRequest) *msg.UpdateRaftVoterResponse {
	resp, err := ask[msg.UpdateRaftVoterResponse](ctx, v.metadata, req, newest(req))
	if err != nil {
		resp = new(msg.NewUpdateRaftVoterResponse())
		resp.ErrorCode, _ = answer(err)
	}
	return resp
}

// told is answer with the text, also of what timed out: only here it says what to do.
func told(err error) (code int16, text *string) {
	if err == nil {
		return 0, nil
	}
	return int16(kafka.CodeOf(err)), new(err.Error())
}

// Looking whether a learner has caught up.
const (
	catchUpLook   = 50 * time.Millisecond
	catchUpWithin = 30 * time.Second // where the request says nothing
	catchUpClose  = 64               // entries: near enough to the end to vote
)

func (m door) addVoter(ctx context.Context, req *msg.AddRaftVoterRequest) (*msg.AddRaftVoterResponse, error) {
	within := time.Duration(req.TimeoutMs) * time.Millisecond
	if within <= 0 {
		within = catchUpWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	next := quorum.Member{Node: req.VoterID, Directory: req.VoterDirectoryID}
	err := m.sameQuorum(req.ClusterID)
	if err == nil && (next.Node < 0 || !next.Valid()) {
		err = fmt.Errorf("node %d with directory id %s cannot be a voter: %w", next.Node, next.Directory, kafka.InvalidRequest)
	}
	if err == nil && len(req.Listeners) == 0 {
		err = fmt.Errorf("no listener of node %d is named: %w", next.Node, kafka.InvalidRequest)
	}
	if err == nil {
		at := req.Listeners[0]
		err = m.promote(ctx, next, place{next.Node, at.Host, at.Port})
	}
	if errors.Is(err, quorum.ErrNotLeader) {
		return nil, err
	}
	resp := msg.NewAddRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = told(err)
	return &resp, nil
}

// promote makes a voter of a node that learns. A node that nobody has heard of must
// not count among those of whom a majority is needed: every node that runs has come
// as a learner by itself, so who is none is waited for.
func (m door) promote(ctx context.Context, next quorum.Member, at place) error {
	st := m.node.Status()
	if st.Leader != m.cfg.NodeID {
		return quorum.ErrNotLeader
	}
	if slices.ContainsFunc(st.Voters, func(p quorum.Progress) bool { return p.Node == next.Node }) {
		return fmt.Errorf("node %d: %w", next.Node, quorum.ErrDuplicate)
	}
	for {
		st := m.node.Status()
		i := slices.IndexFunc(st.Learners, func(p quorum.Progress) bool { return p.Member == next })
		switch {
		case st.Leader != m.cfg.NodeID:
			return quorum.ErrNotLeader
		case i >= 0 && keepsUp(st.Learners[i], st.Last):
			m.joined.set(at)
			return m.alter(ctx, m.node.AddVoter, next)
		}
		if rest(ctx, catchUpLook) != nil {
			return fmt.Errorf("node %d with directory id %s does not keep up with the metadata log: see that it runs, "+
				"formatted with --no-initial-controllers, and try again: %w", next.Node, next.Directory, kafka.RequestTimedOut)
		}
	}
}

// keepsUp says whether a learner answers and is close to the log's end. One that
// was only just taken in counts as active before it has said a word.
func keepsUp(p quorum.Progress, last uint64) bool {
	return p.Active && p.Heard > 0 && p.End > 1 && p.End+catchUpClose > int64(last)
}

func (m door) removeVoter(ctx context.Context, req *msg.RemoveRaftVoterRequest) (*msg.RemoveRaftVoterResponse, error) {
	gone := quorum.Member{Node: req.VoterID, Directory: req.VoterDirectoryID}
	st := m.node.Status()
	if st.Leader != m.cfg.NodeID {
		return nil, quorum.ErrNotLeader
	}
	err := m.sameQuorum(req.ClusterID)
	if err == nil {
		err = m.demote(ctx, st, gone)
	}
	if errors.Is(err, quorum.ErrNotLeader) {
		return nil, err
	}
	resp := msg.NewRemoveRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = told(err)
	return &resp, nil
}

// demote takes the vote from a voter. It stays as a learner, since its node needs
// the log, unless its node is a member under another directory already.
func (m door) demote(ctx context.Context, st quorum.Status, gone quorum.Member) error {
	if !slices.ContainsFunc(st.Voters, func(p quorum.Progress) bool { return p.Member == gone }) {
		return fmt.Errorf("node %d with directory id %s: %w", gone.Node, gone.Directory, quorum.ErrNoVoter)
	}
	again := func(p quorum.Progress) bool { return p.Node == gone.Node && p.Member != gone }
	if slices.ContainsFunc(st.Learners, again) || slices.ContainsFunc(st.Voters, again) {
		return m.alter(ctx, m.node.Remove, gone)
	}
	return m.alter(ctx, m.node.AddLearner, gone)
}

func (m door) updateVoter(_ context.Context, req *msg.UpdateRaftVoterRequest) (*msg.UpdateRaftVoterResponse, error) {
	st := m.node.Status()
	if st.Leader != m.cfg.NodeID {
		return nil, quorum.ErrNotLeader
	}
	voter := quorum.Member{Node: req.VoterID, Directory: req.VoterDirectoryID}
	err := m.sameQuorum(req.ClusterID)
	switch {
	case err != nil:
	case !slices.ContainsFunc(st.Voters, func(p quorum.Progress) bool { return p.Member == voter }):
		err = quorum.ErrNoVoter
	case len(req.Listeners) == 0:
		err = kafka.InvalidRequest
	default:
		m.joined.set(place{voter.Node, req.Listeners[0].Host, req.Listeners[0].Port})
	}
	resp := msg.NewUpdateRaftVoterResponse()
	if err != nil {
		resp.ErrorCode, _ = answer(err)
	}
	resp.CurrentLeader.LeaderID, resp.CurrentLeader.LeaderEpoch = st.Leader, int32(st.Term)
	if at, ok := meeting(m.cfg.Properties, m.cfg.Endpoints, true); ok {
		resp.CurrentLeader.Host, resp.CurrentLeader.Port = at.host, int32(at.port)
	}
	return &resp, nil
}

// sameQuorum refuses a request that names another cluster.
func (m door) sameQuorum(id *string) error {
	if id == nil || *id == m.cfg.ClusterID {
		return nil
	}
	return fmt.Errorf("this is cluster %s, not %s: %w", m.cfg.ClusterID, *id, kafka.InconsistentClusterID)
}

// alter waits for a change of the members, and tries again while another is under way.
func (m door) alter(ctx context.Context, change func(quorum.Member, func(error)), member quorum.Member) error {
	for {
		done := make(chan error, 1)
		change(member, func(err error) { done <- err })
		err := wait(ctx, done)
		if !errors.Is(err, quorum.ErrChanging) {
			return err
		}
		if rest(ctx, catchUpLook) != nil {
			return err
		}
	}
}

// confirm is an error unless a majority of the voters still takes this node for its
// leader, which an answer that changes nothing has to rest on.
func (m door) confirm(ctx context.Context) error {
	if asker(m).alone() {
		return nil
	}
	done := make(chan error, 1)
	m.node.Confirm(func(err error) { done <- err })
	return wait(ctx, done)
}

func wait(ctx context.Context, done chan error) error {
	//house:select an outcome that comes at the last moment may be told either way
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return timedOut(ctx.Err())
	}
}
