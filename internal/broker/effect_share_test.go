package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestShareProperties shows what the properties of share groups and of the share
// coordinator do.
func TestShareProperties(t *testing.T) {
	const one = " share.coordinator.state.topic.num.partitions=1"
	showAll(t, []nodeEffect{
		{"group.share.max.size=1", func(s *stand) {
			s.want("first", shareBeat(s, "a", 0).ErrorCode, int16(0))
			s.want("second", shareBeat(s, "b", 0).ErrorCode, kerr.GroupMaxSizeReached.Code)
		}},
		{"group.share.heartbeat.interval.ms=7000", func(s *stand) {
			s.want("interval", shareBeat(s, "a", 0).HeartbeatIntervalMillis, int32(7000))
		}},
		{"group.share.session.timeout.ms=50000", func(s *stand) {
			epoch := shareBeat(s, "a", 0).MemberEpoch
			s.pass(49 * time.Second)
			s.want("in time", shareBeat(s, "a", epoch).ErrorCode, int16(0))
			s.pass(51 * time.Second)
			s.want("too late", shareBeat(s, "a", epoch).ErrorCode, kerr.UnknownMemberID.Code)
		}},
		{"group.share.assignment.interval.ms=9000", func(s *stand) {
			s.create("t", "")
			epoch := shareBeat(s, "a", 0).MemberEpoch
			s.pass(8 * time.Second)
			s.want("too early", shareBeat(s, "a", epoch).MemberEpoch, epoch)
			s.pass(time.Second)
			s.want("in time", shareBeat(s, "a", epoch).MemberEpoch, epoch+1)
		}},
		{"share.coordinator.state.topic.num.partitions=3 share.coordinator.state.topic.segment.bytes=2000000 " +
			"share.coordinator.state.topic.min.isr=1", func(s *stand) {
			s.create("t", "")
			shareAlter(s, "g", 0)
			details, err := s.adm.ListTopicsWithInternal(s.Context(), "__share_group_state")
			s.wantErr("list", err, nil)
			s.want("partitions", len(details["__share_group_state"].Partitions), 3)
			configs, err := s.adm.DescribeTopicConfigs(s.Context(), "__share_group_state")
			s.wantErr("configs", err, nil)
			want := map[string]string{"segment.bytes": "2000000", "min.insync.replicas": "1", "cleanup.policy": "delete", "retention.ms": "-1"}
			for _, c := range configs[0].Configs {
				if v, ok := want[c.Key]; ok {
					s.want(c.Key, c.MaybeValue(), v)
				}
			}
		}},
		{"share.coordinator.state.topic.replication.factor=2", func(s *stand) {
			s.create("t", "")
			epoch := shareBeat(s, "a", 0).MemberEpoch
			s.pass(20 * time.Second)
			s.want("epoch", shareBeat(s, "a", epoch).MemberEpoch, epoch) // nothing could be initialized
		}},
		{"share.coordinator.state.topic.prune.interval.ms=1000" + one, func(s *stand) {
			s.create("t", "")
			shareAlter(s, "g", 0)
			shareAlter(s, "g", 1)
			s.pass(2 * time.Second)
			s.want("start", s.start("__share_group_state"), int64(1))
		}},
		{"share.coordinator.cold.partition.snapshot.interval.ms=5000 share.coordinator.state.topic.prune.interval.ms=1000" + one, func(s *stand) {
			s.create("t", "")
			shareAlter(s, "g", 0)
			shareAlter(s, "h", 1)
			s.pass(20 * time.Second)
			s.want("start", s.start("__share_group_state"), int64(2))
		}},
		{"share.coordinator.snapshot.update.records.per.snapshot=1 share.coordinator.state.topic.prune.interval.ms=1000" + one, func(s *stand) {
			s.create("t", "")
			shareAlter(s, "g", 0)
			shareWrite(s, "g", 1)
			shareWrite(s, "g", 2)
			s.pass(2 * time.Second)
			s.want("start", s.start("__share_group_state"), int64(2))
		}},
		bound("group.share.min.session.timeout.ms=44000", "share.session.timeout.ms", 44_000, 43_999),
		bound("group.share.max.session.timeout.ms=50000", "share.session.timeout.ms", 50_000, 50_001),
		bound("group.share.min.heartbeat.interval.ms=4000", "share.heartbeat.interval.ms", 4_000, 3_999),
		bound("group.share.max.heartbeat.interval.ms=6000", "share.heartbeat.interval.ms", 6_000, 6_001),
		bound("group.share.max.heartbeat.interval.ms=60000", "share.heartbeat.interval.ms", 44_999, 45_000), // not above the session's
		bound("group.share.min.assignment.interval.ms=500", "share.assignment.interval.ms", 500, 499),
		bound("group.share.max.assignment.interval.ms=2000", "share.assignment.interval.ms", 2_000, 2_001),
		{"share.coordinator.write.timeout.ms=2000" + one, func(s *stand) { s.want("too late", slowWrite(s), kerr.CoordinatorNotAvailable.Code) }},
		{"share.coordinator.write.timeout.ms=4000" + one, func(s *stand) { s.want("in time", slowWrite(s), int16(0)) }},
	})
}

// slowWrite is a write of the share coordinator that takes the disk 3 s.
func slowWrite(s *stand) int16 {
	s.Helper()
	s.create("t", "")
	shareAlter(s, "g", 0)
	s.pass(10 * time.Second) // until nothing else is being written
	s.fs.SetHook(func(op vfs.Op) vfs.Verdict {
		if op.Kind == vfs.OpSync && strings.Contains(op.Name, "__share_group_state") {
			return vfs.Verdict{Delay: 3 * time.Second}
		}
		return vfs.Verdict{}
	})
	defer s.fs.SetHook(nil)
	return shareWriteCode(s, "g", 1)
}

// shareBeat is a heartbeat of a member of group g, which reads topic t.
func shareBeat(s *stand, member string, epoch int32) *kmsg.ShareGroupHeartbeatResponse {
	s.Helper()
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", member, epoch
	if epoch == 0 {
		req.SubscribedTopicNames = []string{"t"}
	}
	return patiently(s, "g", func() (*kmsg.ShareGroupHeartbeatResponse, int16) {
		resp := ask[*kmsg.ShareGroupHeartbeatResponse](s, req)
		return resp, resp.ErrorCode
	})
}

// patiently asks until the group's coordinator is there.
func patiently[R any](s *stand, group string, ask func() (R, int16)) R {
	s.Helper()
	s.adm.FindGroupCoordinators(s.Context(), group) // makes __consumer_offsets
	for {
		resp, code := ask()
		if code != kerr.NotCoordinator.Code && code != kerr.CoordinatorLoadInProgress.Code {
			return resp
		}
		s.pass(time.Millisecond)
	}
}

// shareAlter lets a group begin elsewhere on topic t.
func shareAlter(s *stand, group string, start int64) {
	s.Helper()
	req := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	req.GroupID = group
	p := kmsg.NewAlterShareGroupOffsetsRequestTopicPartition()
	p.StartOffset = start
	topic := kmsg.NewAlterShareGroupOffsetsRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.AlterShareGroupOffsetsRequestTopicPartition{p}
	req.Topics = append(req.Topics, topic)
	resp := patiently(s, group, func() (*kmsg.AlterShareGroupOffsetsResponse, int16) {
		resp := ask[*kmsg.AlterShareGroupOffsetsResponse](s, req)
		return resp, resp.ErrorCode
	})
	s.want("alter", resp.ErrorCode, int16(0))
	s.want("alter the partition", resp.Topics[0].Partitions[0].ErrorCode, int16(0))
}

// shareWrite tells the share coordinator that the start of topic t has moved.
func shareWrite(s *stand, group string, start int64) {
	s.Helper()
	s.want("write", shareWriteCode(s, group, start), int16(0))
}

func shareWriteCode(s *stand, group string, start int64) int16 {
	s.Helper()
	details, err := s.adm.ListTopics(s.Context(), "t")
	s.wantErr("list", err, nil)
	req := kmsg.NewPtrWriteShareGroupStateRequest()
	req.GroupID = group
	p := kmsg.NewWriteShareGroupStateRequestTopicPartition()
	p.StateEpoch, p.LeaderEpoch, p.StartOffset = 1, 0, start
	topic := kmsg.NewWriteShareGroupStateRequestTopic()
	topic.TopicID, topic.Partitions = details["t"].ID, []kmsg.WriteShareGroupStateRequestTopicPartition{p}
	req.Topics = append(req.Topics, topic)
	resp := ask[*kmsg.WriteShareGroupStateResponse](s, req)
	return resp.Topics[0].Partitions[0].ErrorCode
}
