package follow_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
)

var verbose = os.Getenv("WORLD_VERBOSE") != ""

// ledger is what clients know: which value was acknowledged where, under acks=all,
// and what consumers saw of such values.
type ledger struct {
	mu   sync.Mutex
	kept []map[int64]uint64 // by partition: offset to value
	next uint64
	n    int
}

func (g *ledger) note(p int, offset int64, value uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if had, ok := g.kept[p][offset]; ok && had != value {
		return fmt.Errorf("partition %d offset %d was %d, is %d", p, offset, had, value)
	}
	g.kept[p][offset] = value
	g.n++
	return nil
}

// value is odd for what is sent with acks=all.
func (g *ledger) value(all bool) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next += 2
	if all {
		return g.next | 1
	}
	return g.next
}

// produce appends to one partition until stop is closed.
func (w *world) produce(p int, g *ledger, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		time.Sleep(w.ms(30))
		id := w.ctl.leader(p)
		if w.intn(20) == 0 { // a client with old metadata
			id = int32(w.intn(len(w.nodes)) + 1)
		}
		if id < 1 {
			continue
		}
		if l := w.nodes[id-1].life.Load(); l != nil && !l.dead.Load() {
			w.send(l, p, g, w.intn(4) > 0)
		}
	}
}

func (w *world) send(l *life, p int, g *ledger, all bool) {
	r, err := l.table.Get(topic, int32(p))
	if err != nil {
		return
	}
	var b record.Builder
	var values []uint64
	for range 1 + w.intn(3) {
		values = append(values, g.value(all))
		v := binary.BigEndian.AppendUint64(nil, values[len(values)-1])
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: append(v, make([]byte, w.intn(300))...)})
	}
	h, err := record.CheckClient(b.Bytes())
	if err != nil {
		w.broke("%v", err)
		return
	}
	got, err := r.Append(replica.Batch{Bytes: b.Bytes(), Header: h, Epoch: kafka.NoEpoch, Durable: all})
	if err != nil || !all {
		return
	}
	done := make(chan error, 1)
	wait := &replica.Waiter{Offset: got.Last + 1, Done: func(err error) { done <- err }}
	r.AwaitCommitted(wait)
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	select {
	case err = <-done:
	case <-timer.C:
		r.Forget(wait)
		return
	}
	if err != nil || l.dead.Load() {
		return
	}
	for i, v := range values {
		if err := g.note(p, got.Base+int64(i), v); err != nil {
			w.broke("acknowledged: %v", err)
		}
	}
}

// consume reads what is committed, from any replica that has it, and remembers
// what must stay.
func (w *world) consume(p int, g *ledger, stop chan struct{}) {
	next := int64(0)
	for {
		select {
		case <-stop:
			return
		default:
		}
		time.Sleep(w.ms(60))
		l := w.nodes[w.intn(len(w.nodes))].life.Load()
		if l == nil || l.dead.Load() {
			continue
		}
		r, err := l.table.Get(topic, int32(p))
		if err != nil {
			continue
		}
		res, err := r.Read(replica.Read{Offset: next, MaxBytes: 1 << 20, MinOne: true, CurrentEpoch: kafka.NoEpoch, LastFetchedEpoch: kafka.NoEpoch})
		if err != nil {
			continue
		}
		b := make([]byte, res.Range.Len())
		_, err = res.Range.ReadAt(b, 0)
		res.Range.Release()
		if err != nil || l.dead.Load() {
			continue
		}
		next = w.visit(b, next, func(offset int64, v uint64) {
			if v&1 == 1 {
				if err := g.note(p, offset, v); err != nil {
					w.broke("seen on node %d: %v", l.id, err)
				}
			}
		})
	}
}

// visit gives the records of batches from an offset on.
func (w *world) visit(b []byte, next int64, do func(offset int64, v uint64)) int64 {
	var rd record.Reader
	for len(b) > 0 {
		n := record.Size(b)
		if n == 0 || n > len(b) {
			w.broke("half a batch of %d bytes", len(b))
			return next
		}
		for rd.Reset(b[:n], record.DefaultLimit); rd.Next(); {
			if rec := rd.Record(); rec.Offset >= next {
				do(rec.Offset, binary.BigEndian.Uint64(rec.Value))
				next = rec.Offset + 1
			}
		}
		if rd.Err() != nil {
			w.broke("%v", rd.Err())
		}
		b = b[n:]
	}
	return next
}

// havoc does things to nodes and links until the time is over.
func (w *world) havoc(d time.Duration) {
	until := time.Now().Add(d)
	order := []int{0, 1, 2}
	for time.Now().Before(until) && w.bad.Load() == nil {
		time.Sleep(100*time.Millisecond + w.ms(1500))
		n := w.nodes[w.intn(len(w.nodes))]
		switch k := w.intn(15); {
		case k < 2 && n.life.Load() != nil:
			w.crash(vfs.Policies[w.intn(len(vfs.Policies))], n)
		case k < 4: // one that leads
			if id := w.ctl.leader(w.intn(partitions)); id > 0 {
				w.crash(vfs.DropAll, w.nodes[id-1])
			}
		case k < 7:
			if n.life.Load() == nil {
				n.boot()
			}
		case k < 9:
			w.cut(int32(w.intn(len(w.nodes)+1)), n.id, true)
		case k < 10:
			w.heal()
		case k < 12:
			w.ctl.move(w.intn(partitions), w.intn(3))
		case k < 13: // a disk that stalls, or is quick again
			n.slow.Store(int64([]int{1, 30, 4000}[w.intn(3)]))
		default: // a power cut for all
			w.crash([]vfs.Policy{vfs.DropAll, vfs.Files, vfs.Torn}[w.intn(3)], w.nodes...)
			w.rng(func(r *rand.Rand) {
				r.Shuffle(len(w.nodes), func(i, j int) { order[i], order[j] = order[j], order[i] })
			})
			for _, i := range order {
				w.nodes[i].boot()
				time.Sleep(w.ms(300))
			}
		}
	}
}

func (w *world) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.mu.cuts)
}

// heard is what the controller sees of nodes.
func (w *world) watch(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		time.Sleep(101 * time.Millisecond)
		w.ctl.tick(func(id int32) bool {
			l := w.nodes[id-1].life.Load()
			return l != nil && !l.dead.Load() && !w.isCut(0, id)
		})
	}
}

// settle waits until all replicas of all partitions are in sync and equally long.
func (w *world) settle() error {
	var err error
	for range 600 {
		time.Sleep(100 * time.Millisecond)
		if err = w.unsettled(); err == nil {
			return nil
		}
	}
	return err
}

func (w *world) unsettled() error {
	w.ctl.mu.Lock()
	parts := append(w.ctl.mu.parts[:0:0], w.ctl.mu.parts...)
	w.ctl.mu.Unlock()
	for p, a := range parts {
		if len(a.ISR) != len(a.Replicas) || a.Leader < 0 {
			return fmt.Errorf("partition %d: %+v%s", p, a, w.describe(p))
		}
		end := int64(-1)
		for _, id := range a.Replicas {
			r, err := w.nodes[id-1].life.Load().table.Get(topic, int32(p))
			if err != nil {
				return err
			}
			if end >= 0 && r.LogEnd() != end || r.HW() != r.LogEnd() {
				return fmt.Errorf("partition %d: %+v%s", p, a, w.describe(p))
			}
			end = r.LogEnd()
		}
	}
	return nil
}

func (w *world) describe(p int) (out string) {
	for _, n := range w.nodes {
		if n.life.Load() == nil {
			continue
		}
		if r, err := n.life.Load().table.Get(topic, int32(p)); err == nil {
			leader, epoch := r.Leader()
			out += fmt.Sprintf("\n  node %d: leader %d epoch %d, %d to %d, flushed %d, hw %d, isr %v, %v", n.id, leader, epoch, r.LogStart(), r.LogEnd(), r.Flushed(), r.HW(), r.ISR(), r.Offline())
		}
	}
	return out
}

// compare holds the logs against each other, and against what clients know.
func (w *world) compare(g *ledger) error {
	for p := range partitions {
		var first []byte
		for i, n := range w.nodes {
			r, err := n.life.Load().table.Get(topic, int32(p))
			if err != nil {
				return err
			}
			res, err := r.Read(replica.Read{Offset: 0, MaxBytes: 64 << 20, Isolation: replica.ReadAll, CurrentEpoch: kafka.NoEpoch, LastFetchedEpoch: kafka.NoEpoch})
			if err != nil {
				return err
			}
			all, at := []byte{}, int64(0)
			for res.Range.Len() > 0 {
				b := make([]byte, res.Range.Len())
				if _, err := res.Range.ReadAt(b, 0); err != nil {
					return err
				}
				res.Range.Release()
				at = w.visit(b, at, func(int64, uint64) {})
				all = append(all, b...)
				if res, err = r.Read(replica.Read{Offset: at, MaxBytes: 64 << 20, Isolation: replica.ReadAll, CurrentEpoch: kafka.NoEpoch, LastFetchedEpoch: kafka.NoEpoch}); err != nil {
					return err
				}
			}
			if i == 0 {
				first = all
				if err := g.check(w, p, all); err != nil {
					return err
				}
			} else if !bytes.Equal(first, all) {
				return fmt.Errorf("partition %d: %d bytes on node 1, %d others on node %d", p, len(first), len(all), n.id)
			}
		}
	}
	return nil
}

func (g *ledger) check(w *world, p int, log []byte) error {
	have := map[int64]uint64{}
	w.visit(log, 0, func(offset int64, v uint64) { have[offset] = v })
	for offset, v := range g.kept[p] {
		if have[offset] != v {
			return fmt.Errorf("partition %d: %d at offset %d was acknowledged or seen, there is %d", p, v, offset, have[offset])
		}
	}
	return nil
}

// TestNothingAcknowledgedIsLost lets three brokers, two producers and two
// consumers of each partition live through crashes, power cuts, cut links,
// requests that are held up, and changes of leaders. In the end the logs have to
// be equal, byte for byte, and hold all that was acknowledged under acks=all or
// seen of that.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	seeds, first := 12, uint64(1)
	if testing.Short() {
		seeds = 4
	}
	if s := os.Getenv("WORLD_SEED"); s != "" {
		seeds = 1
		first, _ = strconv.ParseUint(s, 10, 64)
	}
	if s := os.Getenv("WORLD_SEEDS"); s != "" {
		seeds, _ = strconv.Atoi(s)
	}
	acked := 0
	for seed := first; seed < first+uint64(seeds) && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			g := &ledger{}
			for range partitions {
				g.kept = append(g.kept, map[int64]uint64{})
			}
			if err := live(t, seed, g); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			acked += g.n
		})
	}
	if !t.Failed() && acked < 100*seeds {
		t.Errorf("only %d records were acknowledged or seen", acked)
	}
	t.Logf("%d records acknowledged or seen in %d histories", acked, seeds)
}

// live is one history.
func live(t *testing.T, seed uint64, g *ledger) error {
	w := newWorld(t, seed, 3)
	stop, end := make(chan struct{}), make(chan struct{})
	var clients, watch sync.WaitGroup
	watch.Go(func() { w.watch(end) })
	for p := range partitions {
		for range 2 {
			clients.Go(func() { w.produce(p, g, stop) })
			clients.Go(func() { w.consume(p, g, stop) })
		}
	}
	w.havoc(30 * time.Second)
	w.heal()
	for _, n := range w.nodes {
		n.slow.Store(5)
		if n.life.Load() == nil {
			n.boot()
		}
	}
	time.Sleep(3 * time.Second) // with clients
	close(stop)
	clients.Wait()
	var err error
	if w.bad.Load() == nil {
		if err = w.settle(); err == nil {
			err = w.compare(g)
		}
	}
	close(end)
	watch.Wait()
	for _, n := range w.nodes {
		if n.life.Load() != nil {
			n.life.Load().stop()
		}
	}
	w.calls.Wait()
	if bad := w.bad.Load(); bad != nil {
		return fmt.Errorf("%s", *bad)
	}
	return err
}
