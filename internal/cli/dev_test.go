package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/config"
)

// lockedBuffer is a buffer that a broker's log and a test may share.
type lockedBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.String()
}

// startDev runs `myelin dev` in this process until the test ends, and returns
// its bootstrap address and what it prints.
func startDev(t *testing.T, args ...string) (address string, out *lockedBuffer) {
	t.Helper()
	lines, out := startNode(t, append([]string{"dev", "--port", "0"}, args...)...)
	return lines[0], out
}

// startNode runs dev or serve in this process until the test ends, and returns
// the lines of its ready file and what it prints.
func startNode(t *testing.T, args ...string) (ready []string, out *lockedBuffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ready")
	ctx, cancel := context.WithCancel(context.Background())
	out = &lockedBuffer{}
	errs := &lockedBuffer{}
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, Process{Args: append(args, "--ready-file", file), In: strings.NewReader(""), Out: out, Err: errs})
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("%s ended with %d: %s", args[0], code, errs.String())
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the ready file outlives the broker")
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case <-tick.C:
			if text, err := os.ReadFile(file); err == nil {
				return strings.Split(string(text), "\n"), out
			}
		case code := <-ended:
			ended <- code
			t.Fatalf("%s ended with %d before it was ready: %s", args[0], code, errs.String())
		case <-deadline:
			t.Fatalf("%s is not ready: %s", args[0], errs.String())
		}
	}
}

// TestJourney walks the first five minutes of a user through the command tree,
// against a broker that dev runs in this process.
func TestJourney(t *testing.T) {
	address, banner := startDev(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	env := []string{"MYELIN_BROKERS=" + address}
	for _, step := range []struct {
		input string
		args  string
		code  int
		out   string
		errs  string
	}{
		{"", "ping", 0, "1 brokers", ""},
		{"", "topic list", 0, "TOPIC", "no topics; create one with"},
		{"", "topic create orders -p 3 -c retention.ms=86400000", 0, "orders", ""},
		{"", "topic create orders", exitFailed, "", "topic orders exists already"},
		{"", "topic create orders other -p 1", exitPartial, "other", "topic orders exists already"},
		{"", "topic create x -c retenton.ms=1", exitUsage, "", "did you mean retention.ms?"},
		{"", "topic create x --dry-run", 0, "", "nothing was created"},
		{"", "topic list -o name", 0, "orders\nother\n", ""},
		{"a\nb\nc\n", "produce orders -k key", 0, "", "3 records to orders"},
		{"k1=v1\n", "produce orders -f %k=%v\\n -H h:1 -z zstd -o jsonl", 0, `"topic":"orders"`, ""},
		{"x\n", "produce missing --create=false", exitNotFound, "", "topic missing does not exist; create it with: myelin topic create missing"},
		{"x\n", "produce auto", 0, "", "1 record to auto"},
		{"", "consume orders -e -f %k=%v\\n", 0, "key=a\nkey=b\nkey=c\n", ""},
		{"", "consume orders -e -f %k=%v\\n", 0, "k1=v1\n", ""},
		{"", "consume orders -n 1 -o jsonl", 0, `"topic":"orders"`, ""},
		{"", "consume nope -e", exitNotFound, "", "topic nope does not exist"},
		{"", "topic describe orders", 0, "86400000  TOPIC", ""},
		{"", "topic config set orders segment.ms=x", exitFailed, "", "Not a number of type LONG"},
		{"", "topic config set orders segment.ms=60000", 0, "", ""},
		{"", "topic config get orders segment.ms", 0, "60000  TOPIC", ""},
		{"", "topic config unset orders segment.ms", 0, "", ""},
		{"", "topic config get orders segment.ms", 0, "604800000  DEFAULT", ""},
		{"", "topic partitions add orders --to 4", 0, "", "4 partitions"},
		{"", "topic partitions add orders --to 2", exitFailed, "", "would not be an increase"},
		{"", "consume orders -g g -n 4", 0, "v1", ""},
		{"", "group list -o name", 0, "g\n", ""},
		{"", "group describe g", 0, "state Empty", ""},
		{"", "group seek g --to start", 0, "orders", "nothing was moved"},
		{"", "group seek g --to start --yes", 0, "orders", ""},
		{"", "consume orders -g g -n 4", 0, "v1", ""},
		{"", "group delete g --yes", 0, "g\n", ""},
		{"", "group describe g", exitNotFound, "", "group g does not exist"},
		{"", "topic trim orders --before end --yes", 0, "orders 0", ""},
		{"", "consume orders -e", 0, "", ""},
		{"", "bench produce bench -n 2000", 0, "produce  2000", ""},
		{"", "bench consume bench", 0, "consume  2000", ""},
		{"", "topic delete other", exitUsage, "", "add --yes"},
		{"", "topic delete other --yes", 0, "other\n", ""},
		{"", "topic describe other", exitNotFound, "", "topic other does not exist"},
	} {
		out, errs, code := run(t, step.input, env, strings.Fields(step.args)...)
		if code != step.code || !strings.Contains(out, step.out) || !strings.Contains(errs, step.errs) {
			t.Errorf("myelin %s: exit %d\n%s%s\nwant %d, %q, %q", step.args, code, out, errs, step.code, step.out, step.errs)
		}
	}
	if lines := strings.Count(banner.String(), "\n"); lines != 6 || !strings.Contains(banner.String(), "ready at "+address) {
		t.Errorf("banner of %d lines:\n%s", lines, banner.String())
	}
}

// TestDevTwice finds what stands in the way of a second broker.
func TestDevTwice(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	address, _ := startDev(t, "--data-dir", data)
	if _, errs, code := run(t, "", nil, "dev", "--listen", address, "--ephemeral"); code != exitFailed || !strings.Contains(errs, "choose another port") {
		t.Errorf("port in use: %d %s", code, errs)
	}
	if _, errs, code := run(t, "", nil, "dev", "--port", "0", "--data-dir", data); code != exitFailed || !strings.Contains(errs, "in use by another process") {
		t.Errorf("directory in use: %d %s", code, errs)
	}
}

// TestDevKeeps restarts a broker on its directory and reads what was written.
func TestDevKeeps(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	t.Run("write", func(t *testing.T) {
		address, _ := startDev(t, "--data-dir", data)
		if _, errs, code := run(t, "one\ntwo\n", nil, "produce", "t", "-b", address); code != 0 {
			t.Fatal(errs)
		}
	})
	address, _ := startDev(t, "--data-dir", data)
	if out, errs, code := run(t, "", nil, "consume", "t", "-e", "-b", address); code != 0 || out != "one\ntwo\n" {
		t.Errorf("%d %q %s", code, out, errs)
	}
}

// TestServe runs a node from a file: formatted, served, probed, described.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "server.properties")
	text := "node.id=3\nlisteners=PLAINTEXT://127.0.0.1:0\nadmin.listener=127.0.0.1:0\nnum.partitions=2\nlog.dirs=" + data + "\n"
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	out, errs, code := run(t, "", nil, "storage", "format", "--config", file, "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qk")
	if code != 0 || out != "MkU3OEVBNTcwNTJENDM2Qk\n" {
		t.Fatalf("format: %d %s%s", code, out, errs)
	}
	if _, errs, code := run(t, "", nil, "storage", "format", "--config", file); code != exitFailed || !strings.Contains(errs, "already formatted") {
		t.Errorf("format twice: %d %s", code, errs)
	}
	if _, _, code := run(t, "", nil, "storage", "format", "--config", file, "--if-needed"); code != 0 {
		t.Errorf("format if needed: %d", code)
	}
	if out, _, code := run(t, "", nil, "storage", "info", "--config", file, "-o", "jsonl"); code != 0 || !strings.Contains(out, `"node_id":3,"cluster_id":"MkU3OEVBNTcwNTJENDM2Qk"`) {
		t.Errorf("info: %d %s", code, out)
	}
	ready, _ := startNode(t, "serve", "--config", file)
	env := []string{"MYELIN_BROKERS=" + ready[0]}
	for _, step := range []struct{ args, out string }{
		{"ping", "cluster MkU3OEVBNTcwNTJENDM2Qk, 1 brokers"},
		{"topic create t -o csv", "t,2,1,"},
		{"storage dirs -o csv", "3," + data + ",online,"},
		{"health --admin " + ready[1], "ok"},
		{"health --live --admin " + ready[1], "ok"},
		{"__complete topic describe ", "t\n"},
	} {
		args := strings.Split(step.args, " ")
		if out, errs, code := run(t, "", env, args...); code != 0 || !strings.Contains(out, step.out) {
			t.Errorf("myelin %s: %d %s%s", step.args, code, out, errs)
		}
	}
	if _, errs, code := run(t, "key", env, "produce", "t", "-p", "1"); code != 0 {
		t.Fatal(errs)
	}
	if out, errs, code := run(t, "", env, "storage", "dirs", "-o", "jsonl"); code != 0 || !strings.Contains(out, `{"topic":"t","partition":1,"bytes":`) {
		t.Errorf("storage dirs: %d %s%s", code, out, errs)
	}
	segment := filepath.Join(data, "t-1", "00000000000000000000.log")
	if out, _, code := run(t, "", nil, "storage", "dump-log", "--records", segment); code != 0 || !strings.Contains(out, `value "key"`) {
		t.Errorf("dump-log: %d %s", code, out)
	}
}

// TestPingNamesTheAddress finds what is most often wrong with a new broker: the
// address it tells its clients.
func TestPingNamesTheAddress(t *testing.T) {
	dead := deadAddress(t)
	address, _ := startDev(t, "--ephemeral", "--set", "advertised.listeners=PLAINTEXT://"+dead)
	_, errs, code := run(t, "", nil, "ping", "-b", address)
	if code != exitUnreachable || !strings.Contains(errs, "tells clients to use "+dead+", and that cannot be reached from here: connection refused; set advertised.listeners") {
		t.Errorf("%d %s", code, errs)
	}
}

// dying is a node that fails once it is told to.
type dying struct{ ready, fail chan struct{} }

func (d dying) Ready() <-chan struct{} { return d.ready }
func (d dying) Addr(string) string     { return "127.0.0.1:1" }
func (d dying) AdminAddr() string      { return "" }
func (d dying) Close() error           { return nil }
func (d dying) Run(context.Context) error {
	<-d.fail
	return fmt.Errorf("metadata: %w", syscall.ENOSPC)
}

// TestNodeThatFailsEndsTheProcess: also one that served already, so that whoever
// watches the process can start another.
func TestNodeThatFailsEndsTheProcess(t *testing.T) {
	for _, served := range []bool{false, true} {
		d := dying{make(chan struct{}), make(chan struct{})}
		file := filepath.Join(t.TempDir(), "ready")
		if served {
			close(d.ready)
		} else {
			close(d.fail)
		}
		err := keep(t.Context(), config.NewBroker(nil), d, file, func(node) { close(d.fail) })
		var f *fault
		if !errors.As(err, &f) || f.code != exitFailed || !strings.Contains(f.text, "free some space") {
			t.Errorf("served %v: %v", served, err)
		}
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("served %v: the ready file stays: %v", served, err)
		}
	}
}
