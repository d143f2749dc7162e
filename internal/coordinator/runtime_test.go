package coordinator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// TestScripts drives a runtime over a machine that keeps a map, on a log that is
// a slice.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				script.Run(t, f, b.do)
				b.stop()
				<-b.done
			})
		})
	}
}

// keeper is a machine that keeps a map.
type keeper struct {
	b     *bench
	table *Table[string, string]
}

func (k *keeper) Replay(r Record) error {
	switch {
	case string(r.Key) == "poison":
		return errors.New("poison")
	case r.Value == nil:
		k.table.Delete(string(r.Key))
	default:
		k.table.Put(string(r.Key), string(r.Value))
	}
	return nil
}

func (k *keeper) Loaded(*Turn) { k.b.say("loaded %d keys", k.table.Len()) }

func (k *keeper) Alarm(name string, t *Turn) {
	k.b.say("alarm %s", name)
	if key, ok := strings.CutPrefix(name, "delete "); ok {
		t.Delete([]byte(key))
	}
}

func (k *keeper) Closed(why error) { k.b.say("closed: %s", kafka.CodeOf(why).Name()) }

type bench struct {
	t     *testing.T
	log   *slicelog.Log
	rt    *Runtime[*keeper]
	stop  context.CancelFunc
	done  chan struct{}
	said  chan string
	calls map[string]chan error

	patience time.Duration
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, log: slicelog.New(1), done: make(chan struct{}), said: make(chan string, 100), calls: map[string]chan error{}}
	rt, err := New(Config[*keeper]{
		Topic:      "topic",
		Partitions: func() int32 { return 1 },
		Open:       func(context.Context, int32) (Log, int32, error) { return b.log, b.log.Leads(), nil },
		New: func(_ int32, tl *Timeline) *keeper {
			return &keeper{b, NewTable[string, string](tl, strings.Compare)}
		},
		Now:      time.Now,
		Patience: func(int32) time.Duration { return b.patience },
		MaxBatch: 300,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.rt = rt
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() {
		defer close(b.done)
		_ = rt.Run(ctx)
	}()
	return b
}

func (b *bench) say(format string, args ...any) { b.said <- fmt.Sprintf(format, args...) }

// heard is what the machine said since the last command.
func (b *bench) heard() string {
	synctest.Wait()
	var out strings.Builder
	for len(b.said) > 0 {
		fmt.Fprintln(&out, <-b.said)
	}
	return out.String()
}

func (b *bench) do(c *script.Cmd) string {
	switch c.Name {
	case "elect":
		epoch := int32(c.IntKey("epoch", 1))
		b.log.Lead(epoch)
		b.rt.Elect(0, epoch)
	case "resign":
		b.rt.Resign(0, int32(c.IntKey("epoch", -1)))
	case "hear": // of an election before the replica does
		b.rt.Elect(0, int32(c.IntKey("epoch", 1)))
	case "lead":
		b.log.Lead(int32(c.IntKey("epoch", 1)))
	case "patience":
		d, _ := time.ParseDuration(c.Arg(0))
		b.patience = d
	case "hold":
		b.log.Hold()
	case "release":
		b.log.Commit()
	case "commit":
		b.log.CommitTo(c.Int(0))
	case "lose":
		b.log.Lose()
	case "refuse":
		refusal := fmt.Errorf("disk: %w", map[string]kafka.Code{
			"storage": kafka.KafkaStorageError, "replicas": kafka.NotEnoughReplicas}[c.Arg(0)])
		b.log.Refuse(refusal)
	case "deaf":
		b.log.Deaf(errors.New("cannot read"))
	case "pass":
		d, _ := time.ParseDuration(c.Arg(0))
		time.Sleep(d)
	case "transaction":
		p := record.Producer{ID: c.IntKey("producer", 1)}
		build := record.Builder{Flags: record.Transactional, Producer: &p}
		build.Append(record.Record{Key: []byte(c.Arg(0)), Value: []byte(c.Arg(1))})
		b.log.Add(build.Bytes())
	case "marker":
		kind := map[string]record.ControlType{"commit": record.Commit, "abort": record.Abort}[c.Arg(0)]
		marker := record.EndTxnMarker(record.Producer{ID: c.IntKey("producer", 1)}, kind, 0, 0)
		b.log.Add(marker)
	case "stop":
		b.stop()
	case "read":
		return b.read() + b.heard()
	case "put":
		return b.put(c) + b.heard()
	case "answer":
		return b.answer(c.Arg(0)) + b.heard()
	default:
		c.Fatalf("no such command")
	}
	return b.heard()
}

func (b *bench) read() string {
	var out string
	err := b.rt.Read(0, func(k *keeper) error {
		show := func(keys []string, get func(string) (string, bool)) string {
			var s strings.Builder
			for _, key := range keys {
				v, _ := get(key)
				s.WriteString(" " + key + "=" + v)
			}
			return s.String()
		}
		out = "committed" + show(k.table.CommittedKeys(), k.table.Committed) + "\nnewest" + show(k.table.Keys(), k.table.Get)
		return nil
	})
	if err != nil {
		return kafka.CodeOf(err).Name() + "\n"
	}
	return out + "\n"
}

// put writes key=value pairs as one decision: as=NAME soft wake=NAME:2s after.
func (b *bench) put(c *script.Cmd) string {
	name := c.Key("as", "w")
	ch := make(chan error, 1)
	b.calls[name] = ch
	go func() {
		ch <- b.rt.Write(b.t.Context(), 0, func(k *keeper, t *Turn) error {
			for _, a := range c.Args {
				key, v, ok := strings.Cut(a, "=")
				switch {
				case a == "soft":
					t.Soft()
				case a == "fail":
					return kafka.UnknownMemberID
				case a == "after":
					t.After(func(m Machine, t *Turn, err error) { b.say("after %s: %s", name, kafka.CodeOf(err).Name()) })
				case key == "wake":
					what, after, _ := strings.Cut(v, ":")
					d, _ := time.ParseDuration(after)
					t.Wake(what, t.Now.Add(d))
				case key == "quiet":
					t.Quiet(v)
				case key == "as":
				case ok && v == "":
					t.Delete([]byte(key))
				case ok:
					t.Put([]byte(key), []byte(v))
				}
			}
			return nil
		})
	}()
	return b.answer(name)
}

func (b *bench) answer(name string) string {
	synctest.Wait()
	select {
	case err := <-b.calls[name]:
		return name + ": " + kafka.CodeOf(err).Name() + "\n"
	default:
		return name + " waits\n"
	}
}
