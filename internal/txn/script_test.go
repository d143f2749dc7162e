package txn

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestScripts drives a service on a log whose commits can be held back and lost,
// with markers that can be kept waiting and refused. The id is "x" unless id= says
// else; a producer is given as ID/EPOCH.
//
//	init [had=PRODUCER] [timeout=MS]    add PRODUCER t-0,t-1 [v=0]   verify PRODUCER t-0
//	end PRODUCER commit|abort [v=4]     describe    list [state=] [producer=] [longer=] [like=]
//	hold  commit-log  lose  refuse      reload      level N   no-ids
//	close-desk  open-desk  refuse-marker t-0 CODE   let-marker t-0   markers
//	pass DURATION   records   set-epoch N
//
// as=NAME names a request that may wait; answer NAME tells what it got.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &play{calls: map[string]chan string{}}
				p.bench = newBench(t, func(c *Config) {
					c.AbortEvery, c.ExpireEvery, c.Expiration = time.Second, time.Minute, time.Hour
				})
				script.Run(t, f, p.do)
				p.stop()
			})
		})
	}
}

type play struct {
	*bench
	calls map[string]chan string
}

// ask runs a request on a goroutine, since it may wait.
func (p *play) ask(c *script.Cmd, request func() string) string {
	name := c.Key("as", "r")
	p.calls[name] = make(chan string, 1)
	go func() { p.calls[name] <- request() }()
	return p.answer(name)
}

func (p *play) answer(name string) string {
	synctest.Wait()
	select {
	case got := <-p.calls[name]:
		return got + "\n"
	default:
		return "waits\n"
	}
}

func (p *play) do(c *script.Cmd) string {
	id := c.Key("id", "x")
	switch c.Name {
	case "describe", "list", "records", "set-epoch":
		time.Sleep(2 * linger) // a COMPLETE is not written at once
		synctest.Wait()
	}
	switch c.Name {
	case "init", "end":
		return p.ask(c, p.request(c, id))
	case "add", "verify":
		j := Joining{ID: id, Producer: producer(c, c.Arg(0)), Partitions: partitions(c, c.Arg(1)), VerifyOnly: c.Name == "verify",
			Version: int16(c.IntKey("v", 2))}
		return p.ask(c, func() string { return names(p.s.VerifyOrAdd(p.t.Context(), j)) })
	case "answer":
		return p.answer(c.Arg(0))
	case "describe":
		d := p.s.Describe(id)
		return fmt.Sprintf("%s %s %d/%d timeout=%d topics=%v\n", kafka.Code(d.ErrorCode).Name(), d.TransactionState, d.ProducerID,
			d.ProducerEpoch, d.TransactionTimeoutMs, d.Topics)
	case "list":
		return p.list(c)
	case "markers":
		p.desk.mu.Lock()
		defer p.desk.mu.Unlock()
		out := strings.Join(p.desk.taken, "\n") + "\n"
		p.desk.taken = nil
		return out
	case "records":
		return p.records()
	}
	p.world(c)
	synctest.Wait()
	return ""
}

func (p *play) request(c *script.Cmd, id string) func() string {
	if c.Name == "init" {
		req := msg.NewInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMs = &id, int32(c.IntKey("timeout", 60000))
		if had := c.Key("had", ""); had != "" {
			who := producer(c, had)
			req.ProducerID, req.ProducerEpoch = who.ID, who.Epoch
		}
		return func() string {
			r := p.s.InitProducerID(p.t.Context(), &req)
			return fmt.Sprintf("%s %d/%d", kafka.Code(r.ErrorCode).Name(), r.ProducerID, r.ProducerEpoch)
		}
	}
	who := producer(c, c.Arg(0))
	req := msg.EndTxnRequest{TransactionalID: id, ProducerID: who.ID, ProducerEpoch: who.Epoch, Committed: c.Arg(1) == "commit"}
	version := int16(c.IntKey("v", 5))
	return func() string {
		r := p.s.EndTxn(p.t.Context(), &req, version)
		return fmt.Sprintf("%s %d/%d", kafka.Code(r.ErrorCode).Name(), r.ProducerID, r.ProducerEpoch)
	}
}

// world is what happens around the service.
func (p *play) world(c *script.Cmd) {
	switch c.Name {
	case "hold":
		p.log.Hold()
	case "commit-log":
		p.log.Commit()
	case "lose":
		p.log.Lose()
	case "refuse":
		p.log.Refuse(kafka.NotEnoughReplicas)
	case "reload":
		p.reload()
	case "level":
		p.level = int16(c.Int(0))
	case "no-ids":
		p.noIDs = true
	case "ids":
		p.noIDs = false
	case "close-desk":
		p.desk.close()
	case "open-desk":
		p.desk.open()
	case "refuse-marker", "let-marker":
		p.desk.mu.Lock()
		p.desk.refuse[partitions(c, c.Arg(0))[0]] = map[string]kafka.Code{"leader": kafka.NotLeaderOrFollower,
			"epoch": kafka.InvalidProducerEpoch}[c.Key("with", "")]
		p.desk.mu.Unlock()
	case "pass":
		d, err := time.ParseDuration(c.Arg(0))
		if err != nil {
			c.Fatalf("%v", err)
		}
		time.Sleep(d)
	case "set-epoch": // as if so many transactions had been
		p.setEpoch(c)
	default:
		c.Fatalf("no such command")
	}
}

// setEpoch writes the id's record with another epoch, behind the service's back.
func (p *play) setEpoch(c *script.Cmd) {
	list := p.log.Records(p.t)
	for i := len(list) - 1; i >= 0; i-- {
		k, err := state.ParseKey(state.Transaction, list[i].Key)
		if err != nil || k.(*state.TransactionLogKey).TransactionalID != c.Key("id", "x") {
			continue
		}
		tx, err := parseTransaction(list[i].Value)
		if err != nil {
			c.Fatalf("%v", err)
		}
		next := *tx
		next.Epoch = int16(c.Int(0))
		build := record.Builder{}
		build.Append(record.Record{Key: list[i].Key, Value: next.marshal(2)})
		if _, err := p.log.Append(p.log.Leads(), build.Bytes()); err != nil {
			c.Fatalf("%v", err)
		}
		p.reload()
		return
	}
	c.Fatalf("no record")
}

func (p *play) list(c *script.Cmd) string {
	req := msg.NewListTransactionsRequest()
	if s := c.Key("state", ""); s != "" {
		req.StateFilters = strings.Split(s, ",")
	}
	if n := c.IntKey("producer", -1); n >= 0 {
		req.ProducerIDFilters = []int64{n}
	}
	req.DurationFilter = c.IntKey("longer", -1)
	if s := c.Key("like", ""); s != "" {
		req.TransactionalIDPattern = &s
	}
	r := p.s.List(p.t.Context(), &req)
	var out strings.Builder
	if r.ErrorCode != 0 || len(r.UnknownStateFilters) > 0 {
		fmt.Fprintln(&out, kafka.Code(r.ErrorCode).Name(), r.UnknownStateFilters)
	}
	for _, s := range r.TransactionStates {
		fmt.Fprintln(&out, s.TransactionalID, s.ProducerID, s.TransactionState)
	}
	return out.String()
}

// records prints the log, the times left out.
func (p *play) records() string {
	var out strings.Builder
	for _, r := range p.log.Records(p.t) {
		k, err := state.ParseKey(state.Transaction, r.Key)
		if err != nil {
			p.t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s: ", k.(*state.TransactionLogKey).TransactionalID)
		if r.Value == nil {
			fmt.Fprintln(&out, "gone")
			continue
		}
		tx, err := parseTransaction(r.Value)
		if err != nil {
			p.t.Fatal(err)
		}
		fmt.Fprintf(&out, "v%d %s %d/%d previous=%d next=%d %v client=%d\n", r.Value[1], tx.status, tx.ID, tx.Epoch, tx.previous,
			tx.next, tx.partitions, tx.client)
	}
	return out.String()
}

func producer(c *script.Cmd, s string) Producer {
	id, epoch, _ := strings.Cut(s, "/")
	n, err := strconv.ParseInt(id, 10, 64)
	e, err2 := strconv.ParseInt(epoch, 10, 16)
	if err != nil || err2 != nil {
		c.Fatalf("%q is no producer", s)
	}
	return Producer{n, int16(e)}
}

func partitions(c *script.Cmd, s string) (list []kafka.TopicPartition) {
	for _, p := range strings.Split(s, ",") {
		topic, n, _ := strings.Cut(p, "-")
		id, err := strconv.ParseInt(n, 10, 32)
		if err != nil {
			c.Fatalf("%q is no partition", p)
		}
		list = append(list, kafka.TopicPartition{Topic: topic, Partition: int32(id)})
	}
	return list
}

func names(codes []kafka.Code) string {
	var out []string
	for _, c := range codes {
		out = append(out, c.Name())
	}
	return strings.Join(out, " ")
}
