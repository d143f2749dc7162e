//go:build system

package system

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topic is the load's, where there is one.
const topic = "load"

// load writes to every partition of a topic from several producers, and reads
// it all back meanwhile.
type load struct {
	addr       string
	topic      string
	partitions int32
	replicas   int16
	largest    int           // bytes of a record
	pace       time.Duration // between two records of a producer
	producers  []*producer
	acked      atomic.Int64
	ackedIn    []atomic.Int64 // by partition
	silence    silence        // how long partitions acknowledged nothing
	stop       chan struct{}
	held       atomic.Bool // nothing new is written
	writing    sync.WaitGroup
	reading    sync.WaitGroup
	endReading context.CancelFunc
	live       *ledger
	cl         *kgo.Client // the live reader's
	low        []int64     // by partition: what was deleted on request; nil if nothing was

	mu     sync.Mutex
	faults []string // what can never be
}

// loadConfig says how much load there is.
type loadConfig struct {
	name                           string // of the topic; empty is [topic]
	replicas                       int16  // of the topic; 0 is 1
	producers, partitions, largest int
	pace                           time.Duration     // between two records of a producer; 0 is as fast as it goes
	topic                          map[string]string // its configuration
}

// producer is one idempotent client.
type producer struct {
	id   uint16
	cl   *kgo.Client
	next []uint64 // by partition: the number of the next record

	mu      sync.Mutex
	acked   [][]int64 // by partition and number: the offset acknowledged, -1 before
	waiting []int     // by partition: records without an answer
	freed   chan struct{}
}

// window is how many records of a producer may wait for their answer in each
// partition: one that is offline must not hold up the others.
const window = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes the record of a producer with a number.
//
//	0 producer (2)  2 partition (4)  6 number (8)  14 noise  ... CRC-32C (4)
func encode(id uint16, partition int32, seq uint64, largest int) []byte {
	noise := rand.New(rand.NewPCG(uint64(id)<<32|uint64(partition), seq))
	b := make([]byte, 14+noise.IntN(largest))
	binary.BigEndian.PutUint16(b, id)
	binary.BigEndian.PutUint32(b[2:], uint32(partition))
	binary.BigEndian.PutUint64(b[6:], seq)
	for i := 14; i+8 <= len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], noise.Uint64())
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decode(b []byte) (id uint16, partition int32, seq uint64, err error) {
	if len(b) < 18 || binary.BigEndian.Uint32(b[len(b)-4:]) != crc32.Checksum(b[:len(b)-4], castagnoli) {
		return 0, 0, 0, fmt.Errorf("%d bytes with a wrong checksum", len(b))
	}
	return binary.BigEndian.Uint16(b), int32(binary.BigEndian.Uint32(b[2:])), binary.BigEndian.Uint64(b[6:]), nil
}

// client makes a client that tries again soon and never gives up.
func client(t testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(addr, ",")...), kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.RequestRetries(1 << 30), kgo.RetryTimeout(2 * time.Minute), kgo.UnknownTopicRetries(-1), kgo.AlwaysRetryEOF(), kgo.DialTimeout(2 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// startLoad makes the topic and begins to write and read.
func startLoad(t testing.TB, addr string, cfg loadConfig) *load {
	t.Helper()
	settings := map[string]*string{}
	for k, v := range cfg.topic {
		settings[k] = &v
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	name := cmp.Or(cfg.name, topic)
	res, err := kadm.NewClient(client(t, addr)).CreateTopic(ctx, int32(cfg.partitions), max(cfg.replicas, 1), settings, name)
	if err != nil || res.Err != nil {
		t.Fatalf("creating the topic: %v %v", err, res.Err)
	}
	l := &load{addr: addr, topic: name, partitions: int32(cfg.partitions), replicas: cfg.replicas, largest: cfg.largest, pace: cfg.pace, stop: make(chan struct{}),
		ackedIn: make([]atomic.Int64, cfg.partitions)}
	l.silence.begin(cfg.partitions)
	l.live = l.newLedger(cfg.producers)
	var opts []kgo.Opt
	if cfg.replicas > 1 { // a node that is stopped answers nothing: others may have taken over meanwhile
		opts = []kgo.Opt{kgo.ProduceRequestTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(500 * time.Millisecond)}
	}
	for i := range cfg.producers {
		codec := []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[i%3]
		p := &producer{id: uint16(i), next: make([]uint64, cfg.partitions), acked: make([][]int64, cfg.partitions),
			waiting: make([]int, cfg.partitions), freed: make(chan struct{}, 1),
			cl: client(t, addr, append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(codec),
				kgo.MaxBufferedRecords(window*cfg.partitions), kgo.ProducerLinger(0), kgo.StopProducerOnDataLossDetected())...)}
		l.producers = append(l.producers, p)
	}
	for _, p := range l.producers {
		l.writing.Go(func() { l.write(p) })
	}
	l.cl = client(t, addr, kgo.ConsumePartitions(l.from(l.live.at())), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(100*time.Millisecond))
	reading, endReading := context.WithCancel(context.Background())
	l.endReading = endReading
	l.reading.Go(func() { l.follow(reading, l.cl, l.live) })
	t.Cleanup(func() {
		endReading()
		l.reading.Wait()
	})
	return l
}

// from names all partitions with where to read from.
func (l *load) from(offsets []int64) map[string]map[int32]kgo.Offset {
	out := map[int32]kgo.Offset{}
	for p, at := range offsets {
		out[int32(p)] = kgo.NewOffset().At(at)
	}
	return map[string]map[int32]kgo.Offset{l.topic: out}
}

// fault notes what can never be.
func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < 20 {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// broken tells whether anything was noted.
func (l *load) broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults
}

// write produces until the load is stopped.
func (l *load) write(p *producer) {
	dice := rand.New(rand.NewPCG(uint64(p.id), 1))
	for {
		if l.held.Load() {
			pause(10 * time.Millisecond)
			continue
		}
		part, ok := p.choose(dice)
		if !ok { // every window is full
			select {
			case <-l.stop:
				return
			case <-p.freed:
			}
			continue
		}
		select {
		case <-l.stop:
			return
		default:
		}
		seq := p.next[part]
		p.next[part]++
		p.mu.Lock()
		p.acked[part] = append(p.acked[part], -1)
		p.waiting[part]++
		p.mu.Unlock()
		r := &kgo.Record{Topic: l.topic, Partition: part, Value: encode(p.id, part, seq, l.largest)}
		p.cl.Produce(context.Background(), r, func(r *kgo.Record, err error) { l.answered(p, seq, r, err) })
		if l.pace > 0 {
			pause(l.pace)
		}
	}
}

// choose throws the dice for a partition whose window has room.
func (p *producer) choose(dice *rand.Rand) (partition int32, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := dice.IntN(len(p.waiting))
	for i := range p.waiting {
		if part := (first + i) % len(p.waiting); p.waiting[part] < window {
			return int32(part), true
		}
	}
	return 0, false
}

// answered takes the answer for record number seq.
func (l *load) answered(p *producer, seq uint64, r *kgo.Record, err error) {
	if err != nil {
		l.fault("producer %d, partition %d, record %d was refused for good: %v", p.id, r.Partition, seq, err)
	}
	p.mu.Lock()
	p.waiting[r.Partition]--
	if err == nil {
		p.acked[r.Partition][seq] = r.Offset
	}
	p.mu.Unlock()
	select {
	case p.freed <- struct{}{}:
	default:
	}
	if err == nil {
		l.silence.mark(r.Partition)
		l.ackedIn[r.Partition].Add(1)
		l.acked.Add(1)
	}
}

// awaitAcked waits until n more records are acknowledged.
func (l *load) awaitAcked(n int64, limit time.Duration) error {
	want := l.acked.Load() + n
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for l.acked.Load() < want {
		if f := l.broken(); len(f) > 0 {
			return fmt.Errorf("%s", f[0])
		}
		select {
		case <-tick.C:
		case <-end.C:
			return fmt.Errorf("only %d of %d records were acknowledged within %v", n-(want-l.acked.Load()), n, limit)
		}
	}
	return nil
}

// finish ends the load and fails the test for every fault; see [load.settle].
func (l *load) finish(t testing.TB) {
	t.Helper()
	l.settle(t)
	for _, f := range l.broken() {
		t.Error(f)
	}
	if t.Failed() {
		return
	}
	t.Logf("%d records of %d producers in %d partitions: all there once, in order", l.acked.Load(), len(l.producers), l.partitions)
}

// settle ends the writing, waits until everything is acknowledged, reads the
// topic whole and compares: what was acknowledged, what the live reader saw,
// and what is there. What does not agree is a fault.
func (l *load) settle(t testing.TB) {
	t.Helper()
	close(l.stop)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.writing.Wait()
		for _, p := range l.producers {
			p.cl.Flush(context.Background())
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("records still wait for their answer after 2 min: %v", l.broken())
	}
	for _, p := range l.producers {
		p.cl.Close()
	}
	ends := l.ends(t)
	l.awaitRead(t, l.live, ends)
	l.endReading()
	l.reading.Wait()
	l.live.settle(l, "the live reader")

	again := l.newLedger(len(l.producers))
	if l.low != nil {
		again.skip(l.live, l.low)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	cl := client(t, l.addr, kgo.ConsumePartitions(l.from(again.at())), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	reading.Go(func() { l.follow(ctx, cl, again) })
	l.awaitRead(t, again, ends)
	cancel()
	reading.Wait()
	again.settle(l, "a fresh reader")
}

// ends asks for the end of each partition.
func (l *load) ends(t testing.TB) []int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	list, err := kadm.NewClient(client(t, l.addr)).ListEndOffsets(ctx, l.topic)
	if err == nil {
		err = list.Error()
	}
	if err != nil {
		t.Fatalf("asking for the ends: %v", err)
	}
	ends := make([]int64, l.partitions)
	list.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends
}

// awaitRead waits until a reader has reached the given ends.
func (l *load) awaitRead(t testing.TB, g *ledger, ends []int64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for !g.reached(ends) && len(l.broken()) == 0 {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("a reader did not reach the ends %v within 2 min: %v", ends, g.at())
		}
	}
}
