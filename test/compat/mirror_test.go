//go:build compat

package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mirror is a MirrorMaker 2 between a Kafka, k, and three nodes of Myelin, m.
type mirror struct {
	kafka *server
	trio  *trio
}

// start starts Apache's MirrorMaker 2, both ways, for topics that begin with
// "there-" and "back-" and groups that begin with "g-".
func (m *mirror) start(t *testing.T) {
	t.Helper()
	lines := []string{"clusters = k, m", "k.bootstrap.servers = " + m.kafka.bootstrap, "m.bootstrap.servers = " + m.trio.all(),
		"k->m.enabled = true", "m->k.enabled = true", "k->m.topics = there-.*", "m->k.topics = back-.*", "groups = g-.*",
		"replication.factor = 1", "k->m.replication.factor = 3", "sync.topic.acls.enabled = false", "sync.group.offsets.enabled = true", "offset.lag.max = 0"}
	for _, topic := range []string{"checkpoints.topic", "heartbeats.topic", "offset-syncs.topic", "k.offset.storage", "k.status.storage", "k.config.storage"} {
		lines = append(lines, topic+".replication.factor = 1")
	}
	for _, topic := range []string{"m.offset.storage", "m.status.storage", "m.config.storage"} {
		lines = append(lines, topic+".replication.factor = 3")
	}
	for _, what := range []string{"sync.group.offsets", "emit.checkpoints", "emit.heartbeats", "refresh.topics", "refresh.groups", "sync.topic.configs"} {
		lines = append(lines, what+".interval.seconds = 1")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "mm2.properties")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	argv := java(t, "mirror", "org.apache.kafka.connect.mirror.MirrorMaker", file)
	argv[1] = "-Xmx768m"
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		limit := time.AfterFunc(15*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		limit.Stop()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("MirrorMaker logged:\n%s", tail(string(text)))
		}
		log.Close()
	})
}

// read reads a topic: its records by partition, in order, each with key, value,
// header and time.
func (m *mirror) read(t *testing.T, bootstrap, topic string) (parts [3][]string) {
	t.Helper()
	out, err := tryRun(t, time.Minute, "", "kcat", "-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p %k %s %h %T\n")
	if err != nil {
		return parts // it is not there yet
	}
	for line := range strings.Lines(out.stdout) {
		p := line[0] - '0'
		parts[p] = append(parts[p], strings.TrimSpace(line[2:]))
	}
	return parts
}

// until asks until it is so, for at most three minutes: MirrorMaker takes its time.
func (m *mirror) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// tells runs one of Apache's tools until it prints something.
func (m *mirror) tells(t *testing.T, pattern, bootstrap, name string, args ...string) {
	t.Helper()
	var last output
	argv := java(t, "tools", tools[name], append([]string{"--bootstrap-server", bootstrap}, args...)...)
	m.until(t, fmt.Sprintf("%s %v tells %q", name, args, pattern), func() bool {
		last, _ = tryRun(t, time.Minute, "", argv...)
		return regexp.MustCompile(`(?ms)` + pattern).MatchString(last.stdout)
	})
}

// Apache's MirrorMaker 2 copies from a real Kafka to three nodes of Myelin and from
// them to Kafka: records as they are, partition by partition and in order, topics
// with their configs, the offsets of groups, heartbeats and checkpoints, and goes on
// while a node restarts. COMPAT_MIRROR=1 runs it: some minutes.
func TestMirrorMaker(t *testing.T) {
	if os.Getenv("COMPAT_MIRROR") == "" {
		t.Skip("takes minutes: COMPAT_MIRROR=1 runs it")
	}
	m := &mirror{kafka: startKafka(t), trio: startTrio(t)}
	sides := []struct{ from, to, topic, copy, group, other, retention string }{
		{m.kafka.bootstrap, m.trio.all(), "there-a", "k.there-a", "g-there", "m", "retention.ms=7200000"},
		{m.trio.all(), m.kafka.bootstrap, "back-b", "m.back-b", "g-back", "k", "retention.ms=7300000"},
	}
	write := func(to, topic, prefix string, n int) {
		var in strings.Builder
		for i := range n {
			fmt.Fprintf(&in, "%s-%d|value %d of %s\n", prefix, i, i, topic)
		}
		run(t, time.Minute, in.String(), "kcat", "-b", to, "-P", "-t", topic, "-K", "|", "-H", "h="+prefix)
	}
	m.trio.awaitWhole(t)
	for _, s := range sides {
		tool(t, "", "topics", "--bootstrap-server", s.from, "--create", "--topic", s.topic, "--partitions", "3", "--config", s.retention)
		write(s.from, s.topic, "first", 1000)
		run(t, time.Minute, "", "kcat", "-b", s.from, "-G", s.group, "-c", "1000", "-q", "-X", "auto.offset.reset=earliest", s.topic)
	}
	m.start(t)
	same := func(from, topic, to, copied string) func() bool {
		return func() bool {
			a, b := m.read(t, from, topic), m.read(t, to, copied)
			return slices.EqualFunc(a[:], b[:], slices.Equal[[]string])
		}
	}
	for _, s := range sides {
		m.until(t, s.copy+" is what "+s.topic+" is", same(s.from, s.topic, s.to, s.copy))
		m.tells(t, `PartitionCount: 3\s.*`+s.retention, s.to, "topics", "--describe", "--topic", s.copy)
		write(s.from, s.topic, "more", 500)
		m.until(t, s.copy+" has what was written since", same(s.from, s.topic, s.to, s.copy))
		m.until(t, "checkpoints are at "+s.to, m.holds(t, s.to, s.copy[:2]+"checkpoints.internal"))
		m.until(t, "offset syncs are at "+s.from, m.holds(t, s.from, "mm2-offset-syncs."+s.other+".internal"))
		m.until(t, "heartbeats are at "+s.to, m.holds(t, s.to, "heartbeats"))
		m.until(t, "heartbeats of "+s.from+" are at "+s.to, m.holds(t, s.to, s.copy[:2]+"heartbeats"))
		m.offsets(t, s.to, s.group, s.copy, 1000)
		tool(t, "", "configs", "--bootstrap-server", s.from, "--alter", "--entity-type", "topics", "--entity-name", s.topic, "--add-config", "max.message.bytes=123456")
		m.tells(t, `max.message.bytes=123456`, s.to, "topics", "--describe", "--topic", s.copy)
	}
	for _, n := range m.trio.nodes {
		n.restart(t)
	}
	for _, s := range sides {
		write(s.from, s.topic, "last", 500)
		m.until(t, s.copy+" has all that was written while nodes restarted", func() bool {
			a, b := m.read(t, s.from, s.topic), m.read(t, s.to, s.copy)
			return slices.EqualFunc(a[:], b[:], func(a, b []string) bool { return len(a) > 0 && slices.Equal(a, distinct(b)) })
		})
	}
}

// holds says whether there is a record in the first partition of a topic.
func (m *mirror) holds(t *testing.T, bootstrap, topic string) func() bool {
	return func() bool {
		out, err := tryRun(t, time.Minute, "", "kcat", "-b", bootstrap, "-Q", "-t", topic+":0:-1")
		return err == nil && regexp.MustCompile(`offset [1-9]`).MatchString(out.stdout)
	}
}

// distinct leaves out what comes again: MirrorMaker copies at least once.
func distinct(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// offsets waits until a group has offsets for all records of a topic's copy.
func (m *mirror) offsets(t *testing.T, bootstrap, group, topic string, want int) {
	t.Helper()
	row := regexp.MustCompile(`(?m)^\S+ +` + regexp.QuoteMeta(topic) + ` +\d+ +(\d+) `)
	m.until(t, group+" has its offsets of "+topic, func() bool {
		out, err := tryRun(t, time.Minute, "", java(t, "tools", tools["consumer-groups"], "--bootstrap-server", bootstrap, "--describe", "--group", group)...)
		sum := 0
		for _, f := range row.FindAllStringSubmatch(out.stdout, -1) {
			var n int
			fmt.Sscan(f[1], &n)
			sum += n
		}
		return err == nil && sum == want
	})
}
