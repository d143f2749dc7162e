//go:build compat

package compat

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestStreams runs a word count of Kafka Streams with exactly_once_v2, kills it in
// the middle and starts it anew: who reads what is committed sees each word's
// count go up, never twice the same, and come to the number of words that were
// written. Once in a group of the classic protocol and once in a streams group
// (KIP-1071).
func TestStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	classes := t.TempDir()
	run(t, time.Minute, "", "javac", "-cp", classpath(t, "tools"), "-d", classes, "testdata/streams/WordCount.java")
	var args []string
	for _, p := range []string{
		"group.streams.min.session.timeout.ms=4000", "group.streams.session.timeout.ms=4000",
		"group.streams.min.heartbeat.interval.ms=500", "group.streams.heartbeat.interval.ms=500",
		"group.streams.initial.rebalance.delay.ms=500", "group.min.session.timeout.ms=4000", "group.initial.rebalance.delay.ms=500",
	} {
		args = append(args, "--set", p)
	}
	b := target(t, args...)
	for _, protocol := range []string{"classic", "streams"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWordCount(t, b, "words-"+protocol, classes)
			w.args = []string{
				"bootstrap.servers=" + b, "application.id=" + w.id, "state.dir=" + filepath.Join(t.TempDir(), "state"),
				"group.protocol=" + protocol, "processing.guarantee=exactly_once_v2", "producer.transaction.timeout.ms=4000",
			}
			if protocol == "classic" {
				w.args = append(w.args, "consumer.session.timeout.ms=4000", "consumer.heartbeat.interval.ms=500")
			}
			w.write(300)
			first := w.start()
			w.read(func() bool { return w.total() >= 300 })
			w.write(2000)
			w.read(func() bool { return w.total() >= 600 })
			first.Process.Kill()
			first.Wait()
			w.write(700)
			second := w.start()
			w.read(w.complete)
			second.Process.Kill()
			second.Wait()
		})
	}
}

// wordCount is an application, what it is given and what it said.
type wordCount struct {
	testing.TB
	id, classes string
	args        []string
	written     map[string]int
	counted     map[string]int
	producer    *kgo.Client
	consumer    *kgo.Client
	ctx         context.Context
}

func newWordCount(t testing.TB, bootstrap, id, classes string) *wordCount {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	t.Cleanup(cancel)
	w := &wordCount{TB: t, id: id, classes: classes, written: map[string]int{}, counted: map[string]int{}, ctx: ctx}
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(bootstrap))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	w.producer = client(kgo.DefaultProduceTopic(id + "-lines"))
	if _, err := kadm.NewClient(w.producer).CreateTopics(ctx, 3, 1, nil, id+"-lines", id+"-counts"); err != nil {
		t.Fatal(err)
	}
	w.consumer = client(kgo.ConsumeTopics(id+"-counts"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	return w
}

// start starts a process of the application.
func (w *wordCount) start() *exec.Cmd {
	argv := java(w, "tools", "WordCount", w.args...)
	for i := range argv {
		if argv[i] == "-cp" {
			argv[i+1] = w.classes + string(filepath.ListSeparator) + argv[i+1]
		}
	}
	log, err := os.CreateTemp(w.classes, w.id+"-*.log")
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); w.Failed() {
			w.Logf("the application said:\n%s", tail(string(text)))
		}
	})
	return cmd
}

// write writes some lines of four words.
func (w *wordCount) write(lines int) {
	for i := range lines {
		words := []string{"the", "a", fmt.Sprintf("w%d", i%11), fmt.Sprintf("v%d", i%7)}
		for _, word := range words {
			w.written[word]++
		}
		w.producer.Produce(w.ctx, &kgo.Record{Value: []byte(strings.Join(words, " "))}, func(_ *kgo.Record, err error) {
			if err != nil {
				w.Error(err)
			}
		})
	}
	if err := w.producer.Flush(w.ctx); err != nil {
		w.Fatal(err)
	}
}

// read reads counts until there are enough.
func (w *wordCount) read(enough func() bool) {
	for !enough() {
		fetches := w.consumer.PollFetches(w.ctx)
		if err := w.ctx.Err(); err != nil {
			w.Fatalf("%v, at %v of %v", err, w.counted, w.written)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			word := string(r.Key)
			if err != nil || n <= w.counted[word] {
				w.Errorf("%s is counted %s after %d", word, r.Value, w.counted[word])
			}
			w.counted[word] = n
		})
	}
}

// total is how often the most frequent word has been counted.
func (w *wordCount) total() int { return w.counted["the"] }

func (w *wordCount) complete() bool {
	for word, n := range w.written {
		if w.counted[word] > n {
			w.Fatalf("%s is counted %d times of %d", word, w.counted[word], n)
		}
		if w.counted[word] < n {
			return false
		}
	}
	return true
}

// Kafka's own assignor gives the members of random groups the same tasks as ours.
// The test lies beside the assignor and is skipped without Kafka's jars; here it
// gets them.
func TestTasksWithJava(t *testing.T) {
	cmd := exec.Command("go", "test", "./internal/assign/tasks", "-run", "^TestKafka$", "-count=1", "-v")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "MYELIN_KAFKA_CLASSPATH="+classpath(t, "broker"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestKafka") {
		t.Fatalf("%v\n%s", err, tail(string(out)))
	}
}
