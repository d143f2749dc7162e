package api

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// stage is a broker's data path on a file system in memory: topic "t" with two
// partitions, "old" with one, and the handlers.
type stage struct {
	*client
	fs       *vfs.Mem
	replicas *replica.Table
	sessions *FetchSessions
	data     *DataHandlers
	more     func(*Config) // before the table is made
}

func idOf(topic string) kafka.UUID { return kafka.UUID{0: topic[0], 15: 1} }

// onStage runs a test in a bubble.
func onStage(t *testing.T, do func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{fs: vfs.NewMem(vfs.MemConfig{Now: time.Now})}
		stop := s.start(t)
		defer stop()
		do(t, s)
	})
}

func (s *stage) start(t *testing.T) (stop func()) {
	logger := slog.New(slog.DiscardHandler)
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: s.fs, Path: "/data", Logger: logger, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now, Logger: logger})
	s.replicas = replica.NewTable(replica.Config{Self: 1, Dirs: []replica.Dir{{Home: home, FS: s.fs, Flusher: flusher}},
		Pool: record.NewPool(record.PoolConfig{}), Now: time.Now, Logger: logger})
	ctx, cancel := context.WithCancel(context.Background())
	flushing, stopFlusher := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.replicas.Run(ctx) }()
	go func() { done <- flusher.Run(flushing) }()

	role := partition.Assignment{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}
	var delta replica.Delta
	for _, tp := range []kafka.TopicPartition{{Topic: "t"}, {Topic: "t", Partition: 1}, {Topic: "compacted"}} {
		cfg := replica.DefaultTopicConfig()
		cfg.Compacted = tp.Topic == "compacted"
		delta.Assigned = append(delta.Assigned, replica.Assignment{TopicPartition: tp, TopicID: idOf(tp.Topic), Config: new(cfg), Role: role})
	}
	s.replicas.Apply(delta)

	image := cluster.Empty("test-cluster-0000000000")
	cfg := testConfig()
	cfg.Groups, cfg.Txns, cfg.Admin, cfg.Cluster = nil, nil, nil, nil
	s.sessions = NewFetchSessions(3, rand.New(rand.NewPCG(1, 2)), time.Now)
	cfg.Data = &DataHandlers{Replicas: s.replicas, Image: func() *cluster.Image { return image }, NodeID: 1,
		Sessions: s.sessions, FetchMaxBytes: 55 << 20}
	s.data = cfg.Data
	if s.more != nil {
		s.more(&cfg)
	}
	s.client = newClient(t, testTable(t, cfg))
	return func() {
		cancel()
		<-done
		stopFlusher()
		<-done
		if err := home.Close(true); err != nil {
			t.Error(err)
		}
	}
}

// batch is a client's batch of n records of size bytes.
func batch(n, size int) []byte {
	var b record.Builder
	for range n {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: make([]byte, size)})
	}
	return b.Bytes()
}

// seal computes the CRC of a batch anew.
func seal(b []byte) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func produceTo(acks int16, topic string, parts ...int32) *msg.ProduceRequest {
	req := msg.NewProduceRequest()
	req.Acks, req.TimeoutMs = acks, 5000
	t := msg.ProduceRequestTopicData{Name: topic, TopicID: idOf(topic)}
	for _, p := range parts {
		t.PartitionData = append(t.PartitionData, msg.ProduceRequestTopicDataPartitionData{Index: p, Records: batch(2, 10)})
	}
	req.TopicData = append(req.TopicData, t)
	return &req
}

// rows prints an answer to Produce, a line a partition.
func rows(resp *msg.ProduceResponse) string {
	var b strings.Builder
	for _, t := range resp.Responses {
		for _, p := range t.PartitionResponses {
			fmt.Fprintf(&b, "%s-%d %s base=%d time=%d start=%d", t.Name, p.Index, kafka.Code(p.ErrorCode).Name(),
				p.BaseOffset, p.LogAppendTimeMs, p.LogStartOffset)
			for _, e := range p.RecordErrors {
				fmt.Fprintf(&b, " record %d", e.BatchIndex)
			}
			if p.ErrorMessage != nil {
				fmt.Fprintf(&b, " %q", *p.ErrorMessage)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func (s *stage) produce(version int16, req *msg.ProduceRequest) string {
	s.t.Helper()
	resp := msg.NewProduceResponse()
	s.ask(version, req, &resp)
	return rows(&resp)
}

func TestProduceVersions(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		base := 0
		for v := int16(3); v <= 13; v++ {
			for _, acks := range []int16{1, -1} {
				name, start := "t", 0
				if v >= 13 {
					name = ""
				}
				if v < 5 {
					start = -1
				}
				want := fmt.Sprintf("%s-0 NONE base=%d time=-1 start=%d\n", name, base, start)
				if got := s.produce(v, produceTo(acks, "t", 0)); got != want {
					t.Errorf("v%d acks=%d: got %s want %s", v, acks, got, want)
				}
				base += 2
			}
		}
	})
}

// TestProduceRefusals pins codes and log start offsets as a real Kafka answers
// them: the offset is told only where the log itself refused.
func TestProduceRefusals(t *testing.T) {
	edit := func(f func(b []byte) []byte) func(*msg.ProduceRequest) {
		return func(r *msg.ProduceRequest) {
			d := &r.TopicData[0].PartitionData[0]
			d.Records = f(d.Records)
		}
	}
	sealed := func(f func(b []byte)) func(*msg.ProduceRequest) {
		return edit(func(b []byte) []byte { f(b); seal(b); return b })
	}
	for _, c := range []struct {
		name    string
		version int16
		change  func(*msg.ProduceRequest)
		want    string
	}{
		{"unknown topic", 9, func(r *msg.ProduceRequest) { r.TopicData[0].Name = "nope" }, "nope-0 UNKNOWN_TOPIC_OR_PARTITION base=-1 time=-1 start=-1"},
		{"unknown partition", 9, func(r *msg.ProduceRequest) { r.TopicData[0].PartitionData[0].Index = 7 }, "t-7 UNKNOWN_TOPIC_OR_PARTITION base=-1 time=-1 start=-1"},
		{"negative partition", 9, func(r *msg.ProduceRequest) { r.TopicData[0].PartitionData[0].Index = -1 }, "t--1 UNKNOWN_TOPIC_OR_PARTITION base=-1 time=-1 start=-1"},
		{"unknown id", 13, func(r *msg.ProduceRequest) { r.TopicData[0].TopicID = kafka.UUID{9} }, "-0 UNKNOWN_TOPIC_ID base=-1 time=-1 start=-1"},
		{"no id", 13, func(r *msg.ProduceRequest) { r.TopicData[0].TopicID = kafka.UUID{} }, "-0 UNKNOWN_TOPIC_ID base=-1 time=-1 start=-1"},
		{"acks", 9, func(r *msg.ProduceRequest) { r.Acks = 2 }, "t-0 INVALID_REQUIRED_ACKS base=-1 time=-1 start=-1"},
		{"null records", 9, edit(func([]byte) []byte { return nil }), "t-0 INVALID_RECORD base=-1 time=-1 start=-1"},
		{"empty records", 9, edit(func([]byte) []byte { return []byte{} }), "t-0 INVALID_RECORD base=-1 time=-1 start=-1"},
		{"three bytes", 9, edit(func(b []byte) []byte { return b[:3] }), "t-0 INVALID_RECORD base=-1 time=-1 start=-1"},
		{"cut off", 9, edit(func(b []byte) []byte { return b[:70] }), "t-0 INVALID_RECORD base=-1 time=-1 start=-1"},
		{"two batches", 9, edit(func(b []byte) []byte { return append(b, batch(1, 1)...) }), "t-0 INVALID_RECORD base=-1 time=-1 start=-1"},
		{"bad CRC", 9, edit(func(b []byte) []byte { b[70] ^= 1; return b }), "t-0 CORRUPT_MESSAGE base=-1 time=-1 start=-1"},
		{"magic 1", 9, edit(func(b []byte) []byte { b[16] = 1; return b }), "t-0 INVALID_RECORD base=-1 time=-1 start=-1"},
		{"base offset", 9, edit(func(b []byte) []byte { b[7] = 5; return b }), "t-0 INVALID_RECORD base=-1 time=-1 start=0"},
		{"count", 9, sealed(func(b []byte) { b[60] = 3 }), "t-0 INVALID_RECORD base=-1 time=-1 start=0"},
		{"control", 9, sealed(func(b []byte) { b[22] |= 0x20 }), "t-0 INVALID_RECORD base=-1 time=-1 start=0"},
		{"codec 6", 9, sealed(func(b []byte) { b[22] |= 6 }), "t-0 UNKNOWN_SERVER_ERROR base=-1 time=-1 start=0"},
		{"transactional", 9, sealed(func(b []byte) { b[22] |= 0x10 }), "t-0 TRANSACTIONAL_ID_AUTHORIZATION_FAILED base=-1 time=-1 start=-1"},
		{"zstd before v7", 6, sealed(func(b []byte) { b[22] |= 4 }), "t-0 UNSUPPORTED_COMPRESSION_TYPE base=-1 time=-1 start=-1"},
		{"trailing bytes", 9, edit(func(b []byte) []byte { return append(b, 1, 2, 3) }), "t-0 NONE base=0 time=-1 start=0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.client.t = t
				req := produceTo(1, "t", 0)
				c.change(req)
				if got := strings.TrimSpace(s.produce(c.version, req)); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

func TestProduceRecordErrors(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		req := produceTo(1, "compacted", 0)
		var b record.Builder
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte("v")})
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
		req.TopicData[0].PartitionData[0].Records = b.Bytes()
		if got := s.produce(9, req); !strings.HasPrefix(got, "compacted-0 INVALID_RECORD base=-1 time=-1 start=0 record 1 \"") {
			t.Error(got)
		}
	})
}

// TestProduceListedTwice pins that what is listed twice is written once and
// answered once, as in Kafka.
func TestProduceListedTwice(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		req := produceTo(-1, "t", 0, 0, 1)
		req.TopicData = append(req.TopicData, produceTo(-1, "nope", 0).TopicData...)
		req.TopicData = append(req.TopicData, produceTo(-1, "t", 1).TopicData...)
		want := "t-0 NONE base=0 time=-1 start=0\nt-1 NONE base=0 time=-1 start=0\n" +
			"nope-0 UNKNOWN_TOPIC_OR_PARTITION base=-1 time=-1 start=-1\n"
		if got := s.produce(9, req); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestProduceAcks0(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		req := produceTo(0, "t", 0)
		if got := s.send(kafka.KeyProduce, 9, req.Append(nil, 9)); got != nil || s.out.Close {
			t.Errorf("answer %x, close %v", got, s.out.Close)
		}
		req = produceTo(0, "nope", 0)
		if got := s.send(kafka.KeyProduce, 9, req.Append(nil, 9)); got != nil || !s.out.Close {
			t.Errorf("answer %x, close %v", got, s.out.Close)
		}
	})
}

// TestProduceWaitsForFlush pins that acks=all is answered by the flusher, and as
// REQUEST_TIMED_OUT when that takes too long.
func TestProduceWaitsForFlush(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.produce(9, produceTo(-1, "t", 0, 1))
		s.fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpSync {
				v.Delay = 8 * time.Second
			}
			return v
		})
		req := produceTo(-1, "t", 0, 1)
		resp := msg.NewProduceResponse()
		start := time.Now()
		s.ask(9, req, &resp)
		want := "t-0 REQUEST_TIMED_OUT base=2 time=-1 start=0\nt-1 REQUEST_TIMED_OUT base=2 time=-1 start=0\n"
		if got := rows(&resp); got != want || time.Since(start) != 5*time.Second {
			t.Errorf("after %v got\n%swant\n%s", time.Since(start), got, want)
		}
		s.fs.SetHook(nil)
		if got := s.produce(9, produceTo(-1, "t", 0)); got != "t-0 NONE base=4 time=-1 start=0\n" {
			t.Error(got)
		}
	})
}

// TestProduceAllocates pins that the usual Produce allocates nothing.
func TestProduceAllocates(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		req := produceTo(1, "t", 0)
		id := "test"
		h := msg.RequestHeader{APIKey: kafka.KeyProduce, APIVersion: 9, CorrelationID: 1, ClientID: &id}
		frame := req.Append(h.Append(nil, 2), 9)
		work := make([]byte, len(frame))
		s.out = Reply{}
		n := testing.AllocsPerRun(2000, func() {
			copy(work, frame)
			s.out.Sent()
			if err := s.table.Admit(s.call, work); err != nil {
				t.Fatal(err)
			}
			s.call.Time = time.Now()
			s.table.Serve(s.call, &s.out)
		})
		t.Logf("%.2f allocations", n)
		if n > 0.1 && pooled {
			t.Errorf("%.2f allocations a request", n)
		}
	})
}

// TestFetchAllocates pins that the usual Fetch allocates nothing.
func TestFetchAllocates(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.produce(9, produceTo(1, "t", 0))
		id := "test"
		h := msg.RequestHeader{APIKey: kafka.KeyFetch, APIVersion: 12, CorrelationID: 1, ClientID: &id}
		frame := append(h.Append(nil, 2), sample(kafka.KeyFetch, 12)...)
		s.out = Reply{}
		n := testing.AllocsPerRun(2000, func() {
			s.out.Sent()
			if err := s.table.Admit(s.call, frame); err != nil {
				t.Fatal(err)
			}
			s.call.Time = time.Now()
			s.table.Serve(s.call, &s.out)
		})
		t.Logf("%.2f allocations", n)
		if n > 0.1 {
			t.Errorf("%.2f allocations a request", n)
		}
	})
}
