//go:build compat

package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tools are Apache's own command-line programs by the name of their script.
var tools = map[string]string{
	"topics":                 "org.apache.kafka.tools.TopicCommand",
	"configs":                "kafka.admin.ConfigCommand",
	"console-producer":       "org.apache.kafka.tools.ConsoleProducer",
	"console-consumer":       "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"console-share-consumer": "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
	"consumer-groups":        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"share-groups":           "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
	"streams-groups":         "org.apache.kafka.tools.streams.StreamsGroupCommand",
	"groups":                 "org.apache.kafka.tools.GroupsCommand",
	"transactions":           "org.apache.kafka.tools.TransactionsCommand",
	"get-offsets":            "org.apache.kafka.tools.GetOffsetShell",
	"delete-records":         "org.apache.kafka.tools.DeleteRecordsCommand",
	"log-dirs":               "org.apache.kafka.tools.LogDirsCommand",
	"producer-perf":          "org.apache.kafka.tools.ProducerPerformance",
	"consumer-perf":          "org.apache.kafka.tools.ConsumerPerformance",
	"share-consumer-perf":    "org.apache.kafka.tools.ShareConsumerPerformance",
	"verifiable-producer":    "org.apache.kafka.tools.VerifiableProducer",
	"verifiable-consumer":    "org.apache.kafka.tools.VerifiableConsumer",
	"dump-log":               "org.apache.kafka.tools.DumpLogSegments",
	"broker-api-versions":    "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"metadata-quorum":        "org.apache.kafka.tools.MetadataQuorumCommand",
	"reassign-partitions":    "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"leader-election":        "org.apache.kafka.tools.LeaderElectionCommand",
	"features":               "org.apache.kafka.tools.FeatureCommand",
	"cluster":                "org.apache.kafka.tools.ClusterTool",
	"replica-verification":   "org.apache.kafka.tools.ReplicaVerificationTool",
}

// tool runs one of Apache's programs and returns what it wrote to stdout.
func tool(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	return run(t, 2*time.Minute, stdin, java(t, "tools", tools[name], args...)...).stdout
}

// want fails unless text contains every one of the parts.
func want(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Fatalf("no %q in:\n%s", p, tail(text))
		}
	}
}

// Apache's tools are what operators type and what runbooks quote, so they run
// here as they are, in the order of a day's work on one topic.
func TestJavaTools(t *testing.T) {
	b := target(t)
	on := func(args ...string) []string { return append([]string{"--bootstrap-server", b}, args...) }

	t.Run("topics", func(t *testing.T) {
		want(t, tool(t, "", "topics", on("--create", "--topic", "tools", "--partitions", "3", "--config", "retention.ms=7200000")...), "Created topic tools")
		want(t, tool(t, "", "topics", on("--list")...), "tools")
		tool(t, "", "topics", on("--alter", "--topic", "tools", "--partitions", "4")...)
		want(t, tool(t, "", "topics", on("--describe", "--topic", "tools")...), "PartitionCount: 4", "retention.ms=7200000", "Isr: 1")
	})
	t.Run("configs", func(t *testing.T) {
		tool(t, "", "configs", on("--alter", "--entity-type", "topics", "--entity-name", "tools", "--add-config", "max.message.bytes=123456")...)
		want(t, tool(t, "", "configs", on("--describe", "--entity-type", "topics", "--entity-name", "tools")...), "max.message.bytes=123456", "retention.ms=7200000")
		tool(t, "", "configs", on("--alter", "--entity-type", "topics", "--entity-name", "tools", "--delete-config", "max.message.bytes")...)
		want(t, tool(t, "", "configs", on("--describe", "--all", "--entity-type", "brokers", "--entity-name", "1")...), "num.partitions=", "log.retention.hours=168")
	})
	t.Run("console", func(t *testing.T) {
		var in strings.Builder
		for i := range 200 {
			fmt.Fprintf(&in, "k%d:v%d\n", i, i)
		}
		tool(t, in.String(), "console-producer", on("--topic", "tools", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")...)
		got := tool(t, "", "console-consumer", on("--topic", "tools", "--from-beginning", "--max-messages", "200", "--timeout-ms", "30000",
			"--group", "tools-group", "--formatter-property", "print.key=true")...)
		want(t, got, "k0\tv0", "k199\tv199")
	})
	t.Run("consumer-groups", func(t *testing.T) {
		want(t, tool(t, "", "consumer-groups", on("--list")...), "tools-group")
		want(t, tool(t, "", "consumer-groups", on("--describe", "--group", "tools-group")...), "tools-group", "tools")
		want(t, tool(t, "", "consumer-groups", on("--describe", "--group", "tools-group", "--state")...), "Empty")
		tool(t, "", "consumer-groups", on("--group", "tools-group", "--topic", "tools", "--reset-offsets", "--to-earliest", "--execute")...)
		want(t, tool(t, "", "consumer-groups", on("--group", "tools-group", "--topic", "tools:0", "--reset-offsets", "--shift-by", "1", "--dry-run")...), "tools")
		tool(t, "", "consumer-groups", on("--group", "tools-group", "--topic", "tools:3", "--delete-offsets")...)
		tool(t, "", "consumer-groups", on("--group", "tools-group", "--delete")...)
	})
	t.Run("get-offsets", func(t *testing.T) {
		sum := 0
		for _, line := range strings.Fields(tool(t, "", "get-offsets", on("--topic", "tools")...)) {
			n, err := strconv.Atoi(line[strings.LastIndexByte(line, ':')+1:])
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			sum += n
		}
		if sum != 200 {
			t.Fatalf("offsets sum to %d, want 200", sum)
		}
		tool(t, "", "get-offsets", on("--topic", "tools", "--time", "max-timestamp")...)
	})
	t.Run("delete-records", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "delete.json")
		text := `{"partitions":[{"topic":"tools","partition":0,"offset":-1}],"version":1}`
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		want(t, tool(t, "", "delete-records", on("--offset-json-file", file)...), "low_watermark")
	})
	t.Run("log-dirs", func(t *testing.T) {
		want(t, tool(t, "", "log-dirs", on("--describe", "--topic-list", "tools")...), `"partition":"tools-0"`)
	})
	t.Run("broker-api-versions", func(t *testing.T) {
		want(t, tool(t, "", "broker-api-versions", on()...), "Produce(0): 0 to 13", "Fetch(1): 4 to 18")
	})
	t.Run("metadata-quorum", func(t *testing.T) {
		want(t, tool(t, "", "metadata-quorum", on("describe", "--status")...), "LeaderId:", "CurrentVoters:")
		want(t, tool(t, "", "metadata-quorum", on("describe", "--replication")...), "Leader")
	})
}

func TestJavaPerf(t *testing.T) {
	b := target(t)
	on := func(args ...string) []string { return append([]string{"--bootstrap-server", b}, args...) }
	tool(t, "", "topics", on("--create", "--topic", "perf", "--partitions", "2")...)
	want(t, tool(t, "", "producer-perf", on("--topic", "perf", "--num-records", "100000", "--record-size", "200", "--throughput", "-1")...), "100000 records sent")
	tool(t, "", "consumer-perf", on("--topic", "perf", "--num-records", "100000", "--timeout", "30000")...)
}

// The verifiable pair prints an event per record: every acknowledged value has
// to come back.
func TestJavaVerifiable(t *testing.T) {
	b := target(t)
	out := tool(t, "", "verifiable-producer", "--bootstrap-server", b, "--topic", "verify", "--max-messages", "2000", "--acks", "-1")
	want(t, out, `"acked":2000`)
	limit := 2 * time.Minute
	got := run(t, limit, "", java(t, "tools", tools["verifiable-consumer"], "--bootstrap-server", b, "--topic", "verify",
		"--group-id", "verify-group", "--max-messages", "2000", "--reset-policy", "earliest")...)
	consumed := 0
	for line := range strings.Lines(got.stdout) {
		var event struct {
			Name  string `json:"name"`
			Count int    `json:"count"`
		}
		if json.Unmarshal([]byte(line), &event) == nil && event.Name == "records_consumed" {
			consumed += event.Count
		}
	}
	if consumed != 2000 {
		t.Fatalf("%d of 2000 records consumed", consumed)
	}
}

// Apache's dump tool reads our files, indexes included.
func TestDumpLog(t *testing.T) {
	dir := t.TempDir()
	s := startMyelin(t, dir, "")
	in := strings.Repeat("a line of some length to fill the index\n", 3000)
	for range 4 {
		run(t, 30*time.Second, in, "kcat", "-b", s.bootstrap, "-P", "-t", "dump")
	}
	run(t, time.Minute, "", "kcat", "-b", s.bootstrap, "-G", "dump-group", "-c", "12000", "-q", "-X", "auto.offset.reset=earliest", "dump")
	s.stop(t)
	base := filepath.Join(dir, "dump-0", "00000000000000000000")
	want(t, tool(t, "", "dump-log", "--files", base+".log", "--deep-iteration"), "baseOffset: 0", "isvalid: true")
	for _, kind := range []string{".index", ".timeindex"} {
		out := tool(t, "", "dump-log", "--files", base+kind, "--index-sanity-check")
		want(t, out, "passed sanity check")
	}
	offsets, err := filepath.Glob(filepath.Join(dir, "__consumer_offsets-*", "*.log"))
	if err != nil || len(offsets) == 0 {
		t.Fatalf("no files of __consumer_offsets: %v", err)
	}
	var all strings.Builder
	for _, f := range offsets {
		if fi, err := os.Stat(f); err == nil && fi.Size() > 0 {
			all.WriteString(tool(t, "", "dump-log", "--files", f, "--offsets-decoder"))
		}
	}
	want(t, all.String(), "dump-group")
}
