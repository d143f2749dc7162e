package group

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// TestScripts drives the service on a log whose commits can be held back and
// lost. Requests are as in TestKafka.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				log := slicelog.New(1)
				ids := map[string]kafka.UUID{}
				var jumped atomic.Int64 // how far the wall clock is not to be believed, ns
				s, wait := open(ctx, t, log, func(c *Config) {
					c.Retention, c.CheckEvery = time.Hour, time.Minute
					c.MaxBatch = 10000
					c.Safe = func(now time.Time) time.Time { return now.Add(-time.Duration(jumped.Load())) }
					c.TopicID = func(name string) kafka.UUID { return ids[name] }
				})
				s.Elect(0, 1)
				synctest.Wait()
				d := newDialogue(&local{t: t, s: s, log: log, ctx: ctx, ids: ids})
				script.Run(t, f, func(c *script.Cmd) string {
					if c.Name != "clock-jumped" {
						return onLog(c, d, s, log)
					}
					d, err := time.ParseDuration(c.Arg(0))
					jumped.Store(int64(d))
					return fmt.Sprint(err)
				})
				cancel()
				wait()
				synctest.Wait()
			})
		})
	}
}

// onLog runs the commands that are about the log, and leaves the rest to d.
func onLog(c *script.Cmd, d *dialogue, s *Service, log *slicelog.Log) string {
	switch c.Name {
	case "hold":
		log.Hold()
	case "commit-log":
		log.Commit()
	case "lose":
		log.Lose()
	case "refuse":
		log.Refuse(kafka.NotEnoughReplicas)
	case "resign":
		s.Resign(0, kafka.NoEpoch)
	case "elect":
		log.Lead(log.Leads() + 1)
		s.Elect(0, log.Leads())
	case "mark":
		return mark(c, s)
	case "topic":
		d.p.(*local).ids[c.Arg(0)] = kafka.UUID{15: byte(c.Int(1))}
	case "delete-topic":
		err := s.TopicsDeleted(context.Background(), []string{c.Arg(0)})
		return kafka.CodeOf(err).Name()
	default:
		return d.do(c)
	}
	synctest.Wait()
	return ""
}
