package group

import (
	"context"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/consumer"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Join answers JoinGroup (key 11). It waits for the other members.
func (s *Service) Join(ctx context.Context, c Client, req *msg.JoinGroupRequest) *msg.JoinGroupResponse {
	in := classic.Join{
		ClientID: c.ID, ClientHost: c.Host, MemberID: req.MemberID, InstanceID: req.GroupInstanceID,
		Session: millis(req.SessionTimeoutMs), Rebalance: millis(req.RebalanceTimeoutMs),
		ProtocolType: req.ProtocolType, UUID: s.ids.next(),
		NeedsID: c.Version >= 4 && req.GroupInstanceID == nil, CanSkip: c.Version >= 9,
	}
	if c.Version == 0 {
		in.Rebalance = in.Session
	}
	if req.GroupID == "" {
		return joinResponse(c, req, refused(req.MemberID, kafka.InvalidGroupID))
	}
	if bad := s.cfg.Limits.Session(in.Session); bad != kafka.None {
		return joinResponse(c, req, refused(req.MemberID, bad))
	}
	for _, p := range req.Protocols { // one that is named twice counts once
		if !slices.ContainsFunc(in.Protocols, func(o classic.Protocol) bool { return o.Name == p.Name }) {
			in.Protocols = append(in.Protocols, classic.Protocol{Name: p.Name, Metadata: p.Metadata})
		}
	}
	answer := make(chan classic.Joined, 1)
	id := req.MemberID // in the answer that only says why not
	err := s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		if h, ok := sh.hosting(t, req.GroupID); ok {
			who := consumer.Who{ClientID: c.ID, Host: c.Host, Version: c.Version, NewID: in.UUID}
			id = ""
			j, err := h.join(who, req)
			answer <- j
			return err
		}
		g, err := sh.joinable(t, req.GroupID, req.MemberID)
		if err != nil {
			return err
		}
		sh.drawn++
		in.Now, in.Ticket = t.Now, sh.drawn
		sh.joins[in.Ticket] = answer
		t.Soft()
		sh.follow(t, g, g.Join(in))
		return nil
	})
	if err != nil {
		return joinResponse(c, req, refused(id, code(err)))
	}
	//house:select an answer that comes as the connection ends is one that nobody hears of
	select {
	case j := <-answer:
		return joinResponse(c, req, j)
	case <-ctx.Done():
		return joinResponse(c, req, refused(req.MemberID, kafka.NotCoordinator))
	}
}

// joinable finds the classic group that somebody wants to join, or makes one for
// who has no member id yet. An empty consumer or streams group gives way, as in
// Kafka.
//
// Errors: UNKNOWN_MEMBER_ID, INCONSISTENT_GROUP_PROTOCOL.
func (sh *shard) joinable(t *coordinator.Turn, id, member string) (*classic.Group, error) {
	if g, ok := sh.groups.Get(id); ok {
		return g, nil
	}
	k, ok := sh.kinds.Get(id)
	switch {
	case ok && (!k.Empty() || k.Type() == kind.Share):
		return nil, kafka.InconsistentGroupProtocol
	case member != "":
		return nil, kafka.UnknownMemberID
	case ok:
		sh.end(t, k)
	}
	return sh.create(t, id), nil
}

func refused(member string, code kafka.Code) classic.Joined {
	return classic.Joined{Code: code, Generation: kafka.NoGeneration, MemberID: member}
}

func joinResponse(c Client, req *msg.JoinGroupRequest, j classic.Joined) *msg.JoinGroupResponse {
	resp := msg.NewJoinGroupResponse()
	resp.ErrorCode = int16(j.Code)
	resp.GenerationID = j.Generation
	resp.ProtocolType, resp.ProtocolName = j.ProtocolType, j.Protocol
	resp.Leader, resp.SkipAssignment, resp.MemberID = j.Leader, j.Skip, j.MemberID
	if resp.ProtocolName == nil && c.Version < 7 {
		resp.ProtocolName = new("")
	}
	for _, m := range j.Members {
		resp.Members = append(resp.Members, msg.JoinGroupResponseMember{
			MemberID: m.ID, GroupInstanceID: m.Instance, Metadata: m.Metadata,
		})
	}
	return &resp
}

// Sync answers SyncGroup (key 14). It waits for the leader's assignment.
func (s *Service) Sync(ctx context.Context, c Client, req *msg.SyncGroupRequest) *msg.SyncGroupResponse {
	if c.Version >= 5 && (req.ProtocolType == nil || req.ProtocolName == nil) {
		return syncResponse(classic.Synced{Code: kafka.InconsistentGroupProtocol})
	}
	if req.GroupID == "" {
		return syncResponse(classic.Synced{Code: kafka.InvalidGroupID})
	}
	in := classic.Sync{
		MemberID: req.MemberID, InstanceID: req.GroupInstanceID, Generation: req.GenerationID,
		ProtocolType: req.ProtocolType, Protocol: req.ProtocolName,
		Assignments: make(map[string][]byte, len(req.Assignments)),
	}
	for _, a := range req.Assignments {
		in.Assignments[a.MemberID] = a.Assignment
	}
	answer := make(chan classic.Synced, 1)
	err := s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		if h, ok := sh.hosting(t, req.GroupID); ok {
			a, err := h.sync(req)
			answer <- a
			return err
		}
		g, ok := sh.groups.Get(req.GroupID)
		if !ok {
			return kafka.UnknownMemberID
		}
		sh.drawn++
		in.Now, in.Ticket = t.Now, sh.drawn
		sh.syncs[in.Ticket] = answer
		t.Soft()
		sh.follow(t, g, g.Sync(in))
		return nil
	})
	if err != nil {
		return syncResponse(classic.Synced{Code: code(err)})
	}
	//house:select an answer that comes as the connection ends is one that nobody hears of
	select {
	case a := <-answer:
		return syncResponse(a)
	case <-ctx.Done():
		return syncResponse(classic.Synced{Code: kafka.NotCoordinator})
	}
}

func syncResponse(a classic.Synced) *msg.SyncGroupResponse {
	resp := msg.NewSyncGroupResponse()
	resp.ErrorCode = int16(a.Code)
	resp.ProtocolType, resp.ProtocolName, resp.Assignment = a.ProtocolType, a.Protocol, a.Assignment
	return &resp
}

// Heartbeat answers Heartbeat (key 12).
func (s *Service) Heartbeat(ctx context.Context, _ Client, req *msg.HeartbeatRequest) *msg.HeartbeatResponse {
	resp := msg.NewHeartbeatResponse()
	if req.GroupID == "" {
		resp.ErrorCode = int16(kafka.InvalidGroupID)
		return &resp
	}
	err := s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		if h, ok := sh.hosting(t, req.GroupID); ok {
			return h.heartbeat(req)
		}
		g, ok := sh.groups.Get(req.GroupID)
		if !ok {
			return kafka.UnknownMemberID
		}
		t.Soft()
		bad, step := g.Heartbeat(t.Now, classic.Identity{
			MemberID: req.MemberID, InstanceID: req.GroupInstanceID, Generation: req.GenerationID,
		})
		sh.follow(t, g, step)
		resp.ErrorCode = int16(bad)
		return nil
	})
	if err != nil {
		resp.ErrorCode = int16(code(err))
	}
	return &resp
}

// Leave answers LeaveGroup (key 13). Up to version 2 it is about one member,
// whose error is the whole answer's.
func (s *Service) Leave(ctx context.Context, c Client, req *msg.LeaveGroupRequest) *msg.LeaveGroupResponse {
	resp := msg.NewLeaveGroupResponse()
	if req.GroupID == "" {
		resp.ErrorCode = int16(kafka.InvalidGroupID)
		return &resp
	}
	members := req.Members
	if c.Version < 3 {
		members = []msg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	who := make([]classic.Identity, len(members))
	codes := make([]kafka.Code, len(members))
	for i, m := range members {
		who[i] = classic.Identity{MemberID: m.MemberID, InstanceID: m.GroupInstanceID}
		codes[i] = kafka.UnknownMemberID
	}
	err := s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		if h, ok := sh.hosting(t, req.GroupID); ok {
			codes = h.leave(who)
			return nil
		}
		t.Soft()
		g, ok := sh.groups.Get(req.GroupID)
		if !ok {
			return nil
		}
		got, step := g.Leave(t.Now, who)
		codes = got
		sh.follow(t, g, step)
		return nil
	})
	switch {
	case err != nil:
		resp.ErrorCode = int16(code(err))
		return &resp
	case c.Version < 3:
		resp.ErrorCode = int16(codes[0])
		return &resp
	}
	for i, m := range members {
		resp.Members = append(resp.Members, msg.LeaveGroupResponseMember{
			MemberID: m.MemberID, GroupInstanceID: m.GroupInstanceID, ErrorCode: int16(codes[i]),
		})
	}
	return &resp
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
