//go:build compat

package compat

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// difference is a listed way in which our answers may differ from Kafka's:
// "API case-pattern path-pattern | reason" with the patterns of path.Match.
type difference struct {
	api, name, field, reason string
	used                     int
}

func listed(t *testing.T) []*difference {
	t.Helper()
	return readDifferences(t, "testdata/differences.txt")
}

func readDifferences(t *testing.T, file string) []*difference {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []*difference
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, "|")
		if len(parts) != 4 || strings.TrimSpace(parts[3]) == "" {
			t.Fatalf("%s: %q is not API | case | field | reason", file, line)
		}
		out = append(out, &difference{api: strings.TrimSpace(parts[0]), name: strings.TrimSpace(parts[1]), field: strings.TrimSpace(parts[2]), reason: parts[3]})
	}
	if len(out) > 40 {
		t.Errorf("%s: %d listed differences, at most 40 are allowed", file, len(out))
	}
	return out
}

func allowed(list []*difference, api, name, line string) bool {
	field, _, _ := strings.Cut(line, ":")
	for _, d := range list {
		okAPI, _ := path.Match(d.api, api)
		okName, _ := path.Match(d.name, name)
		okField, _ := path.Match(d.field, field)
		if okAPI && okName && okField {
			d.used++
			return true
		}
	}
	return false
}

// incomparable are keys that the Kafka beside cannot be asked for, with the reason.
var incomparable = map[int16]string{
	kafka.KeyAddRaftVoter:    "its quorum is static (kraft.version 0): it refuses all, and a listener without a name ends its process",
	kafka.KeyRemoveRaftVoter: "the same; what ours answers is pinned in internal/broker",
}

// The same raw requests to Myelin and to a real Kafka 4.4: for every key and
// version that Myelin serves, the ordinary request and every single change of
// it are answered alike, field by field.
func TestWireComparison(t *testing.T) {
	peers := startBoth(t, "auto.create.topics.enable=false")
	list := listed(t)
	total, ran := 0, 0
	both := comparison{peers, [2]map[int16]wirecmp.Build{wirecmp.Ordinary(peers[0]), wirecmp.Ordinary(peers[1])}, list, map[string]bool{}}
	all := served(t, peers[0])
	for _, api := range all {
		name := kafka.KeyName(api.APIKey)
		if only := os.Getenv("WIRE_API"); only != "" && !slices.Contains(strings.Split(only, ","), name) {
			continue
		}
		if _, ok := incomparable[api.APIKey]; ok {
			ran++
			continue
		}
		t.Run(name, func(t *testing.T) {
			if both.ordinary[0][api.APIKey] == nil {
				t.Fatalf("no ordinary request of %s stands in wirecmp/ordinary.go", name)
			}
			count := 0
			for v := api.MinVersion; v <= api.MaxVersion; v++ {
				n := both.version(t, api.APIKey, v)
				if n < 6 {
					t.Errorf("%s v%d has %d cases, at least 6 are wanted", name, v, n)
				}
				count += n
			}
			t.Logf("%s: %d answers compared", name, count)
			total, ran = total+count, ran+1
		})
	}
	t.Logf("%d answers compared in all", total)
	if ran < len(all) {
		return // one API was asked for
	}
	if total < 3000 {
		t.Errorf("%d answers compared, at least 3000 are wanted", total)
	}
	unseen(t, list, ofRequests)
}

// unseen fails for listed differences of a kind that were not met.
func unseen(t *testing.T, list []*difference, kind differenceKind) {
	t.Helper()
	for _, d := range list {
		if d.kind() == kind && d.used == 0 {
			t.Errorf("the listed difference %s | %s | %s was not seen: take it out", d.api, d.name, d.field)
		}
	}
}

// differenceKind says where a difference is met.
type differenceKind int

const (
	ofRequests  differenceKind = iota
	ofSequences                // the case begins with a conversation's name, or a pattern of names
	ofQuickSessions
	ofLogins
)

func (d *difference) kind() differenceKind {
	pattern, _, found := strings.Cut(d.name, ": ")
	if found && pattern == quickSessions {
		return ofQuickSessions
	}
	if _, ok := logins[pattern]; found && ok {
		return ofLogins
	}
	for name := range sequences {
		if ok, err := path.Match(pattern, name); found && ok && err == nil {
			return ofSequences
		}
	}
	return ofRequests
}

// startBoth starts Myelin and a real Kafka with the same properties and brings
// both to the state that the cases start from.
func startBoth(t *testing.T, properties ...string) [2]*wirecmp.Peer {
	t.Helper()
	properties = append(properties, "group.initial.rebalance.delay.ms=0")
	args := []string{"--set", "node.id=1"}
	for _, p := range properties {
		args = append(args, "--set", p)
	}
	peers := [2]*wirecmp.Peer{wirecmp.Dial("myelin", target(t, args...)), wirecmp.Dial("kafka", startKafka(t, properties...).bootstrap)}
	for _, p := range peers {
		t.Cleanup(p.Close)
		if err := p.Setup(); err != nil {
			t.Fatal(err)
		}
	}
	return peers
}

// served is what Myelin advertises, in the order of the comparison: an answer
// about the whole broker comes before the cases that leave groups behind, and
// what changes topics comes last, since Kafka publishes a change some time after
// it has answered.
func served(t *testing.T, p *wirecmp.Peer) []msg.APIVersionsResponseAPIKey {
	t.Helper()
	var versions msg.APIVersionsResponse
	if err := p.Do(&msg.APIVersionsRequest{}, 0, &versions); err != nil {
		t.Fatal(err)
	}
	turn := map[int16]int{
		kafka.KeyListGroups: -1, kafka.KeyDescribeLogDirs: -1, kafka.KeyListConfigResources: -1,
		kafka.KeyCreateTopics: 1, kafka.KeyDeleteTopics: 1, kafka.KeyCreatePartitions: 1,
		kafka.KeyAlterUserScramCredentials: 1,
		kafka.KeyAlterConfigs:              1, kafka.KeyIncrementalAlterConfigs: 1,
	}
	slices.SortStableFunc(versions.APIKeys, func(a, b msg.APIVersionsResponseAPIKey) int {
		return cmp.Or(cmp.Compare(turn[a.APIKey], turn[b.APIKey]), cmp.Compare(a.APIKey, b.APIKey))
	})
	return versions.APIKeys
}

// comparison is two brokers, what is ordinary on each, and how they may differ.
type comparison struct {
	peers    [2]*wirecmp.Peer
	ordinary [2]map[int16]wirecmp.Build
	listed   []*difference
	silent   map[string]bool // what a peer did not answer at another version
}

// patience is how long to wait for a peer's answer to a case: once a peer was
// seen to keep silent, a short time in the versions that follow.
func (c *comparison) patience(name string) time.Duration {
	if c.silent[name] {
		return wirecmp.Patience / 10
	}
	return wirecmp.Patience
}

// version compares every case of one API and version, and counts them.
func (c *comparison) version(t *testing.T, key, version int16) int {
	t.Helper()
	api := kafka.KeyName(key)
	var cases [2][]wirecmp.Case
	for i := range c.peers {
		cases[i] = wirecmp.Cases(c.ordinary[i][key], key, version)
	}
	for i := range cases[0] {
		silent := [2]string{}
		for j, p := range c.peers {
			silent[j] = p.Name + " " + api + " " + cases[0][i].Name
			p.Patience = c.patience(silent[j])
		}
		outcomes, answers, err := exchange(c.peers, key, version, [2][]byte{cases[0][i].Body, cases[1][i].Body})
		if err != nil {
			t.Fatalf("%s v%d %s: %v", api, version, cases[0][i].Name, err)
		}
		for j := range outcomes {
			c.silent[silent[j]] = outcomes[j] == wirecmp.Silent
		}
		for _, line := range wirecmp.Differences(key, version, outcomes, answers) {
			if !allowed(c.listed, api, cases[0][i].Name, line) {
				t.Errorf("%s v%d [%s] %s", api, version, cases[0][i].Name, fmt.Sprintf("%.300s", line))
			}
		}
	}
	return len(cases[0])
}

// exchange sends each broker its body, both at once, so that a silence costs
// its time only once.
func exchange(peers [2]*wirecmp.Peer, key, version int16, bodies [2][]byte) (outcomes [2]string, answers [2][]byte, err error) {
	var errs [2]error
	var both sync.WaitGroup
	for i, p := range peers {
		both.Go(func() { outcomes[i], answers[i], errs[i] = p.Exchange(key, version, bodies[i]) })
	}
	both.Wait()
	return outcomes, answers, errors.Join(errs[:]...)
}
