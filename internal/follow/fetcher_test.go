package follow_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/follow"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// desk is a broker that follows broker 2, whose answers the test makes up.
type desk struct {
	t     *testing.T
	table *replica.Table
	set   follow.Settings

	mu      sync.Mutex
	asked   []msg.FetchRequest
	at      []time.Duration // when
	lanes   []int           // by which fetcher
	begun   time.Time
	answers func(*msg.FetchRequest) *msg.FetchResponse
	offsets func(*msg.ListOffsetsRequest) int64
}

// desked runs a test in a bubble, with some partitions.
func desked(t *testing.T, parts int, do func(d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logger := slog.New(slog.DiscardHandler)
		fs := vfs.NewMem(vfs.MemConfig{Now: time.Now})
		home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: fs, Path: "/data", Logger: logger, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now, Logger: logger})
		d := &desk{t: t, begun: time.Now(), set: follow.Settings{Fetchers: 1, MaxWait: 500 * time.Millisecond,
			Backoff: time.Second, MinBytes: 1, MaxBytes: 1 << 20, ResponseBytes: 10 << 20}}
		f := follow.New(follow.Config{Self: 1, Now: time.Now, Logger: logger, Epoch: func() int64 { return 77 },
			Connect:  func(_ int32, lane int) follow.Conn { return deskConn{d, lane} },
			Settings: d.settings})
		d.table = replica.NewTable(replica.Config{Self: 1, Dirs: []replica.Dir{{Home: home, FS: fs, Flusher: flusher}},
			Pool: record.NewPool(record.PoolConfig{}), Now: time.Now, Logger: logger, Roled: f.Changed})
		ctx, cancel := context.WithCancel(context.Background())
		flushing, stopFlusher := context.WithCancel(context.Background())
		var running sync.WaitGroup
		defer running.Wait()
		running.Go(func() { _ = flusher.Run(flushing) })
		running.Go(func() { _ = d.table.Run(ctx); stopFlusher() })
		defer cancel()
		d.assign(parts, partition.Assignment{Leader: 2, LeaderEpoch: 3, Replicas: []int32{1, 2}, ISR: []int32{2}})
		synctest.Wait() // all partitions are known before the first round
		running.Go(func() { _ = f.Run(ctx) })
		do(d)
	})
}

func (d *desk) settings() follow.Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set
}

// serve says what the leader answers from now on.
func (d *desk) serve(answers func(*msg.FetchRequest) *msg.FetchResponse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = answers
}

func (d *desk) change(do func(*follow.Settings)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(&d.set)
}

func (d *desk) assign(parts int, role partition.Assignment) {
	var delta replica.Delta
	for p := range parts {
		delta.Assigned = append(delta.Assigned, replica.Assignment{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: int32(p)},
			TopicID: topicID, Config: new(replica.DefaultTopicConfig()), Role: role})
	}
	d.table.Apply(delta)
}

// deskConn is a connection of the desk.
type deskConn struct {
	d    *desk
	lane int
}

// DoInto is follow.Conn. It takes 10 ms.
func (c deskConn) DoInto(ctx context.Context, req msg.Request, resp msg.Response, _ int16, _ *[]byte) error {
	time.Sleep(10 * time.Millisecond)
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, ok := req.(*msg.ListOffsetsRequest); ok {
		out := msg.NewListOffsetsResponseTopicPartition()
		out.Offset = d.offsets(r)
		resp.(*msg.ListOffsetsResponse).Topics = []msg.ListOffsetsResponseTopic{{Name: topic, Partitions: []msg.ListOffsetsResponseTopicPartition{out}}}
		return ctx.Err()
	}
	r := req.(*msg.FetchRequest)
	kept := *r
	kept.Topics, kept.ForgottenTopicsData = nil, nil
	for _, t := range r.Topics {
		t.Partitions = slices.Clone(t.Partitions)
		kept.Topics = append(kept.Topics, t)
	}
	for _, t := range r.ForgottenTopicsData {
		t.Partitions = slices.Clone(t.Partitions)
		kept.ForgottenTopicsData = append(kept.ForgottenTopicsData, t)
	}
	d.asked, d.at, d.lanes = append(d.asked, kept), append(d.at, time.Since(d.begun)), append(d.lanes, c.lane)
	out := msg.NewFetchResponse()
	out.SessionID = 9
	if d.answers != nil {
		if o := d.answers(&kept); o != nil {
			out = *o
		}
	}
	*resp.(*msg.FetchResponse) = out
	return ctx.Err()
}

// rowOf is an answer about partition 0.
func rowOf(change func(*msg.FetchResponseResponsePartition)) *msg.FetchResponse {
	out := msg.NewFetchResponse()
	out.SessionID = 9
	row := msg.NewFetchResponseResponsePartition()
	change(&row)
	out.Responses = []msg.FetchResponseResponse{{TopicID: topicID, Partitions: []msg.FetchResponseResponsePartition{row}}}
	return &out
}

// stamped is a batch as a leader has it.
func stamped(base int64, epoch int32, records, size int) []byte {
	var b record.Builder
	for range records {
		b.Append(record.Record{Timestamp: 1, Value: make([]byte, size)})
	}
	out := b.Bytes()
	record.Stamp(out, base, epoch)
	return out
}

func (d *desk) replica() *replica.Replica {
	r, err := d.table.Get(topic, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// TestAsks pins the first request and the next ones of a session.
func TestAsks(t *testing.T) {
	desked(t, 2, func(d *desk) {
		d.change(func(s *follow.Settings) {
			s.MaxWait, s.MinBytes, s.MaxBytes, s.ResponseBytes = 123*time.Millisecond, 7, 1000, 5000
		})
		d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
			if r.SessionEpoch == 0 {
				return rowOf(func(p *msg.FetchResponseResponsePartition) { p.Records, p.HighWatermark = stamped(0, 2, 5, 1), 4 })
			}
			return nil
		})
		time.Sleep(time.Second)
		d.mu.Lock()
		defer d.mu.Unlock()
		first := d.asked[0]
		if first.MaxWaitMs != 123 || first.MinBytes != 7 || first.MaxBytes != 5000 || first.ReplicaState.ReplicaID != 1 || first.ReplicaState.ReplicaEpoch != 77 ||
			first.SessionEpoch != 0 || len(first.Topics) != 1 || len(first.Topics[0].Partitions) != 2 {
			t.Errorf("the first request: %+v", first)
		}
		p := first.Topics[0].Partitions[0]
		if p.PartitionMaxBytes != 1000 || p.CurrentLeaderEpoch != 3 || p.FetchOffset != 0 || p.LastFetchedEpoch != -1 {
			t.Errorf("its first partition: %+v", p)
		}
		second := d.asked[1]
		if second.SessionID != 9 || second.SessionEpoch != 1 || len(second.Topics) != 1 || len(second.Topics[0].Partitions) != 1 {
			t.Fatalf("the second request: %+v", second)
		}
		if p := second.Topics[0].Partitions[0]; p.FetchOffset != 5 || p.LastFetchedEpoch != 2 {
			t.Errorf("its partition: %+v", p)
		}
		if third := d.asked[2]; third.SessionEpoch != 2 || len(third.Topics) != 0 {
			t.Errorf("the third request: %+v", third)
		}
		if r := d.replica(); r.HW() != 4 || r.Flushed() != 5 {
			t.Errorf("high watermark %d, flushed %d", r.HW(), r.Flushed())
		}
	})
}

// TestRests pins how long a partition rests after errors, while another goes on.
func TestRests(t *testing.T) {
	desked(t, 2, func(d *desk) {
		d.change(func(s *follow.Settings) { s.Backoff = 300 * time.Millisecond })
		asks := 0
		var at []time.Duration
		d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
			asks++
			for _, tp := range r.Topics {
				for _, p := range tp.Partitions {
					if p.Partition == 0 {
						at = append(at, time.Since(d.begun))
						return rowOf(func(p *msg.FetchResponseResponsePartition) { p.ErrorCode = int16(kafka.NotLeaderOrFollower) })
					}
				}
			}
			return nil
		})
		time.Sleep(2 * time.Second)
		d.mu.Lock()
		defer d.mu.Unlock()
		if asks < 150 {
			t.Errorf("the other partition was asked for %d times", asks)
		}
		for i, want := range []time.Duration{20, 40, 80, 160, 300, 300} {
			if got := at[i+1] - at[i]; got < want*time.Millisecond || got > (want+30)*time.Millisecond {
				t.Errorf("rest %d: %v, expected %v ms", i, got, want)
			}
		}
	})
}

// TestLanes spreads partitions over num.replica.fetchers.
func TestLanes(t *testing.T) {
	desked(t, 9, func(d *desk) {
		time.Sleep(time.Second)
		d.change(func(s *follow.Settings) { s.Fetchers = 3 })
		d.assign(9, partition.Assignment{Leader: 2, LeaderEpoch: 4, PartitionEpoch: 1, Replicas: []int32{1, 2}, ISR: []int32{2}})
		time.Sleep(time.Second)
		d.mu.Lock()
		defer d.mu.Unlock()
		var has [3]map[int32]bool
		for i := range has {
			has[i] = map[int32]bool{}
		}
		for i, r := range d.asked {
			for _, t := range r.Topics {
				for _, p := range t.Partitions {
					has[d.lanes[i]][p.Partition] = true
				}
			}
			for _, t := range r.ForgottenTopicsData {
				for _, p := range t.Partitions {
					delete(has[d.lanes[i]], p)
				}
			}
		}
		for i := range has {
			if len(has[i]) != 3 {
				t.Errorf("fetcher %d has %v", i, has[i])
			}
		}
	})
}

// TestThrottleRaised raises a rate at which what came would take an hour to pay for.
func TestThrottleRaised(t *testing.T) {
	desked(t, 1, func(d *desk) {
		rate := func(n int64) {
			d.change(func(s *follow.Settings) {
				s.Rate, s.Throttled = n, func(tp kafka.TopicPartition) bool { return tp.Topic == topic }
			})
		}
		asked := func() int {
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(d.at)
		}
		end := int64(0)
		d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
			for _, tp := range r.Topics {
				end = tp.Partitions[0].FetchOffset + 1
			}
			return rowOf(func(p *msg.FetchResponseResponsePartition) {
				p.Records, p.HighWatermark = stamped(end-1, 3, 1, 3600), 1<<40
			})
		})
		rate(1)
		time.Sleep(10 * time.Second)
		before := asked()
		rate(1 << 30)
		time.Sleep(2 * time.Second)
		if after := asked(); before > 2 || after < before+100 {
			t.Errorf("asked %d times at a byte a second, %d more at a GiB", before, after-before)
		}
	})
}

// TestThrottled holds what is behind to a rate, and what is not to none.
func TestThrottled(t *testing.T) {
	for _, behind := range []bool{true, false} {
		desked(t, 1, func(d *desk) {
			d.change(func(s *follow.Settings) {
				s.Rate, s.Throttled = 2000, func(tp kafka.TopicPartition) bool { return tp.Topic == topic }
			})
			end := int64(0)
			d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
				for _, tp := range r.Topics {
					end = tp.Partitions[0].FetchOffset + 1
				}
				return rowOf(func(p *msg.FetchResponseResponsePartition) {
					p.Records, p.HighWatermark = stamped(end-1, 3, 1, 1000), end
					if behind {
						p.HighWatermark = 1 << 40
					}
				})
			})
			time.Sleep(10 * time.Second)
			d.mu.Lock()
			defer d.mu.Unlock()
			bytes := 1070 * len(d.at)
			if behind && (bytes < 18_000 || bytes > 24_000) || !behind && bytes < 200_000 {
				t.Errorf("behind %v: %d bytes in 10 s at 2000 a second", behind, bytes)
			}
		})
	}
}

// TestOutOfRange has the leader's log begin after the follower's end.
func TestOutOfRange(t *testing.T) {
	desked(t, 1, func(d *desk) {
		d.offsets = func(r *msg.ListOffsetsRequest) int64 {
			if r.ReplicaID != 1 || r.Topics[0].Partitions[0].CurrentLeaderEpoch != 3 {
				t.Errorf("%+v", r)
			}
			if r.Topics[0].Partitions[0].Timestamp == kafka.LatestTimestamp {
				return 120
			}
			return 100
		}
		d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
			if len(r.Topics) == 0 {
				return nil
			}
			switch r.Topics[0].Partitions[0].FetchOffset {
			case 0:
				return rowOf(func(p *msg.FetchResponseResponsePartition) { p.ErrorCode = int16(kafka.OffsetOutOfRange) })
			case 100:
				return rowOf(func(p *msg.FetchResponseResponsePartition) {
					p.Records, p.HighWatermark, p.LogStartOffset = stamped(100, 1, 20, 1), 120, 105
				})
			}
			return nil
		})
		time.Sleep(time.Second)
		if r := d.replica(); r.LogStart() != 105 || r.LogEnd() != 120 || r.HW() != 120 {
			t.Errorf("from %d to %d, high watermark %d", r.LogStart(), r.LogEnd(), r.HW())
		}
	})
}

// TestDiverging cuts what the leader does not have, but nothing that the leader
// said is on every disk.
func TestDiverging(t *testing.T) {
	for _, durable := range []int64{3, 6} {
		desked(t, 1, func(d *desk) {
			d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
				if len(r.Topics) == 0 {
					return nil
				}
				switch p := r.Topics[0].Partitions[0]; {
				case p.FetchOffset == 0:
					return rowOf(func(p *msg.FetchResponseResponsePartition) {
						p.Records = slices.Concat(stamped(0, 1, 3, 1), stamped(3, 1, 3, 1), stamped(6, 2, 4, 1))
						p.HighWatermark, p.LastStableOffset = 8, durable
					})
				case p.FetchOffset == 10 && p.LastFetchedEpoch == 2:
					return rowOf(func(p *msg.FetchResponseResponsePartition) { p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = 1, 3 })
				case p.FetchOffset == 3 && p.LastFetchedEpoch == 1:
					return rowOf(func(p *msg.FetchResponseResponsePartition) { p.Records, p.HighWatermark = stamped(3, 3, 1, 1), 4 })
				}
				return nil
			})
			time.Sleep(time.Second)
			r := d.replica()
			if durable == 3 && (r.LogEnd() != 4 || r.HW() != 4 || r.Offline() != nil) {
				t.Errorf("end %d, high watermark %d, %v", r.LogEnd(), r.HW(), r.Offline())
			}
			if durable == 6 && (r.LogEnd() != 10 || kafka.CodeOf(r.Offline()) != kafka.KafkaStorageError) {
				t.Errorf("what was on every disk: end %d, %v", r.LogEnd(), r.Offline())
			}
		})
	}
}

// TestNothingBadIsAppended sends what no leader has.
func TestNothingBadIsAppended(t *testing.T) {
	for name, bad := range map[string][]byte{
		"a wrong CRC":            func() []byte { b := stamped(0, 1, 2, 10); b[70] ^= 1; return b }(),
		"a later epoch":          stamped(0, 4, 2, 10),
		"offsets that go back":   slices.Concat(stamped(5, 1, 2, 10), stamped(0, 1, 2, 10)),
		"epochs that go back":    slices.Concat(stamped(0, 2, 2, 10), stamped(2, 1, 2, 10)),
		"a batch over the begin": stamped(3, 1, 5, 10),
	} {
		t.Run(name, func(t *testing.T) {
			desked(t, 1, func(d *desk) {
				d.serve(func(r *msg.FetchRequest) *msg.FetchResponse {
					if len(r.Topics) == 0 || name != "a batch over the begin" || r.Topics[0].Partitions[0].FetchOffset > 0 {
						return rowOf(func(p *msg.FetchResponseResponsePartition) { p.Records = bad })
					}
					return rowOf(func(p *msg.FetchResponseResponsePartition) { p.Records = stamped(0, 1, 5, 10) })
				})
				time.Sleep(time.Second)
				want := int64(0)
				if name == "a batch over the begin" {
					want = 5
				}
				if r := d.replica(); r.LogEnd() != want || r.Offline() != nil {
					t.Errorf("end %d, %v", r.LogEnd(), r.Offline())
				}
			})
		})
	}
}
