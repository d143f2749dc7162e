package broker

import (
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nodeEffect shows what a property of a node does.
type nodeEffect struct {
	node string
	show func(s *stand)
}

func showAll(t *testing.T, effects []nodeEffect) {
	for _, e := range effects {
		t.Run(e.node, func(t *testing.T) { onNode(t, e.node, e.show) })
	}
}

// ask sends one request to the node by the address it was given, not by the
// one it tells.
func ask[R kmsg.Response](s *stand, req kmsg.Request) R {
	s.Helper()
	resp, err := s.cl.SeedBrokers()[0].RetriableRequest(s.Context(), req)
	if err != nil {
		s.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return resp.(R)
}

func metadataOf(s *stand) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	return ask[*kmsg.MetadataResponse](s, req)
}

// TestNodeProperties shows the effect of properties of the node itself.
func TestNodeProperties(t *testing.T) {
	showAll(t, []nodeEffect{
		{"node.id=7", func(s *stand) { s.want("node", metadataOf(s).Brokers[0].NodeID, int32(7)) }},
		{"broker.rack=zone-a", func(s *stand) { s.want("rack", *metadataOf(s).Brokers[0].Rack, "zone-a") }},
		{"cluster.id=MkU3OEVBNTcwNTJENDM2Qk", func(s *stand) { s.want("cluster", *metadataOf(s).ClusterID, "MkU3OEVBNTcwNTJENDM2Qk") }},
		{"advertised.listeners=PLAINTEXT://elsewhere:1234", func(s *stand) {
			b := metadataOf(s).Brokers[0]
			s.want("host", b.Host, "elsewhere")
			s.want("port", b.Port, int32(1234))
		}},
		{"listeners=IN://node1:9092,OUT://node1:9094 listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT inter.broker.listener.name=IN", func(s *stand) {
			s.want("port of IN", metadataOf(s).Brokers[0].Port, int32(9092))
			s.cl = s.client(kgo.SeedBrokers("node1:9094"))
			defer s.cl.Close()
			s.want("port of OUT", metadataOf(s).Brokers[0].Port, int32(9094))
		}},
		{"log.dirs=/other", func(s *stand) { s.wantPath("/other/meta.properties") }},
		{"log.dirs= log.dir=/other", func(s *stand) { s.wantPath("/other/meta.properties") }},
		{"metadata.log.dir=/meta", func(s *stand) { s.wantPath("/meta/__cluster_metadata-0") }},
		{"metadata.log.max.record.bytes.between.snapshots=2000", func(s *stand) {
			for _, name := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
				s.create(name, "")
			}
			s.pass(time.Minute)
			list, err := s.fs.ReadDir("/data/__cluster_metadata-0")
			if err != nil {
				s.Fatal(err)
			}
			for _, f := range list {
				if strings.HasSuffix(f.Name, ".checkpoint") {
					return
				}
			}
			s.Errorf("no snapshot in %v", list)
		}},
		{"admin.listener=node1:9644", func(s *stand) {
			web := http.Client{Transport: &http.Transport{DialContext: s.net.Host("client").Dial, DisableKeepAlives: true}}
			resp, err := web.Get("http://node1:9644/readyz")
			if err != nil {
				s.Fatal(err)
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
			s.want("status", resp.StatusCode, 200)
		}},
	})
}

func (s *stand) wantPath(name string) {
	s.Helper()
	if _, err := s.fs.Stat(path.Clean(name)); err != nil {
		s.Error(err)
	}
}

// TestRequestProperties shows the effect of properties that bound or steer
// requests about topics and records.
func TestRequestProperties(t *testing.T) {
	showAll(t, []nodeEffect{
		{"num.partitions=3", func(s *stand) {
			r, err := s.adm.CreateTopic(s.Context(), -1, -1, nil, "t")
			s.wantErr("create", err, nil)
			s.want("partitions", r.NumPartitions, int32(3))
		}},
		{"default.replication.factor=2", func(s *stand) {
			_, err := s.adm.CreateTopic(s.Context(), -1, -1, nil, "t")
			s.wantErr("create", err, kerr.InvalidReplicationFactor)
		}},
		{"auto.create.topics.enable=false", func(s *stand) { s.wantErr("write", s.write("t", "v"), kerr.UnknownTopicOrPartition) }},
		{"auto.create.topics.enable=true", func(s *stand) { s.wantErr("write", s.write("t", "v"), nil) }},
		{"delete.topic.enable=false", func(s *stand) {
			s.create("t", "")
			_, err := s.adm.DeleteTopic(s.Context(), "t")
			s.wantErr("delete", err, kerr.TopicDeletionDisabled)
		}},
		{"fetch.max.bytes=1024", func(s *stand) {
			s.create("t", "")
			s.mustWrite("t", strings.Repeat("x", 900), strings.Repeat("x", 900), strings.Repeat("x", 900))
			if n := len(fetchOnce(s, "t").Topics[0].Partitions[0].RecordBatches); n > 1024 {
				s.Errorf("%d bytes", n)
			}
		}},
		{"max.incremental.fetch.session.cache.slots=0", func(s *stand) {
			s.create("t", "")
			s.mustWrite("t", "v")
			s.want("session", fetchOnce(s, "t").SessionID, int32(0))
		}},
		{"max.incremental.fetch.session.cache.slots=5", func(s *stand) {
			s.create("t", "")
			s.mustWrite("t", "v")
			if fetchOnce(s, "t").SessionID == 0 {
				s.Error("no session")
			}
		}},
		{"max.request.partition.size.limit=2", func(s *stand) {
			if _, err := s.adm.CreateTopic(s.Context(), 5, 1, nil, "t"); err != nil {
				s.Fatal(err)
			}
			req := kmsg.NewPtrDescribeTopicPartitionsRequest()
			req.ResponsePartitionLimit = 100
			one := kmsg.NewDescribeTopicPartitionsRequestTopic()
			one.Topic = "t"
			req.Topics = append(req.Topics, one)
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](s, req)
			s.want("partitions", len(resp.Topics[0].Partitions), 2)
		}},
		{"socket.request.max.bytes=5000", func(s *stand) {
			s.create("t", "")
			s.mustWrite("t", strings.Repeat("x", 1000))
			if err := s.write("t", strings.Repeat("x", 10_000)); err == nil {
				s.Error("a frame over the limit is taken")
			}
		}},
	})
}

func fetchOnce(s *stand, topic string) *kmsg.FetchResponse { return fetchAt(s, topic, 0) }

func fetchAt(s *stand, topic string, offset int64) *kmsg.FetchResponse {
	s.Helper()
	details, err := s.adm.ListTopics(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<30, 0
	one := kmsg.NewFetchRequestTopic()
	one.TopicID, one.Topic = details[topic].ID, topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.FetchOffset = 1<<30, offset
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	return ask[*kmsg.FetchResponse](s, req)
}

// TestGroupProperties shows the effect of properties of groups and offsets.
func TestGroupProperties(t *testing.T) {
	showAll(t, []nodeEffect{
		{"group.min.session.timeout.ms=20000", func(s *stand) { s.want("code", joinWith(s, 10_000).ErrorCode, kerr.InvalidSessionTimeout.Code) }},
		{"group.max.session.timeout.ms=20000", func(s *stand) { s.want("code", joinWith(s, 30_000).ErrorCode, kerr.InvalidSessionTimeout.Code) }},
		{"group.initial.rebalance.delay.ms=7000", func(s *stand) {
			begin := time.Now()
			first := joinWith(s, 30_000)
			s.want("code", first.ErrorCode, int16(0))
			if took := time.Since(begin); took < 7*time.Second || took > 8*time.Second {
				s.Errorf("the first assignment took %v", took)
			}
		}},
		{"group.max.size=1 group.initial.rebalance.delay.ms=0", func(s *stand) {
			s.want("first", joinWith(s, 30_000).ErrorCode, int16(0))
			s.want("second", joinWith(s, 30_000).ErrorCode, kerr.GroupMaxSizeReached.Code)
		}},
		{"offset.metadata.max.bytes=3", func(s *stand) {
			s.create("t", "")
			s.wantErr("short", s.commit("abc"), nil)
			s.wantErr("long", s.commit("abcd"), kerr.OffsetMetadataTooLarge)
		}},
		{"offsets.topic.num.partitions=3 offsets.topic.segment.bytes=2000000", func(s *stand) {
			s.create("t", "")
			s.wantErr("commit", s.commit(""), nil)
			details, err := s.adm.ListTopicsWithInternal(s.Context(), "__consumer_offsets")
			s.wantErr("list", err, nil)
			s.want("partitions", len(details["__consumer_offsets"].Partitions), 3)
			configs, err := s.adm.DescribeTopicConfigs(s.Context(), "__consumer_offsets")
			s.wantErr("configs", err, nil)
			for _, c := range configs[0].Configs {
				if c.Key == "segment.bytes" {
					s.want("segment.bytes", c.MaybeValue(), "2000000")
				}
			}
		}},
		{"offsets.topic.replication.factor=2", func(s *stand) {
			s.create("t", "")
			s.wantErr("commit", s.commit(""), kerr.CoordinatorNotAvailable)
		}},
		{"offsets.retention.minutes=1 offsets.retention.check.interval.ms=1000", func(s *stand) {
			s.create("t", "")
			s.wantErr("commit", s.commit(""), nil)
			s.pass(3 * time.Minute)
			got, err := s.adm.FetchOffsets(s.Context(), "g")
			s.wantErr("fetch", err, nil)
			if o, ok := got.Lookup("t", 0); ok && o.At >= 0 {
				s.Errorf("offset %d is kept", o.At)
			}
		}},
	})
}

// joinWith joins group g as a new member, in the two steps of KIP-394.
func joinWith(s *stand, sessionMillis int32) *kmsg.JoinGroupResponse {
	s.Helper()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = "g", sessionMillis, 1000, "consumer"
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "range"
	req.Protocols = append(req.Protocols, protocol)
	for {
		resp, err := req.RequestWith(s.Context(), s.cl)
		if err != nil {
			s.Fatal(err)
		}
		if resp.ErrorCode != kerr.MemberIDRequired.Code {
			return resp
		}
		req.MemberID = resp.MemberID
	}
}

func (s *stand) commit(metadata string) error {
	s.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "t", Partition: 0, At: 1, LeaderEpoch: -1, Metadata: metadata})
	got, err := s.adm.CommitOffsets(s.Context(), "g", offsets)
	if err != nil {
		return err
	}
	return got.Error()
}
