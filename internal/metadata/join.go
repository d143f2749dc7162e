package metadata

import (
	"context"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// joinFor is how long passing a request to join on may take.
const joinFor = 2 * time.Second

// join asks for the metadata log. What comes of it shows in the quorum: the leader
// sends a snapshot that knows this node.
func (m entrant) join(ctx context.Context) error {
	at, ok := meeting(m.cfg.Properties, m.cfg.Endpoints, true)
	if !ok {
		return fmt.Errorf("this node has no listener at which a controller could reach it: %w", kafka.ListenerNotFound)
	}
	if len(m.cfg.Bootstrap) == 0 {
		return fmt.Errorf("this node joins a quorum: set controller.quorum.bootstrap.servers to where it is: %w", kafka.NotController)
	}
	req := msg.NewJoinQuorumRequest()
	req.ClusterID, req.NodeID, req.Directory = m.cfg.ClusterID, m.cfg.NodeID, m.DirectoryID()
	req.Host, req.Port = at.host, at.port
	var err error
	for i := range m.cfg.Bootstrap {
		resp := msg.NewJoinQuorumResponse()
		if err = m.cfg.Peers.Ask(ctx, Bootstrap(i), &req, &resp, newest(&req)); err != nil {
			err = fmt.Errorf("%s: %w", m.cfg.Bootstrap[i], err)
			continue
		}
		if err = answered(resp.ErrorCode, resp.ErrorMessage); kafka.CodeOf(err) == kafka.NotController {
			continue
		}
		for _, n := range resp.Members {
			m.joined.set(place{n.NodeID, n.Host, n.Port})
		}
		return err
	}
	return err
}

// Join answers JoinQuorum: the leader adds a learner to the quorum. One that was
// there under the same node id with another directory goes; a voter stays, until
// somebody removes it.
func (m *Metadata) Join(ctx context.Context, req *msg.JoinQuorumRequest) *msg.JoinQuorumResponse {
	resp := msg.NewJoinQuorumResponse()
	leads := m.Image().ControllerID()
	err := sameCluster(m.cfg.ClusterID, req.ClusterID, req.NodeID)
	switch {
	case err != nil:
	case leads == m.cfg.NodeID:
		err = door{m}.admit(req)
	case leads == kafka.NoBroker || req.Passed || m.cfg.Peers == nil:
		err = quorum.ErrNotLeader
	default:
		next := *req
		next.Passed = true
		once, cancel := context.WithTimeout(ctx, joinFor)
		defer cancel()
		if err := m.cfg.Peers.Ask(once, leads, &next, &resp, newest(&next)); err == nil {
			return &resp
		}
		resp, err = msg.NewJoinQuorumResponse(), errFar
	}
	resp.LeaderID = leads
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), new(err.Error())
		return &resp
	}
	for _, b := range m.Image().Brokers() {
		if at, ok := meeting(m.cfg.Properties, b.Endpoints, true); ok {
			resp.Members = append(resp.Members, msg.JoinQuorumResponseMember{NodeID: b.ID, Host: at.host, Port: at.port})
		}
	}
	return &resp
}

// admit adds a learner.
func (m door) admit(req *msg.JoinQuorumRequest) error {
	st := m.node.Status()
	next := quorum.Member{Node: req.NodeID, Directory: req.Directory}
	if !next.Valid() {
		return &refused{kafka.InvalidRequest, fmt.Sprintf("directory id %s of node %d cannot name a member: format it anew", next.Directory, next.Node)}
	}
	if _, alive := m.sessions.alive(req.NodeID); alive || req.NodeID == m.cfg.NodeID {
		m.sessions.doubt(req.NodeID, false)
		return &refused{kafka.DuplicateBrokerRegistration, fmt.Sprintf("node %d is there and alive: give the new one a node.id of its own", req.NodeID)}
	}
	for _, v := range st.Voters {
		switch {
		case v.Member == next:
			return nil
		case v.Node == next.Node && v.Active:
			return &refused{kafka.DuplicateBrokerRegistration, fmt.Sprintf("node %d is a voter and alive: give the new one a node.id of its own", req.NodeID)}
		}
	}
	m.joined.set(place{req.NodeID, req.Host, req.Port})
	for _, l := range st.Learners {
		switch {
		case l.Member == next:
			return nil
		case l.Node == next.Node:
			m.node.Remove(l.Member, m.changed) // raft takes one change at a time: the next try adds
			return quorum.ErrNotLeader
		}
	}
	m.node.AddLearner(next, m.changed)
	return nil
}

// changed hears what became of a change of members. One that failed is tried again
// by the node that asked for it.
func (m door) changed(err error) {
	if err != nil {
		m.cfg.Logger.Info("change of the quorum's members did not come about", "err", err)
	}
}
