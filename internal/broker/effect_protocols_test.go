package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// setLevel brings a feature to a level, and waits until the broker knows.
func setLevel(s *stand, feature string, level int16) {
	s.Helper()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType = feature, level, 1
	if level == 0 {
		f.UpgradeType = 2
	}
	req.FeatureUpdates = append(req.FeatureUpdates, f)
	s.want("update "+feature, ask[*kmsg.UpdateFeaturesResponse](s, req).ErrorCode, int16(0))
	s.pass(time.Second)
}

// mixed has a classic member make a group, and one of the consumer protocol ask to
// join it: it returns what that is told.
func mixed(s *stand) int16 {
	s.Helper()
	s.create("t", "")
	sub := kmsg.NewConsumerMemberMetadata()
	sub.Topics = []string{"t"}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = "g", 30_000, 1000, "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", sub.AppendTo(nil)
	join.Protocols = append(join.Protocols, p)
	var joined *kmsg.JoinGroupResponse
	for joined == nil || joined.ErrorCode != 0 {
		var err error
		if joined, err = join.RequestWith(s.Context(), s.cl); err != nil {
			s.Fatal(err)
		}
		join.MemberID = joined.MemberID
	}
	assignment := kmsg.NewConsumerMemberAssignment()
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "g", joined.MemberID, joined.Generation
	sync.ProtocolType, sync.Protocol = joined.ProtocolType, joined.Protocol
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: assignment.AppendTo(nil)}}
	synced, err := sync.RequestWith(s.Context(), s.cl)
	s.wantErr("sync", err, nil)
	s.want("sync", synced.ErrorCode, int16(0))
	return beat(s, "m", 0).ErrorCode
}

// TestGroupProtocols shows how protocols of groups are turned off and on: by
// properties, and by the levels of features, while the broker runs.
func TestGroupProtocols(t *testing.T) {
	const off = 35 // UNSUPPORTED_VERSION
	showAll(t, []nodeEffect{
		{"group.coordinator.rebalance.protocols=classic,streams", func(s *stand) {
			m := streamsOn(s)
			s.want("consumer", beat(s, "m", 0).ErrorCode, int16(off))
			s.want("streams", m.beat().ErrorCode, int16(0))
		}},
		{"group.coordinator.rebalance.protocols=classic,consumer", func(s *stand) {
			s.create("t", "")
			m := &streamsMember{s: s, id: "m"}
			s.want("consumer", beat(s, "m", 0).ErrorCode, int16(0))
			s.want("streams", m.beat().ErrorCode, int16(off))
		}},
		{"group.consumer.migration.policy=Disabled group.initial.rebalance.delay.ms=0", func(s *stand) {
			s.want("join of a classic group", mixed(s), kerr.GroupIDNotFound.Code)
		}},
		{"group.consumer.migration.policy=UPGRADE group.initial.rebalance.delay.ms=0", func(s *stand) {
			s.want("join of a classic group", mixed(s), int16(0))
		}},
		{"", func(s *stand) {
			s.create("t", "")
			epoch := beat(s, "m", 0).MemberEpoch
			setLevel(s, "group.version", 0)
			s.want("turned off", beat(s, "m", epoch).ErrorCode, int16(off))
			describe := kmsg.NewPtrConsumerGroupDescribeRequest()
			describe.Groups = []string{"g"}
			s.want("described", ask[*kmsg.ConsumerGroupDescribeResponse](s, describe).Groups[0].ErrorCode, int16(off))
			setLevel(s, "group.version", 1)
			s.want("turned on", beat(s, "m", epoch).ErrorCode, int16(0))
		}},
		{"", func(s *stand) {
			m := streamsOn(s)
			m.beat()
			setLevel(s, "streams.version", 0)
			s.want("turned off", m.beat().ErrorCode, int16(off))
			s.want("described", describeStreams(s, false).ErrorCode, int16(off))
			setLevel(s, "streams.version", 1)
			s.want("turned on", m.beat().ErrorCode, int16(0))
		}},
		{"", func(s *stand) {
			s.create("t", "")
			epoch := shareBeat(s, "m", 0).MemberEpoch
			setLevel(s, "share.version", 0)
			s.want("turned off", shareBeat(s, "m", epoch).ErrorCode, int16(off))
			setLevel(s, "share.version", 1)
			s.want("turned on", shareBeat(s, "m", epoch).ErrorCode, int16(0))
		}},
	})
}
