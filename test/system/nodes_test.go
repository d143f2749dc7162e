//go:build system && linux

package system

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// underWay is how long answers may be that were sent before a fault.
const underWay = 200 * time.Millisecond

// How fast the loads of a cluster go: what is measured is how long nothing goes, so
// the machine must have room.
const (
	recordPace = 4 * time.Millisecond
	txnPace    = 20 * time.Millisecond
)

// play is a cluster under load to which things happen.
type play struct {
	*fleet
	t       testing.TB
	dice    *rand.Rand
	load    *load
	txns    *transactions
	small   string // the file system of the third node, if it is small
	windows windows
	eras    int
}

// newPlay starts a cluster; where root allows it, the third node has a disk that
// can be filled.
func newPlay(t testing.TB) *play {
	t.Helper()
	p := &play{t: t, dice: dice(t), windows: windows{}}
	dirs := []string{folders(t, 1)[0], folders(t, 1)[0], folders(t, 1)[0]}
	if os.Getuid() == 0 {
		p.small = memory(t, 1<<30)
		dirs[2] = filepath.Join(p.small, "data")
	}
	p.fleet = newFleet(t, dirs, newLinks(t))
	p.fleet.start(t)
	return p
}

// begin begins an era: a load on topics of its own.
func (p *play) begin() {
	p.eras++
	era := fmt.Sprintf("-%d", p.eras)
	p.load = startLoad(p.t, p.addrs, loadConfig{name: topic + era, producers: 3, partitions: 6, largest: 2000, replicas: 3, pace: recordPace})
	p.txns = startTransactions(p.t, transactionsConfig{addr: p.addrs, seed: p.dice.Uint64(), replicas: 3, era: era, pace: txnPace})
	p.served("at first", time.Now())
}

// served waits until every partition has acknowledged something since a time, and a
// transaction was committed.
func (p *play) served(what string, since time.Time) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !p.load.silence.heard(since); pause(time.Millisecond) {
		if f := p.load.broken(); len(f) > 0 {
			p.t.Fatalf("%s: %s\n%s", what, f[0], p.logs())
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: a partition acknowledged nothing for a minute\n%s", what, p.logs())
		}
	}
	if err := p.txns.awaitProgress(1, time.Minute); err != nil {
		p.t.Fatalf("%s: %v\n%s", what, err, p.logs())
	}
}

// settle ends an era and checks all of it.
func (p *play) settle() {
	p.t.Helper()
	p.load.finish(p.t)
	p.txns.finish(p.t)
	p.compare(p.t)
	if p.t.Failed() {
		p.keep()
		p.t.FailNow()
	}
	for _, b := range p.nodes {
		b.launch(p.t)
	}
	p.ready(p.t)
	p.forget(p.t, p.load.topic, p.txns.multi, p.txns.source, p.txns.sink)
}

// keep copies all logs and directories to $SYSTEM_KEEP.
func (p *play) keep() {
	to := os.Getenv("SYSTEM_KEEP")
	p.t.Log(p.logs())
	if to == "" {
		return
	}
	p.killAll()
	for i, b := range p.nodes {
		at := filepath.Join(to, time.Now().Format("150405"), fmt.Sprint("node", i+1))
		err := errors.Join(os.CopyFS(filepath.Join(at, "data"), os.DirFS(b.dirs[0])), os.CopyFS(filepath.Join(at, "work"), os.DirFS(b.work)))
		p.t.Logf("kept in %s: %v", at, err)
	}
}

// strike lets one fault happen, waits until all partitions are served in spite of
// it, takes it away and notes how long nobody was.
func (p *play) strike(kind string) {
	p.t.Helper()
	p.load.silence.begin(int(p.load.partitions))
	heal := faults[kind](p)
	p.served(kind, time.Now().Add(underWay))
	healed := time.Now()
	heal()
	p.ready(p.t)
	p.served("after "+kind, healed)
	p.windows[kind] = append(p.windows[kind], p.load.silence.end())
}

// TestNodes lets everything happen to nodes of three under a load of records and of
// transactions: nothing that was acknowledged is lost, doubled, torn or out of
// order, nothing that was aborted is read, and the replicas are equal. How long
// nothing was acknowledged each time is printed. SYSTEM_MINUTES is how long the
// dice throw one fault after the other, without it each happens once; SYSTEM_SEED
// is which dice.
func TestNodes(t *testing.T) {
	minutes := number(t, "SYSTEM_MINUTES", 0)
	p := newPlay(t)
	kinds := p.kinds()
	if minutes == 0 {
		p.begin()
		for _, kind := range kinds {
			p.strike(kind)
		}
		p.settle()
	}
	for end := time.Now().Add(time.Duration(minutes) * time.Minute); time.Now().Before(end); {
		p.begin()
		for era := time.Now(); time.Since(era) < 5*time.Minute && time.Now().Before(end); {
			kind := kinds[p.dice.IntN(len(kinds))]
			if p.strike(kind); p.dice.IntN(2) == 0 {
				p.whole(t)
			}
		}
		p.settle()
		t.Logf("after %d eras: %s", p.eras, p.windows.table())
	}
	t.Log(p.windows.table())
	p.killAll()
}

// TestTogether kills -9 all nodes of three at once, SYSTEM_TOGETHER times, under
// load.
func TestTogether(t *testing.T) {
	p := newPlay(t)
	p.begin()
	for range number(t, "SYSTEM_TOGETHER", 2) {
		pause(time.Duration(p.dice.IntN(500)) * time.Millisecond)
		p.strike("kill all")
		if p.dice.IntN(2) == 0 {
			p.whole(t)
		}
	}
	p.settle()
	t.Log(p.windows.table())
	p.killAll()
}
