package quorum

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// list is a machine that keeps what is applied.
type list struct {
	mu      sync.Mutex
	items   []string
	index   []uint64
	leads   int
	leader  int32
	restore int
}

func (l *list) Restore(index, term uint64, records iter.Seq2[[]byte, error]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items, l.index = nil, nil
	for b, err := range records {
		if err != nil {
			return err
		}
		l.items, l.index = append(l.items, string(b)), append(l.index, index)
		l.restore++
	}
	return nil
}

func (l *list) Apply(entries []Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		if n := len(l.index); n > 0 && l.index[n-1] >= e.Index {
			return fmt.Errorf("entry %d after %d", e.Index, l.index[n-1])
		}
		l.items, l.index = append(l.items, string(e.Data)), append(l.index, e.Index)
	}
	return nil
}

func (l *list) Lead(term, next uint64) { l.mu.Lock(); l.leads++; l.mu.Unlock() }
func (l *list) Follow(leader int32)    { l.mu.Lock(); l.leader = leader; l.mu.Unlock() }

func (l *list) Snapshot() (iter.Seq[[]byte], bool) {
	l.mu.Lock()
	items := slices.Clone(l.items)
	l.mu.Unlock()
	return func(yield func([]byte) bool) {
		for _, s := range items {
			if !yield([]byte(s)) {
				return
			}
		}
	}, true
}

func (l *list) all() []string { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.items) }

// member is a Node with what it stands on.
type member struct {
	*Node
	t       testing.TB
	fs      *vfs.Mem
	home    *commitlog.Home
	machine *list
	stop    context.CancelFunc
	done    chan error
}

func self(n int32) Member {
	m := Member{Node: n}
	binary.BigEndian.PutUint64(m.Directory[:], uint64(n)<<32|7)
	return m
}

func logger() *slog.Logger {
	if os.Getenv("MYELIN_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func format(t testing.TB, fs *vfs.Mem, me Member, voters ...Member) {
	t.Helper()
	if err := fs.MkdirAll("/q"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Format(fs, Folder("/q"), me, voters), fs.SyncDir("/q"), fs.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fs *vfs.Mem, change func(*Config)) *member {
	t.Helper()
	m, err := tryOpen(t, fs, change)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tryOpen(t testing.TB, fs *vfs.Mem, change func(*Config)) (*member, error) {
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: fs, Path: "/q", Logger: logger(), Now: time.Now})
	if err != nil {
		return nil, err
	}
	m := &member{t: t, fs: fs, home: home, machine: &list{leader: kafka.NoBroker}, done: make(chan error, 1)}
	cfg := Config{FS: fs, Home: home, Dir: "/q", Machine: m.machine, Logger: logger(), Now: time.Now}
	if change != nil {
		change(&cfg)
	}
	if m.Node, err = Open(cfg); err != nil {
		return nil, errors.Join(err, home.Close(false))
	}
	return m, nil
}

func (m *member) run() *member {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() { m.done <- m.Run(ctx) }()
	return m
}

func (m *member) end() {
	m.t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		m.t.Errorf("Run: %v", err)
	}
	if err := errors.Join(m.Close(), m.home.Close(true)); err != nil {
		m.t.Errorf("Close: %v", err)
	}
}

func (m *member) propose(s string) error {
	done := make(chan error, 1)
	m.Propose([]byte(s), func(err error) { done <- err })
	return <-done
}

// A lone voter leads at once, answers proposals after they are applied, and has
// them all after a restart.
func TestLoneVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		format(t, fs, self(1), self(1))
		began := time.Now()
		m := open(t, fs, nil).run()
		synctest.Wait()
		if m.machine.leads != 1 || time.Since(began) != 0 {
			t.Fatalf("leads %d times after %v", m.machine.leads, time.Since(began))
		}
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprint("e", i))
			if err := m.propose(want[i]); err != nil {
				t.Fatal(err)
			}
			if got := m.machine.all(); !slices.Equal(got, want) {
				t.Fatalf("applied %v", got)
			}
		}
		if s := m.Status(); s.Leader != 1 || s.Committed != s.Last || len(s.Voters) != 1 || s.Voters[0].End != int64(s.Last)+1 {
			t.Errorf("status %+v", s)
		}
		m.end()
		if err := m.propose("late"); !errors.Is(err, ErrStopped) || kafka.CodeOf(err) != kafka.NotController {
			t.Error(err)
		}
		m = open(t, fs, nil).run()
		synctest.Wait()
		if got := m.machine.all(); !slices.Equal(got, want) {
			t.Errorf("after a restart %v", got)
		}
		m.end()
	})
}

// Proposals that come while a flush is under way share the next one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		format(t, fs, self(1), self(1))
		m := open(t, fs, nil).run()
		synctest.Wait()
		syncs := 0
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpSync {
				syncs++
				return vfs.Verdict{Delay: time.Millisecond}
			}
			return vfs.Verdict{}
		})
		const n = 100
		done := make(chan error, n)
		for i := range n {
			m.Propose([]byte(fmt.Sprint(i)), func(err error) { done <- err })
		}
		for range n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if syncs > 3 {
			t.Errorf("%d proposals took %d syncs", n, syncs)
		}
		fs.SetHook(nil)
		m.end()
	})
}

// Snapshots cut the log; the machine and the log agree after a restart, whatever
// a power cut left.
func TestSnapshotAndPowerCut(t *testing.T) {
	for _, policy := range vfs.Policies {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(5, uint64(policy)))
				fs := vfs.NewMem(vfs.MemConfig{})
				format(t, fs, self(1), self(1))
				var want []string
				for life := range 8 {
					m := open(t, fs, func(c *Config) { c.SnapshotBytes, c.KeepEntries = 300, uint64(life%3) }).run()
					synctest.Wait()
					if got := m.machine.all(); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
						t.Fatalf("life %d: %d of %d entries", life, len(got), len(want))
					}
					want = m.machine.all()
					for i := range 10 + rng.IntN(20) {
						s := fmt.Sprintf("%d-%d-%s", life, i, make([]byte, rng.IntN(60)))
						if err := m.propose(s); err != nil {
							t.Fatal(err)
						}
						want = append(want, s)
						if rng.IntN(4) == 0 {
							synctest.Wait() // or the crash comes in the middle of a snapshot
						}
					}
					crashed := fs.Crash(policy, rng)
					m.end()
					fs = crashed
				}
			})
		})
	}
}

// A power cut in the first seconds of a directory's life, before the log
// directory has any checkpoint: the log begins at 2 and has lost nothing.
func TestPowerCutBeforeCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		format(t, fs, self(1), self(1))
		m := open(t, fs, nil).run()
		synctest.Wait()
		if err := m.propose("kept"); err != nil {
			t.Fatal(err)
		}
		crashed := fs.Crash(vfs.DropAll, nil)
		m.end()
		m = open(t, crashed, nil).run()
		synctest.Wait()
		if got := m.machine.all(); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("after the power cut: %v", got)
		}
		m.end()
	})
}

// A directory whose state is damaged, or whose log lost what was committed, is
// refused with an error that says so.
func TestRefusals(t *testing.T) {
	fs := vfs.NewMem(vfs.MemConfig{})
	format(t, fs, self(1), self(1))
	m := open(t, fs, nil).run()
	for m.propose("a") != nil { // until it leads
	}
	m.end()
	refuse := func(what string, spoil func(fs *vfs.Mem), want error) {
		t.Helper()
		fs := fs.Crash(vfs.KeepAll, nil)
		spoil(fs)
		home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: fs, Path: "/q", Logger: logger(), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(Config{FS: fs, Home: home, Dir: "/q", Machine: &list{}, Logger: logger(), Now: time.Now})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	state := Folder("/q") + "/" + stateFile
	refuse("no state", func(fs *vfs.Mem) { _ = fs.Remove(state) }, ErrState)
	refuse("damaged state", func(fs *vfs.Mem) {
		f, _ := fs.Open(state, vfs.ReadWrite)
		for slot := range int64(slotCount) {
			_, _ = f.WriteAt([]byte{0xff}, slot*slotSize+30)
		}
	}, ErrState)
	refuse("lost log", func(fs *vfs.Mem) {
		files, _ := fs.ReadDir(Folder("/q"))
		for _, f := range files {
			if f.Name != stateFile {
				_ = fs.Remove(Folder("/q") + "/" + f.Name)
			}
		}
	}, ErrState)
	refuse("rot in the log", func(fs *vfs.Mem) {
		files, _ := fs.ReadDir(Folder("/q"))
		for _, i := range files {
			if strings.HasSuffix(i.Name, ".log") {
				f, _ := fs.Open(Folder("/q")+"/"+i.Name, vfs.ReadWrite)
				b := make([]byte, 1)
				_, _ = f.ReadAt(b, 7) // in a base offset: no batch's own checksum covers it
				b[0] ^= 4
				_, _ = f.WriteAt(b, 7)
			}
		}
	}, ErrState)
}

// A failed flush is the end: nothing is answered with success after it.
func TestFailedFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		format(t, fs, self(1), self(1))
		m := open(t, fs, nil).run()
		synctest.Wait()
		broken := errors.New("broken")
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpSync {
				return vfs.Verdict{Err: broken}
			}
			return vfs.Verdict{}
		})
		if err := m.propose("a"); !errors.Is(err, ErrStopped) {
			t.Errorf("answered %v", err)
		}
		if err := <-m.done; !errors.Is(err, broken) {
			t.Errorf("Run: %v", err)
		}
		m.stop()
	})
}

// A log that cannot be read ends the node with an error and not the process.
func TestUnreadableLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		format(t, fs, self(1), self(1))
		m := open(t, fs, nil).run()
		synctest.Wait()
		if err := m.propose("a"); err != nil {
			t.Fatal(err)
		}
		m.end()
		m = open(t, fs, nil)
		fs.SetHook(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpRead {
				return vfs.Verdict{Err: errors.New("unreadable")}
			}
			return vfs.Verdict{}
		})
		m.run()
		if err := <-m.done; err == nil {
			t.Error("Run ended well")
		}
		m.stop()
	})
}

// States survive a torn write of the newest slot, and any garbage is refused
// without harm.
func TestStateSlots(t *testing.T) {
	fs := vfs.NewMem(vfs.MemConfig{})
	s := genesis(self(1), []Member{self(1), self(2), self(3)})
	if err := errors.Join(fs.MkdirAll("/q"), createState(fs, "/q", s)); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 8))
	for term := uint64(2); term < 40; term++ {
		l, got, err := openState(fs, "/q")
		// What the torn write did not reach may have been the same before.
		if err != nil || got.term != term-1 && got.term != 999 || len(got.members) != 3 || got.self != self(1) {
			t.Fatalf("term %d: %+v, %v", term, got, err)
		}
		got.term = term
		if err := l.save(got); err != nil {
			t.Fatal(err)
		}
		// The next write is torn.
		got.term = 999
		b, _ := sealState(nil, l.seq+1, got)
		if _, err := l.file.WriteAt(b[:rng.IntN(len(b))], int64((l.seq+1)%slotCount)*slotSize); err != nil {
			t.Fatal(err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
	good := encodeState(nil, s)
	for range 20_000 {
		b := slices.Clone(good[:rng.IntN(len(good)+1)])
		for range rng.IntN(4) {
			if len(b) > 0 {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
		}
		_, _ = decodeState(b) // does not panic
	}
}

// A snapshot that is cut or changed anywhere is not taken for whole.
func TestSnapshotDamage(t *testing.T) {
	fs := vfs.NewMem(vfs.MemConfig{})
	if err := fs.MkdirAll("/q"); err != nil {
		t.Fatal(err)
	}
	records := func(yield func([]byte) bool) {
		for i := range 2000 {
			if !yield(fmt.Appendf(nil, "record %d %s", i, make([]byte, 300))) {
				return
			}
		}
	}
	at := mark{77, 3}
	if err := writeSnapshot(fs, "/q", at, records, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	count := func() (n int, err error) {
		for _, e := range readSnapshot(fs, "/q", at) {
			if e != nil {
				return n, e
			}
			n++
		}
		return n, nil
	}
	if n, err := count(); n != 2000 || err != nil {
		t.Fatal(n, err)
	}
	name := "/q/" + snapshotName(at)
	whole, err := vfs.ReadFile(fs, name, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for range 60 {
		b := slices.Clone(whole)
		if rng.IntN(2) == 0 {
			b = b[:rng.IntN(len(b))]
		} else {
			at := rng.IntN(len(b))
			if within := at; within < 16 { // base offset and epoch are not under the CRC
				at += 17
			}
			b[at] ^= 0x40
		}
		if err := vfs.WriteAtomic(fs, name, b); err != nil {
			t.Fatal(err)
		}
		if n, err := count(); err == nil && n != 2000 {
			t.Errorf("a damaged snapshot gave %d records and no error", n)
		}
	}
}
