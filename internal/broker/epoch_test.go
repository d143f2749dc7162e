package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// slay ends a node as kill -9 does, and gives it the disk that is left: the machine
// runs on and answers that nobody listens.
func (c *cohort) slay(n *peerNode) {
	c.t.Helper()
	disk := n.cfg.FS.(*vfs.Mem)
	c.net.Crash(fmt.Sprintf("node%d", n.id))
	left := disk.Fork()
	disk.StopBefore(disk.Ops())
	n.stop()
	<-n.done
	n.done <- nil // for who waits for all
	h := c.net.Host(fmt.Sprintf("node%d", n.id))
	n.cfg.FS, n.cfg.Listen, n.cfg.Dial = left, h.Listen, h.Dial
}

// TestPreviousEpoch: a broker whose process was killed registers as one that lost
// nothing, and one whose machine, disk or note of its epoch suffered does not.
func TestPreviousEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t, "log.dirs=/a,/b", "metadata.log.dir=/a")
		defer c.quiet()
		if code := c.create(c.nodes[0], "t", 6, 3); code != kafka.None {
			t.Fatal(code)
		}
		n := c.nodes[0]
		if c.leader(c.nodes...) == n.id {
			n = c.nodes[1]
		}
		c.settle(c.nodes...)
		time.Sleep(6 * time.Second) // a checkpoint says that every log was examined
		registered := c.node(c.leader(c.nodes...)).metadata.Image().Broker(n.id).Epoch
		c.slay(n)
		disk := n.cfg.FS.(*vfs.Mem)
		for _, w := range []struct {
			what string
			disk func() *vfs.Mem
			want int64
		}{
			{"killed", disk.Fork, registered},
			{"power cut", func() *vfs.Mem { return disk.Crash(vfs.KeepAll, nil) }, -1},
			{"one note is missing", func() *vfs.Mem { d := disk.Fork(); _ = d.Remove("/b/.myelin_epoch"); return d }, -1},
			{"one note is of another day", func() *vfs.Mem {
				d := disk.Fork()
				text, err := vfs.ReadFile(d, "/b/.myelin_epoch", 1<<10)
				if err == nil {
					text[len("version: 0\nbroker_epoch: ")]++
					err = vfs.WriteAtomic(d, "/b/.myelin_epoch", text)
				}
				if err != nil {
					t.Error(err)
				}
				return d
			}, -1},
			{"one directory is gone", func() *vfs.Mem {
				d := disk.Fork()
				if err := errors.Join(d.RemoveAll("/b"), d.MkdirAll("/b")); err != nil {
					t.Error(err)
				}
				return d
			}, registered}, // that its replicas are gone shows in its directory.id
		} {
			cfg := n.cfg
			cfg.FS = w.disk()
			b, err := Open(cfg)
			if err != nil {
				t.Fatal(w.what, err)
			}
			if got := b.dirs.previousEpoch(); got != w.want {
				t.Errorf("%s: registers with previous epoch %d, want %d (was registered with %d)", w.what, got, w.want, registered)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		c.start(n)
		c.ready(n)
	})
}

// TestKilledStaysEligible: a broker that is killed while more are wanted in sync stays
// eligible when it comes back, and is so no more after a power cut.
func TestKilledStaysEligible(t *testing.T) {
	for _, power := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := three(t, "min.insync.replicas=3")
			defer c.quiet()
			if code := c.create(c.nodes[0], "t", 1, 3); code != kafka.None {
				t.Fatal(code)
			}
			c.settle(c.nodes...)
			leads := c.node(c.leader(c.nodes...))
			n := c.nodes[0]
			if n == leads {
				n = c.nodes[1]
			}
			row := func() *cluster.Partition { return leads.metadata.Image().Topic("t").Partition(0) }
			c.until("all are in sync", func() bool { return len(row().ISR) == 3 })
			time.Sleep(6 * time.Second) // a checkpoint says that every log was examined
			was := leads.metadata.Image().Broker(n.id).Epoch
			c.slay(n)
			c.until("eligible, not in sync", func() bool { return len(row().ISR) == 2 && slices.Contains(row().ELR, n.id) })
			if power {
				n.cfg.FS = n.cfg.FS.(*vfs.Mem).Crash(vfs.KeepAll, nil)
			}
			dial := n.cfg.Dial
			n.cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasSuffix(addr, ":9092") {
					return nil, errors.New("it is not to fetch")
				}
				return dial(ctx, network, addr)
			}
			c.start(n)
			c.until("registered and in service", func() bool {
				b := leads.metadata.Image().Broker(n.id)
				return b.Epoch != was && !b.Fenced
			})
			if got := slices.Contains(row().ELR, n.id); got == power {
				t.Errorf("power cut %v: eligible %v", power, row().ELR)
			}
		})
	}
}
