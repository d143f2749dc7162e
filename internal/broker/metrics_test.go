package broker

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
)

const scraped = "admin.listener=node1:9644"

// scrape is what /metrics says, line by line.
func (s *stand) scrape() []string {
	s.Helper()
	web := http.Client{Transport: &http.Transport{DialContext: s.net.Host("client").Dial, DisableKeepAlives: true}}
	resp, err := web.Get("http://node1:9644/metrics")
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.Fatalf("%d %v: %.300s", resp.StatusCode, err, body)
	}
	return strings.Split(string(body), "\n")
}

func (s *stand) wantSeries(have []string, want ...string) {
	s.Helper()
	for _, w := range want {
		if !slices.Contains(have, w) {
			name, _, _ := strings.Cut(w, " ")
			name, _, _ = strings.Cut(name, "{")
			s.Errorf("missing %s; there is:\n%s", w, strings.Join(only(have, name), "\n"))
		}
	}
}

// only are the lines of one name.
func only(lines []string, name string) (out []string) {
	for _, l := range lines {
		if strings.HasPrefix(l, name+"{") || strings.HasPrefix(l, name+" ") {
			out = append(out, l)
		}
	}
	return out
}

// commits lets a group be at an offset of t-0.
func (s *stand) commits(group string, offset int64) {
	s.Helper()
	s.adm.FindGroupCoordinators(s.Context(), group) // makes __consumer_offsets
	var all kadm.Offsets
	all.AddOffset("t", 0, offset, -1)
	if err := s.adm.CommitAllOffsets(s.Context(), group, all); err != nil {
		s.Fatal(err)
	}
}

// Groups of all four kinds are in a scrape, with lag in records and in seconds,
// and so are transactions, locks and coordinators.
func TestGroupMetrics(t *testing.T) {
	onNode(t, scraped+" offsets.topic.num.partitions=2 transaction.state.log.num.partitions=2 group.streams.initial.rebalance.delay.ms=0"+
		" group.consumer.session.timeout.ms=45000 share.coordinator.state.topic.num.partitions=1", func(s *stand) {
		p := s.coordinate()
		s.wantCoordinated(s.scrape())
		s.wantErr("end", ends(s, s.cl, p.ProducerID, p.ProducerEpoch), nil)
		s.pass(20 * time.Second) // the consumer's session has ended
		s.wantSeries(s.scrape(), `myelin_transactions_open 0`, `myelin_transactions_ending 0`, `myelin_transactions_oldest_seconds 0`,
			`myelin_transactions_committed_total 1`, `myelin_transactions_aborted_total 0`,
			`myelin_group_sessions_expired_total{kind="consumer"} 1`,
			`kafka_consumergroup_members{consumergroup="c"} 0`)
	})
}

// coordinate makes a group of each kind and leaves a transaction open for 5 s.
func (s *stand) coordinate() *kmsg.InitProducerIDResponse {
	s.Helper()
	m := sharers(s, 6, "", "a")[0] // share group g, at the start of t
	m.wantRecords("first", m.fetch(0, -1), 6)
	m.fetch(0, 1) // accept
	m.fetch(1, 2) // release
	s.commits("k", 2)
	s.commits("done", 6)
	beat(s, "c1", 0, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "c" })
	app := &streamsMember{s: s, id: "m1"}
	app.beat()
	app.beat()
	s.pass(30 * time.Second)
	p := inits(s, s.cl, 60_000)
	s.wantErr("produce", producesInTxn(s, s.cl, p.ProducerID, p.ProducerEpoch, 0), nil)
	s.pass(5 * time.Second)
	return p
}

func (s *stand) wantCoordinated(have []string) {
	s.Helper()
	s.wantSeries(have,
		`kafka_server_group_coordinator_metrics_group_count{protocol="classic"} 2`,
		`kafka_server_group_coordinator_metrics_group_count{protocol="consumer"} 1`,
		`kafka_server_group_coordinator_metrics_group_count{protocol="share"} 1`,
		`kafka_server_group_coordinator_metrics_group_count{protocol="streams"} 1`,
		`kafka_server_group_coordinator_metrics_classic_group_count{state="Empty"} 2`,
		`kafka_server_group_coordinator_metrics_share_group_count{state="Stable"} 1`,
		`kafka_server_group_coordinator_metrics_offset_count 2`,
		`kafka_server_group_coordinator_metrics_offset_commit_count 2`,
		`myelin_group_members{kind="consumer"} 1`,
		`myelin_group_members{kind="share"} 1`,
		`myelin_group_members{kind="streams"} 1`,
		`myelin_consumergroup_info{consumergroup="c",kind="consumer",state="Stable"} 1`,
		`kafka_consumergroup_members{consumergroup="c"} 1`,
		`kafka_consumergroup_current_offset{consumergroup="k",partition="0",topic="t"} 2`,
		`kafka_consumergroup_lag{consumergroup="k",partition="0",topic="t"} 5`,
		`kafka_consumergroup_lag_sum{consumergroup="k",topic="t"} 5`,
		`kafka_consumergroup_lag{consumergroup="done",partition="0",topic="t"} 1`,
		`kafka_consumergroup_current_offset{consumergroup="g",partition="0",topic="t"} 1`,
		`kafka_consumergroup_lag{consumergroup="g",partition="0",topic="t"} 6`,
		`myelin_metrics_groups_left_out 0`,
		`myelin_transactional_ids 1`,
		`myelin_transactions_open 1`,
		`myelin_transactions_started_total 1`,
		`myelin_transactions_committed_total 0`,
		`kafka_server_transaction_coordinator_metrics_num_partitions{state="active"} 2`,
		`kafka_server_transaction_coordinator_metrics_num_partitions{state="loading"} 0`,
		`kafka_server_group_coordinator_metrics_num_partitions{state="active"} 2`,
		`kafka_server_group_coordinator_metrics_event_queue_size 0`,
		`myelin_coordinator_loads_total{coordinator="share"} 1`,
		`kafka_server_sharegroupmetrics_recordacknowledgements_total{acktype="accept"} 1`,
		`kafka_server_sharegroupmetrics_recordacknowledgements_total{acktype="release"} 1`,
		`kafka_server_sharesessioncache_sharesessionscount 1`,
		`kafka_server_sharepartitionmetrics_inflightmessagecount 0`, // their locks have run out
		`kafka_server_sharepartitionmetrics_acquisitionlocktimeout_total 5`,
		`myelin_share_states 1`,
	)
	s.wantNear(have, 5, `myelin_transactions_oldest_seconds`, `myelin_consumergroup_lag_seconds{consumergroup="done",partition="0",topic="t"}`,
		`myelin_consumergroup_max_lag_seconds{consumergroup="done"}`)
	for _, kind := range []string{"consumer", "share", "streams"} {
		if l := only(have, "myelin_group_rebalances_total"); slices.Contains(l, `myelin_group_rebalances_total{kind="`+kind+`"} 0`) {
			s.Errorf("no rebalance: %v", l)
		}
	}
}

// wantNear wants values that are a few milliseconds above one.
func (s *stand) wantNear(have []string, want float64, names ...string) {
	s.Helper()
	for _, name := range names {
		at := slices.IndexFunc(have, func(l string) bool { return strings.HasPrefix(l, name+" ") })
		if at < 0 {
			s.Errorf("missing %s", name)
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimPrefix(have[at], name+" "), 64)
		if err != nil || v < want || v > want+0.5 {
			s.Errorf("%s, want %v", have[at], want)
		}
	}
}

// TestMetricsProperties shows the effect of the properties that bound a scrape.
func TestMetricsProperties(t *testing.T) {
	with := func(s *stand) []string {
		s.create("t", "")
		s.mustWrite("t", "0", "1", "2", "3")
		for i, g := range []string{"orders", "bills-1", "bills-2"} {
			s.commits(g, int64(i))
		}
		return s.scrape()
	}
	showAll(t, []nodeEffect{
		{"metrics.groups.include=bills-.* " + scraped, func(s *stand) {
			have := with(s)
			s.want("lags", len(only(have, "kafka_consumergroup_lag")), 2)
			s.wantSeries(have, `kafka_consumergroup_lag{consumergroup="bills-1",partition="0",topic="t"} 3`, "myelin_metrics_groups_left_out 1",
				`kafka_server_group_coordinator_metrics_group_count{protocol="classic"} 3`)
		}},
		{"metrics.groups.max=1 " + scraped, func(s *stand) {
			have := with(s)
			s.want("lags", strings.Join(only(have, "kafka_consumergroup_lag"), "\n"), `kafka_consumergroup_lag{consumergroup="orders",partition="0",topic="t"} 4`)
			s.wantSeries(have, "myelin_metrics_groups_left_out 2")
		}},
		{"metrics.group.partitions.max=2 " + scraped, func(s *stand) {
			have := with(s)
			s.want("lags", len(only(have, "kafka_consumergroup_lag")), 2)
			s.want("sums", len(only(have, "kafka_consumergroup_lag_sum")), 3)
			s.wantSeries(have, "myelin_metrics_group_partitions_left_out 1")
		}},
	})
}

// What is looked up for the age of a lag: nothing where there is no lag, and one
// record for each offset at which a group stands.
func TestAgesLookUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var looked atomic.Int64
		stuck := make(chan struct{})
		a := newAges(time.Now, func(_ kafka.TopicPartition, offset int64) (int64, error) {
			looked.Add(1)
			if offset == 99 {
				<-stuck
			}
			if offset == 13 {
				return 0, kafka.KafkaStorageError
			}
			return begin.Add(time.Duration(offset) * time.Second).UnixMilli(), nil
		})
		done := make(chan error, 1)
		go func() { done <- a.run(t.Context()) }()
		time.Sleep(100 * time.Second)
		round := func(offset, lag int64) string {
			g := []metrics.Group{{Name: "g", Offsets: []metrics.GroupOffset{{Topic: "t", Committed: offset, Lag: lag}}}}
			a.fill(g)
			return fmt.Sprint(g[0].Offsets[0].Seconds, " ", looked.Load())
		}
		for i, c := range []struct {
			offset, lag int64
			want        string
		}{
			{50, 0, "0 0"},    // no lag
			{50, -1, "-1 0"},  // not known here
			{50, 5, "50 1"},   // looked up
			{50, 9, "50 1"},   // it stands still
			{60, 9, "40 2"},   // it moved
			{60, 0, "0 2"},    // it caught up
			{60, 7, "40 2"},   // and is where it was
			{99, 3, "40.5 3"}, // a disk that does not answer within half a second: the age of the offset before
			{20, 3, "-1 3"},   // nor is the next heard
		} {
			if got := round(c.offset, c.lag); got != c.want {
				t.Errorf("%d: offset %d, lag %d: %s, want %s", i, c.offset, c.lag, got, c.want)
			}
		}
		close(stuck)
		synctest.Wait()
		if got := round(20, 3); got != "81 4" {
			t.Errorf("when the disk answers again: %s", got)
		}
		if got := round(13, 3); got != "81 5" && got != "-1 5" {
			t.Errorf("of a broken partition: %s", got)
		}
		a.fill(nil)
		a.fill(nil)
		if n := len(a.mu.known); n != 0 {
			t.Errorf("%d ages of groups that are gone", n)
		}
	})
}

// Where a group has only markers before it, that is so until more is written.
func TestAgesAfterMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		stamp, broken, looked := int64(kafka.NoTimestamp), false, 0
		a := newAges(time.Now, func(kafka.TopicPartition, int64) (int64, error) {
			looked++
			if broken {
				return 0, kafka.KafkaStorageError
			}
			return stamp, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.run(ctx) }()
		time.Sleep(100 * time.Second)
		want := func(lag int64, seconds float64, looks int) {
			t.Helper()
			g := []metrics.Group{{Name: "g", Offsets: []metrics.GroupOffset{{Topic: "t", Committed: 50, Lag: lag}}}}
			a.fill(g)
			if s := g[0].Offsets[0].Seconds; s != seconds || looked != looks {
				t.Errorf("lag %d: %v s, %d looked up; want %v and %d", lag, s, looked, seconds, looks)
			}
		}
		want(1, 0, 1)
		want(1, 0, 1)   // nothing was written
		want(2, 0, 2)   // one more marker
		want(-1, -1, 2) // another leads
		broken = true
		want(3, -1, 3) // what is there is not known
		broken, stamp = false, begin.UnixMilli()
		want(3, 100, 4) // a record
		want(9, 100, 4) // which stays the first
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
