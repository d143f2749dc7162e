package replica

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// yard is a table over several directories, and a controller that takes the
// table's word on where replicas are.
type yard struct {
	t     testing.TB
	fs    vfs.FS
	homes []*commitlog.Home
	table *Table
	stop  func() error

	deaf atomic.Bool // the controller hears nothing

	mu struct {
		sync.Mutex
		dirs map[kafka.TopicPartition]kafka.UUID // as the metadata has them
		last map[kafka.TopicPartition]Assignment
	}
}

// dirID is the directory.id of a path.
func dirID(dir string) kafka.UUID { return kafka.UUID{0: 200, 15: dir[len(dir)-1]} }

// startYard runs a table over dirs. named is what the metadata says at first.
func startYard(t testing.TB, fs vfs.FS, named map[kafka.TopicPartition]kafka.UUID, dirs ...string) *yard {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	y := &yard{t: t, fs: fs}
	y.mu.dirs, y.mu.last = map[kafka.TopicPartition]kafka.UUID{}, map[kafka.TopicPartition]Assignment{}
	for tp, id := range named {
		y.mu.dirs[tp] = id
	}
	cfg := Config{Self: self, Pool: record.NewPool(record.PoolConfig{}), Now: time.Now, Logger: logger, Named: y.named}
	flushCtx, stopFlushers := context.WithCancel(context.Background())
	var flushers sync.WaitGroup
	for _, dir := range dirs {
		limited := vfs.Limit(fs, 64)
		home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: limited, Path: dir, Logger: logger, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now, Logger: logger})
		flushers.Go(func() { _ = flusher.Run(flushCtx) })
		flushers.Go(func() { _ = home.Run(flushCtx) })
		y.homes = append(y.homes, home)
		cfg.Dirs = append(cfg.Dirs, Dir{ID: dirID(dir), Home: home, FS: limited, Flusher: flusher})
	}
	y.table = NewTable(cfg)
	ctx, stopTable := context.WithCancel(context.Background())
	closed := make(chan error, 1)
	go func() { closed <- y.table.Run(ctx) }()
	stopped := false
	y.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		stopTable()
		err := <-closed
		stopFlushers()
		flushers.Wait()
		for _, h := range y.homes {
			err = errors.Join(err, h.Close(err == nil))
		}
		return err
	}
	t.Cleanup(func() { _ = y.stop() })
	return y
}

// named is the controller: it takes the table's word and applies it.
func (y *yard) named(list []Placed) {
	if y.deaf.Load() {
		return
	}
	go func() {
		for _, p := range list {
			y.mu.Lock()
			y.mu.dirs[p.TopicPartition] = p.Dir
			a, ok := y.mu.last[p.TopicPartition]
			y.mu.Unlock()
			if ok {
				y.assign(a)
			}
		}
	}()
}

// names is what the metadata says.
func (y *yard) names() map[kafka.TopicPartition]kafka.UUID {
	y.mu.Lock()
	defer y.mu.Unlock()
	out := map[kafka.TopicPartition]kafka.UUID{}
	for tp, id := range y.mu.dirs {
		out[tp] = id
	}
	return out
}

// assign applies assignments with the directories that the metadata names.
func (y *yard) assign(list ...Assignment) {
	y.mu.Lock()
	for i := range list {
		list[i].Dir = kafka.DirUnassigned
		if id, ok := y.mu.dirs[list[i].TopicPartition]; ok {
			list[i].Dir = id
		}
		y.mu.last[list[i].TopicPartition] = list[i]
	}
	y.mu.Unlock()
	y.table.Apply(Delta{Assigned: list})
}

// numbered assigns partitions 0 to n-1 of topic t.
func numbered(n int32, change ...func(*Assignment)) (list []Assignment) {
	for p := range n {
		list = append(list, single("t", append(change, func(a *Assignment) { a.Partition = p })...))
	}
	return list
}

func (y *yard) get(p int32) *Replica {
	y.t.Helper()
	r, err := y.table.Get("t", p)
	if err != nil {
		y.t.Fatal(err)
	}
	return r
}

// where says which folders of topic t are in which directory: "a: t-0 t-1 | b:".
func (y *yard) where(dirs ...string) string { return whereIn(y.t, y.fs, dirs...) }

func whereIn(t testing.TB, fs vfs.FS, dirs ...string) string {
	t.Helper()
	var out []string
	for _, dir := range dirs {
		list, err := fs.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		text := path.Base(dir) + ":"
		for _, f := range list {
			name, rest, aside := strings.Cut(f.Name, ".")
			if !f.Dir || name == "" {
				continue
			}
			if aside {
				name += rest[strings.LastIndexByte(rest, '-'):]
			}
			text += " " + name
		}
		out = append(out, text)
	}
	return strings.Join(out, " | ")
}

// inYard runs do in a bubble.
func inYard(t *testing.T, do func(t *testing.T, fs *vfs.Mem)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { do(t, vfs.NewMem(vfs.MemConfig{Now: time.Now})) })
}

// TestPlacement: where replicas go, by what the disks hold, what the metadata
// says and which directories take any.
func TestPlacement(t *testing.T) {
	id := func(dir string) map[kafka.TopicPartition]kafka.UUID {
		return map[kafka.TopicPartition]kafka.UUID{{Topic: "t"}: dirID(dir)}
	}
	for name, c := range map[string]struct {
		before  func(t *testing.T, fs *vfs.Mem, y *yard)
		named   map[kafka.TopicPartition]kafka.UUID
		n       int32
		want    string
		offline bool // partition 0
	}{
		"the fewest first":          {n: 4, want: "a: t-0 t-2 | b: t-1 t-3"},
		"as named":                  {n: 1, named: id("/b"), want: "a: | b: t-0"},
		"named, but gone":           {n: 2, named: id("/z"), want: "a: t-1 | b:", offline: true},
		"not known":                 {n: 1, named: map[kafka.TopicPartition]kafka.UUID{{Topic: "t"}: kafka.DirMigrating}, want: "a: t-0 | b:"},
		"where it is":               {before: folder("/b/t-0"), n: 2, want: "a: t-1 | b: t-0"},
		"where it is, not as named": {before: folder("/b/t-0"), named: id("/a"), n: 1, want: "a: | b: t-0"},
		"twice":                     {before: folder("/a/t-0", "/b/t-0"), n: 1, want: "a: t-0 | b: t-0", offline: true},
		"twice, one named":          {before: folder("/a/t-0", "/b/t-0"), named: id("/b"), n: 1, want: "a: t-0-stray | b: t-0"},
		"cordoned":                  {before: func(_ *testing.T, _ *vfs.Mem, y *yard) { y.table.Cordon([]string{"/a/"}) }, n: 2, want: "a: | b: t-0 t-1"},
		"all cordoned":              {before: func(_ *testing.T, _ *vfs.Mem, y *yard) { y.table.Cordon([]string{"/a", "/b"}) }, n: 2, want: "a: t-0 t-1 | b:"},
		"failed":                    {before: func(_ *testing.T, _ *vfs.Mem, y *yard) { y.homes[0].Fail(io.EOF) }, n: 2, want: "a: | b: t-0 t-1"},
		"failed, and named": {before: func(_ *testing.T, _ *vfs.Mem, y *yard) { y.homes[0].Fail(io.EOF) }, named: id("/a"), n: 2,
			want: "a: | b: t-1", offline: true},
		"asked for beforehand": {before: func(t *testing.T, _ *vfs.Mem, y *yard) {
			if err := y.table.Move(kafka.TopicPartition{Topic: "t"}, "/b"); kafka.CodeOf(err) != kafka.ReplicaNotAvailable {
				t.Errorf("move of a replica that is not here: %v", err)
			}
		}, n: 1, want: "a: | b: t-0"},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(t *testing.T, fs *vfs.Mem) {
				if strings.HasPrefix(name, "where") || strings.HasPrefix(name, "twice") {
					c.before(t, fs, nil)
				}
				y := startYard(t, fs, c.named, "/a", "/b")
				synctest.Wait()
				if c.before != nil {
					c.before(t, fs, y)
				}
				y.assign(numbered(c.n)...)
				y.table.Apply(Delta{Complete: true, Assigned: slices.Clone(y.assigned())})
				time.Sleep(2 * time.Second)
				if got := y.where("/a", "/b"); got != c.want {
					t.Errorf("folders %q, want %q", got, c.want)
				}
				_, err := y.table.Get("t", 0)
				if offline := kafka.CodeOf(err) == kafka.KafkaStorageError; offline != c.offline {
					t.Errorf("partition 0: %v", err)
				}
				for p := int32(0); p < c.n && err == nil; p++ {
					r := y.get(p)
					must(t, r, client(t, batchOf(1, 1), true))
					if want := dirID(r.Directory()); y.names()[r.TopicPartition()] != want {
						t.Errorf("partition %d is in %s, and the metadata says %s", p, r.Directory(), y.names()[r.TopicPartition()])
					}
				}
			})
		})
	}
}

// assigned is all that was assigned.
func (y *yard) assigned() (list []Assignment) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, a := range y.mu.last {
		list = append(list, a)
	}
	return list
}

// folder makes folders as a log leaves them, once.
func folder(names ...string) func(*testing.T, *vfs.Mem, *yard) {
	return func(t *testing.T, fs *vfs.Mem, y *yard) {
		if y != nil {
			return
		}
		for _, name := range names {
			if err := fs.MkdirAll(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A replica whose directory was replaced by an empty one begins anew where others
// are in sync, and only there: it is told so when it was in sync itself at first.
func TestReplaced(t *testing.T) {
	tp := kafka.TopicPartition{Topic: "t"}
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, map[kafka.TopicPartition]kafka.UUID{tp: dirID("/z")}, "/a")
		follows := func(isr ...int32) []Assignment {
			return numbered(1, func(a *Assignment) {
				a.Role.Leader, a.Role.Replicas, a.Role.ISR = self+1, []int32{self, self + 1, self + 2}, isr
			})
		}
		y.assign(follows(self, self+1)...)
		if _, err := y.table.Get("t", 0); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("in sync, and its directory is gone: %v", err)
		}
		y.assign(follows(self+1, self+2)...)
		synctest.Wait()
		if got := y.where("/a"); got != "a: t-0" {
			t.Errorf("folders %q", got)
		}
		y.get(0)
		if y.names()[tp] != dirID("/a") {
			t.Errorf("the metadata says %s", y.names()[tp])
		}
	})
	inYard(t, func(t *testing.T, fs *vfs.Mem) { // a directory that failed may come back
		y := startYard(t, fs, map[kafka.TopicPartition]kafka.UUID{tp: dirID("/z")}, "/a", "/b")
		y.homes[1].Fail(io.EOF)
		y.assign(numbered(1, func(a *Assignment) {
			a.Role.Leader, a.Role.Replicas, a.Role.ISR = self+1, []int32{self, self + 1}, []int32{self + 1}
		})...)
		if _, err := y.table.Get("t", 0); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Errorf("while a directory is offline: %v", err)
		}
	})
}

// A new replica takes no records before the metadata names its directory.
func TestUnnamedServesNothing(t *testing.T) {
	inYard(t, func(t *testing.T, fs *vfs.Mem) {
		y := startYard(t, fs, nil, "/a", "/b")
		y.deaf.Store(true)
		y.assign(numbered(1)...)
		if _, err := y.table.Get("t", 0); kafka.CodeOf(err) != kafka.NotLeaderOrFollower {
			t.Errorf("before the metadata knows: %v", err)
		}
		y.deaf.Store(false)
		y.named([]Placed{{TopicPartition: kafka.TopicPartition{Topic: "t"}, Dir: dirID("/a")}})
		synctest.Wait()
		must(t, y.get(0), client(t, batchOf(1, 1), true))
		if err := y.stop(); err != nil {
			t.Error(err)
		}
	})
}
