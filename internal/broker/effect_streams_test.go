package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// streamsMember is a member of a streams group that counts words of topic "t".
type streamsMember struct {
	s     *stand
	id    string
	epoch int32
	tags  []kmsg.StreamsGroupHeartbeatRequestClientTag
}

func (m *streamsMember) beat() *kmsg.StreamsGroupHeartbeatResponse {
	m.s.Helper()
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = "app", m.id, m.epoch
	if m.epoch == 0 {
		req.RebalanceTimeoutMillis, req.ProcessID, req.ClientTags = 60000, kmsg.StringPtr("process of "+m.id), m.tags
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = []kmsg.TaskIDs{}, []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
		sub := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
		sub.SubtopologyID, sub.SourceTopics = "0", []string{"t"}
		log := kmsg.NewTopicInfo()
		log.Topic = "app-words-changelog"
		sub.StateChangelogTopics = append(sub.StateChangelogTopics, log)
		req.Topology = &kmsg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{sub}}
	}
	for {
		resp, err := req.RequestWith(m.s.Context(), m.s.cl.SeedBrokers()[0])
		if err != nil {
			m.s.Fatal(err)
		}
		switch resp.ErrorCode {
		case 0:
			m.epoch = resp.MemberEpoch
		case kerr.CoordinatorLoadInProgress.Code:
			<-time.After(time.Millisecond)
			continue
		}
		return resp
	}
}

// has says whether a status is among those of an answer.
func hasStatus(resp *kmsg.StreamsGroupHeartbeatResponse, code int8) bool {
	for _, s := range resp.Status {
		if s.StatusCode == code {
			return true
		}
	}
	return false
}

func describeStreams(s *stand, topology bool) kmsg.StreamsGroupDescribeResponseGroup {
	s.Helper()
	req := kmsg.NewPtrStreamsGroupDescribeRequest()
	req.Groups, req.IncludeTopologyDescription = []string{"app"}, topology
	resp, err := req.RequestWith(s.Context(), s.cl.SeedBrokers()[0])
	if err != nil || len(resp.Groups) != 1 {
		s.Fatal(resp, err)
	}
	return resp.Groups[0]
}

// streamsOn is a group of one member that has its tasks.
func streamsOn(s *stand) *streamsMember {
	s.Helper()
	s.create("t", "")
	find := kmsg.NewPtrFindCoordinatorRequest() // makes __consumer_offsets
	find.CoordinatorKeys = []string{"app"}
	if _, err := find.RequestWith(s.Context(), s.cl); err != nil {
		s.Fatal(err)
	}
	m := &streamsMember{s: s, id: "m1"}
	m.beat() // makes the changelog
	m.beat()
	return m
}

// TestStreamsProperties shows what the properties of streams groups do.
func TestStreamsProperties(t *testing.T) {
	const now = " group.streams.initial.rebalance.delay.ms=0"
	showAll(t, []nodeEffect{
		{"group.streams.heartbeat.interval.ms=7000" + now, func(s *stand) { s.want("interval", streamsOn(s).beat().HeartbeatIntervalMillis, int32(7000)) }},
		{"group.streams.task.offset.interval.ms=17000" + now, func(s *stand) { s.want("interval", streamsOn(s).beat().TaskOffsetIntervalMillis, int32(17000)) }},
		{"group.streams.acceptable.recovery.lag=17" + now, func(s *stand) { s.want("lag", streamsOn(s).beat().AcceptableRecoveryLag, int64(17)) }},
		{"group.streams.assignors=sticky" + now, func(s *stand) {
			streamsOn(s)
			s.want("assignor", *describeStreams(s, false).AssignorName, "sticky")
		}},
		{"group.streams.initial.rebalance.delay.ms=7000", func(s *stand) {
			m := streamsOn(s)
			<-time.After(6 * time.Second)
			s.want("delayed", hasStatus(m.beat(), 5), true)
			<-time.After(time.Second + time.Millisecond)
			s.want("tasks", len(m.beat().ActiveTasks), 1)
		}},
		{"group.streams.assignment.interval.ms=9000" + now, func(s *stand) {
			streamsOn(s)
			<-time.After(10 * time.Second)
			(&streamsMember{s: s, id: "m2"}).beat()
			s.want("too soon", hasStatus((&streamsMember{s: s, id: "m3"}).beat(), 5), true)
		}},
		{"group.streams.max.size=1" + now, func(s *stand) {
			streamsOn(s)
			s.want("second", (&streamsMember{s: s, id: "m2"}).beat().ErrorCode, kerr.GroupMaxSizeReached.Code)
		}},
		{"group.streams.num.standby.replicas=1" + now, func(s *stand) {
			streamsOn(s)
			<-time.After(2 * time.Second)
			m := &streamsMember{s: s, id: "m2"}
			s.want("standbys", len(m.beat().StandbyTasks), 1)
		}},
		{"group.streams.rack.aware.assignment.tags=zone" + now, func(s *stand) {
			s.want("without", hasStatus(streamsOn(s).beat(), 6), true)
			m := &streamsMember{s: s, id: "m2", tags: []kmsg.StreamsGroupHeartbeatRequestClientTag{{Key: "zone", Value: "z"}}}
			s.want("with", hasStatus(m.beat(), 6), false)
		}},
		{"group.streams.session.timeout.ms=50000" + now, func(s *stand) {
			streamsOn(s)
			<-time.After(49 * time.Second)
			s.want("alive", len(describeStreams(s, false).Members), 1)
			<-time.After(2 * time.Second)
			s.want("gone", len(describeStreams(s, false).Members), 0)
		}},
		{"group.streams.topology.description.enable=true" + now, func(s *stand) {
			m := streamsOn(s)
			s.want("before", describeStreams(s, true).TopologyDescriptionStatus, int8(1))
			req := kmsg.NewPtrStreamsGroupTopologyDescriptionUpdateRequest()
			req.Group, req.MemberID = "app", m.id
			resp, err := req.RequestWith(s.Context(), s.cl.SeedBrokers()[0])
			s.wantErr("push", err, nil)
			s.want("code", resp.ErrorCode, int16(0))
			s.want("after", describeStreams(s, true).TopologyDescriptionStatus, int8(3))
		}},
	})
}
