//go:build compat

package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trio is a cluster of three nodes of Myelin at their defaults, brokers and
// controllers both, each a process with a data directory of its own.
type trio struct {
	nodes       [3]*node
	controllers [3]string // their addresses
}

// node is one process of a cluster.
type node struct {
	server
	settings []string // of serve and of storage format
}

// clusterID is that of all clusters here.
const clusterID = "AAAAAAAAAAAAAAAAAAAAAQ"

// startTrio formats and starts three nodes and returns when each listens.
func startTrio(t testing.TB, properties ...string) *trio {
	t.Helper()
	var c trio
	var voters []string
	for i := range c.controllers {
		c.controllers[i] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, c.controllers[i]))
	}
	for i := range c.nodes {
		at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		c.nodes[i] = newNode(t, i+1, append([]string{"process.roles=broker,controller", "controller.quorum.voters=" + strings.Join(voters, ","),
			"listeners=PLAINTEXT://" + at + ",CONTROLLER://" + c.controllers[i]}, properties...)...)
		c.nodes[i].bootstrap = at
		c.nodes[i].start(t)
	}
	for _, n := range c.nodes {
		awaitPort(t, &n.server)
	}
	return &c
}

// newNode formats a data directory for a node; its bootstrap is the caller's to
// set. "serve" needs no more than what is set here.
func newNode(t testing.TB, id int, properties ...string) *node {
	t.Helper()
	bin, err := myelinBinary()
	if err != nil {
		t.Fatalf("building myelin: %v", err)
	}
	n := &node{}
	n.dir = t.TempDir()
	data := filepath.Join(n.dir, "data")
	for _, p := range append([]string{fmt.Sprint("node.id=", id), "cluster.id=" + clusterID, "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", "admin.listener=127.0.0.1:0", "log.dirs=" + data}, properties...) {
		n.settings = append(n.settings, "--set", p)
	}
	format := append([]string{bin, "storage", "format"}, n.settings...)
	if strings.Contains(strings.Join(properties, "\n"), "controller.quorum.bootstrap.servers=") {
		format = append(format, "--no-initial-controllers") // others vote, where those say
	}
	run(t, time.Minute, "", format...)
	n.log, err = os.Create(filepath.Join(n.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("node %d:\n%s", id, n.logTail())
		}
		n.kill()
		n.log.Close()
	})
	return n
}

// start starts the process; awaitPort tells when it listens.
func (n *node) start(t testing.TB) {
	t.Helper()
	bin, err := myelinBinary()
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(bin, append([]string{"serve"}, n.settings...)...)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// restart is SIGTERM, the end, and a new start.
func (n *node) restart(t testing.TB) {
	t.Helper()
	began := time.Now()
	n.cmd.Process.Signal(syscall.SIGTERM)
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("exit after SIGTERM: %v\n%s", err, n.logTail())
	}
	t.Logf("%s stopped within %v", n.bootstrap, time.Since(began).Round(time.Millisecond))
	n.start(t)
	awaitPort(t, &n.server)
}

// all is what clients are given to find the cluster.
func (c *trio) all() string {
	return c.nodes[0].bootstrap + "," + c.nodes[1].bootstrap + "," + c.nodes[2].bootstrap
}
