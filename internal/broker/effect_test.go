package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// stand is a node on memory in a bubble of false time, with an ordinary client.
type stand struct {
	*testing.T
	fs  *vfs.Mem
	net *memnet.Network
	cl  *kgo.Client
	adm *kadm.Client
}

// onNode runs do beside a node that has these properties, "k=v k=v".
func onNode(t *testing.T, properties string, do func(s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { onDisk(t, nil, properties, do) })
}

// onDisk is onNode inside a bubble, on a disk that another node left; nil is an
// empty one.
func onDisk(t *testing.T, disk *vfs.Mem, properties string, do func(s *stand)) {
	t.Helper()
	cfg := memory(t, strings.Fields(properties)...)
	if disk != nil {
		cfg.FS = disk
	}
	s := &stand{T: t, fs: cfg.FS.(*vfs.Mem), net: memnet.New()}
	cfg.Listen = s.net.Host("node1").Listen
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	select {
	case <-b.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("ended early: %v", err)
	}
	s.cl = s.client()
	defer s.cl.Close()
	s.adm = kadm.NewClient(s.cl)
	do(s)
}

func (s *stand) client(opts ...kgo.Opt) *kgo.Client {
	s.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers("node1:9092"), kgo.Dialer(s.net.Host("client").Dial),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequestRetries(2), kgo.RecordRetries(2), kgo.DisableIdempotentWrite(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(10 << 20), kgo.ProducerLinger(0),
		kgo.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		s.Fatal(err)
	}
	return cl
}

// create makes a topic of one partition with properties "k=v k=v".
func (s *stand) create(topic, properties string) {
	s.Helper()
	set := map[string]*string{}
	for _, kv := range strings.Fields(properties) {
		k, v, _ := strings.Cut(kv, "=")
		set[k] = &v
	}
	if r, err := s.adm.CreateTopic(s.Context(), 1, 1, set, topic); err != nil {
		s.Fatalf("create %s: %v %s", topic, err, r.ErrMessage)
	}
}

// write produces one value and returns what the broker says of it.
func (s *stand) write(topic string, value string, at ...time.Time) error {
	s.Helper()
	r := &kgo.Record{Topic: topic, Value: []byte(value), Timestamp: time.Now()}
	if len(at) > 0 {
		r.Timestamp = at[0]
	}
	return s.cl.ProduceSync(s.Context(), r).FirstErr()
}

func (s *stand) mustWrite(topic string, values ...string) {
	s.Helper()
	for _, v := range values {
		if err := s.write(topic, v); err != nil {
			s.Fatalf("write to %s: %v", topic, err)
		}
	}
}

// read returns the first record of a topic.
func (s *stand) read(topic string) *kgo.Record {
	s.Helper()
	cl := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	fetches := cl.PollRecords(s.Context(), 1)
	if err := fetches.Err(); err != nil {
		s.Fatal(err)
	}
	return fetches.Records()[0]
}

func (s *stand) start(topic string) int64 {
	s.Helper()
	o, err := s.adm.ListStartOffsets(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	return o[topic][0].Offset
}

// files lists the partition's files with a suffix, and their bytes.
func (s *stand) files(fs vfs.FS, topic, suffix string) (n int, bytes int64) {
	s.Helper()
	list, err := fs.ReadDir(path.Join("/data", topic+"-0"))
	if err != nil {
		return 0, 0 // not even the folder is there
	}
	for _, f := range list {
		if strings.HasSuffix(f.Name, suffix) {
			n++
			bytes += f.Size
		}
	}
	return n, bytes
}

func (s *stand) want(what string, have, want any) {
	s.Helper()
	if have != want {
		s.Errorf("%s is %v, want %v", what, have, want)
	}
}

func (s *stand) wantErr(what string, have, want error) {
	s.Helper()
	if !errors.Is(have, want) {
		s.Errorf("%s: %v, want %v", what, have, want)
	}
}

// effect shows what a topic property does.
type effect struct {
	topic string // its setting, and those of others that help to see it
	node  string // properties of the node that help to see it
	show  func(s *stand)
}

// TestTopicProperties shows the effect of each topic property through a client
// and the files: first set on a topic, then on the node for all topics.
func TestTopicProperties(t *testing.T) { showOnTopic(t, topicEffects) }

func showOnTopic(t *testing.T, effects []effect) {
	t.Helper()
	for _, e := range effects {
		t.Run(e.topic, func(t *testing.T) {
			onNode(t, e.node, func(s *stand) {
				s.create("t", e.topic)
				s.create("plain", "")
				e.show(s)
			})
		})
		node, rest := "", ""
		for _, kv := range strings.Fields(e.topic) {
			k, v, _ := strings.Cut(kv, "=")
			if d, _ := config.Lookup(config.Topic, k); len(d.Synonyms) > 0 {
				node += " " + d.Synonyms[0].Name + "=" + v
			} else {
				rest += " " + kv
			}
		}
		if node == "" {
			continue
		}
		t.Run(strings.TrimSpace(node), func(t *testing.T) {
			onNode(t, e.node+node, func(s *stand) {
				s.create("t", rest)
				e.show(s)
			})
		})
	}
}

const (
	inSegmentsOf1K = " internal.segment.bytes=1000"
	checkOften     = "log.retention.check.interval.ms=1000"
)

var topicEffects = []effect{
	{topic: "max.message.bytes=300", show: func(s *stand) {
		s.wantErr("small", s.write("t", "small"), nil)
		s.wantErr("large", s.write("t", strings.Repeat("x", 500)), kerr.MessageTooLarge)
	}},
	{topic: "message.timestamp.type=LogAppendTime", show: func(s *stand) {
		s.wantErr("write", s.write("t", "v", time.UnixMilli(1000)), nil)
		s.want("timestamp", s.read("t").Timestamp.UnixMilli(), time.Now().UnixMilli())
	}},
	{topic: "message.timestamp.before.max.ms=1000", show: func(s *stand) {
		s.wantErr("old", s.write("t", "v", time.Now().Add(-2*time.Second)), kerr.InvalidTimestamp)
		s.wantErr("new", s.write("t", "v"), nil)
	}},
	{topic: "message.timestamp.after.max.ms=1000", show: func(s *stand) {
		s.wantErr("ahead", s.write("t", "v", time.Now().Add(2*time.Second)), kerr.InvalidTimestamp)
		s.wantErr("now", s.write("t", "v"), nil)
	}},
	{topic: "compression.type=gzip", show: storedAs(record.Gzip)},
	{topic: "compression.type=snappy", show: storedAs(record.Snappy)},
	{topic: "compression.type=lz4", show: storedAs(record.LZ4)},
	{topic: "compression.type=zstd", show: storedAs(record.Zstd)},
	{topic: "compression.type=gzip compression.gzip.level=1", show: smallerAt("gzip", "9")},
	{topic: "compression.type=lz4 compression.lz4.level=1", show: smallerAt("lz4", "12")},
	{topic: "compression.type=zstd compression.zstd.level=1", show: smallerAt("zstd", "19")},
	{topic: "segment.bytes=1048576", show: func(s *stand) {
		big := strings.Repeat("x", 700_000)
		s.mustWrite("t", big, big, big)
		n, _ := s.files(s.fs, "t", ".log")
		s.want("segments", n, 3)
	}},
	{topic: "internal.segment.bytes=1000", show: func(s *stand) {
		big := strings.Repeat("x", 700)
		s.mustWrite("t", big, big, big)
		n, _ := s.files(s.fs, "t", ".log")
		s.want("segments", n, 3)
	}},
	{topic: "segment.ms=60000", show: func(s *stand) {
		s.mustWrite("t", "a", "b")
		time.Sleep(61 * time.Second)
		s.mustWrite("t", "c")
		n, _ := s.files(s.fs, "t", ".log")
		s.want("segments", n, 2)
	}},
	{topic: "segment.ms=60000 segment.jitter.ms=60000", show: func(s *stand) {
		for range 40 { // without jitter three go into a segment
			s.mustWrite("t", "v")
			time.Sleep(25 * time.Second)
		}
		if n, _ := s.files(s.fs, "t", ".log"); n <= 14 {
			s.Errorf("%d segments, as many as without jitter", n)
		}
	}},
	{topic: "segment.index.bytes=40 index.interval.bytes=1", show: func(s *stand) {
		s.mustWrite("t", strings.Split(strings.Repeat("v", 30), "")...)
		if n, _ := s.files(s.fs, "t", ".log"); n < 4 {
			s.Errorf("%d segments: the index was not full", n)
		}
	}},
	{topic: "segment.index.bytes=40 index.interval.bytes=100000", show: func(s *stand) {
		s.mustWrite("t", strings.Split(strings.Repeat("v", 30), "")...)
		n, _ := s.files(s.fs, "t", ".log")
		s.want("segments", n, 1)
	}},
	{topic: "retention.bytes=3000" + inSegmentsOf1K, node: checkOften, show: func(s *stand) { startMoves(s, time.Minute) }},
	{topic: "retention.ms=60000" + inSegmentsOf1K, node: checkOften, show: func(s *stand) { startMoves(s, 2*time.Minute) }},
	{topic: "cleanup.policy= retention.ms=60000" + inSegmentsOf1K, node: checkOften, show: func(s *stand) {
		s.mustWrite("t", strings.Repeat("x", 700), strings.Repeat("x", 700))
		time.Sleep(time.Hour)
		s.want("start", s.start("t"), int64(0))
	}},
	{topic: "flush.messages=1", show: durableAfter(100 * time.Millisecond)},
	{topic: "flush.ms=1000", show: durableAfter(1100 * time.Millisecond)},
	{topic: "validate.records=true", show: func(s *stand) {
		s.want("refusal", produceRaw(s, "t", unopenable()), kerr.UnknownServerError.Code)
		s.create("carried", "")
		s.want("refusal of what is only carried", produceRaw(s, "carried", unopenable()), int16(0))
	}},
	{topic: "write.caching=true", show: func(s *stand) {
		s.create("safe", "")
		s.mustWrite("t", "v")
		s.mustWrite("safe", "v")
		crashed := s.fs.Crash(vfs.DropAll, nil)
		_, t := s.files(crashed, "t", ".log")
		_, safe := s.files(crashed, "safe", ".log")
		s.want("durable under write.caching", t, int64(0))
		if safe == 0 {
			s.Error("acks=all was answered before the flush")
		}
	}},
}

// storedAs finds the codec of a stored batch, which it does not open: the
// client's zstd decoder has a finalizer that a bubble does not bear.
func storedAs(codec record.Codec) func(*stand) {
	return func(s *stand) {
		s.mustWrite("t", strings.Repeat("compress me ", 100))
		h, err := record.ParseHeader(fetchOnce(s, "t").Topics[0].Partitions[0].RecordBatches)
		s.wantErr("batch", err, nil)
		s.want("codec", h.Attributes.Codec(), codec)
	}
}

// smallerAt writes text to t, whose level is the lowest, and to a topic with a
// higher level, and compares what is stored.
func smallerAt(codec, level string) func(*stand) {
	return func(s *stand) {
		s.create("best", fmt.Sprintf("compression.type=%s compression.%s.level=%s", codec, codec, level))
		var text strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&text, "%d,%d;", i*i%977, i%13)
		}
		s.mustWrite("t", text.String())
		s.mustWrite("best", text.String())
		_, fast := s.files(s.fs, "t", ".log")
		_, best := s.files(s.fs, "best", ".log")
		if best >= fast {
			s.Errorf("level %s takes %d bytes, level 1 %d", level, best, fast)
		}
	}
}

// startMoves fills segments of t, waits, and finds the oldest gone.
func startMoves(s *stand, wait time.Duration) {
	s.Helper()
	for range 10 {
		s.mustWrite("t", strings.Repeat("x", 700))
	}
	s.want("start", s.start("t"), int64(0))
	time.Sleep(wait)
	if s.start("t") == 0 {
		s.Error("nothing was deleted")
	}
}

// durableAfter finds that acks=1 is durable so long after the answer, and that
// on a topic without the property it is not.
func durableAfter(wait time.Duration) func(*stand) {
	return func(s *stand) {
		quick := s.client(kgo.RequiredAcks(kgo.LeaderAck()))
		defer quick.Close()
		if err := quick.ProduceSync(s.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
			s.Fatal(err)
		}
		time.Sleep(wait)
		if _, n := s.files(s.fs.Crash(vfs.DropAll, nil), "t", ".log"); n == 0 {
			s.Errorf("not durable after %v", wait)
		}
	}
}

// unopenable is a batch whose header and CRC are right and whose gzip is not.
func unopenable() []byte {
	b := record.Builder{Codec: record.Gzip}
	b.Append(record.Record{Value: []byte("v"), Timestamp: time.Now().UnixMilli()})
	batch := b.Bytes()
	for i := record.HeaderSize; i < len(batch); i++ {
		batch[i] = 0x55
	}
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

// produceRaw sends one batch as it is and returns the partition's error code.
func produceRaw(s *stand, topic string, batch []byte) int16 {
	s.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 5000
	one := kmsg.NewProduceRequestTopic()
	one.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	return ask[*kmsg.ProduceResponse](s, pinned{req}).Topics[0].Partitions[0].ErrorCode
}

// pinned keeps a request at the version it has, where topics go by name.
type pinned struct{ *kmsg.ProduceRequest }

func (p pinned) MaxVersion() int16 { return p.Version }

// TestPropertiesChangeAtRunTime sets a property on a topic, on the node and for
// all nodes while the node runs, and takes it back again.
func TestPropertiesChangeAtRunTime(t *testing.T) {
	onNode(t, "", func(s *stand) {
		s.create("t", "")
		large := strings.Repeat("x", 500)
		alter := map[string]func(op kadm.IncrementalOp, key string){
			"max.message.bytes": func(op kadm.IncrementalOp, key string) {
				got, err := s.adm.AlterTopicConfigs(s.Context(), []kadm.AlterConfig{{Op: op, Name: key, Value: kadm.StringPtr("300")}}, "t")
				if err != nil || got[0].Err != nil {
					s.Fatalf("%v %v", err, got)
				}
			},
			"message.max.bytes on the node": func(op kadm.IncrementalOp, _ string) { s.alterNode(op, "message.max.bytes", "300", 1) },
			"message.max.bytes for all":     func(op kadm.IncrementalOp, _ string) { s.alterNode(op, "message.max.bytes", "300") },
		}
		for _, name := range []string{"max.message.bytes", "message.max.bytes on the node", "message.max.bytes for all"} {
			s.wantErr(name+" before", s.write("t", large), nil)
			alter[name](kadm.SetConfig, name)
			time.Sleep(time.Second)
			s.wantErr(name+" set", s.write("t", large), kerr.MessageTooLarge)
			alter[name](kadm.DeleteConfig, name)
			time.Sleep(time.Second)
			s.wantErr(name+" taken back", s.write("t", large), nil)
		}
	})
}

// alterNode changes a property of some brokers, or the default of all.
func (s *stand) alterNode(op kadm.IncrementalOp, key, value string, brokers ...int32) {
	s.Helper()
	got, err := s.adm.AlterBrokerConfigs(s.Context(), []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, brokers...)
	if err != nil || got[0].Err != nil {
		s.Fatalf("%v %v", err, got)
	}
}

// pass lets the bubble's time go on.
func (s *stand) pass(d time.Duration) { time.Sleep(d) }
