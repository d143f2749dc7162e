package broker

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// properties are those of a node on memory, with more laid over them.
func properties(t *testing.T, more ...string) *config.Broker {
	t.Helper()
	set, err := config.ParseSet(append([]string{"node.id=1", "process.roles=broker,controller", "log.dirs=/data",
		"admin.listener=", "listeners=PLAINTEXT://node1:9092"}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return config.NewBroker(set)
}

func memory(t *testing.T, more ...string) Config {
	t.Helper()
	return Config{Properties: properties(t, more...), FS: vfs.NewMem(vfs.MemConfig{}),
		Listen: memnet.New().Host("node1").Listen, Format: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// A node starts, is ready, drains and starts again on what it left.
func TestStartDrainStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := memory(t)
		for range 2 {
			b, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- b.Run(ctx) }()
			select {
			case <-b.Ready():
			case err := <-done:
				t.Fatalf("ended early: %v", err)
			case <-time.After(time.Minute):
				t.Fatal("not ready within a minute")
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			list, err := cfg.FS.ReadDir("/data")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range list {
				if strings.HasSuffix(f.Name, "-stray") || strings.HasSuffix(f.Name, "-delete") {
					t.Errorf("%s: the metadata log is no partition of a topic", f.Name)
				}
			}
		}
	})
}

// What keeps a node from starting is said in one line that names the thing and
// the way out.
func TestOpenRefusals(t *testing.T) {
	locked := memory(t)
	first, err := Open(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		cfg  func() Config
		want string
	}{
		"locked": {func() Config { c := locked; c.Listen = memnet.New().Host("node1").Listen; return c }, "in use by another process"},
		"port": {func() Config {
			c := memory(t, "listeners=PLAINTEXT://"+taken.Addr().String())
			c.Listen = net.Listen
			return c
		}, "choose another port"},
		"unformatted": {func() Config { c := memory(t); c.Format = false; return c }, "myelin storage format"},
		"tls": {func() Config {
			return memory(t, "listeners=SSL://node1:9092", "listener.security.protocol.map=SSL:SSL")
		}, "not served yet"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Open(c.cfg())
			if err == nil {
				b.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q, want one line with %q", err, c.want)
			}
		})
	}
}

// The controller's listener is bound, registered and served like the others;
// clients are told the one that they came in by.
func TestNamedListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := memory(t, "listeners=INSIDE://node1:9092,OUTSIDE://node1:9094,CONTROLLER://node1:9093", "controller.listener.names=CONTROLLER",
			"listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT", "inter.broker.listener.name=INSIDE",
			"advertised.listeners=INSIDE://node1:9092,OUTSIDE://example.org:19094")
		b, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		<-b.Ready()
		if got := b.Addr(""); got != "node1:9092" {
			t.Errorf("the first client listener is %s", got)
		}
		self := b.metadata.Image().Broker(1)
		for name, want := range map[string]string{"INSIDE": "node1:9092", "OUTSIDE": "example.org:19094", "CONTROLLER": "node1:9093"} {
			if e, ok := self.Endpoint(name); !ok || hostPort(e) != want {
				t.Errorf("%s is registered at %q, want %s", name, hostPort(e), want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
