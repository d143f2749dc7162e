package partition

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
)

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			s := &stage{}
			script.Run(t, f, s.run)
		})
	}
}

// stage plays a script on one partition of broker 1.
type stage struct{ p *Partition }

func (s *stage) run(c *script.Cmd) string {
	var fx Effects
	switch c.Name {
	case "new":
		s.p = New(s.config(c), c.IntKey("hw", 0), c.IntKey("end", 0))
		s.p.local.flushed = c.IntKey("flushed", s.p.local.flushed)
	case "config":
		fx = s.p.SetConfig(s.config(c))
	case "assign":
		fx = s.p.Assign(Assignment{Leader: int32(c.IntKey("leader", -1)), LeaderEpoch: int32(c.IntKey("epoch", 0)),
			PartitionEpoch: int32(c.IntKey("pe", 0)), Replicas: ids(c, "replicas"), ISR: ids(c, "isr"),
			Recovering: c.Args[len(c.Args)-1] == "recovering"}, c.IntKey("at", 0))
	case "write":
		fx = s.p.Written(c.Int(0), c.Int(1), len(c.Args) > 2 && c.Arg(2) == "durable")
	case "flush":
		fx = s.p.Flushed(c.Int(0))
	case "truncate":
		s.p.Truncated(0, min(c.Int(0), s.p.local.written), min(c.Int(0), s.p.local.flushed))
	case "leaderhw":
		fx = s.p.LeaderHW(c.Int(0), c.IntKey("durable", c.Int(0)))
	case "logstart":
		fx = s.p.LogStart(c.Int(0))
	case "fetch":
		_, epoch := s.p.Leader()
		f := Fetch{Replica: int32(c.Int(0)), Offset: c.Int(1), LeaderEpoch: int32(c.IntKey("epoch", int64(epoch))),
			BrokerEpoch: c.IntKey("be", 7), Eligible: c.Args[len(c.Args)-1] != "fenced"}
		fx = s.p.Fetched(f, c.IntKey("at", 0))
	case "tick":
		fx = s.p.Tick(c.IntKey("at", 0))
	case "refuse":
		fx = s.p.ISRRefused(int32(c.Int(0)))
	case "admit":
		return code(s.p.Admit(kafka.NoEpoch, len(c.Args) > 0))
	case "check":
		return code(s.p.CheckEpoch(int32(c.Int(0)), len(c.Args) < 2))
	case "dispensable":
		return fmt.Sprintf("owes %v, dispensable %v", s.p.Owes(), s.p.Dispensable(c.IntKey("at", 0)))
	case "safe":
		return fmt.Sprint(s.p.Safe())
	case "latest":
		return code(s.p.LatestKnown())
	default:
		c.Fatalf("unknown command")
	}
	return s.show(fx)
}

func (s *stage) config(c *script.Cmd) Config {
	return Config{Self: 1, MinISR: int32(c.IntKey("min", 1)), LagMax: c.IntKey("lag", 30000), StallMax: c.IntKey("stall", 0)}
}

func (s *stage) show(fx Effects) string {
	_, epoch := s.p.Leader()
	out := fmt.Sprintf("%s, epoch %d, hw %d", s.p.Role(), epoch, s.p.HighWatermark())
	for _, e := range []struct {
		on   bool
		name string
	}{{fx.Advanced, "advanced"}, {fx.Durable, "durable"}, {fx.RoleChanged, "role changed"}} {
		if e.on {
			out += ", " + e.name
		}
	}
	if c := fx.Propose; c != nil {
		out += ", propose"
		for _, m := range c.ISR {
			out += fmt.Sprintf(" %d/%d", m.Broker, m.Epoch)
		}
		out += fmt.Sprintf(" at %d/%d", c.LeaderEpoch, c.PartitionEpoch)
	}
	return out
}

func ids(c *script.Cmd, key string) []int32 {
	var out []int32
	for _, f := range strings.Split(c.Key(key, ""), ",") {
		n, err := strconv.Atoi(f)
		if err != nil {
			c.Fatalf("%s: %v", key, err)
		}
		out = append(out, int32(n))
	}
	return out
}

func code(err error) string {
	if err == nil {
		return "ok"
	}
	return kafka.CodeOf(err).Name()
}
