package txn

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestRandomRequests has producers of a few ids do random things, older and newer
// clients and zombies among them, with commits that are held back or lost,
// markers that are kept waiting or refused, and a coordinator that is loaded
// again at any time. The invariants of the package doc hold in every history, and
// every request is answered in the end.
func TestRandomRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var thrown any // by rapid, which must not leave the bubble with a panic
		c := newCrowd(rt)
		synctest.Test(t, func(t *testing.T) { thrown = c.run(t) })
		if why, ok := thrown.(failure); ok {
			rt.Fatal(string(why))
		}
		if thrown != nil {
			panic(thrown)
		}
	})
}

// failure is thrown out of the bubble, which must end in order before rapid is
// told.
type failure string

func (c *crowd) Fatalf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// crowd are producers, of which the test knows what they were told.
type crowd struct {
	*rapid.T
	*bench
	waiting []<-chan func()
	past    []Producer          // all that anybody was ever told
	told    map[string]Producer // the newest, by id
	heard   map[Producer]bool   // whether it was fresh
	parts   *parts
	follow  follower
	steps   int                   // 0: drawn
	death   func(l *slicelog.Log) // the first; nil: drawn
	appends int

	said struct {
		sync.Mutex
		wrong string // by those who must not panic
	}
}

func newCrowd(rt *rapid.T) *crowd {
	return &crowd{T: rt, told: map[string]Producer{}, heard: map[Producer]bool{}, parts: newParts()}
}

// wrong notes what cannot be; it may be called from any goroutine.
func (c *crowd) wrong(format string, args ...any) {
	c.said.Lock()
	defer c.said.Unlock()
	if c.said.wrong == "" {
		c.said.wrong = fmt.Sprintf(format, args...)
	}
}

func (c *crowd) run(t *testing.T) (thrown any) {
	c.bench = newBench(t, func(cfg *Config) {
		cfg.AbortEvery, cfg.ExpireEvery, cfg.Expiration = time.Second, time.Minute, 10*time.Minute
	})
	c.desk.check = c.marker
	c.log.Watch(c.appended)
	if c.death != nil {
		c.death(c.log)
	}
	defer func() {
		thrown = recover()
		c.desk.open()
		c.log.Commit()
		c.stop()
	}()
	if c.steps == 0 {
		c.steps = rapid.SampledFrom([]int{5, 20, 100}).Draw(c.T, "steps")
	}
	for range c.steps {
		c.step()
		c.collect()
	}
	c.log.Refuse(nil)
	c.log.Commit()
	c.desk.open()
	c.desk.mu.Lock()
	clear(c.desk.refuse)
	c.desk.mu.Unlock()
	c.log.DieAt(0, 0)
	c.collect()
	time.Sleep(70 * time.Second) // longer than any transaction may be open
	c.collect()
	if n := len(c.waiting); n > 0 {
		c.Fatalf("%d requests are never answered", n)
	}
	c.checkLog()
	if err := c.parts.check(); err != nil {
		c.Fatalf("%v", err)
	}
	before := c.picture()
	c.reload()
	if after := c.picture(); after != before {
		c.Fatalf("loaded again it is\n%s\nbefore it was\n%s", after, before)
	}
	return nil
}

// picture is what a client may see, of ids without markers under way.
func (c *crowd) picture() string {
	synctest.Wait()
	var out string
	for _, id := range ids {
		out += fmt.Sprintf("%+v\n", c.s.Describe(id))
	}
	return out
}

// Names of the ids and partitions that the crowd uses.
var (
	ids        = []string{"a", "b"}
	someTopics = []kafka.TopicPartition{{Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}, {Topic: "u", Partition: 0}}
)

func (c *crowd) step() {
	id := rapid.SampledFrom(ids).Draw(c.T, "id")
	switch rapid.SampledFrom([]string{"init", "init", "recover", "add", "add", "add", "verify", "end", "end", "end", "hold", "commit", "lose",
		"refuse", "reload", "die", "die", "stumble", "close", "open", "mark", "pass", "long"}).Draw(c.T, "step") {
	case "init":
		c.init(id, noProducer)
	case "recover":
		c.init(id, c.someone(id))
	case "add":
		c.add(id, false)
	case "verify":
		c.add(id, true)
	case "end":
		c.end(id)
	case "hold":
		c.log.Hold()
	case "commit":
		c.log.Commit()
	case "lose":
		c.log.Lose()
	case "refuse":
		c.log.Refuse(kafka.NotEnoughReplicas)
	case "reload":
		c.reload()
	case "die":
		c.log.DieAt(rapid.IntRange(1, 3).Draw(c.T, "at"), rapid.SampledFrom(slicelog.Fates()).Draw(c.T, "fate"))
	case "stumble":
		c.log.StumbleAt(rapid.IntRange(1, 3).Draw(c.T, "at"), rapid.SampledFrom(slicelog.Fates()).Draw(c.T, "fate"))
	case "close":
		c.desk.close()
	case "open":
		c.desk.open()
	case "mark":
		c.desk.mu.Lock()
		c.desk.refuse[rapid.SampledFrom(someTopics).Draw(c.T, "partition")] = rapid.SampledFrom([]kafka.Code{kafka.None, kafka.NotLeaderOrFollower}).Draw(c.T, "word")
		c.desk.mu.Unlock()
	case "pass":
		time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 150 * time.Millisecond, 2 * time.Second}).Draw(c.T, "pass"))
	case "long":
		time.Sleep(11 * time.Minute)
	}
}

// someone is the newest producer of an id, mostly.
func (c *crowd) someone(id string) Producer {
	p, known := c.told[id]
	switch rapid.IntRange(0, 6).Draw(c.T, "zombie") {
	case 0:
		if len(c.past) > 0 {
			return rapid.SampledFrom(c.past).Draw(c.T, "who")
		}
	case 1: // of the transaction before
		p.Epoch = max(0, p.Epoch-1)
	}
	if known {
		return p
	}
	return Producer{101, 0}
}

// ask runs a request; what it gives is run by collect when it is answered.
func (c *crowd) ask(request func() func()) {
	ch := make(chan func(), 1)
	go func() { ch <- request() }()
	c.waiting = append(c.waiting, ch)
}

// collect hears the answers that are there, and what others have to say. If the
// coordinator has died, the next one begins.
func (c *crowd) collect() {
	synctest.Wait()
	for c.log.Died() {
		c.s.Elect(0, c.log.Leads())
		synctest.Wait()
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(ch <-chan func()) bool {
		select {
		case told := <-ch:
			told()
			return true
		default:
			return false
		}
	})
	c.said.Lock()
	defer c.said.Unlock()
	if c.said.wrong != "" {
		c.Fatalf("%s", c.said.wrong)
	}
}

// hear notes a producer that somebody was told: a fresh one is told once and to
// nobody else; who ends a transaction or asks again may hear the same twice, but
// not what was fresh to another (invariant 4).
func (c *crowd) hear(id string, p Producer, fresh bool) {
	c.Logf("%s is told %v, fresh %v", id, p, fresh)
	was, known := c.heard[p]
	if known && (fresh || was) {
		c.Fatalf("producer %v is told twice", p)
	}
	c.heard[p] = fresh
	c.past = append(c.past, p)
	if old := c.told[id]; p.ID > old.ID || p.ID == old.ID && p.Epoch > old.Epoch {
		c.told[id] = p
	}
}

func (c *crowd) init(id string, had Producer) {
	req := msg.NewInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMs = &id, int32(rapid.SampledFrom([]int{1500, 60000}).Draw(c.T, "timeout"))
	req.ProducerID, req.ProducerEpoch = had.ID, had.Epoch
	c.ask(func() func() {
		r := c.s.InitProducerID(context.Background(), &req)
		return func() {
			if r.ErrorCode == 0 {
				c.hear(id, Producer{r.ProducerID, r.ProducerEpoch}, had == noProducer)
			}
		}
	})
}

func (c *crowd) add(id string, verify bool) {
	j := Joining{ID: id, Producer: c.someone(id), VerifyOnly: verify, Version: rapid.SampledFrom([]int16{0, 2}).Draw(c.T, "version"),
		Partitions: []kafka.TopicPartition{rapid.SampledFrom(someTopics).Draw(c.T, "partition")}}
	c.ask(func() func() {
		guard := c.parts.guard(j.Partitions[0], j.Producer)
		codes := c.s.VerifyOrAdd(context.Background(), j)
		if codes[0] == kafka.None && !c.durable(j) {
			return func() { c.Fatalf("%+v is answered, but no durable record has it", j) }
		}
		if codes[0] == kafka.None {
			c.parts.write(j.Partitions[0], j.Producer, guard)
		}
		return func() {}
	})
}

// durable says whether a committed record names the partition (invariant 1). The
// transaction may be over by now.
func (c *crowd) durable(j Joining) bool {
	for _, r := range c.committed() {
		if tx := valueOf(c.t, r.Key, r.Value, j.ID); tx != nil && tx.ID == j.Producer.ID && tx.Epoch == j.Producer.Epoch && tx.has(j.Partitions) {
			return true
		}
	}
	return false
}

// committed are the records that the log has for certain.
func (c *crowd) committed() []record.Record {
	return c.log.Upto(c.log.Durable()).Records(c.t)
}

func (c *crowd) end(id string) {
	who := c.someone(id)
	req := msg.EndTxnRequest{TransactionalID: id, ProducerID: who.ID, ProducerEpoch: who.Epoch, Committed: rapid.Bool().Draw(c.T, "commit")}
	version := rapid.SampledFrom([]int16{4, 5, 5}).Draw(c.T, "api version")
	if req.Committed {
		c.parts.ask(who)
	}
	c.ask(func() func() {
		r := c.s.EndTxn(context.Background(), &req, version)
		return func() {
			if r.ErrorCode == 0 && version >= 5 {
				c.hear(id, Producer{r.ProducerID, r.ProducerEpoch}, false)
				c.parts.told(who, req.Committed)
			}
		}
	})
}

// marker is what the desk is told of each. The newest of the committed records of
// its producer is the PREPARE (invariant 2), and under version 2 its epoch is no
// batch's (invariant 5).
func (c *crowd) marker(m Marker, tp kafka.TopicPartition) error {
	var newest *transaction
	at, written := int64(-1), int16(-1)
	for _, r := range c.committed() {
		tx := valueOf(c.t, r.Key, r.Value, "")
		if tx == nil || tx.ID != m.ID {
			continue
		}
		if tx.status == Ongoing {
			written = max(written, tx.Epoch)
		}
		newest, at = tx, r.Offset
	}
	if newest == nil || newest.Epoch != m.Epoch || newest.status != outcome(m.Commit) || !newest.has([]kafka.TopicPartition{tp}) {
		c.wrong("a marker %+v for %s without a committed PREPARE: there is %+v", m, tp, newest)
	}
	if led := c.log.Led(at); m.CoordinatorEpoch < led {
		c.wrong("a marker %+v, but its PREPARE was written in epoch %d", m, led)
	}
	if m.Version >= 2 && m.Epoch <= written {
		c.wrong("a marker %+v, but records may have epoch %d", m, written)
	}
	return c.parts.mark(at, m, tp)
}

// valueOf parses a record, if it is of this id; "" is any.
func valueOf(t testing.TB, key, value []byte, id string) *transaction {
	k, err := state.ParseKey(state.Transaction, key)
	if err != nil {
		t.Error(err)
		return nil
	}
	if value == nil || id != "" && k.(*state.TransactionLogKey).TransactionalID != id {
		return nil
	}
	tx, err := parseTransaction(value)
	if err != nil {
		t.Error(err)
		return nil
	}
	return tx
}

// checkLog goes through the life of each id as the log tells it: what follows
// what, and that epochs do not go back (invariants 2, 4 and 5).
func (c *crowd) checkLog() {
	last := map[string]*transaction{}
	for i, r := range c.log.Records(c.t) {
		k, _ := state.ParseKey(state.Transaction, r.Key)
		id := k.(*state.TransactionLogKey).TransactionalID
		tx := valueOf(c.t, r.Key, r.Value, "")
		was := last[id]
		if tx == nil {
			delete(last, id)
			if was == nil || was.status == Ongoing || was.status.preparing() {
				c.Fatalf("record %d forgets %s, which is %+v", i, id, was)
			}
			continue
		}
		last[id] = tx
		if was == nil {
			if tx.status != Empty || tx.Epoch != 0 {
				c.Fatalf("record %d begins %s with %+v", i, id, tx)
			}
			continue
		}
		if tx.ID == was.ID && tx.Epoch < was.Epoch {
			c.Fatalf("record %d: %s goes from epoch %d to %d", i, id, was.Epoch, tx.Epoch)
		}
		if follows := map[Status][]Status{
			Empty: {Empty, Ongoing, PrepareAbort}, Ongoing: {Ongoing, PrepareCommit, PrepareAbort},
			PrepareCommit: {CompleteCommit}, PrepareAbort: {CompleteAbort},
			CompleteCommit: {Empty, Ongoing, PrepareAbort}, CompleteAbort: {Empty, Ongoing, PrepareAbort},
		}[was.status]; !slices.Contains(follows, tx.status) {
			c.Fatalf("record %d: %s goes from %s to %s", i, id, was.status, tx.status)
		}
		if tx.status.preparing() && tx.client >= 2 && tx.Epoch <= was.Epoch {
			c.Fatalf("record %d: %s is ended with epoch %d, and had %d", i, id, tx.Epoch, was.Epoch)
		}
	}
}
