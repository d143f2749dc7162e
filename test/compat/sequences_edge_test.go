//go:build compat

package compat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// outsideTheRange asks in the versions next to those that are served.
func outsideTheRange(d *dialogue) {
	for _, api := range served(d.t, d.peers[0]) {
		for _, v := range []int16{api.MinVersion - 1, api.MaxVersion + 1, 120} {
			if api.APIKey == kafka.KeyAPIVersions && v >= 0 {
				continue // the one that is answered
			}
			d.react(fmt.Sprintf("%s v%d", kafka.KeyName(api.APIKey), v), frame(api.APIKey, v, "x", make([]byte, 200)...))
		}
	}
	for _, v := range []int16{6, 7, 120} {
		bodies := [2][]byte{{}, {}} // no fields: the broker may not look at them
		outcomes, answers, err := exchange(d.peers, kafka.KeyAPIVersions, v, bodies)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, line := range wirecmp.Differences(kafka.KeyAPIVersions, 0, outcomes, answers) {
			d.t.Errorf("ApiVersions v%d [versions: from the future] %s", v, line)
		}
		*d.answers++
	}
}

// frames sends what may not even be a request.
func frames(d *dialogue) {
	metadata := frame(kafka.KeyMetadata, 1, "x", 0, 0, 0, 0)
	size := func(n int32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
	}
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"a good one", metadata},
		{"of no bytes", size(0)},
		{"of minus one byte", size(-1)},
		{"of the most negative size", size(-1 << 31)},
		{"of two billion bytes", size(1<<31-1, 0, 3, 0, 1)},
		{"just over the limit", size(104857601, 0, 3, 0, 1)},
		{"of one byte", size(1, 0)},
		{"of a key alone", size(2, 0, 3)},
		{"of a key and a version", size(4, 0, 3, 0, 1)},
		{"of a header without a client", size(8, 0, 3, 0, 1, 0, 0, 0, 1)},
		{"with a negative client", size(14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xf0, 0, 0, 0, 0)},
		{"with a client longer than the frame", size(14, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0, 0, 0, 0)},
		{"half sent", metadata[:len(metadata)-2]},
		{"of text", []byte("GET / HTTP/1.1\r\nHost: here\r\n\r\n")},
		{"of TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0}},
		{"of an unknown key", frame(999, 0, "x")},
		{"of a negative key", frame(-1, 0, "x")},
		{"of a private key", frame(20001, 0, "x")},
		{"of a retired key", frame(4, 0, "x")},
		{"of a controller's key", frame(kafka.KeyVote, 0, "x", make([]byte, 40)...)},
		{"of a SASL handshake without SASL", frame(kafka.KeySASLHandshake, 1, "x", 0, 5, 'P', 'L', 'A', 'I', 'N')},
	} {
		d.react(c.name, c.bytes)
	}
}

// frame is a request with a header of version 1.
func frame(key, version int16, client string, body ...byte) []byte {
	h := msg.RequestHeader{APIKey: key, APIVersion: version, CorrelationID: 1, ClientID: &client}
	b := append(h.Append(make([]byte, 4), 1), body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// react compares what both brokers make of raw bytes on a new connection.
func (d *dialogue) react(step string, b []byte) {
	d.t.Helper()
	var outcomes [2]string
	for i, p := range d.peers {
		q := p.Again()
		q.Patience = 500 * time.Millisecond
		var err error
		if outcomes[i], err = q.Raw(b); err != nil {
			d.t.Fatalf("%s: %v", step, err)
		}
		q.Close()
	}
	*d.answers++
	line := "outcome: " + outcomes[0] + " | " + outcomes[1]
	if outcomes[0] != outcomes[1] && !allowed(d.c.listed, "raw", d.name+": "+step, line) {
		d.t.Errorf("raw v0 [%s: %s] %s", d.name, step, line)
	}
}

func oddTopics(d *dialogue) {
	create := func(step string, change func(*msg.CreateTopicsRequestTopic)) {
		d.t.Helper()
		topic := msg.CreateTopicsRequestTopic{Name: "odd-" + strings.ReplaceAll(step, " ", "-"), NumPartitions: 1, ReplicationFactor: 1}
		change(&topic)
		for _, v := range []int16{2, 5, 7} {
			ask[msg.CreateTopicsResponse](d, step, v, same(&msg.CreateTopicsRequest{TimeoutMs: 10000, ValidateOnly: true, Topics: []msg.CreateTopicsRequestTopic{topic}}))
		}
	}
	type T = *msg.CreateTopicsRequestTopic
	assign := func(partitions ...int32) func(T) {
		return func(t T) {
			t.NumPartitions, t.ReplicationFactor = -1, -1
			for _, p := range partitions {
				t.Assignments = append(t.Assignments, msg.CreateTopicsRequestTopicAssignment{PartitionIndex: p, BrokerIDs: []int32{1}})
			}
		}
	}
	create("defaults", func(t T) { t.NumPartitions, t.ReplicationFactor = -1, -1 })
	create("two replicas", func(t T) { t.ReplicationFactor = 2 })
	create("no partitions", func(t T) { t.NumPartitions = 0 })
	create("too many partitions", func(t T) { t.NumPartitions = 10001 })
	create("assigned", assign(0, 1))
	create("assigned with a gap", assign(0, 2))
	create("assigned twice", assign(0, 0))
	create("assigned from one", assign(1))
	create("assigned and counted", func(t T) { assign(0)(t); t.NumPartitions = 1 })
	create("assigned and replicated", func(t T) { assign(0)(t); t.ReplicationFactor = 1 })
	for name, brokers := range map[string][]int32{"nobody": {}, "a stranger": {9}, "one twice": {1, 1}, "one and a stranger": {1, 9}} {
		create("assigned to "+name, func(t T) { assign(0)(t); t.Assignments[0].BrokerIDs = brokers })
	}
	for _, c := range [][2]string{{"retention.ms", "-2"}, {"retention.ms", "x"}, {"retention.ms", ""}, {"cleanup.policy", "compact,delete"},
		{"cleanup.policy", "shred"}, {"cleanup.policy", ""}, {"compression.type", "zip"}, {"compression.type", "zstd"}, {"segment.bytes", "10"},
		{"min.insync.replicas", "0"}, {"min.insync.replicas", "5"}, {"retention.bytes", "99999999999999999999"}, {"unclean.leader.election.enable", "maybe"},
		{"message.timestamp.type", "LogAppendTime"}, {"message.timestamp.type", "Sometime"}, {"max.message.bytes", "-1"},
		{"remote.storage.enable", "true"}, {"message.format.version", "2.0"}, {"no.such.key", "1"}, {"", "1"}, {"delete.retention.ms", " 7 "}} {
		create(fmt.Sprintf("config %s=%s", c[0], c[1]), func(t T) {
			t.Name = "odd-config"
			t.Configs = []msg.CreateTopicsRequestTopicConfig{{Name: c[0], Value: &c[1]}}
		})
	}
	create("config of no value", func(t T) { t.Configs = []msg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}} })
	create("config twice", func(t T) {
		t.Configs = []msg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("1")}, {Name: "retention.ms", Value: ptr("2")}}
	})
	for _, name := range []string{"", ".", "..", "a/b", "a b", "ü", strings.Repeat("x", 249), strings.Repeat("x", 250), "__consumer_offsets", "__cluster_metadata", "a_b.c"} {
		create("named "+name, func(t T) { t.Name = name })
	}
}

func oddCommits(d *dialogue) {
	commit := func(step string, v int16, change func(*msg.OffsetCommitRequest)) {
		d.t.Helper()
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.GenerationIDOrMemberEpoch = "odd-commits", -1
		p := msg.NewOffsetCommitRequestTopicPartition()
		p.CommittedOffset = 4
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: wirecmp.Topic, Partitions: []msg.OffsetCommitRequestTopicPartition{p}}}
		change(&r)
		ask[msg.OffsetCommitResponse](d, step, v, same(&r))
	}
	type R = *msg.OffsetCommitRequest
	for v := int16(2); v <= 9; v++ {
		commit("plain", v, func(R) {})
		commit("a large note", v, func(r R) { r.Topics[0].Partitions[0].CommittedMetadata = ptr(strings.Repeat("n", 5000)) })
		commit("the largest note", v, func(r R) { r.Topics[0].Partitions[0].CommittedMetadata = ptr(strings.Repeat("n", 4096)) })
		commit("a negative offset", v, func(r R) { r.Topics[0].Partitions[0].CommittedOffset = -5 })
		commit("a partition that is none", v, func(r R) { r.Topics[0].Partitions[0].PartitionIndex = 33 })
		commit("one of two", v, func(r R) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions[0])
			r.Topics[0].Partitions[1].PartitionIndex = 33
		})
		commit("a member without a generation", v, func(r R) { r.MemberID = "someone" })
		commit("a generation without a member", v, func(r R) { r.GenerationIDOrMemberEpoch = 3 })
		commit("a short retention", v, func(r R) { r.RetentionTimeMs = 10000000 })
	}
}

// compression is each codec through each version that may carry it.
func compression(d *dialogue) {
	for codec := record.None; codec <= record.Zstd; codec++ {
		topic := "codec-" + codec.String()
		ids := d.newTopic(topic, 1)
		b := record.Builder{Codec: codec, LeaderEpoch: -1}
		for i := range 50 {
			b.Append(record.Record{Timestamp: 1_700_000_000_000 + int64(i), Key: []byte("key"), Value: []byte(strings.Repeat("value ", i))})
		}
		batch := b.Bytes()
		for v := int16(3); v <= 12; v++ {
			ask[msg.ProduceResponse](d, "produce "+codec.String(), v, same(produce(topic, batch)))
		}
		f := &fetcher{topic: topic, ids: ids}
		for v := int16(4); v <= 18; v++ {
			ask[msg.FetchResponse](d, "fetch "+codec.String(), v, f.at(-1, 60))
		}
		for _, at := range []int64{1_700_000_000_000, 1_700_000_000_025, 1_700_000_000_049, 1_700_000_000_050, -3} {
			ask[msg.ListOffsetsResponse](d, fmt.Sprint("by time ", at), 7, same(listOffsets(topic, 0, at)))
		}
		damaged(d, codec, batch)
	}
}

// damaged sends batches whose CRC is right and whose records are not. Kafka
// looks into every batch, Myelin where the topic says validate.records=true.
func damaged(d *dialogue, codec record.Codec, batch []byte) {
	topic := "damaged-" + codec.String()
	d.newTopic(topic, 1)
	cut := bytes.Clone(batch[:len(batch)-4])
	binary.BigEndian.PutUint32(cut[8:], uint32(len(cut)-12))
	other := bytes.Clone(batch)
	other[22] = other[22]&^7 | byte((codec+1)%5)
	send := func(step string) {
		d.t.Helper()
		ask[msg.ProduceResponse](d, step+" cut off "+codec.String(), 9, same(produce(topic, wirecmp.Reseal(cut))))
		ask[msg.ProduceResponse](d, step+" codec not "+codec.String(), 9, same(produce(topic, wirecmp.Reseal(other))))
	}
	send("carried:")
	var altered msg.IncrementalAlterConfigsResponse
	err := d.peers[0].Do(&msg.IncrementalAlterConfigsRequest{Resources: []msg.IncrementalAlterConfigsRequestResource{
		{ResourceType: 2, ResourceName: topic, Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{
			{Name: "validate.records", Value: ptr("true")}}}}}, 1, &altered)
	if err != nil || altered.Responses[0].ErrorCode != 0 {
		d.t.Fatalf("validate.records: %v, code %d", err, altered.Responses[0].ErrorCode)
	}
	await(d, 9, same(produce(topic, wirecmp.Reseal(cut))), func(r *msg.ProduceResponse) bool {
		return r.Responses[0].PartitionResponses[0].ErrorCode != 0
	})
	send("inspected:")
}

// timestamps is what topics say about the times of records.
func timestamps(d *dialogue) {
	d.newTopic("stamped", 1, "message.timestamp.type", "LogAppendTime")
	d.newTopic("strict", 1, "message.timestamp.before.max.ms", "1000")
	for v := int16(3); v <= 12; v++ {
		ask[msg.ProduceResponse](d, "stamped", v, same(produce("stamped", wirecmp.Batch(2))))
		ask[msg.ProduceResponse](d, "too old", v, same(produce("strict", wirecmp.Batch(2))))
	}
	ask[msg.ListOffsetsResponse](d, "after all", 7, same(listOffsets("stamped", 0, 1<<60)))
	ask[msg.ListOffsetsResponse](d, "nothing came in", 7, same(listOffsets("strict", 0, -1)))
}

// properties is every property of a broker: its name, type, and whether it may
// change. The values are those of two set-ups.
func properties(d *dialogue) {
	for _, name := range []string{"1", "", "9", "x"} {
		for v := int16(1); v <= 4; v++ {
			r := msg.NewDescribeConfigsRequest()
			r.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: 4, ResourceName: name}}
			ask[msg.DescribeConfigsResponse](d, fmt.Sprintf("all of %q", name), v, same(&r))
		}
	}
	for _, kind := range []int8{16, 32} {
		r := msg.NewDescribeConfigsRequest()
		r.IncludeSynonyms = true
		r.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: "some-name"}}
		ask[msg.DescribeConfigsResponse](d, fmt.Sprint("of kind ", kind), 4, same(&r))
	}
}

// pages goes through partitions a page at a time, as an admin client does that
// follows the cursor (KIP-966).
func pages(d *dialogue) {
	sizes := map[string]int32{"page-a": 3, "page-b": 1, "page-c": 4}
	for _, name := range sorted(sizes) {
		d.newTopic(name, sizes[name])
	}
	for _, limit := range []int32{0, 1, 2, 3, 4, 5, 8, 9, 5000} {
		var cursor *msg.DescribeTopicPartitionsRequestCursor
		for page := range 12 {
			r := msg.NewDescribeTopicPartitionsRequest()
			r.ResponsePartitionLimit, r.Cursor = limit, cursor
			for _, name := range []string{"page-c", "page-a", "page-nowhere", "page-b"} {
				r.Topics = append(r.Topics, msg.DescribeTopicPartitionsRequestTopic{Name: name})
			}
			got := ask[msg.DescribeTopicPartitionsResponse](d, fmt.Sprintf("page %d of %d", page, limit), 0, same(&r))
			next := got[1].NextCursor
			if next == nil {
				break
			}
			cursor = &msg.DescribeTopicPartitionsRequestCursor{TopicName: next.TopicName, PartitionIndex: next.PartitionIndex}
		}
	}
}

// byID names topics by their ids, as newer clients do (KIP-516).
func byID(d *dialogue) {
	ids := d.newTopic("by-id", 2)
	other := d.newTopic("by-id-too", 1)
	meta := func(step string, change func(i int, r *msg.MetadataRequest)) {
		d.t.Helper()
		for v := int16(10); v <= 13; v++ {
			ask[msg.MetadataResponse](d, step, v, func(i int) msg.Request {
				r := metadata(false)
				change(i, r)
				return r
			})
		}
	}
	topic := func(id kafka.UUID) msg.MetadataRequestTopic { return msg.MetadataRequestTopic{TopicID: id} }
	meta("metadata", func(i int, r *msg.MetadataRequest) { r.Topics = append(r.Topics, topic(ids[i])) })
	meta("metadata of two", func(i int, r *msg.MetadataRequest) { r.Topics = append(r.Topics, topic(ids[i]), topic(other[i])) })
	meta("metadata twice", func(i int, r *msg.MetadataRequest) { r.Topics = append(r.Topics, topic(ids[i]), topic(ids[i])) })
	meta("metadata of none", func(_ int, r *msg.MetadataRequest) { r.Topics = append(r.Topics, topic(kafka.UUID{7})) })
	meta("metadata of one of two", func(i int, r *msg.MetadataRequest) {
		r.Topics = append(r.Topics, topic(ids[i]), topic(kafka.UUID{7}))
	})
	meta("metadata by name and id", func(i int, r *msg.MetadataRequest) {
		r.Topics = append(r.Topics, topic(ids[i]), msg.MetadataRequestTopic{Name: ptr("by-id-too")})
	})
	drop := func(step string, topics func(i int) []msg.DeleteTopicsRequestTopic) {
		d.t.Helper()
		ask[msg.DeleteTopicsResponse](d, step, 6, func(i int) msg.Request {
			return &msg.DeleteTopicsRequest{TimeoutMs: 10000, Topics: topics(i)}
		})
	}
	type topics = []msg.DeleteTopicsRequestTopic
	drop("delete what is none", func(int) topics { return topics{{TopicID: kafka.UUID{7}}} })
	drop("delete twice in one", func(i int) topics { return topics{{TopicID: ids[i]}, {TopicID: ids[i]}} })
	drop("delete by both", func(i int) topics { return topics{{TopicID: ids[i]}, {Name: ptr("by-id")}} })
	drop("delete one of two", func(i int) topics { return topics{{TopicID: other[i]}, {TopicID: kafka.UUID{7}}} })
	drop("delete", func(i int) topics { return topics{{TopicID: ids[i]}} })
	drop("delete again", func(i int) topics { return topics{{TopicID: ids[i]}} })
	drop("delete nothing", func(int) topics { return topics{} })
}

// noAcks is what a producer with acks=0 sees: nothing, or the end of its
// connection where a batch was refused.
func noAcks(d *dialogue) {
	d.newTopic("no-acks", 1)
	for _, c := range []struct {
		name, topic string
		partition   int32
		batch       []byte
	}{
		{"a good batch", "no-acks", 0, wirecmp.Batch(3)},
		{"a topic that is none", "no-such-topic-0", 0, wirecmp.Batch(3)},
		{"a partition that is none", "no-acks", 9, wirecmp.Batch(3)},
		{"a wrong count", "no-acks", 0, wirecmp.Reseal(append(wirecmp.Batch(3)[:57], append([]byte{0, 0, 0, 4}, wirecmp.Batch(3)[61:]...)...))},
		{"a wrong CRC", "no-acks", 0, append(wirecmp.Batch(3)[:17], append([]byte{1, 2, 3, 4}, wirecmp.Batch(3)[21:]...)...)},
		{"no batch", "no-acks", 0, []byte{}},
	} {
		for _, v := range []int16{3, 8} {
			r := produce(c.topic, c.batch)
			r.Acks, r.TopicData[0].PartitionData[0].Index = 0, c.partition
			d.react(fmt.Sprintf("%s v%d", c.name, v), frame(kafka.KeyProduce, v, "x", r.Append(nil, v)...))
		}
	}
	await(d, 6, same(listOffsets("no-acks", 0, -1)), func(r *msg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].Offset >= 6 })
	ask[msg.ListOffsetsResponse](d, "the good ones came in", 6, same(listOffsets("no-acks", 0, -1)))
}
