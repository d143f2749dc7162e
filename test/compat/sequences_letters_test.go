//go:build compat

package compat

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// set alters settings of a resource, and compares the answers.
func (d *dialogue) set(step string, kind int8, name string, settings ...string) {
	d.t.Helper()
	r := msg.NewIncrementalAlterConfigsRequest()
	res := msg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
	for i := 0; i < len(settings); i += 2 {
		res.Configs = append(res.Configs, msg.IncrementalAlterConfigsRequestResourceConfig{Name: settings[i], Value: &settings[i+1]})
	}
	r.Resources = append(r.Resources, res)
	ask[msg.IncrementalAlterConfigsResponse](d, step, 1, same(&r))
}

// The types of resources.
const (
	topicResource  int8 = 2
	brokerResource int8 = 4
	groupResource  int8 = 32
)

// setGroup alters settings of the member's group, and waits until they count: the
// lock's duration goes along, which is told in every answer.
func (s *shareReader) setGroup(step string, settings ...string) {
	s.d.t.Helper()
	s.lock--
	s.d.set(step, groupResource, s.group, append(settings, "share.record.lock.duration.ms", fmt.Sprint(s.lock))...)
	w := &shareReader{d: s.d, group: s.group, name: "looks", ids: s.ids}
	await(s.d, 2, w.fetching(func(int) int32 { return 0 }, 0, nil, nil), func(r *msg.ShareFetchResponse) bool {
		return r.AcquisitionLockTimeoutMs == s.lock
	})
}

// setBrokers alters a setting of all brokers, and waits until it counts.
func (d *dialogue) setBrokers(step, name, value string) {
	d.t.Helper()
	d.set(step, brokerResource, "", name, value)
	r := msg.NewDescribeConfigsRequest()
	r.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: brokerResource, ResourceName: "1", ConfigurationKeys: []string{name}}}
	await(d, 4, same(&r), func(r *msg.DescribeConfigsResponse) bool {
		c := r.Results[0].Configs
		return len(c) == 1 && c[0].Value != nil && *c[0].Value == value
	})
}

// recordsOf reads a partition until there are so many records, and compares what
// is in them: sorted, since who writes does so from several threads in Kafka.
func (d *dialogue) recordsOf(step, topic string, partition int32, n int) {
	d.t.Helper()
	var got [2][]string
	i := 0
	r := msg.NewFetchRequest()
	r.MaxWaitMs, r.MinBytes, r.SessionEpoch = 100, 1, -1
	p := msg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = partition, 1<<20
	r.Topics = []msg.FetchRequestTopic{{Topic: topic, Partitions: []msg.FetchRequestTopicPartition{p}}}
	await(d, 12, func(at int) msg.Request { i = at; return &r }, func(r *msg.FetchResponse) bool {
		got[i] = nil
		if len(r.Responses) > 0 {
			got[i] = contents(d.t, r.Responses[0].Partitions[0].Records)
		}
		return len(got[i]) >= n
	})
	slices.Sort(got[0])
	slices.Sort(got[1])
	if !slices.Equal(got[0], got[1]) {
		d.t.Errorf("%s: %s-%d has\n\t%q\nKafka's has\n\t%q", step, topic, partition, got[0], got[1])
	}
	*d.answers++
}

// contents is what is in records but for their times.
func contents(t *testing.T, batches []byte) (out []string) {
	t.Helper()
	var r record.Reader
	for len(batches) > 0 {
		h, err := record.ParseHeader(batches)
		if err != nil {
			t.Fatal(err)
		}
		for r.Reset(batches[:h.Size()], record.DefaultLimit); r.Next(); {
			x := r.Record()
			out = append(out, fmt.Sprintf("%q (none: %v) %q (none: %v) %q", x.Key, x.Key == nil, x.Value, x.Value == nil, x.Headers))
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		batches = batches[h.Size():]
	}
	return out
}

// awaitDone returns once a share group is done with all of its topic. Where it
// begins is another matter: Kafka stores that with what is said next.
func (s *shareReader) awaitDone() {
	s.d.t.Helper()
	r := msg.NewDescribeShareGroupOffsetsRequest()
	r.Groups = []msg.DescribeShareGroupOffsetsRequestGroup{{GroupID: s.group,
		Topics: []msg.DescribeShareGroupOffsetsRequestGroupTopic{{TopicName: "of-" + s.group, Partitions: []int32{0}}}}}
	await(s.d, 1, same(&r), func(r *msg.DescribeShareGroupOffsetsResponse) bool {
		return r.Groups[0].ErrorCode == 0 && r.Groups[0].Topics[0].Partitions[0].Lag == 0
	})
}

// shareLetters is about records that a share group gives up, and its dead-letter
// topic.
func shareLetters(d *dialogue) {
	a, _ := sharing(d, 2, "sharers-letters")
	const topic = "errors.deadletterqueue.topic.name"
	d.newTopic("dlq.letters", 2, "errors.deadletterqueue.group.enable", "true")
	d.newTopic("dlq.closed", 1)
	d.newTopic("other", 1, "errors.deadletterqueue.group.enable", "true")
	for _, name := range []string{"__dlq", "", "a b"} {
		d.set("a topic called "+name, groupResource, a.group, topic, name)
	}
	a.lock = 60000
	a.setGroup("a topic and a small limit", topic, "dlq.letters", "share.delivery.count.limit", "2")
	a.fetch("opens", 1, nil, nil)
	a.ack("says everything", say(0, 8, 3, 1, 3, 2, 2, 2, 0, 3, 1), false)
	d.recordsOf("letters", "dlq.letters", 0, 6)
	a.awaitDone()

	a.setGroup("copies", "errors.deadletterqueue.copy.record.enable", "true")
	for _, b := range lettersSource() {
		ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, b)))
	}
	a.fetch("gets the next", 0, nil, nil)
	a.ack("rejects them", say(9, 15, 3), false)
	d.recordsOf("copies", "dlq.letters", 0, 13)
	a.awaitDone()

	at := int64(16)
	reject := func(step string) {
		ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, lettersSource()[0])))
		a.fetch("gets more, "+step, 0, nil, nil)
		a.ack("rejects, "+step, say(at, at+2, 3), false)
		at += 3
		a.awaitDone()
	}
	a.setGroup("a topic that takes none", topic, "dlq.closed")
	reject("where that is not allowed")
	a.setGroup("a topic of another name", topic, "other")
	reject("where the name is wrong")
	a.setGroup("a topic that is not", topic, "dlq.made")
	reject("where there is no topic")
	d.setBrokers("topics are made", "errors.deadletterqueue.auto.create.topics.enable", "true")
	reject("where the topic is made")
	d.recordsOf("in a topic that was made", "dlq.made", 0, 3)
	configs := msg.NewDescribeConfigsRequest()
	configs.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: topicResource, ResourceName: "dlq.made",
		ConfigurationKeys: []string{"errors.deadletterqueue.group.enable", "message.timestamp.type"}}}
	ask[msg.DescribeConfigsResponse](d, "what was made", 4, same(&configs))
	d.setBrokers("topics are not made", "errors.deadletterqueue.auto.create.topics.enable", "false")
	for _, t := range []string{"dlq.closed", "other"} {
		ends := ask[msg.ListOffsetsResponse](d, "end of "+t, 6, same(listOffsets(t, 0, kafka.LatestTimestamp)))
		if o := ends[0].Topics[0].Partitions[0].Offset; o != 0 {
			d.t.Errorf("%d letters in %s", o, t)
		}
	}
}

// lettersSource are batches of records with and without key, value and headers,
// seven records in all.
func lettersSource() [][]byte {
	var plain, packed record.Builder
	headers := []record.RecordHeader{{Key: "h", Value: []byte("x")}, {Key: "none"}, {Key: "__dlq.errors.topic", Value: []byte("mine")}}
	plain.Append(record.Record{Timestamp: 1_700_000_000_000, Key: []byte("key"), Value: []byte("value"), Headers: headers})
	plain.Append(record.Record{Timestamp: 1_700_000_000_000, Value: []byte("value")})
	plain.Append(record.Record{Timestamp: 1_700_000_000_000, Key: []byte{}, Value: []byte{}})
	packed.Codec = record.Gzip
	for i := range 4 {
		packed.Append(record.Record{Timestamp: 1_700_000_000_000, Key: fmt.Appendf(nil, "key %d", i), Value: bytes.Repeat([]byte("v"), 100*i)})
	}
	return [][]byte{plain.Bytes(), packed.Bytes()}
}
