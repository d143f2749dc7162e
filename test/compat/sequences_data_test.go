//go:build compat

package compat

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// fetcher builds the requests of one fetch session (KIP-227).
type fetcher struct {
	topic   string
	ids     [2]kafka.UUID
	session [2]int32
}

// at asks for partition 0 from an offset in the session's epoch; negative
// offsets ask for no partition.
func (f *fetcher) at(epoch int32, offset int64) func(int) msg.Request {
	return func(i int) msg.Request {
		r := msg.NewFetchRequest()
		r.MinBytes, r.MaxBytes, r.SessionID, r.SessionEpoch = 1, 1<<20, f.session[i], epoch
		if offset >= 0 {
			p := msg.NewFetchRequestTopicPartition()
			p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
			r.Topics = []msg.FetchRequestTopic{{Topic: f.topic, TopicID: f.ids[i], Partitions: []msg.FetchRequestTopicPartition{p}}}
		}
		return &r
	}
}

// with changes what build makes.
func with[R any, P interface {
	*R
	msg.Request
}](build func(int) msg.Request, change func(P)) func(int) msg.Request {
	return func(i int) msg.Request {
		r := build(i)
		change(r.(P))
		return r
	}
}

func fetchSession(d *dialogue, v int16) {
	topic := fmt.Sprintf("session-%d", v)
	f := &fetcher{topic: topic, ids: d.newTopic(topic, 2)}
	say := func(step string, build func(int) msg.Request) [2]*msg.FetchResponse {
		d.t.Helper()
		return ask[msg.FetchResponse](d, step, v, build)
	}
	say("no session", f.at(-1, 0))
	opened := say("open", f.at(0, 0))
	f.session = [2]int32{opened[0].SessionID, opened[1].SessionID}
	say("nothing new", f.at(1, -1))
	ask[msg.ProduceResponse](d, "produce", 9, same(produce(topic, wirecmp.Batch(3))))
	say("new records", f.at(2, -1))
	say("the same again, since the offset did not move", f.at(3, -1))
	say("moved on", f.at(4, 3))
	say("quiet", f.at(5, -1))
	say("epoch too high", f.at(9, -1))
	say("epoch too low", f.at(2, -1))
	say("still there", f.at(6, -1))
	say("a second partition", with(f.at(7, 0), func(r *msg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 1 }))
	say("a partition that is none", with(f.at(8, 0), func(r *msg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 7 }))
	say("it errs again", f.at(9, -1))
	say("forget it", with(f.at(10, -1), func(r *msg.FetchRequest) {
		id := f.ids[0]
		if r.SessionID == f.session[1] {
			id = f.ids[1]
		}
		r.ForgottenTopicsData = []msg.FetchRequestForgottenTopicsData{{Topic: topic, TopicID: id, Partitions: []int32{7}}}
	}))
	say("quiet again", f.at(11, -1))
	say("a topic that is none", with(f.at(12, 0), func(r *msg.FetchRequest) {
		r.Topics[0].Topic, r.Topics[0].TopicID = "no-such-topic", kafka.UUID{9, 9}
	}))
	say("it errs again", f.at(13, -1))
	say("out of range", f.at(14, 99))
	say("out of range again", f.at(15, -1))
	say("back", f.at(16, 0))
	say("a wait in vain", with(f.at(17, 3), func(r *msg.FetchRequest) { r.MaxWaitMs = 200 }))
	say("a whole fetch on the session", f.at(0, 0))
	say("the old id after it", f.at(18, -1))
	say("close", f.at(-1, 0))
	say("after the end", f.at(19, -1))
	f.session = [2]int32{77, 77}
	say("unknown session", f.at(1, -1))
	say("close an unknown one", f.at(-1, 0))
	f.session = [2]int32{}
	say("no id, epoch 1", f.at(1, 0))
	say("open with nothing", f.at(0, -1))
}

// A session that began with names goes on with ids, and the other way.
func fetchSessionMixed(d *dialogue) {
	f := &fetcher{topic: "session-mixed", ids: d.newTopic("session-mixed", 1)}
	opened := ask[msg.FetchResponse](d, "open by name", 12, f.at(0, 0))
	f.session = [2]int32{opened[0].SessionID, opened[1].SessionID}
	ask[msg.FetchResponse](d, "go on by id", 13, f.at(1, 0))
	ask[msg.FetchResponse](d, "go on by id with nothing", 13, f.at(1, -1))
	ask[msg.FetchResponse](d, "go on by name", 12, f.at(1, 0))
	f.session = [2]int32{}
	opened = ask[msg.FetchResponse](d, "open by id", 13, f.at(0, 0))
	f.session = [2]int32{opened[0].SessionID, opened[1].SessionID}
	ask[msg.FetchResponse](d, "go on by name", 12, f.at(1, 0))
	ask[msg.FetchResponse](d, "go on by id", 16, f.at(1, 0))
}

func fetchOutOfRange(d *dialogue) {
	f := &fetcher{topic: "ranges", ids: d.newTopic("ranges", 1)}
	for range 3 {
		ask[msg.ProduceResponse](d, "produce", 9, same(produce("ranges", wirecmp.Batch(3))))
	}
	for v := int16(4); v <= 18; v++ {
		for _, offset := range []int64{0, 4, 8, 9, 10, 1 << 40} {
			ask[msg.FetchResponse](d, fmt.Sprint("at ", offset), v, f.at(-1, offset))
		}
	}
	ask[msg.DeleteRecordsResponse](d, "delete", 2, same(&msg.DeleteRecordsRequest{TimeoutMs: 5000, Topics: []msg.DeleteRecordsRequestTopic{
		{Name: "ranges", Partitions: []msg.DeleteRecordsRequestTopicPartition{{Offset: 4}}}}}))
	for _, offset := range []int64{0, 3, 4, 5, 9} {
		ask[msg.FetchResponse](d, fmt.Sprint("after deletion at ", offset), 13, f.at(-1, offset))
	}
	ask[msg.FetchResponse](d, "one byte", 13, with(f.at(-1, 4), func(r *msg.FetchRequest) { r.MaxBytes = 1; r.Topics[0].Partitions[0].PartitionMaxBytes = 1 }))
	ask[msg.FetchResponse](d, "no bytes", 13, with(f.at(-1, 4), func(r *msg.FetchRequest) { r.MaxBytes = 0 }))
	ask[msg.FetchResponse](d, "one batch", 13, with(f.at(-1, 3), func(r *msg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 95 }))
	ask[msg.FetchResponse](d, "read committed", 13, with(f.at(-1, 4), func(r *msg.FetchRequest) { r.IsolationLevel = 1 }))
	ask[msg.ListOffsetsResponse](d, "start", 6, same(listOffsets("ranges", 0, -2)))
}

// fetchLimits asks for three partitions of four batches each, with room for a
// few of them, without a session and in one that goes on.
func fetchLimits(d *dialogue) {
	const size = 91 // of each batch
	ids := d.newTopic("limits", 3)
	for i := range 12 {
		p := produce("limits", wirecmp.Batch(3))
		p.TopicData[0].PartitionData[0].Index = int32(i % 3)
		await(d, 9, same(p), func(r *msg.ProduceResponse) bool { return r.Responses[0].PartitionResponses[0].ErrorCode == 0 })
	}
	f := &fetcher{topic: "limits", ids: ids}
	three := func(epoch int32, whole, each int32) func(int) msg.Request {
		return with(f.at(epoch, 0), func(r *msg.FetchRequest) {
			r.MaxBytes = whole
			first := r.Topics[0].Partitions[0]
			first.PartitionMaxBytes = each
			r.Topics[0].Partitions = []msg.FetchRequestTopicPartition{first, first, first}
			for i := range r.Topics[0].Partitions {
				r.Topics[0].Partitions[i].Partition = int32(2 - i)
			}
		})
	}
	for _, whole := range []int32{0, 1, size, 2 * size, 4 * size, 5 * size, 8 * size, 12 * size, 1 << 20} {
		for _, each := range []int32{0, 1, size, 3 * size, 1 << 20} {
			ask[msg.FetchResponse](d, fmt.Sprintf("%d bytes, %d each", whole, each), 12, three(-1, whole, each))
		}
	}
	opened := ask[msg.FetchResponse](d, "open a session", 12, three(0, 5*size, 1<<20))
	f.session = [2]int32{opened[0].SessionID, opened[1].SessionID}
	for epoch := int32(1); epoch < 6; epoch++ {
		ask[msg.FetchResponse](d, "go on", 12, with(f.at(epoch, -1), func(r *msg.FetchRequest) { r.MaxBytes = 5 * size }))
	}
}

func epochs(d *dialogue) {
	f := &fetcher{topic: "epochs", ids: d.newTopic("epochs", 1)}
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("epochs", wirecmp.Batch(3))))
	for _, current := range []int32{-1, 0, 1, 7} {
		for _, v := range []int16{9, 12, 16} {
			ask[msg.FetchResponse](d, fmt.Sprint("fetch in epoch ", current), v,
				with(f.at(-1, 1), func(r *msg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = current }))
		}
		list := listOffsets("epochs", 0, -1)
		list.Topics[0].Partitions[0].CurrentLeaderEpoch = current
		ask[msg.ListOffsetsResponse](d, fmt.Sprint("list in epoch ", current), 7, same(list))
		for _, asked := range []int32{-1, 0, 1, 9} {
			r := msg.NewOffsetForLeaderEpochRequest()
			r.ReplicaID = -1
			r.Topics = []msg.OffsetForLeaderEpochRequestTopic{{Topic: "epochs", Partitions: []msg.OffsetForLeaderEpochRequestTopicPartition{
				{CurrentLeaderEpoch: current, LeaderEpoch: asked}}}}
			ask[msg.OffsetForLeaderEpochResponse](d, fmt.Sprintf("end of %d in %d", asked, current), 4, same(&r))
		}
	}
	for _, last := range []int32{-1, 0, 1, 9} {
		for _, offset := range []int64{1, 3, 9} {
			ask[msg.FetchResponse](d, fmt.Sprintf("last fetched epoch %d at %d", last, offset), 12,
				with(f.at(-1, offset), func(r *msg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = last }))
		}
	}
}

func offsetsByTime(d *dialogue) {
	const created = 1_700_000_000_000 // what Batch writes
	d.newTopic("times", 1)
	list := func(step string, v int16, at int64) {
		d.t.Helper()
		ask[msg.ListOffsetsResponse](d, fmt.Sprintf("%s %d", step, at), v, same(listOffsets("times", 0, at)))
	}
	for _, at := range []int64{-1, -2, -3, 0, created} {
		list("empty", 7, at)
	}
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("times", wirecmp.Batch(3))))
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("times", wirecmp.Batch(3))))
	for v := int16(1); v <= 11; v++ {
		for _, at := range []int64{-1, -2, -3, -4, -5, -6, -7, 0, created - 1, created, created + 1} {
			list("time", v, at)
		}
	}
}

func idempotent(d *dialogue) {
	d.newTopic("idem", 1)
	who := ask[msg.InitProducerIDResponse](d, "init", 4, same(&msg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}))
	send := func(step string, epoch int16, seq int32, n int) {
		d.t.Helper()
		ask[msg.ProduceResponse](d, step, 9, func(i int) msg.Request {
			return produce("idem", wirecmp.Sealed(wirecmp.Batch(n), who[i].ProducerID, epoch, seq))
		})
	}
	send("first", 0, 0, 3)
	send("duplicate", 0, 0, 3)
	send("second", 0, 3, 3)
	send("duplicate of the first", 0, 0, 3)
	send("gap", 0, 10, 3)
	send("overlap", 0, 4, 3)
	send("shorter duplicate", 0, 3, 2)
	for seq := int32(6); seq < 21; seq += 3 {
		send(fmt.Sprint("batch at ", seq), 0, seq, 3)
	}
	send("duplicate of the fifth last", 0, 9, 3)
	send("duplicate of the sixth last", 0, 3, 3)
	send("older epoch", -1, 0, 3)
	send("new epoch in the middle", 1, 21, 3)
	send("new epoch from its start", 1, 0, 3)
	send("epoch before", 0, 21, 3)
	send("duplicate in the new epoch", 1, 0, 3)
	send("far epoch", 9, 0, 3)
	ask[msg.DescribeProducersResponse](d, "describe", 0, same(&msg.DescribeProducersRequest{
		Topics: []msg.DescribeProducersRequestTopic{{Name: "idem", PartitionIndexes: []int32{0}}}}))
	ask[msg.ListOffsetsResponse](d, "end", 6, same(listOffsets("idem", 0, -1)))
}

// A client bumps its own epoch, and a producer is unknown to a partition.
func idempotentRestart(d *dialogue) {
	d.newTopic("idem-2", 1)
	first := ask[msg.InitProducerIDResponse](d, "init", 4, same(&msg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}))
	for _, epoch := range []int16{0, 5} {
		ask[msg.InitProducerIDResponse](d, fmt.Sprint("again from epoch ", epoch), 4, func(i int) msg.Request {
			return &msg.InitProducerIDRequest{ProducerID: first[i].ProducerID, ProducerEpoch: epoch}
		})
	}
	for _, c := range []struct {
		epoch int16
		seq   int32
	}{{0, 5}, {0, 8}, {0, 0}, {3, 0}, {3, 3}} {
		ask[msg.ProduceResponse](d, fmt.Sprintf("unknown producer at %d of epoch %d", c.seq, c.epoch), 9, func(int) msg.Request {
			return produce("idem-2", wirecmp.Sealed(wirecmp.Batch(3), 987654, c.epoch, c.seq))
		})
	}
	send := func(step string, pid int64, epoch int16, seq int32) {
		ask[msg.ProduceResponse](d, step, 9, same(produce("idem-2", wirecmp.Sealed(wirecmp.Batch(3), pid, epoch, seq))))
	}
	send("id without epoch", 987655, -1, 0)
	send("id without sequence", 987656, 0, -1)
	send("epoch without id", -1, 0, 0)
	send("sequence near its end", 987657, 0, 1<<31-2)
	send("sequence goes round", 987657, 0, 1)
}

func badBatches(d *dialogue) {
	d.newTopic("bad", 1)
	d.newTopic("bad-compact", 1, "cleanup.policy", "compact")
	good := wirecmp.Batch(3)
	damage := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	batches := map[string][]byte{
		"good":               good,
		"crc":                damage(17, 1, 2, 3, 4),
		"magic 0":            damage(16, 0),
		"magic 1":            damage(16, 1),
		"frame of magic 3":   damage(16, 3),
		"frame short":        damage(8, 0, 0, 0, 50),
		"frame tiny":         damage(8, 0, 0, 0, 1),
		"frame long":         damage(8, 0, 0, 1, 50),
		"frame negative":     damage(8, 0xff, 0xff, 0xff, 0xff),
		"base offset":        wirecmp.Reseal(damage(7, 5)),
		"leader epoch":       damage(12, 0, 0, 0, 9),
		"count more":         wirecmp.Reseal(damage(57, 0, 0, 0, 4)),
		"count less":         wirecmp.Reseal(damage(57, 0, 0, 0, 2)),
		"count none":         wirecmp.Reseal(damage(57, 0, 0, 0, 0)),
		"count negative":     wirecmp.Reseal(damage(57, 0xff, 0xff, 0xff, 0xff)),
		"last delta":         wirecmp.Reseal(damage(23, 0, 0, 0, 9)),
		"codec 5":            wirecmp.Reseal(damage(21, 0, 5)),
		"codec 7":            wirecmp.Reseal(damage(21, 0, 7)),
		"control":            wirecmp.Reseal(damage(21, 0, 0x20)),
		"log append time":    wirecmp.Reseal(damage(21, 0, 0x08)),
		"delete horizon":     wirecmp.Reseal(damage(21, 0, 0x40)),
		"reserved attribute": wirecmp.Reseal(damage(21, 0x80, 0)),
		"two":                append(bytes.Clone(good), good...),
		"torn":               good[:len(good)-3],
		"a header alone":     good[:61],
		"a byte":             {0},
		"half a header":      good[:30],
		"trailing bytes":     append(bytes.Clone(good), 0, 0, 0),
	}
	for _, name := range sorted(batches) {
		ask[msg.ProduceResponse](d, name, 9, same(produce("bad", batches[name])))
	}
	for v := int16(3); v <= 12; v++ {
		ask[msg.ProduceResponse](d, "crc", v, same(produce("bad", batches["crc"])))
		ask[msg.ProduceResponse](d, "count more", v, same(produce("bad", batches["count more"])))
	}
	ask[msg.ProduceResponse](d, "no key where one is needed", 9, same(produce("bad-compact", wirecmp.Keyless())))
	ask[msg.ProduceResponse](d, "keys where they are needed", 9, same(produce("bad-compact", good)))
	ask[msg.ListOffsetsResponse](d, "end", 6, same(listOffsets("bad", 0, -1)))
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func metadata(auto bool, names ...string) *msg.MetadataRequest {
	r := msg.NewMetadataRequest()
	r.AllowAutoTopicCreation = auto
	r.Topics = []msg.MetadataRequestTopic{}
	for _, n := range names {
		r.Topics = append(r.Topics, msg.MetadataRequestTopic{Name: &n})
	}
	return &r
}

func autoCreation(d *dialogue) {
	ask[msg.MetadataResponse](d, "not allowed", 9, same(metadata(false, "auto-a")))
	for v := int16(0); v <= 13; v++ {
		name := fmt.Sprint("auto-v", v)
		ask[msg.MetadataResponse](d, "allowed", v, same(metadata(true, name)))
		await(d, v, same(metadata(true, name)), func(r *msg.MetadataResponse) bool {
			return r.Topics[0].ErrorCode == 0 && len(r.Topics[0].Partitions) > 0
		})
		ask[msg.MetadataResponse](d, "made", v, same(metadata(false, name)))
	}
	ask[msg.MetadataResponse](d, "bad name", 9, same(metadata(true, "a b")))
	ask[msg.MetadataResponse](d, "empty name", 9, same(metadata(true, "")))
	ask[msg.MetadataResponse](d, "dots", 9, same(metadata(true, "..")))
	ask[msg.MetadataResponse](d, "long name", 9, same(metadata(true, strings.Repeat("y", 250))))
	ask[msg.MetadataResponse](d, "allowed: several", 9, same(metadata(true, "auto-v1", "auto-b", "a b")))
	ask[msg.MetadataResponse](d, "allowed: twice", 9, same(metadata(true, "auto-c", "auto-c")))
	ask[msg.MetadataResponse](d, "none", 9, same(metadata(true)))
	ask[msg.MetadataResponse](d, "allowed: names that collide", 9, same(metadata(true, "auto.v1", "auto_v1")))
	await(d, 9, same(metadata(false, "auto.v1", "auto_v1")), func(r *msg.MetadataResponse) bool {
		return r.Topics[0].ErrorCode == 0 && r.Topics[1].ErrorCode == 0
	})
	ask[msg.MetadataResponse](d, "made: names that collide", 9, same(metadata(false, "auto.v1", "auto_v1")))
	ask[msg.ProduceResponse](d, "produce to a topic that is none", 9, same(produce("auto-produce", wirecmp.Batch(1))))
	ask[msg.MetadataResponse](d, "producing makes nothing", 9, same(metadata(false, "auto-produce")))
	ask[msg.ListOffsetsResponse](d, "list a topic that is none", 6, same(listOffsets("auto-list", 0, -1)))
}

func lifeOfATopic(d *dialogue) {
	create := func(validate bool) *msg.CreateTopicsRequest {
		return &msg.CreateTopicsRequest{TimeoutMs: 10000, ValidateOnly: validate, Topics: []msg.CreateTopicsRequestTopic{
			{Name: "life", NumPartitions: 2, ReplicationFactor: -1, Configs: []msg.CreateTopicsRequestTopicConfig{
				{Name: "retention.ms", Value: ptr("-1")}, {Name: "segment.bytes", Value: ptr("1048576")}}}}}
	}
	ask[msg.CreateTopicsResponse](d, "validate", 7, same(create(true)))
	ask[msg.MetadataResponse](d, "validating makes nothing", 12, same(metadata(false, "life")))
	made := ask[msg.CreateTopicsResponse](d, "create", 7, same(create(false)))
	ids := [2]kafka.UUID{made[0].Topics[0].TopicID, made[1].Topics[0].TopicID}
	ask[msg.CreateTopicsResponse](d, "create again", 7, same(create(false)))
	d.awaitLed("life", 2)
	ask[msg.MetadataResponse](d, "metadata", 12, same(metadata(false, "life")))
	ask[msg.ProduceResponse](d, "produce by id", 13, func(i int) msg.Request {
		r := produce("", wirecmp.Batch(3))
		r.TopicData[0].TopicID = ids[i]
		return r
	})
	grow := func(n int32, validate bool) func(int) msg.Request {
		return same(&msg.CreatePartitionsRequest{TimeoutMs: 10000, ValidateOnly: validate, Topics: []msg.CreatePartitionsRequestTopic{{Name: "life", Count: n}}})
	}
	ask[msg.CreatePartitionsResponse](d, "grow, only asked", 3, grow(4, true))
	ask[msg.CreatePartitionsResponse](d, "grow", 3, grow(4, false))
	ask[msg.CreatePartitionsResponse](d, "grow to the same", 3, grow(4, false))
	ask[msg.CreatePartitionsResponse](d, "shrink", 3, grow(3, false))
	await(d, 12, same(metadata(false, "life")), func(r *msg.MetadataResponse) bool { return len(r.Topics[0].Partitions) == 4 })
	ask[msg.MetadataResponse](d, "grown", 12, same(metadata(false, "life")))
	describe := msg.NewDescribeTopicPartitionsRequest()
	describe.Topics = []msg.DescribeTopicPartitionsRequestTopic{{Name: "life"}}
	describe.ResponsePartitionLimit = 3
	ask[msg.DescribeTopicPartitionsResponse](d, "three of four", 0, same(&describe))
	for _, offset := range []int64{2, 1, -1, 9} {
		ask[msg.DeleteRecordsResponse](d, fmt.Sprint("delete to ", offset), 2, same(&msg.DeleteRecordsRequest{TimeoutMs: 5000,
			Topics: []msg.DeleteRecordsRequestTopic{{Name: "life", Partitions: []msg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}}))
	}
	drop := msg.NewDeleteTopicsRequest()
	drop.TimeoutMs, drop.Topics = 10000, []msg.DeleteTopicsRequestTopic{{Name: ptr("life")}}
	ask[msg.DeleteTopicsResponse](d, "delete", 6, same(&drop))
	ask[msg.DeleteTopicsResponse](d, "delete again", 6, same(&drop))
	await(d, 12, same(metadata(false, "life")), func(r *msg.MetadataResponse) bool { return r.Topics[0].ErrorCode != 0 })
	ask[msg.ProduceResponse](d, "produce after the end", 9, same(produce("life", wirecmp.Batch(1))))
	ask[msg.ProduceResponse](d, "produce by id after the end", 13, func(i int) msg.Request {
		r := produce("", wirecmp.Batch(3))
		r.TopicData[0].TopicID = ids[i]
		return r
	})
	f := &fetcher{topic: "life", ids: ids}
	ask[msg.FetchResponse](d, "fetch after the end", 12, f.at(-1, 0))
	ask[msg.FetchResponse](d, "fetch by id after the end", 13, f.at(-1, 0))
	ask[msg.CreateTopicsResponse](d, "create once more", 7, same(create(false)))
	d.awaitLed("life", 2)
	ask[msg.ListOffsetsResponse](d, "it begins at 0", 6, same(listOffsets("life", 0, -1)))
	ask[msg.ProduceResponse](d, "the old id is not the new topic", 13, func(i int) msg.Request {
		r := produce("", wirecmp.Batch(3))
		r.TopicData[0].TopicID = ids[i]
		return r
	})
}

func configsInTurn(d *dialogue) {
	d.newTopic("conf", 1, "max.message.bytes", "5000")
	show := func(step, name, value string) {
		d.t.Helper()
		r := msg.NewDescribeConfigsRequest()
		r.IncludeSynonyms = true
		r.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: "conf",
			ConfigurationKeys: []string{"cleanup.policy", "max.message.bytes", "retention.ms", "min.insync.replicas"}}}
		await(d, 4, same(&r), func(got *msg.DescribeConfigsResponse) bool {
			return slices.ContainsFunc(got.Results[0].Configs, func(c msg.DescribeConfigsResponseResultConfig) bool {
				return c.Name == name && *c.Value == value
			})
		})
		ask[msg.DescribeConfigsResponse](d, "shown "+step, 4, same(&r))
	}
	alter := func(step, name string, op int8, value *string) {
		d.t.Helper()
		ask[msg.IncrementalAlterConfigsResponse](d, step, 1, same(&msg.IncrementalAlterConfigsRequest{
			Resources: []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: "conf",
				Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, ConfigOperation: op, Value: value}}}}}))
	}
	show("at first", "max.message.bytes", "5000")
	alter("append", "cleanup.policy", 2, ptr("compact"))
	show("after append", "cleanup.policy", "delete,compact")
	alter("subtract", "cleanup.policy", 3, ptr("delete"))
	show("after subtract", "cleanup.policy", "compact")
	alter("append to a number", "retention.ms", 2, ptr("5"))
	alter("a bad value", "retention.ms", 0, ptr("soon"))
	alter("an unknown key", "retention.years", 0, ptr("5"))
	alter("remove an unknown key", "retention.years", 1, nil)
	alter("no value", "retention.ms", 0, nil)
	alter("ConfigOperation seven", "retention.ms", 7, ptr("5"))
	alter("remove", "max.message.bytes", 1, nil)
	alter("remove again", "max.message.bytes", 1, nil)
	show("after removal", "max.message.bytes", "1048588")
	ask[msg.AlterConfigsResponse](d, "replace all", 2, same(&msg.AlterConfigsRequest{Resources: []msg.AlterConfigsRequestResource{
		{ResourceType: 2, ResourceName: "conf", Configs: []msg.AlterConfigsRequestResourceConfig{{Name: "max.message.bytes", Value: ptr("100")}}}}}))
	show("after the replacement", "max.message.bytes", "100")
	tooLarge := produce("conf", wirecmp.Batch(9))
	await(d, 9, same(tooLarge), func(r *msg.ProduceResponse) bool {
		return kafka.Code(r.Responses[0].PartitionResponses[0].ErrorCode) == kafka.MessageTooLarge
	})
	ask[msg.ProduceResponse](d, "a record that is too large now", 9, same(tooLarge))
}
