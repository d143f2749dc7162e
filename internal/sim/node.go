package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

const (
	host = "node1"
	addr = "node1:9092"
)

// dirs are the paths of log directories.
var dirs = [...]string{"/data", "/data2", "/data3"}

// node is the broker under simulation over all its lives.
type node struct {
	net    *memnet.Network
	fs     *vfs.Mem
	spoil  func(vfs.FS) vfs.FS // planted bugs between broker and disk; nil: none
	rand   *rand.Rand
	logger *slog.Logger
	dirs   []string // log.dirs; the first alone if it is nil

	broker *broker.Broker
	cancel context.CancelFunc
	ended  chan error
}

// start begins a life on the disk as it is, and returns when clients are
// served.
func (n *node) start() error {
	if n.dirs == nil {
		n.dirs = dirs[:1]
	}
	set, err := config.ParseSet([]string{
		"node.id=1", "process.roles=broker,controller", "log.dirs=" + strings.Join(n.dirs, ","), "admin.listener=",
		"listeners=PLAINTEXT://" + addr, "cluster.id=AAAAAAAAAAAAAAAAAAAAAQ",
		"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=2",
		"log.retention.check.interval.ms=60000",
	})
	if err != nil {
		return err
	}
	var disk vfs.FS = n.fs
	if n.spoil != nil {
		disk = n.spoil(disk)
	}
	b, err := broker.Open(broker.Config{Properties: config.NewBroker(set), FS: disk, Listen: n.net.Host(host).Listen,
		Now: time.Now, Rand: rand.New(rand.NewPCG(n.rand.Uint64(), 1)), Logger: n.logger, Format: true})
	if err != nil {
		return fmt.Errorf("opening the node: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.broker, n.cancel, n.ended = b, cancel, make(chan error, 1)
	go func() { n.ended <- b.Run(ctx) }()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select { //house:select which one comes decides whether the node started
	case <-b.Ready():
		return nil
	case err := <-n.ended:
		n.ended <- err
		return fmt.Errorf("the node ended while it started: %w", err)
	case <-timer.C:
		return fmt.Errorf("the node was not ready within a minute")
	}
}

// stop drains the node, as SIGTERM does.
func (n *node) stop() error {
	if n.broker == nil {
		return nil
	}
	n.broker = nil
	n.cancel()
	return <-n.ended
}

// cut takes the power away: no operation reaches the disk any more, every
// connection breaks, and the next life finds what the policy left.
func (n *node) cut(p vfs.Policy) {
	synctest.Wait()
	n.fs.StopBefore(0)
	n.net.Crash(host)
	_ = n.stop() // its errors are those of a machine without power
	n.fs = n.fs.Crash(p, n.rand)
}

// kill ends the process and leaves the machine as it is, as `kill -9` does: what
// was written is there, and what was not synced still is not.
func (n *node) kill() {
	synctest.Wait()
	n.fs.StopBefore(0)
	n.net.Crash(host)
	_ = n.stop()
	n.fs.StopBefore(math.MaxInt64)
}

func (n *node) dial(ctx context.Context) (net.Conn, error) { return n.net.Dial(ctx, addr) }
