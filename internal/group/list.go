package group

import (
	"context"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Describe answers DescribeGroups (key 15).
func (s *Service) Describe(_ context.Context, c Client, req *msg.DescribeGroupsRequest) *msg.DescribeGroupsResponse {
	resp := msg.NewDescribeGroupsResponse()
	for _, id := range req.Groups {
		resp.Groups = append(resp.Groups, s.describe(c, id))
	}
	return &resp
}

func (s *Service) describe(c Client, id string) msg.DescribeGroupsResponseGroup {
	r := msg.NewDescribeGroupsResponseGroup()
	r.GroupID = id
	err := s.rt.ReadFor(id, func(sh *shard) error {
		g, ok := sh.groups.Committed(id)
		if _, other := sh.kinds.Committed(id); other {
			return notOfKind(id, kind.Classic)
		}
		if !ok {
			return notFound(id)
		}
		d := g.Describe()
		r.GroupState, r.ProtocolType, r.ProtocolData = d.State.String(), d.ProtocolType, d.Protocol
		for _, m := range d.Members {
			r.Members = append(r.Members, msg.DescribeGroupsResponseGroupMember{
				MemberID: m.ID, GroupInstanceID: m.Instance, ClientID: m.ClientID, ClientHost: m.ClientHost,
				MemberMetadata: m.Subscription, MemberAssignment: m.Assignment,
			})
		}
		return nil
	})
	switch bad := code(err); {
	case bad == kafka.GroupIDNotFound:
		r.GroupState = classic.Dead.String()
		if c.Version >= 6 {
			r.ErrorCode = int16(bad)
			r.ErrorMessage = new(err.Error())
		}
	case bad != kafka.None:
		r.ErrorCode = int16(bad)
	}
	return r
}

// List answers ListGroups (key 16) with the groups that this broker coordinates,
// by partition and id, filtered by state and type. A partition that is loading
// makes the whole answer an error, or groups would seem to be gone.
func (s *Service) List(_ context.Context, _ Client, req *msg.ListGroupsRequest) *msg.ListGroupsResponse {
	resp := msg.NewListGroupsResponse()
	for _, p := range s.rt.Owned() {
		err := s.rt.Read(p, func(sh *shard) error {
			for _, id := range sh.committedIDs() {
				g, _ := sh.findCommitted(id)
				state, typ := g.state(), string(g.typ())
				if wanted(req.StatesFilter, state) && wanted(req.TypesFilter, typ) {
					resp.Groups = append(resp.Groups, msg.ListGroupsResponseGroup{
						GroupID: id, ProtocolType: g.protocolType(), GroupState: state, GroupType: typ,
					})
				}
			}
			return nil
		})
		if bad := code(err); bad != kafka.None && bad != kafka.NotCoordinator {
			resp.ErrorCode, resp.Groups = int16(bad), nil
			return &resp
		}
	}
	return &resp
}

// wanted says whether a filter lets a value through; an empty one lets all.
// Case does not matter.
func wanted(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}
