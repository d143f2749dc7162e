package vfs

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Mem is a file system in memory that knows what a power cut would leave.
//
// Each file has two faces, what is written and what is durable, and so has the
// tree of names: writes, truncations, creations, renames and removals change
// the written face at once, [File.Sync] and [FS.SyncDir] carry them over to the
// durable one. [Mem.Crash] gives a new Mem that holds what the disk would.
//
//	           Sync                    Crash
//	written ---------> durable ------------------> the next Mem
//	   |                                  ^
//	   +---- what the [Policy] keeps -----+
//
// Like a device it may be slow and may fail, see [Mem.SetHook]; the wait is
// outside every lock, so that a bubble of testing/synctest sees it.
type Mem struct {
	now func() time.Time

	mu struct {
		sync.Mutex // memory only: never held across a wait
		tree
		boot   int
		hook   Hook
		ops    int64 // operations that change something, so far
		stopAt int64 // with the power: operations from this one on fail; < 0 never
		budget int64 // bytes that files may hold together; < 0 no bound
		used   int64
		locks  map[string]bool
	}
}

// MemConfig says how a Mem is made. The zero value will do.
type MemConfig struct {
	Now   func() time.Time // for Info.ModTime; nil gives the zero time
	Bytes int64            // how much fits; 0 is no bound
}

// NewMem makes an empty file system with the folders "/" and ".".
func NewMem(cfg MemConfig) *Mem {
	m := &Mem{now: cfg.Now}
	if m.now == nil {
		m.now = func() time.Time { return time.Time{} }
	}
	m.mu.tree = newTree()
	m.mu.boot = 1
	m.mu.stopAt = -1
	m.mu.budget = cfg.Bytes
	if cfg.Bytes <= 0 {
		m.mu.budget = -1
	}
	m.mu.locks = map[string]bool{}
	return m
}

func (m *Mem) Create(name string) (File, error) {
	return m.Open(name, ReadWrite|CreateNew|Truncate)
}

func (m *Mem) Open(name string, flag Flag) (File, error) {
	name = path.Clean(name)
	kind := OpOpen
	if flag&(CreateNew|Truncate) != 0 {
		kind = OpCreate
	}
	if err := m.begin(Op{Kind: kind, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.look(name)
	switch {
	case n != nil && n.dir != nil:
		return nil, pathError("open", name, errIsFolder)
	case n != nil && flag&Exclusive != 0 && flag&CreateNew != 0:
		return nil, pathError("open", name, fs.ErrExist)
	case n == nil && flag&CreateNew == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		parent := m.mu.look(path.Dir(name))
		if parent == nil || parent.dir == nil {
			return nil, pathError("open", name, fs.ErrNotExist)
		}
		n = &node{mod: m.now()}
		m.mu.change(nameOp{dir: parent, name: path.Base(name), node: n})
	case flag&Truncate != 0:
		m.mu.used += n.truncate(0)
	}
	return &memFile{m: m, n: n, name: name, writable: flag&ReadWrite != 0}, nil
}

func (m *Mem) Remove(name string) error {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.look(name)
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if len(n.dir) > 0 {
		return pathError("remove", name, errNotEmpty)
	}
	m.removeLocked(name, n)
	return nil
}

func (m *Mem) removeLocked(name string, n *node) {
	m.mu.used -= n.size // an open file's bytes count no more: good enough for a budget
	m.mu.change(nameOp{dir: m.mu.look(path.Dir(name)), name: path.Base(name)})
}

func (m *Mem) RemoveAll(name string) error {
	name = path.Clean(name)
	m.mu.Lock()
	n := m.mu.look(name)
	var below []string
	if n != nil {
		below = n.names()
	}
	m.mu.Unlock()
	if n == nil {
		return nil
	}
	for _, b := range below {
		if err := m.RemoveAll(path.Join(name, b)); err != nil {
			return err
		}
	}
	return m.Remove(name)
}

func (m *Mem) Rename(oldName, newName string) error {
	oldName, newName = path.Clean(oldName), path.Clean(newName)
	if err := m.begin(Op{Kind: OpRename, Name: oldName, To: newName}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, to, parent := m.mu.look(oldName), m.mu.look(newName), m.mu.look(path.Dir(newName))
	switch {
	case n == nil || parent == nil || parent.dir == nil:
		return pathError("rename", oldName, fs.ErrNotExist)
	case to == n:
		return nil
	case n.dir != nil && strings.HasPrefix(newName+"/", oldName+"/"):
		return pathError("rename", oldName, fs.ErrInvalid)
	case to != nil && (to.dir != nil) != (n.dir != nil):
		return pathError("rename", newName, fs.ErrExist)
	case to != nil && len(to.dir) > 0:
		return pathError("rename", newName, errNotEmpty)
	}
	if to != nil {
		m.mu.used -= to.size
	}
	m.mu.change(nameOp{
		dir: parent, name: path.Base(newName), node: n,
		from: m.mu.look(path.Dir(oldName)), fromName: path.Base(oldName),
	})
	return nil
}

func (m *Mem) MkdirAll(name string) error {
	name = path.Clean(name)
	m.mu.Lock()
	n := m.mu.look(name)
	m.mu.Unlock()
	if n != nil {
		if n.dir == nil {
			return pathError("mkdir", name, errNotFolder)
		}
		return nil
	}
	if err := m.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := m.begin(Op{Kind: OpMkdir, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.look(name) == nil {
		n := &node{dir: map[string]*node{}, synced: map[string]*node{}, mod: m.now()}
		m.mu.change(nameOp{dir: m.mu.look(path.Dir(name)), name: path.Base(name), node: n})
	}
	return nil
}

// ReadNames is [FS]'s.
func (m *Mem) ReadNames(name string) ([]Info, error) {
	list, err := m.ReadDir(name)
	for i := range list {
		list[i] = Info{Name: list[i].Name, Dir: list[i].Dir}
	}
	return list, err
}

func (m *Mem) ReadDir(name string) ([]Info, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.look(name)
	if n == nil {
		return nil, pathError("readdir", name, fs.ErrNotExist)
	}
	if n.dir == nil {
		return nil, pathError("readdir", name, errNotFolder)
	}
	out := make([]Info, 0, len(n.dir))
	for _, e := range n.names() {
		out = append(out, n.dir[e].info(e))
	}
	return out, nil
}

func (m *Mem) Stat(name string) (Info, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpStat, Name: name}); err != nil {
		return Info{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.look(name)
	if n == nil {
		return Info{}, pathError("stat", name, fs.ErrNotExist)
	}
	return n.info(path.Base(name)), nil
}

func (m *Mem) SyncDir(name string) error {
	name = path.Clean(name)
	err := m.begin(Op{Kind: OpSyncDir, Name: name})
	if err == errSkip { //nolint:errorlint // ours alone
		return nil
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.look(name)
	if n == nil || n.dir == nil {
		return pathError("syncdir", name, fs.ErrNotExist)
	}
	m.mu.syncDir(n)
	return nil
}

// Lock is held until the closer is closed or the power fails.
func (m *Mem) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	f, err := m.Open(name, ReadWrite|CreateNew)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.locks[name] {
		return nil, pathError("lock", name, ErrLocked)
	}
	m.mu.locks[name] = true
	return &memLock{File: f, m: m, name: name}, nil
}

type memLock struct {
	File
	m    *Mem
	name string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.mu.locks, l.name)
	})
	return l.File.Close()
}

// Space tells of the budget, or of a terabyte where there is none.
func (m *Mem) Space(string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.budget < 0 {
		return Space{Total: 1 << 40, Free: 1<<40 - m.mu.used}, nil
	}
	return Space{Total: m.mu.budget, Free: max(0, m.mu.budget-m.mu.used)}, nil
}

// BootID changes with every Crash.
func (m *Mem) BootID(string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return "mem-boot-" + strconv.Itoa(m.mu.boot)
}

func (n *node) info(name string) Info {
	return Info{Name: name, Size: n.size, Dir: n.dir != nil, ModTime: n.mod}
}

func (n *node) names() []string {
	out := make([]string, 0, len(n.dir))
	for name := range n.dir {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
