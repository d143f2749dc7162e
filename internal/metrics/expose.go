package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what the exposition shows.
type Config struct {
	Requests *Requests
	Sockets  *Sockets
	Source   Source
	Version  string // of the binary
	Now      func() time.Time
	Logger   *slog.Logger
}

// NewHandler answers a scrape with everything, in Prometheus' text format.
func NewHandler(cfg Config) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &exposition{cfg})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, ErrorLog: errorLog{cfg.Logger}})
}

// errorLog hands the exposition's own errors to slog.
type errorLog struct{ l *slog.Logger }

func (e errorLog) Println(v ...any) {
	if e.l != nil {
		e.l.Warn("metrics", "err", v)
	}
}

// exposition collects all at each scrape. It describes nothing up front, since
// labels depend on what there is.
type exposition struct{ cfg Config }

// Describe says nothing: see [prometheus.Collector], "unchecked".
func (*exposition) Describe(chan<- *prometheus.Desc) {}

// Collect sends every metric.
func (x *exposition) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch: ch, descs: map[string]*prometheus.Desc{}}
	e.gauge("myelin_build_info", "The binary; always 1.", 1, "version", x.cfg.Version, "goversion", runtime.Version())
	e.requests(x.cfg.Requests, x.cfg.Now())
	e.sockets(x.cfg.Sockets)
	s := &x.cfg.Source
	if s.Topics != nil {
		e.topics(s.Topics())
	}
	if s.Partitions != nil {
		e.partitions(s.Partitions())
	}
	if s.Controller != nil {
		e.controller(s.Controller())
	}
	if s.Raft != nil {
		e.raft(s.Raft())
	}
	if s.Brokers != nil {
		e.brokers(s.Brokers())
	}
	if s.Sessions != nil {
		e.sessions(s.Sessions())
	}
	if s.OfflineDirs != nil {
		e.gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.", float64(s.OfflineDirs()))
	}
	if s.LogDirs != nil {
		e.logDirs(s.LogDirs())
	}
	if s.Cleaner != nil {
		e.cleaner(s.Cleaner())
	}
	if s.Scrubbers != nil {
		for _, one := range s.Scrubbers() {
			e.scrubber(one)
		}
	}
	e.coordinated(s)
}

// coordinated sends what groups and transactions are about.
func (e *emitter) coordinated(s *Source) {
	if s.Groups != nil {
		e.census(s.Groups())
	}
	if s.GroupCounts != nil {
		e.groupCoordinator(s.GroupCounts())
	}
	if s.Coordinators != nil {
		e.coordinators(s.Coordinators())
	}
	if s.Transactions != nil {
		e.transactions(s.Transactions())
	}
	if s.Share != nil {
		e.share(s.Share())
	}
}

// emitter sends metrics of one scrape.
type emitter struct {
	ch    chan<- prometheus.Metric
	descs map[string]*prometheus.Desc // by name and label names
}

// desc is the description of a metric; labels are names and values in turn.
func (e *emitter) desc(name, help string, labels []string) (d *prometheus.Desc, values []string) {
	key := name
	for i := 0; i < len(labels); i += 2 {
		key += "," + labels[i]
		values = append(values, labelled(labels[i+1]))
	}
	if d = e.descs[key]; d == nil {
		var names []string
		for i := 0; i < len(labels); i += 2 {
			names = append(names, labels[i])
		}
		d = prometheus.NewDesc(name, help, names, nil)
		e.descs[key] = d
	}
	return d, values
}

// labelled is a value as labels take it: in UTF-8. Other bytes are written as in
// a string of Go, and so is what could be taken for them.
func labelled(v string) string {
	if utf8.ValidString(v) && !strings.Contains(v, `\x`) {
		return v
	}
	quoted := strconv.Quote(v)
	return quoted[1 : len(quoted)-1]
}

func (e *emitter) gauge(name, help string, v float64, labels ...string) {
	d, values := e.desc(name, help, labels)
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, values...)
}

func (e *emitter) counter(name, help string, v float64, labels ...string) {
	d, values := e.desc(name, help, labels)
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, values...)
}

// quantiles are those that the JMX exporter's usual rules keep.
var quantiles = []float64{0.5, 0.75, 0.95, 0.98, 0.99, 0.999}

// summary sends quantiles in milliseconds over the last minutes, and the count
// and sum since the start.
func (e *emitter) summary(name, help string, s, since *Snapshot, labels ...string) {
	q := make(map[float64]float64, len(quantiles))
	for _, p := range quantiles {
		q[p] = s.Quantile(p, since) * 1000
	}
	d, values := e.desc(name, help, labels)
	e.ch <- prometheus.MustNewConstSummary(d, s.Count(), float64(s.Sum().Microseconds())/1000, q, values...)
}

func (e *emitter) requests(r *Requests, now time.Time) {
	if r == nil {
		return
	}
	for _, q := range r.all() {
		total, bytes, versions := q.read()
		for v, n := range versions {
			if n > 0 {
				e.counter("kafka_network_requestmetrics_requests_total", "Requests answered.", float64(n),
					"request", q.name, "version", strconv.Itoa(v))
			}
		}
		e.counter("kafka_network_requestmetrics_requestbytes_total", "Bytes of requests.", float64(bytes), "request", q.name)
		e.counter("kafka_network_requestmetrics_errors_total", "Requests answered with an error, or closed on one.",
			float64(q.errors.Load()), "request", q.name)
		e.summary("kafka_network_requestmetrics_totaltimems", "From the whole request read to its answer, in ms.", total,
			q.old.since(total, now), "request", q.name)
	}
}

func (e *emitter) sockets(s *Sockets) {
	if s == nil {
		return
	}
	for _, l := range s.all() {
		opened, closed := l.opened.Load(), l.closed.Load()
		e.gauge("kafka_server_socket_server_metrics_connection_count", "Connections now.", float64(opened)-float64(closed), "listener", l.name)
		e.counter("kafka_server_socket_server_metrics_connection_creation_total", "Connections opened.", float64(opened), "listener", l.name)
		e.counter("kafka_server_socket_server_metrics_connection_close_total", "Connections closed.", float64(closed), "listener", l.name)
		e.counter("myelin_connections_refused_total", "Connections closed at once because their address had too many.",
			float64(l.refused.Load()), "listener", l.name)
	}
}
