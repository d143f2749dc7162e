package myelin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// layers is the plan of the house: who may import whom. "a < b" means that b
// may import a, and what a may import too; the grammar is that of Go's own
// internal/dag, see parseLayers. A name is a package's path in this module
// without "internal/"; a name in capitals is a landing on the stairs, not a
// package.
//
// Only code that ships is bound by it. Tests may import what they like.
//
// An edge that is missing here is missing on purpose. Before adding one, look
// whether the lower package can declare an interface that the upper satisfies.
const layers = `
	# Ground: the nouns, and two foundations that know nothing of Kafka.
	NONE < kafka, invariant, metrics;
	kafka, invariant < GROUND;

	# What is pure, or touches one thing only.
	GROUND < wire, record, config, vfs, partition, auth, quota, assign, sasl;
	wire < wire/msg, wire/state;
	GROUND < wire/gen;

	# One partition's log.
	vfs < segment;
	record, segment < commitlog;
	commitlog < compact, quorum;
	partition, commitlog, metrics < replica;

	# Between brokers.
	wire/msg < peer;
	peer, replica < follow;

	# Metadata: the image, who decides on it, who runs that.
	config, wire/state < cluster;
	cluster, wire/msg, sasl < controller;
	quorum, peer < quorum/courier;
	NONE < controller/plan;
	quorum, controller, metrics < metadata;

	# Coordinators: they see a Log of their own, never a replica.
	record, wire/state < coordinator;
	assign, wire/msg < group/classic;
	assign < assign/tasks;
	coordinator, assign, wire/msg < group/kind < group/consumer, group/share;
	group/kind, assign/tasks < group/streams;
	coordinator, cluster, group/classic, group/consumer, group/share, group/streams, metrics < group;
	coordinator, cluster, wire/msg, metrics < txn;
	coordinator, cluster, wire/msg, metrics < share < share/persist, share/letters;

	# Requests, sockets, the whole.
	auth, quota, compact, follow, metadata, group, txn, share, share/persist < api;
	txn, share/persist < errand;
	share/letters, api < listen;
	listen, errand, quorum/courier < broker;

	# What a user starts or embeds.
	broker < myelin;
	broker, controller/plan < cli < cmd/myelin;

	# Test floor: never in what ships, see TestLayersApart.
	NONE < script, memnet, history;
	record < slicelog;
	myelin, memnet < myelintest;
	broker, memnet, history < sim;
	compact, replica, memnet < torture;
	vfs < test/system/lazyfs < test/system;
	NONE < test/bench, test/steady;
	listen < test/compat/wirecmp < test/compat;
	wire/msg, wire/state < wire/wiretest;

	# The four edges that carry the design, and what must stay apart.
	cluster !< partition;
	replica !< coordinator;
	replica !< group;
	replica !< txn;
	cli !< myelin;
	cli !< myelintest;
	config !< replica;
	config !< commitlog;
	test/bench !< broker;
`

// modules says which package may import which module of another author, with
// every package below that module's path. Nothing is inherited: a library stays
// where its reason is. Tests may use any module that go.mod has.
var modules = map[string][]string{
	"record":     {"github.com/klauspost/compress", "github.com/pierrec/lz4/v4"},
	"quorum":     {"go.etcd.io/raft/v3", "google.golang.org/protobuf"},
	"metrics":    {"github.com/prometheus/client_golang", "github.com/prometheus/client_model", "github.com/prometheus/common"},
	"config":     {"github.com/goccy/go-yaml"},
	"vfs":        {"golang.org/x/sys"},
	"listen":     {"golang.org/x/sys"},
	"broker":     {"golang.org/x/sys", "github.com/prometheus/client_golang"},
	"cli":        {"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/twmb/franz-go", "golang.org/x/term", "golang.org/x/sys", "github.com/goccy/go-yaml"},
	"test/bench": {"github.com/twmb/franz-go/pkg/kerr", "github.com/twmb/franz-go/pkg/kmsg", "github.com/klauspost/compress", "github.com/pierrec/lz4/v4"},

	"test/system/lazyfs":  {"github.com/hanwen/go-fuse/v2"},
	"test/compat/wirecmp": {"github.com/twmb/franz-go/pkg/kmsg"},
}

// testFloor are the packages that only tests, the simulator and programs under
// test/ may reach.
var testFloor = []string{"script", "slicelog", "memnet", "history", "sim", "torture", "myelintest", "wire/wiretest"}

func TestLayers(t *testing.T) {
	plan, err := parseLayers(layers)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range houseOf(t).packages {
		if !p.ships() {
			continue
		}
		if !plan.known(p.name) {
			t.Errorf("%s: package %s is not in the plan: give it a line in layers (house_test.go), as low as it can stand",
				p.dir, p.name)
			continue
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, imp := range f.imports() {
				checkImport(t, plan, p, f, imp)
			}
		}
	}
}

func checkImport(t *testing.T, plan *plan, p *housePackage, f *houseFile, imp importSpec) {
	t.Helper()
	first, _, _ := strings.Cut(imp.path, "/")
	switch {
	case imp.path == housePath || strings.HasPrefix(imp.path, housePath+"/"):
		to := houseName(strings.TrimPrefix(strings.TrimPrefix(imp.path, housePath), "/"))
		if !plan.mayImport(p.name, to) {
			t.Errorf("%s: %s may not import %s: declare an interface in %s that %s satisfies, or move the code down",
				f.at(imp.pos), p.name, to, p.name, to)
		}
	case strings.Contains(first, "."):
		within := func(m string) bool { return imp.path == m || strings.HasPrefix(imp.path, m+"/") }
		if !slices.ContainsFunc(modules[p.name], within) {
			t.Errorf("%s: %s may not import %s: use the package that owns this library (modules in house_test.go)",
				f.at(imp.pos), p.name, imp.path)
		}
	}
}

// TestLayersApart keeps the test floor out of the binary, and the command line
// out of what people embed.
func TestLayersApart(t *testing.T) {
	plan, err := parseLayers(layers)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range plan.order {
		if strings.HasPrefix(from, "test/") || slices.Contains(testFloor, from) {
			continue
		}
		for _, to := range testFloor {
			if plan.mayImport(from, to) {
				t.Errorf("layers: %s may import %s, which is for tests only: take that edge out", from, to)
			}
		}
	}
}

// plan is a parsed graph with its transitive closure.
type plan struct {
	order []string                   // names as they are defined
	below map[string]map[string]bool // name -> all that it may import
}

func (p *plan) known(name string) bool { return p.below[name] != nil && name != strings.ToUpper(name) }

func (p *plan) mayImport(from, to string) bool { return p.below[from][to] }

// parseLayers reads rules of the form
//
//	a, b < c, d < e;     c and d stand on a and on b, e stands on c and d
//	a !< e;              and e must not come to stand on a
//
// Every name is defined once, on the right of a "<", before it is used on the
// left; NONE stands for nothing; # starts a comment. The order of definition is
// therefore a topological order, and one pass closes the graph.
func parseLayers(text string) (*plan, error) {
	p := &plan{below: map[string]map[string]bool{}}
	var denials [][2]string
	for _, rule := range strings.Split(stripComments(text), ";") {
		if strings.TrimSpace(rule) == "" {
			continue
		}
		if left, right, denied := strings.Cut(rule, "!<"); denied {
			for _, lo := range names(left) {
				for _, hi := range names(right) {
					denials = append(denials, [2]string{lo, hi})
				}
			}
			continue
		}
		steps := strings.Split(rule, "<")
		if len(steps) < 2 {
			return nil, fmt.Errorf("layers: rule %q has no <", strings.TrimSpace(rule))
		}
		for i := 1; i < len(steps); i++ {
			if err := p.define(names(steps[i-1]), names(steps[i])); err != nil {
				return nil, err
			}
		}
	}
	for _, d := range denials {
		if !p.known(d[0]) || !p.known(d[1]) {
			return nil, fmt.Errorf("layers: %s !< %s names an unknown package", d[0], d[1])
		}
		if p.mayImport(d[1], d[0]) {
			return nil, fmt.Errorf("layers: %s !< %s does not hold", d[0], d[1])
		}
	}
	return p, nil
}

// define lets every name of hi stand on every name of lo and on what is below
// it. All that a name stands on is in one rule, so that the rule can be read
// alone and the closure is whole when it is used.
func (p *plan) define(lo, hi []string) error {
	for _, h := range hi {
		if h == "" || h == "NONE" {
			return fmt.Errorf("layers: %q cannot stand on anything", h)
		}
		if p.below[h] != nil {
			return fmt.Errorf("layers: %s is defined twice: write all it stands on in one rule", h)
		}
	}
	for _, l := range lo {
		if l != "NONE" && p.below[l] == nil {
			return fmt.Errorf("layers: %q is used before its definition", l)
		}
	}
	for _, h := range hi {
		set := map[string]bool{}
		for _, l := range lo {
			if l == "NONE" {
				continue
			}
			set[l] = true
			for below := range p.below[l] {
				set[below] = true
			}
		}
		p.below[h] = set
		p.order = append(p.order, h)
	}
	return nil
}

func names(list string) []string {
	out := strings.Split(list, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

func stripComments(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i], _, _ = strings.Cut(line, "#")
	}
	return strings.Join(lines, "\n")
}

func TestParseLayers(t *testing.T) {
	p, err := parseLayers("NONE < a, b; a < C; C, b < d < e; a !< b; # comment; ignored\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"e", "a", true}, {"e", "d", true}, {"d", "b", true}, {"b", "a", false}, {"a", "e", false}, {"a", "a", false},
	} {
		if got := p.mayImport(c.from, c.to); got != c.want {
			t.Errorf("mayImport(%s, %s) = %v, want %v", c.from, c.to, got, c.want)
		}
	}
	for text, want := range map[string]string{
		"NONE < a; a < b; a !< b;": "does not hold",
		"a < b;":                   "before its definition",
		"NONE < a; NONE < a;":      "defined twice",
		"NONE a;":                  "no <",
		"NONE < a; a !< z;":        "unknown package",
		"NONE < a,;":               "cannot stand",
	} {
		if _, err := parseLayers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseLayers(%q) = %v, want %q", text, err, want)
		}
	}
}
