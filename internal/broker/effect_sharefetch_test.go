package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sharer is a member of share group g that reads topic t.
type sharer struct {
	*stand
	id      string
	member  int32 // epoch
	session int32
	topic   [16]byte
}

// sharers makes topic t with records, and members of group g.
func sharers(s *stand, records int, settings string, names ...string) (out []*sharer) {
	s.Helper()
	s.create("t", "")
	set := append(strings.Fields(settings), "share.auto.offset.reset=earliest")
	for _, kv := range set {
		s.wantErr(kv, s.alterGroup(kv), nil)
	}
	for i := range records {
		s.mustWrite("t", fmt.Sprint(i))
	}
	id := s.topicID("t")
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	ask[*kmsg.FindCoordinatorResponse](s, find) // makes the topic of groups
	s.pass(time.Second)
	for _, name := range names {
		m := &sharer{stand: s, id: name, topic: id}
		m.join()
		out = append(out, m)
	}
	return out
}

// join heartbeats until the member has its partition.
func (m *sharer) join() {
	for range 5 {
		req := kmsg.NewPtrShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = "g", m.id, m.member, []string{"t"}
		m.member = ask[*kmsg.ShareGroupHeartbeatResponse](m.stand, req).MemberEpoch
		m.pass(2 * time.Second)
	}
}

func (s *stand) topicID(name string) [16]byte {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	return ask[*kmsg.MetadataResponse](s, req).Topics[0].TopicID
}

func (s *stand) alterGroup(kv string) error {
	s.Helper()
	k, v, _ := strings.Cut(kv, "=")
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = k, &v
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	return kerr.ErrorForCode(ask[*kmsg.IncrementalAlterConfigsResponse](s, req).Resources[0].ErrorCode)
}

// fetch asks for records, and says something of one if kind is not -1.
func (m *sharer) fetch(offset int64, kind int8) *kmsg.ShareFetchResponse {
	m.Helper()
	req := kmsg.NewPtrShareFetchRequest()
	group := "g"
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &group, &m.id, m.session
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = 100, 1, 1<<20, 500, 500
	p := kmsg.NewShareFetchRequestTopicPartition()
	if kind >= 0 {
		a := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
		a.FirstOffset, a.LastOffset, a.AcknowledgeTypes = offset, offset, []int8{kind}
		p.AcknowledgementBatches = append(p.AcknowledgementBatches, a)
		if req.IsRenewAck = kind == 4; req.IsRenewAck {
			req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.MaxRecords = 0, 0, 0, 0
		}
	}
	topic := kmsg.NewShareFetchRequestTopic()
	topic.TopicID, topic.Partitions = m.topic, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	m.session++
	return ask[*kmsg.ShareFetchResponse](m.stand, req)
}

// got are the records of an answer: how many, and the deliveries of the first.
func got(r *kmsg.ShareFetchResponse) (n int64, count int16) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			for i, a := range p.AcquiredRecords {
				if n += a.LastOffset - a.FirstOffset + 1; i == 0 {
					count = a.DeliveryCount
				}
			}
		}
	}
	return n, count
}

func (m *sharer) wantRecords(what string, r *kmsg.ShareFetchResponse, n int64) {
	m.Helper()
	m.want(what+": code", r.ErrorCode, int16(0))
	have, _ := got(r)
	m.want(what, have, n)
}

func onceMore(s *stand, m *sharer, after time.Duration) {
	s.Helper()
	s.pass(after - 2*time.Second)
	m.wantRecords("locked", m.fetch(0, -1), 0)
	s.pass(3 * time.Second)
	m.wantRecords("after the lock", m.fetch(0, -1), 1)
}

func twiceAtMost(s *stand, m *sharer) {
	m.wantRecords("first", m.fetch(0, -1), 1)
	m.wantRecords("second", m.fetch(0, 2), 1)
	m.wantRecords("third", m.fetch(0, 2), 0)
}

func allButSome(m *sharer, most int64) { m.wantRecords("in flight", m.fetch(0, -1), most) }

// TestShareLeaderProperties shows the effect of properties of share groups on who
// leads a partition.
func TestShareLeaderProperties(t *testing.T) {
	refused := func(kv string) func(s *stand) {
		return func(s *stand) { s.wantErr(kv, s.alterGroup(kv), kerr.InvalidConfig) }
	}
	showAll(t, []nodeEffect{
		{"group.share.delivery.count.limit=2", func(s *stand) { twiceAtMost(s, sharers(s, 1, "", "a")[0]) }},
		{"group.share.partition.max.record.locks=100", func(s *stand) { allButSome(sharers(s, 110, "", "a")[0], 100) }},
		{"group.share.record.lock.duration.ms=20000", func(s *stand) {
			m := sharers(s, 1, "", "a")[0]
			r := m.fetch(0, -1)
			s.want("told", r.AcquisitionLockTimeoutMillis, int32(20000))
			m.wantRecords("first", r, 1)
			onceMore(s, m, 20*time.Second)
		}},
		{"group.share.max.share.sessions=1", func(s *stand) {
			m := sharers(s, 1, "", "a", "b")
			s.want("first", m[0].fetch(0, -1).ErrorCode, int16(0))
			s.want("second", m[1].fetch(0, -1).ErrorCode, kerr.ShareSessionLimitReached.Code)
		}},
		{"group.share.min.delivery.count.limit=4", refused("share.delivery.count.limit=3")},
		{"group.share.max.delivery.count.limit=6", refused("share.delivery.count.limit=7")},
		{"group.share.min.partition.max.record.locks=300", refused("share.partition.max.record.locks=200")},
		{"group.share.max.partition.max.record.locks=3000", refused("share.partition.max.record.locks=3500")},
		{"group.share.min.record.lock.duration.ms=20000", refused("share.record.lock.duration.ms=19000")},
		{"group.share.max.record.lock.duration.ms=40000", refused("share.record.lock.duration.ms=41000")},
	})
}

// TestShareSettings shows the effect of the settings of a share group.
func TestShareSettings(t *testing.T) {
	showAll(t, []nodeEffect{
		{"group.share.delivery.count.limit=5", func(s *stand) { twiceAtMost(s, sharers(s, 1, "share.delivery.count.limit=2", "a")[0]) }},
		{"group.share.partition.max.record.locks=2000", func(s *stand) {
			allButSome(sharers(s, 110, "share.partition.max.record.locks=100", "a")[0], 100)
		}},
		{"group.share.record.lock.duration.ms=30000", func(s *stand) {
			m := sharers(s, 1, "share.record.lock.duration.ms=15000", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 1)
			onceMore(s, m, 15*time.Second)
		}},
		{"num.partitions=1", func(s *stand) {
			m := sharers(s, 1, "share.renew.acknowledge.enable=false", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 1)
			s.want("renewed", m.fetch(0, 4).Topics[0].Partitions[0].AcknowledgeErrorCode, kerr.InvalidRequest.Code)
			s.wantErr("alter", s.alterGroup("share.renew.acknowledge.enable=true"), nil)
			s.want("renewed", m.fetch(0, 4).Topics[0].Partitions[0].AcknowledgeErrorCode, int16(0))
		}},
		{"num.partitions=2", func(s *stand) {
			m := sharers(s, 1, "", "a")[0]
			s.wantErr("alter", s.alterGroup("share.auto.offset.reset=latest"), nil)
			m.wantRecords("latest", m.fetch(0, -1), 0)
			s.mustWrite("t", "new")
			m.wantRecords("new", m.fetch(0, -1), 1)
		}},
		{"num.partitions=3", func(s *stand) {
			s.pass(time.Hour)
			m := sharers(s, 1, "", "a")[0]
			s.wantErr("alter", s.alterGroup("share.auto.offset.reset=by_duration:PT10M"), nil)
			s.mustWrite("t", "now")
			s.pass(9 * time.Minute)
			m.session = 0
			m.wantRecords("ten minutes", m.fetch(0, -1), 2)
		}},
	})
}
