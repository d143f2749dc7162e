package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// beat is a heartbeat of a member of the consumer group "g"; epoch 0 joins, for
// topic "t" unless change says otherwise.
func beat(s *stand, member string, epoch int32, change ...func(*kmsg.ConsumerGroupHeartbeatRequest)) *kmsg.ConsumerGroupHeartbeatResponse {
	s.Helper()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = "g", member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{"t"}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	for _, c := range change {
		c(req)
	}
	for {
		resp, err := req.RequestWith(s.Context(), s.cl)
		if err != nil {
			s.Fatal(err)
		}
		if e := kerr.ErrorForCode(resp.ErrorCode); e == nil || !kerr.IsRetriable(e) {
			return resp
		}
		s.pass(100 * time.Millisecond)
	}
}

// setGroup sets a property of the group "g".
func setGroup(s *stand, key, value string) error {
	s.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = key, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	return kerr.ErrorForCode(ask[*kmsg.IncrementalAlterConfigsResponse](s, req).Resources[0].ErrorCode)
}

// lasts says whether a silent member is in the group after one time, and out
// after a longer one.
func lasts(s *stand, in, out time.Duration) {
	s.Helper()
	s.create("t", "")
	epoch := beat(s, "m", 0).MemberEpoch
	s.pass(in)
	s.want("in", beat(s, "m", epoch).ErrorCode, int16(0))
	s.pass(out)
	s.want("out", beat(s, "m", epoch).ErrorCode, kerr.UnknownMemberID.Code)
}

// pauses says whether a second assignment comes after a pause, not sooner.
func pauses(s *stand, pause time.Duration) {
	s.Helper()
	s.create("t", "")
	s.pass(10 * time.Second)
	first := beat(s, "m1", 0).MemberEpoch
	s.want("at once", beat(s, "m2", 0).MemberEpoch, first)
	s.pass(pause - 100*time.Millisecond)
	s.want("soon", beat(s, "m2", first).MemberEpoch, first)
	s.pass(200 * time.Millisecond)
	s.want("later", beat(s, "m2", first).MemberEpoch, first+1)
}

// TestConsumerGroupProperties shows the effect of properties of consumer groups.
func TestConsumerGroupProperties(t *testing.T) {
	showAll(t, []nodeEffect{
		{"group.consumer.heartbeat.interval.ms=7000", func(s *stand) {
			s.create("t", "")
			s.want("interval", beat(s, "m", 0).HeartbeatIntervalMillis, int32(7000))
			s.wantErr("set", setGroup(s, "consumer.heartbeat.interval.ms", "9000"), nil)
			s.want("interval of the group", beat(s, "m", 0).HeartbeatIntervalMillis, int32(9000))
		}},
		{"group.consumer.session.timeout.ms=50000", func(s *stand) { lasts(s, 49*time.Second, 51*time.Second) }},
		{"group.consumer.max.session.timeout.ms=200000", func(s *stand) {
			s.wantErr("set", setGroup(s, "consumer.session.timeout.ms", "100000"), nil)
			lasts(s, 99*time.Second, 101*time.Second)
		}},
		{"group.consumer.assignment.interval.ms=3000", func(s *stand) { pauses(s, 3*time.Second) }},
		{"group.consumer.max.assignment.interval.ms=30000", func(s *stand) {
			s.wantErr("set", setGroup(s, "consumer.assignment.interval.ms", "20000"), nil)
			pauses(s, 20*time.Second)
		}},
		{"group.consumer.max.size=1", func(s *stand) {
			s.create("t", "")
			s.want("first", beat(s, "m1", 0).ErrorCode, int16(0))
			s.want("second", beat(s, "m2", 0).ErrorCode, kerr.GroupMaxSizeReached.Code)
		}},
		{"group.consumer.assignors=range", func(s *stand) {
			s.create("t", "")
			uniform := "uniform"
			s.want("uniform", beat(s, "m", 0, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &uniform }).ErrorCode,
				kerr.UnsupportedAssignor.Code)
			s.want("default", beat(s, "m", 0).ErrorCode, int16(0))
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			req.Groups = []string{"g"}
			s.want("assignor", ask[*kmsg.ConsumerGroupDescribeResponse](s, req).Groups[0].AssignorName, "range")
		}},
		{"group.consumer.regex.refresh.interval.ms=20000", func(s *stand) {
			pattern := "t.*"
			s.create("t", "")
			epoch := beat(s, "m", 0, func(r *kmsg.ConsumerGroupHeartbeatRequest) {
				r.SubscribedTopicNames, r.SubscribedTopicRegex = nil, &pattern
			}).MemberEpoch
			s.pass(time.Second)
			epoch = beat(s, "m", epoch).MemberEpoch
			written := func() int64 {
				ends, err := s.adm.ListEndOffsets(s.Context(), "__consumer_offsets")
				s.wantErr("list", err, nil)
				var n int64
				ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
				return n
			}
			before := written()
			s.pass(15 * time.Second)
			beat(s, "m", epoch)
			s.pass(time.Second)
			s.want("records soon", written(), before)
			s.pass(6 * time.Second)
			beat(s, "m", epoch)
			s.pass(time.Second)
			s.want("records later", written(), before+1)
		}},
		bound("group.consumer.min.session.timeout.ms=44000", "consumer.session.timeout.ms", 44_000, 43_999),
		bound("group.consumer.max.session.timeout.ms=50000", "consumer.session.timeout.ms", 50_000, 50_001),
		bound("group.consumer.min.heartbeat.interval.ms=4000", "consumer.heartbeat.interval.ms", 4_000, 3_999),
		bound("group.consumer.max.heartbeat.interval.ms=6000", "consumer.heartbeat.interval.ms", 6_000, 6_001),
		bound("group.consumer.min.assignment.interval.ms=500", "consumer.assignment.interval.ms", 500, 499),
		bound("group.consumer.max.assignment.interval.ms=2000", "consumer.assignment.interval.ms", 2_000, 2_001),
	})
}

// bound shows that a group's property may have one value and not the other.
func bound(node, key string, ok, bad int) nodeEffect {
	return nodeEffect{node, func(s *stand) {
		s.wantErr("allowed", setGroup(s, key, fmt.Sprint(ok)), nil)
		s.wantErr("refused", setGroup(s, key, fmt.Sprint(bad)), kerr.InvalidConfig)
	}}
}
