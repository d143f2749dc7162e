package metrics

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

var update = flag.Bool("update", false, "write testdata/groups.txt")

// coordinated is a broker with a group of every kind.
func coordinated() Source {
	return Source{
		Groups: func() *Census {
			c := NewCensus(Bounds{Groups: 4, Partitions: 5, Include: func(g string) bool { return g != "streams" }})
			c.Add(&Group{Name: "classic", Kind: "classic", State: "Stable", Members: 2, Offsets: []GroupOffset{{"t", 1, 5, -1, -1}, {"t", 0, 10, 2, 1.5}}})
			c.Add(&Group{Name: "idle", Kind: "classic", State: "Empty", Offsets: []GroupOffset{{"t", 0, 12, 0, 0}}})
			c.Add(&Group{Name: "consumer", Kind: "consumer", State: "Reconciling", Members: 1, Offsets: []GroupOffset{{"t", 0, 2, 10, 60}, {"u", 3, 0, 1, 0.25}}})
			c.Add(&Group{Name: "share \"1\"\n", Kind: "share", State: "Stable", Members: 3, Offsets: []GroupOffset{{"t", 0, 4, 7, 30}}})
			c.Add(&Group{Name: "streams", Kind: "streams", State: "NotReady", Members: 4})
			c.Bound()
			return c
		},
		GroupCounts: func() GroupCoordinator {
			return GroupCoordinator{Commits: 40, Expired: 2, Deleted: 1, Kinds: []GroupStats{
				{"classic", 3, time.Unix(1700000000, 5e8), 1}, {"consumer", 9, time.Unix(1700000100, 0), 0}, {"share", 1, time.Time{}, 0}, {"streams", 0, time.Time{}, 0}}}
		},
		Coordinators: func() []Coordinator {
			return []Coordinator{{Name: "group", Active: 49, Loading: 1, Waiting: 2, Loads: 50, Failures: 1, LoadTime: 3 * time.Second, LongestLoad: 250 * time.Millisecond, Batches: 7, Records: 12, LeftOut: 5},
				{Name: "transaction", Active: 50}, {Name: "share"}}
		},
		Transactions: func() Transactions {
			return Transactions{IDs: 100, Open: 3, Ending: 1, Oldest: 90 * time.Second, Started: 10, Committed: 4, Aborted: 2, TimedOut: 1, Expired: 6}
		},
		Share: func() Share {
			return Share{Sessions: 2, SessionPartitions: 5, Evicted: 1, Held: 7, Acks: [5]int64{0, 11, 12, 13, 14}, Requests: 20, Timeouts: 3, Loads: 4,
				LoadTime: 5 * time.Millisecond, Letters: 9, LettersLost: 4, States: 6, Writes: 8, Refused: 1, Failed: 2, WriteTime: 9 * time.Millisecond}
		},
	}
}

func exposed(s Source) string {
	return scraped(Config{Version: "1", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Source: s})
}

func scraped(cfg Config) string {
	w := httptest.NewRecorder()
	NewHandler(cfg).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// own drops what is about the process and the build.
func own(body string) string {
	var out strings.Builder
	for _, l := range strings.SplitAfter(body, "\n") {
		if !regexp.MustCompile(`^(# (HELP|TYPE) )?(go_|process_|promhttp_|myelin_build_info)`).MatchString(l) {
			out.WriteString(l)
		}
	}
	return out.String()
}

// TestGroupExposition pins names, labels, types and helps of all that is said of
// groups, transactions and coordinators.
func TestGroupExposition(t *testing.T) {
	have := own(exposed(coordinated()))
	const golden = "testdata/groups.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(have), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		haves, wants := strings.Split(have, "\n"), strings.Split(string(want), "\n")
		for i := range max(len(haves), len(wants)) {
			if i >= len(haves) || i >= len(wants) || haves[i] != wants[i] {
				t.Fatalf("line %d differs from %s, see -update:\nhave %q\nwant %q", i+1, golden, haves[min(i, len(haves)-1)], wants[min(i, len(wants)-1)])
			}
		}
	}
}

// Names of our own are as Prometheus wants them; Kafka's are Kafka's.
func TestOwnNamesLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(exposed(coordinated()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "myelin_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// The list of names in docs/metrics.md is what a broker says. With -update it is
// written.
func TestDocumented(t *testing.T) {
	const file, begin, end = "../../docs/metrics.md", " -update -->\n", "<!-- names: end -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("docs/metrics.md has no place for the names")
	}
	want := head + begin + names(own(scraped(everything()))) + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Error("docs/metrics.md is stale: run go test ./internal/metrics -run TestDocumented -update")
	}
}

// names is a table of the metrics in an exposition.
func names(body string) string {
	var out strings.Builder
	out.WriteString("| Name | Type | Labels | |\n|---|---|---|---|\n")
	label := regexp.MustCompile(`[{,]([a-zA-Z]+)="`)
	var name, help, typ string
	for _, l := range strings.Split(body, "\n") {
		switch f := strings.SplitN(l, " ", 4); {
		case strings.HasPrefix(l, "# HELP"):
			name, help = f[2], f[3]
		case strings.HasPrefix(l, "# TYPE"):
			typ = f[3]
		case name != "":
			var labels []string
			for _, m := range label.FindAllStringSubmatch(l, -1) {
				labels = append(labels, m[1])
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", name, typ, strings.Join(labels, ", "), help)
			name = ""
		}
	}
	return out.String()
}

// A group's name may be any bytes; Prometheus takes UTF-8 only. No two names have
// the same label.
func TestNamesOfAnyBytes(t *testing.T) {
	body := exposed(Source{Groups: func() *Census {
		c := NewCensus(Bounds{Groups: 10, Partitions: 10})
		for _, name := range []string{"a\xff", "a\xfe", `a\xff`, `a\\xff`, `a\b`} {
			c.Add(&Group{Name: name, Kind: "classic", State: "Empty"})
		}
		c.Bound()
		return c
	}})
	for _, want := range []string{`{consumergroup="a\\xff"}`, `{consumergroup="a\\xfe"}`, `{consumergroup="a\\\\xff"}`,
		`{consumergroup="a\\\\\\\\xff"}`, `{consumergroup="a\\b"}`} {
		if n := strings.Count(body, "kafka_consumergroup_members"+want); n != 1 {
			t.Errorf("%d times %s in %.500s", n, want, body)
		}
	}
}

// lagging takes in groups of ten partitions, each with a lag of its own, in an
// order that is neither that of lags nor its reverse.
func lagging(c *Census, groups int) {
	for n := range groups {
		i := n * 7919 % groups
		g := Group{Name: fmt.Sprintf("group-%04d", i), Kind: "consumer", State: "Stable", Members: 1}
		for p := range int32(10) {
			g.Offsets = append(g.Offsets, GroupOffset{Topic: "t", Partition: 9 - p, Committed: 1, Lag: int64(i)})
		}
		c.Add(&g)
	}
}

// Ten thousand groups have as many series as the bounds allow, and those that lag
// most are among them. No more of them are ever held than twice the bound.
func TestBoundsOfTenThousandGroups(t *testing.T) {
	c := NewCensus(Bounds{Groups: 1000, Partitions: 2005})
	lagging(c, 10_000)
	if cap(c.kept) > 4000 {
		t.Errorf("there was room for %d groups", cap(c.kept))
	}
	c.Bound()
	if len(c.Groups) != 1000 || c.GroupsLeft != 9000 || len(c.Whole()) != 200 || c.PartitionLeft != 8000 {
		t.Fatalf("%d groups, %d left out; %d whole, %d partitions left out", len(c.Groups), c.GroupsLeft, len(c.Whole()), c.PartitionLeft)
	}
	for i, g := range c.Groups {
		if want := fmt.Sprintf("group-%04d", 9999-i); g.Name != want || g.Offsets[0].Partition != 0 || g.Offsets[9].Partition != 9 {
			t.Fatalf("place %d is %s from partition %d on, want %s", i, g.Name, g.Offsets[0].Partition, want)
		}
	}
	body := exposed(Source{Groups: func() *Census { return c }})
	for name, want := range map[string]int{"kafka_consumergroup_lag": 2000, "myelin_consumergroup_lag_seconds": 2000,
		"kafka_consumergroup_members": 1000, "kafka_consumergroup_lag_sum": 1000} {
		if n := strings.Count(body, "\n"+name+"{"); n != want {
			t.Errorf("%s: %d series, want %d", name, n, want)
		}
	}
	if !strings.Contains(body, `kafka_server_group_coordinator_metrics_consumer_group_count{state="Stable"} 10000`) {
		t.Error("not all groups are counted")
	}
}

// After a group that does not fit none shows its partitions, though it has fewer,
// or none.
func TestBoundIsAPrefix(t *testing.T) {
	of := func(name string, partitions int, lag int64) *Group {
		g := Group{Name: name, Kind: "consumer", State: "Stable"}
		for p := range partitions {
			g.Offsets = append(g.Offsets, GroupOffset{"t", int32(p), 1, lag, 1})
		}
		return &g
	}
	for _, c := range []struct {
		groups      []*Group
		whole, left int
	}{
		{[]*Group{of("a", 3, 9), of("b", 3, 5), of("c", 0, 0)}, 1, 3},
		{[]*Group{of("a", 3, 9), of("b", 3, 5), of("c", 1, 1), of("d", 0, 0)}, 1, 4},
		{[]*Group{of("a", 5, 9), of("b", 0, 0), of("c", 0, 0)}, 3, 0},
		{[]*Group{of("a", 6, 9), of("b", 1, 1), of("c", 0, 0)}, 0, 7},
	} {
		census := NewCensus(Bounds{Groups: 10, Partitions: 5})
		for _, g := range c.groups {
			census.Add(g)
		}
		census.Bound()
		if len(census.Whole()) != c.whole || census.PartitionLeft != c.left {
			t.Errorf("%d of %d groups are whole, %d partitions left out; want %d and %d", len(census.Whole()), len(c.groups), census.PartitionLeft, c.whole, c.left)
		}
		body := exposed(Source{Groups: func() *Census { return census }})
		if n := strings.Count(body, "\nkafka_consumergroup_lag{"); n > 5 {
			t.Errorf("%d partitions have series", n)
		}
	}
}

// No group has series of its own where none may, and all are counted.
func TestBoundOfNone(t *testing.T) {
	c := NewCensus(Bounds{})
	lagging(c, 100)
	c.Bound()
	if len(c.Groups) != 0 || c.GroupsLeft != 100 || c.Members["consumer"] != 100 || cap(c.kept) > 4 {
		t.Errorf("%d groups, %d left out, %d members, room for %d", len(c.Groups), c.GroupsLeft, c.Members["consumer"], cap(c.kept))
	}
}

// BenchmarkScrapeOfGroups is a scrape of ten thousand groups of ten partitions
// that all lag, within the default bounds.
func BenchmarkScrapeOfGroups(b *testing.B) {
	for b.Loop() {
		body := exposed(Source{Groups: func() *Census {
			c := NewCensus(Bounds{Groups: 1000, Partitions: 10_000})
			lagging(c, 10_000)
			c.Bound()
			return c
		}})
		b.ReportMetric(float64(len(body)), "bytes/scrape")
	}
}
