package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Options say what to play.
type Options struct {
	Seed  uint64
	Steps int // requests and faults; 0 means 250
	Dirs  int // log directories, between which replicas move; 0 means one

	// Logger hears the node; Trace, if set, hears every line of the trace.
	Logger *slog.Logger
	Trace  func(line string)
	// Hook, if set, spoils the file system of every life: planted bugs.
	Hook vfs.Hook
}

// Result is what came of a run.
type Result struct {
	Hash     string // over the trace
	Steps    int
	Promises int // records acknowledged with acks=all
	Cuts     int // power cuts
	Stops    int // orderly restarts
	Kills    int // of the process alone
	Virtual  time.Duration
	// Violation is the first promise that was broken, nil if all were kept.
	Violation error
}

// Run plays one seed. It must be called inside a synctest bubble, at
// GOMAXPROCS=1 for the hash to mean anything.
func Run(opt Options) Result {
	if opt.Steps == 0 {
		opt.Steps = 250
	}
	opt.Dirs = max(1, opt.Dirs)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	rng := rand.New(rand.NewPCG(opt.Seed, 0x6d79656c696e))
	p := &play{opt: opt, rand: rng, hash: sha256.New(), began: time.Now(), model: &model{commits: map[string]*commit{}}}
	p.node = &node{net: memnet.New(), fs: vfs.NewMem(vfs.MemConfig{Now: time.Now}), rand: rng, logger: opt.Logger, dirs: dirs[:opt.Dirs]}
	p.node.fs.SetHook(slowly(opt.Hook))
	p.client = &client{dial: p.node.dial}
	err := p.run()
	return Result{Hash: hex.EncodeToString(p.hash.Sum(nil)[:8]), Steps: p.step, Promises: p.promises, Cuts: p.cuts,
		Stops: p.stops, Kills: p.kills, Virtual: time.Since(p.began), Violation: err}
}

// play is one run.
type play struct {
	opt    Options
	rand   *rand.Rand
	hash   hash.Hash
	began  time.Time
	node   *node
	client *client
	model  *model

	diskFails bool // KAFKA_STORAGE_ERROR is an answer to be expected

	step, promises, cuts, stops, kills int
	serial                             int            // of values
	producer                           int64          // id of the idempotent producer, -1 while there is none
	given                              map[int64]bool // producer ids
	sequences                          map[*part]int32
	last                               *sentBatch // the last idempotent batch, to send again
}

// trace writes a line of the trace.
func (p *play) trace(format string, args ...any) {
	line := fmt.Sprintf("%d %v ", p.step, time.Since(p.began)) + fmt.Sprintf(format, args...)
	fmt.Fprintln(p.hash, line)
	if p.opt.Trace != nil {
		p.opt.Trace(line)
	}
}

// run plays all steps and a last restart, after which everything is read once
// more.
func (p *play) run() (err error) {
	p.sequences, p.given, p.producer = map[*part]int32{}, map[int64]bool{}, -1
	if err := p.node.start(); err != nil {
		return err
	}
	defer func() {
		p.client.close()
		if stopErr := p.node.stop(); err == nil && stopErr != nil {
			err = fmt.Errorf("the last drain: %w", stopErr)
		}
	}()
	for p.step = 1; p.step <= p.opt.Steps; p.step++ {
		op := p.choose()
		if err := op.do(p); err != nil && !errors.Is(err, errGone) {
			return fmt.Errorf("step %d, %s: %w", p.step, op.name, err)
		}
		if p.node.fs.Stopped() {
			if err := p.powerCut(); err != nil {
				return fmt.Errorf("step %d: %w", p.step, err)
			}
		}
	}
	return p.powerCut()
}

// powerCut ends this life without warning, begins the next, and holds the node
// to everything it promised.
func (p *play) powerCut() error {
	policy := vfs.Policies[p.rand.IntN(len(vfs.Policies))]
	p.cuts++
	p.client.close()
	p.node.cut(policy)
	p.trace("power cut, %s", policy)
	p.node.fs.SetHook(slowly(p.opt.Hook))
	if err := p.node.start(); err != nil {
		return fmt.Errorf("after a power cut (%s): %w", policy, err)
	}
	if err := p.audit(); err != nil {
		return fmt.Errorf("after a power cut (%s): %w", policy, err)
	}
	return nil
}

// killed ends the process and starts it again on the same machine.
func (p *play) killed() error {
	if p.node.fs.Stopped() {
		return errGone
	}
	p.kills++
	p.client.close()
	p.node.kill()
	p.trace("killed")
	if err := p.node.start(); err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	if err := p.audit(); err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	return nil
}

// restart drains the node and starts it again. If the planned power cut comes
// in between, it is one.
func (p *play) restart() error {
	err := p.drainAndStart()
	if p.node.fs.Stopped() {
		return errGone
	}
	return err
}

func (p *play) drainAndStart() error {
	p.stops++
	p.client.close()
	if err := p.node.stop(); err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	p.trace("drained")
	if err := p.node.start(); err != nil {
		return err
	}
	return p.audit()
}
