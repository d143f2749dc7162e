//go:build compat

package compat

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// rolling is a client process that writes and reads while nodes restart.
type rolling struct {
	name string
	in   io.WriteCloser
	out  *bufio.Scanner
	cmd  *exec.Cmd
	log  strings.Builder // its stderr
}

func startRolling(t testing.TB, name string, argv ...string) *rolling {
	t.Helper()
	r := &rolling{name: name, cmd: exec.Command(argv[0], argv[1:]...)}
	r.cmd.Stderr = &r.log
	in, err := r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.in, r.out = in, bufio.NewScanner(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
	})
	return r
}

// acked asks how many records were acknowledged until now.
func (r *rolling) acked(t testing.TB) (n int) {
	t.Helper()
	fmt.Fprintln(r.in)
	if !r.out.Scan() {
		t.Fatalf("%s is gone: %v", r.name, r.out.Err())
	}
	if _, err := fmt.Sscanf(r.out.Text(), "acked %d", &n); err != nil {
		t.Fatalf("%s: %q", r.name, r.out.Text())
	}
	return n
}

// goOn waits until n more records are acknowledged.
func (r *rolling) goOn(t testing.TB, n int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	from, end := r.acked(t), time.Now().Add(time.Minute)
	for r.acked(t) < from+n {
		if time.Now().After(end) {
			t.Fatalf("%s: %d records were acknowledged within a minute, %d are wanted", r.name, r.acked(t)-from, n)
		}
		<-tick.C
	}
}

// end lets it read what it wrote and looks at what it saw.
func (r *rolling) end(t testing.TB) {
	t.Helper()
	r.in.Close()
	var text strings.Builder
	limit := time.AfterFunc(2*time.Minute, func() { r.cmd.Process.Kill() })
	defer limit.Stop()
	for r.out.Scan() {
		fmt.Fprintln(&text, r.out.Text())
	}
	if err := r.cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s%s", r.name, err, tail(text.String()), tail(r.log.String()))
	}
	t.Logf("%s: %s", r.name, strings.ReplaceAll(strings.TrimSpace(tail(text.String())), "\n", ", "))
	for _, part := range []string{" lost 0 doubled 0 reordered 0\n", " errors 0 "} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("%s: no %q; it logged:\n%s", r.name, part, tail(r.log.String()))
		}
	}
}

// Three nodes restart one after the other under clients at their defaults, of
// Java and of librdkafka, in groups of both protocols: no client surfaces an
// error, and nothing is lost, doubled or out of order.
func TestRollingRestart(t *testing.T) {
	bin, err := python()
	if err != nil {
		t.Fatalf("a Python with confluent-kafka is needed: %v", err)
	}
	c := startTrio(t)
	classes := t.TempDir()
	run(t, time.Minute, "", "javac", "-cp", classpath(t, "broker"), "-d", classes, "java/Rolling.java")
	var clients []*rolling
	for _, protocol := range []string{"classic", "consumer"} {
		for _, name := range []string{"java", "librdkafka"} {
			topic := name + "-" + protocol
			createReplicated(t, c, topic)
			argv := []string{bin, "python/rolling.py", c.all(), topic, protocol}
			if name == "java" {
				argv = java(t, "broker", "Rolling", c.all(), topic, protocol)
				for i := range argv {
					if argv[i] == "-cp" {
						argv[i+1] = classes + ":" + argv[i+1]
					}
				}
			}
			clients = append(clients, startRolling(t, topic, argv...))
		}
	}
	for _, r := range clients {
		r.goOn(t, 300)
	}
	for _, n := range c.nodes {
		n.restart(t)
		c.awaitWhole(t)
		for _, r := range clients {
			r.goOn(t, 300)
		}
	}
	for _, r := range clients {
		r.end(t)
	}
}

// createReplicated makes a topic of six partitions on all three nodes.
func createReplicated(t testing.TB, c *trio, topic string) {
	t.Helper()
	c.until(t, func() bool {
		_, err := c.myelin(t, "topic", "create", topic, "-p", "6", "-r", "3")
		return err == nil
	})
}

// awaitWhole returns when every replica is in sync again.
func (c *trio) awaitWhole(t testing.TB) {
	t.Helper()
	c.until(t, func() bool {
		out, err := c.myelin(t, "cluster", "info", "-o", "template={{.State}} {{.Behind}}")
		return err == nil && strings.Count(out, "in service 0\n") == len(c.nodes)
	})
}

// until asks again and again for at most a minute.
func (c *trio) until(t testing.TB, is func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it did not come to it within a minute")
		}
	}
}

// myelin runs a command of our own against the cluster.
func (c *trio) myelin(t testing.TB, args ...string) (string, error) {
	t.Helper()
	bin, err := myelinBinary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tryRun(t, time.Minute, "", append(append([]string{bin}, args...), "-b", c.all())...)
	return out.stdout, err
}
