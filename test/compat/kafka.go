//go:build compat

package compat

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startKafka formats and starts a real Apache Kafka 4.4 on loopback, one node
// that is broker and controller. Lines of properties override the defaults.
func startKafka(t testing.TB, properties ...string) *server {
	t.Helper()
	dir := t.TempDir()
	port, controller := freePort(t), freePort(t)
	base := []string{
		"process.roles=broker,controller",
		"node.id=1",
		fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", controller),
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", port, controller),
		fmt.Sprintf("advertised.listeners=PLAINTEXT://127.0.0.1:%d", port),
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs=" + filepath.Join(dir, "data"),
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}
	file := filepath.Join(dir, "server.properties")
	text := strings.Join(append(base, properties...), "\n") + "\n"
	text = strings.ReplaceAll(text, "@controller", fmt.Sprintf("127.0.0.1:%d", controller)) // in listeners of a test's own
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, time.Minute, "", java(t, "broker", "kafka.tools.StorageTool", "format", "-t", "compat-cluster-00000001", "-c", file)...)
	argv := java(t, "broker", "kafka.Kafka", file)
	argv[1] = "-Xmx768m"
	log, err := os.CreateTemp(dir, "kafka-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if i := strings.LastIndex(text, "\nlisteners=PLAINTEXT://"); i >= 0 { // the last counts
		fmt.Sscanf(text[i:], "\nlisteners=PLAINTEXT://127.0.0.1:%d", &port)
	}
	s := &server{bootstrap: fmt.Sprintf("127.0.0.1:%d", port), dir: filepath.Join(dir, "data"), cmd: cmd, log: log}
	t.Cleanup(s.kill)
	awaitPort(t, s)
	return s
}

// freePort asks the kernel for a port that nothing listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func awaitPort(t testing.TB, s *server) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		if c, err := net.Dial("tcp", s.bootstrap); err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("nothing listens on %s after a minute:\n%s", s.bootstrap, s.logTail())
		}
	}
}
