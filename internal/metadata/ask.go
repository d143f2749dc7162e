package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// asked is a request as a decider sees it.
type asked struct {
	node    int32 // whom the client, or the broker itself, asked
	version int16 // in which it was asked
}

// decider decides on a request of one API; it is pure. See [Metadata.decide].
type decider func(*controller.State, msg.Request, asked) (controller.Records, msg.Response)

// pointer is what decides needs of a message's pointer type.
type pointer[T any] interface {
	*T
	msg.Message
}

// decides makes a decider of a function of package controller.
func decides[Q, S any, PQ pointer[Q], PS pointer[S]](f func(*controller.State, *Q) (controller.Records, *S)) decider {
	return func(s *controller.State, req msg.Request, _ asked) (controller.Records, msg.Response) {
		recs, resp := f(s, (*Q)(req.(PQ)))
		return recs, PS(resp)
	}
}

// decidesAs is decides for a function that asks for the version.
func decidesAs[Q, S any, PQ pointer[Q], PS pointer[S]](f func(*controller.State, *Q, int16) (controller.Records, *S)) decider {
	return func(s *controller.State, req msg.Request, a asked) (controller.Records, msg.Response) {
		recs, resp := f(s, (*Q)(req.(PQ)), a.version)
		return recs, PS(resp)
	}
}

// decidesFor is decides for a function that asks for the node.
func decidesFor[Q, S any, PQ pointer[Q], PS pointer[S]](f func(*controller.State, *Q, int32) (controller.Records, *S)) decider {
	return func(s *controller.State, req msg.Request, a asked) (controller.Records, msg.Response) {
		recs, resp := f(s, (*Q)(req.(PQ)), a.node)
		return recs, PS(resp)
	}
}

// deciderOf is who decides on requests of an API, nil where nobody does. A row
// here and a method in requests.go is all that another API needs: it then works
// on every node.
func (m asker) deciderOf(key int16) decider {
	switch key {
	case kafka.KeyCreateTopics:
		return decides(controller.CreateTopics)
	case kafka.KeyDeleteTopics:
		return decidesAs(controller.DeleteTopics)
	case kafka.KeyCreatePartitions:
		return decides(controller.CreatePartitions)
	case kafka.KeyUpdateFeatures:
		return decidesAs(controller.UpdateFeatures)
	case kafka.KeyAlterConfigs:
		return decidesFor(controller.AlterConfigs)
	case kafka.KeyIncrementalAlterConfigs:
		return decidesFor(controller.IncrementalAlterConfigs)
	case kafka.KeyAlterUserScramCredentials:
		return decides(controller.AlterUserScramCredentials)
	case kafka.KeyElectLeaders:
		return decides(controller.ElectLeaders)
	case kafka.KeyAlterPartition:
		return decides(controller.AlterPartition)
	case kafka.KeyAlterPartitionReassignments:
		return decides(controller.AlterPartitionReassignments)
	case kafka.KeyListPartitionReassignments:
		return decides(listReassignments)
	case kafka.KeyUnregisterBroker:
		return decides(controller.UnregisterBroker)
	case kafka.KeyAllocateProducerIDs:
		return decides(controller.AllocateProducerIDs)
	case kafka.KeyAssignReplicasToDirs:
		return decides(controller.AssignReplicasToDirs)
	case kafka.KeyAutoCreateTopics:
		return decides(autoCreate)
	case kafka.KeyBrokerRegistration:
		return decides(leader(m).register)
	case kafka.KeyBrokerHeartbeat:
		return decides(leader(m).beat)
	}
	return nil
}

// listReassignments is [controller.ListPartitionReassignments] where it is decided,
// so that what was begun through one node is seen through every other.
func listReassignments(s *controller.State, req *msg.ListPartitionReassignmentsRequest) (controller.Records, *msg.ListPartitionReassignmentsResponse) {
	return nil, controller.ListPartitionReassignments(s.Image, req)
}

// autoCreate is [controller.AutoCreate] with a request and a response.
func autoCreate(s *controller.State, req *msg.AutoCreateTopicsRequest) (controller.Records, *msg.AutoCreateTopicsResponse) {
	recs, errs := controller.AutoCreate(s, req.Names)
	resp := msg.NewAutoCreateTopicsResponse()
	for i, name := range req.Names {
		row := msg.AutoCreateTopicsResponseTopic{Name: name}
		if errs[i] != nil {
			row.ErrorCode, row.ErrorMessage = int16(kafka.CodeOf(errs[i])), new(errs[i].Error())
		}
		resp.Topics = append(resp.Topics, row)
	}
	return recs, &resp
}

// refused is an error that another node, or an answer, told as a code and a text.
type refused struct {
	code kafka.Code
	text string
}

func (r *refused) Error() string { return r.text }
func (r *refused) Unwrap() error { return r.code }

// answered makes an error of what an answer carries; nil for none.
func answered(code int16, text *string) error {
	switch {
	case code == 0:
		return nil
	case text == nil:
		return kafka.Code(code)
	}
	return &refused{kafka.Code(code), *text}
}

// newest is the newest version of a request.
func newest(req msg.Request) int16 {
	_, last := req.Versions()
	return last
}

// How long a request is tried that brings no limit of its own, and the pauses
// between two tries.
const (
	askFor         = 30 * time.Second
	askAgain       = 20 * time.Millisecond
	askAgainAtMost = 200 * time.Millisecond
)

// ask has a request decided, here if this node leads the quorum, else by who
// does. It tries again while nobody leads, or the leader is not reached, for as
// long as ctx lasts. What another node decided has acted here too on return,
// unless that takes longer than ctx lasts.
func ask[S any, PS pointer[S]](ctx context.Context, m *Metadata, req msg.Request, version int16) (PS, error) {
	resp, err := asker{m}.ask(ctx, req, version)
	if err != nil {
		return nil, err
	}
	return resp.(PS), nil
}

func (m asker) ask(ctx context.Context, req msg.Request, version int16) (msg.Response, error) {
	resp, err := m.here(ctx, req, asked{m.cfg.NodeID, version})
	if !errors.Is(err, quorum.ErrNotLeader) || m.alone() {
		return resp, err
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askFor)
		defer cancel()
	}
	pause := askAgain
	for try := 0; ; try++ {
		switch to := m.decidesNow(try); to {
		case m.cfg.NodeID:
			resp, err = m.here(ctx, req, asked{m.cfg.NodeID, version})
		case kafka.NoBroker:
			err = quorum.ErrNotLeader
		default:
			resp, err = m.there(ctx, to, req, version)
		}
		if !again(err) {
			return resp, err
		}
		if rest(ctx, pause) != nil {
			return nil, err
		}
		pause = min(2*pause, askAgainAtMost)
	}
}

// errFar says that another node gave no answer.
var errFar = fmt.Errorf("the node that leads the metadata quorum is not reached: %w", kafka.NotController)

// again says whether a request that ended so is asked once more.
func again(err error) bool {
	return errors.Is(err, errFar) || errors.Is(err, quorum.ErrNotLeader) || errors.Is(err, kafka.NotController) && !errors.Is(err, quorum.ErrStopped)
}

// alone says that nobody but this node can decide.
func (m asker) alone() bool {
	if m.cfg.Peers == nil {
		return true
	}
	st := m.node.Status()
	return len(st.Voters) == 1 && st.Voters[0].Member == st.Self
}

// decidesNow is whom to ask: who leads, or while that is not known, one of the
// addresses at which the quorum may be found.
func (m asker) decidesNow(try int) int32 {
	id := m.Image().ControllerID()
	if id == kafka.NoBroker && !(entrant(m)).member() && len(m.cfg.Bootstrap) > 0 {
		return Bootstrap(try % len(m.cfg.Bootstrap))
	}
	return id
}

// rest waits a moment; the error is that of a ctx that ended.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	//house:select a caller that gives up when it could go on gives up
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// here has a request decided by this node.
func (m asker) here(ctx context.Context, req msg.Request, a asked) (msg.Response, error) {
	if mind := door(m).minderOf(req.Key()); mind != nil {
		return mind(ctx, req)
	}
	decide := m.deciderOf(req.Key())
	if decide == nil {
		return nil, fmt.Errorf("nobody decides on %s: %w", kafka.KeyName(req.Key()), kafka.UnsupportedVersion)
	}
	var resp msg.Response
	changes := true
	err := leader(m).decide(ctx, func(s *controller.State) (recs controller.Records) {
		recs, resp = decide(s, req, a)
		changes = len(recs) > 0
		return recs
	})
	if err == nil && !changes && req.Key() != kafka.KeyBrokerHeartbeat { // of those there are many
		err = door(m).confirm(ctx)
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// there has a request decided by another node.
func (m asker) there(ctx context.Context, to int32, req msg.Request, version int16) (msg.Response, error) {
	q, a := msg.NewControllerAskRequest(), msg.NewControllerAskResponse()
	q.ClusterID, q.NodeID, q.APIKey, q.APIVersion = m.cfg.ClusterID, m.cfg.NodeID, req.Key(), version
	q.Body = req.Append(nil, version)
	if err := m.cfg.Peers.Ask(ctx, to, &q, &a, newest(&q)); err != nil {
		return nil, fmt.Errorf("%w: %w", errFar, err)
	}
	if err := answered(a.ErrorCode, a.ErrorMessage); err != nil {
		return nil, err
	}
	resp, ok := msg.NewResponse(req.Key())
	if !ok {
		return nil, kafka.UnsupportedVersion
	}
	var r wire.Reader
	r.Reset(a.Body)
	resp.Decode(&r, version)
	if r.Failed() {
		return nil, fmt.Errorf("%w: %w", kafka.UnknownServerError, r.Err())
	}
	m.applied.await(ctx, a.Index)
	return resp, nil
}

// Asked answers ControllerAsk: it decides on the request of another node, if this
// one leads. Who does not lead does not ask further.
func (m *Metadata) Asked(ctx context.Context, q *msg.ControllerAskRequest) *msg.ControllerAskResponse {
	a := msg.NewControllerAskResponse()
	resp, err := asker{m}.askedFor(ctx, q)
	a.LeaderID = m.Image().ControllerID()
	if err != nil {
		a.ErrorCode, a.ErrorMessage = int16(kafka.CodeOf(err)), new(err.Error())
		return &a
	}
	a.Index, a.Body = m.Image().Index(), resp.Append(nil, q.APIVersion)
	return &a
}

func (m asker) askedFor(ctx context.Context, q *msg.ControllerAskRequest) (msg.Response, error) {
	if err := sameCluster(m.cfg.ClusterID, q.ClusterID, q.NodeID); err != nil {
		return nil, err
	}
	req, ok := msg.NewRequest(q.APIKey)
	if !ok || m.deciderOf(q.APIKey) == nil && door(m).minderOf(q.APIKey) == nil {
		return nil, fmt.Errorf("nobody decides on key %d: %w", q.APIKey, kafka.UnsupportedVersion)
	}
	if first, last := req.Versions(); q.APIVersion < first || q.APIVersion > last {
		return nil, fmt.Errorf("%s in version %d: %w", kafka.KeyName(q.APIKey), q.APIVersion, kafka.UnsupportedVersion)
	}
	var r wire.Reader
	r.Reset(q.Body)
	req.Decode(&r, q.APIVersion)
	if r.Failed() {
		return nil, fmt.Errorf("%w: %w", kafka.InvalidRequest, r.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	return m.here(ctx, req, asked{q.NodeID, q.APIVersion})
}

// sameCluster refuses a node of another cluster.
func sameCluster(own, id string, node int32) error {
	if id == own {
		return nil
	}
	return &refused{kafka.InconsistentClusterID, fmt.Sprintf("node %d belongs to cluster %s, this is cluster %s", node, id, own)}
}
