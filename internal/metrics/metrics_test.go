package metrics

import (
	"log/slog"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestHistogramBuckets(t *testing.T) {
	last := -1
	for us := time.Duration(0); us < 1<<31; us = us*9/8 + 1 {
		b := bucket(us * time.Microsecond)
		if b < last || b >= buckets {
			t.Fatalf("%v: bucket %d after %d", us*time.Microsecond, b, last)
		}
		last = b
		if got, want := value(b), float64(us)*1e-6; math.Abs(got-want) > 0.13*want+1e-6 {
			t.Errorf("%v: its bucket stands for %v s", us*time.Microsecond, got)
		}
	}
	if b := bucket(-1); b != 0 {
		t.Errorf("negative: bucket %d", b)
	}
	if b := bucket(math.MaxInt64); b != buckets-1 {
		t.Errorf("largest: bucket %d", b)
	}
}

func TestQuantiles(t *testing.T) {
	q := NewRequests().Request("Fetch")
	read := func() *Snapshot { total, _, _ := q.read(); return total }
	var wg sync.WaitGroup
	for who := range uint64(8) {
		wg.Go(func() {
			for i := 1; i <= 1000; i++ {
				q.Observe(who, 4, 10, time.Duration(i)*time.Millisecond)
			}
		})
	}
	wg.Wait()
	s := read()
	if s.Count() != 8000 {
		t.Errorf("count %d", s.Count())
	}
	for share, want := range map[float64]float64{0.5: 0.5, 0.95: 0.95, 0.99: 0.99} {
		if got := s.Quantile(share, nil); math.Abs(got-want) > 0.13*want {
			t.Errorf("quantile %v is %v", share, got)
		}
	}
	q.Observe(0, 4, 10, 5*time.Second)
	if got := read().Quantile(0.5, s); math.Abs(got-5) > 0.65 {
		t.Errorf("since the snapshot: %v", got)
	}
	if got := s.Quantile(0.5, s); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// TestNames pins the names that dashboards made for the JMX exporter and for
// kafka_exporter query.
func TestNames(t *testing.T) {
	w := httptest.NewRecorder()
	NewHandler(everything()).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body := w.Body.String()
	for _, want := range []string{
		`kafka_network_requestmetrics_requests_total{request="Produce",version="9"} 1`,
		`kafka_network_requestmetrics_errors_total{request="Produce"} 1`,
		`kafka_network_requestmetrics_totaltimems{request="Produce",quantile="0.99"} 2.9`,
		`kafka_network_requestmetrics_totaltimems_count{request="Produce"} 1`,
		`kafka_server_socket_server_metrics_connection_count{listener="PLAINTEXT"} 1`,
		`kafka_server_brokertopicmetrics_messagesin_total{topic="t"} 7`,
		"kafka_server_brokertopicmetrics_messagesin_total 12\n",
		"kafka_server_replicamanager_leadercount 1\n",
		"kafka_server_replicamanager_underreplicatedpartitions 0\n",
		`kafka_cluster_partition_atminisr{partition="0",topic="t"} 1`,
		`kafka_log_log_size{partition="0",topic="t"} 99`,
		`kafka_log_log_size{is_future="true",partition="0",topic="t"} 44`,
		`kafka_log_log_logendoffset{is_future="true",partition="0",topic="t"} 6`,
		`kafka_log_logmanager_logdirectoryoffline{logDirectory="/b"} 1`,
		`kafka_log_logmanager_logdirectorycordoned{logDirectory="/a"} 1`,
		"kafka_log_logmanager_cordonedlogdirectorycount 1\n",
		"kafka_log_logmanager_offlinelogdirectorycount 0\n",
		"kafka_controller_kafkacontroller_activecontrollercount 1\n",
		"kafka_controller_controllerstats_uncleanleaderelections_total 0\n",
		`kafka_server_raftmetrics_current_state{state="leader"} 1`,
		"kafka_brokers 1\n",
		`kafka_topic_partitions{topic="t"} 1`,
		`kafka_topic_partition_current_offset{partition="0",topic="t"} 12`,
		`kafka_consumergroup_lag{consumergroup="g",partition="1",topic="t"} -1`,
		`kafka_consumergroup_lag_sum{consumergroup="g",topic="t"} 2`,
		`kafka_consumergroup_members{consumergroup="g"} 2`,
		"kafka_server_fetchsessioncache_numincrementalfetchsessions 3\n",
		"go_goroutines ", "process_cpu_seconds_total ", `myelin_build_info{`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("missing %s", want)
		}
	}
	if w.Code != 200 {
		t.Errorf("status %d: %.300s", w.Code, body)
	}
}

// everything is a broker that has something to say under every name.
func everything() Config {
	requests, sockets := NewRequests(), NewSockets()
	q := requests.Request("Produce")
	q.Observe(1, 9, 100, 3*time.Millisecond)
	q.Fail()
	sockets.Listener("PLAINTEXT").Opened()
	all := coordinated()
	return Config{Requests: requests, Sockets: sockets, Version: "1", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Source: Source{
		Topics: func() []Topic { return []Topic{{Name: "t", MessagesIn: 7}, {Name: "u", MessagesIn: 5}} },
		Partitions: func() []Partition {
			return []Partition{{Topic: "t", Leads: true, Leader: 1, Preferred: 1, Replicas: 1, InSync: 1, MinISR: 1, Size: 99, HW: 12, End: 12, Segments: 1,
				Copy: &Copy{Size: 44, End: 6}}}
		},
		Controller:  func() Controller { return Controller{Active: true, Topics: 2} },
		Raft:        func() Raft { return Raft{State: "leader", Leader: 1, Epoch: 2} },
		Brokers:     func() []Broker { return []Broker{{ID: 1, Address: "localhost:9092"}} },
		Sessions:    func() (int, int, uint64) { return 3, 4, 5 },
		OfflineDirs: func() int { return 0 },
		LogDirs:     func() []LogDir { return []LogDir{{Dir: "/a", Cordoned: true}, {Dir: "/b", Offline: true}} },
		Groups: func() *Census {
			c := NewCensus(Bounds{Groups: 1, Partitions: 2})
			c.Add(&Group{Name: "g", Kind: "consumer", State: "Stable", Members: 2, Offsets: []GroupOffset{{"t", 0, 10, 2, 1.5}, {"t", 1, 5, -1, -1}}})
			c.Bound()
			return c
		},
		Cleaner:      func() Cleaner { return Cleaner{Dirs: []CleanerDir{{Dir: "/a"}}} },
		Scrubbers:    func() []Scrubber { return []Scrubber{{Dir: "/a"}} },
		Coordinators: all.Coordinators, GroupCounts: all.GroupCounts, Transactions: all.Transactions, Share: all.Share,
	}}
}

func BenchmarkObserve(b *testing.B) {
	q := NewRequests().Request("Produce")
	var next atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		who := next.Add(1)
		for pb.Next() {
			q.Observe(who, 9, 1000, 20*time.Microsecond)
		}
	})
}
