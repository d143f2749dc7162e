package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Overlay is a file system that shows what base holds and keeps every change to
// itself: whoever runs on it sees his own writes, and base stays as it is. So
// what a program would do to a disk can be tried out and looked at, see
// [Overlay.Changes].
//
// Names that nobody has changed are looked up in base each time; what was written
// is kept in memory by pages. Nothing is durable here and Sync does nothing. Base
// must not change meanwhile.
type Overlay struct {
	base FS

	mu       sync.Mutex // also held over reads of base: there is no hurry here
	absolute *layer     // "/"
	relative *layer     // "."
	locks    map[string]bool
}

// NewOverlay lays an empty layer on base.
func NewOverlay(base FS) *Overlay {
	return &Overlay{
		base:     base,
		absolute: &layer{dir: true, from: "/", children: map[string]*layer{}},
		relative: &layer{dir: true, from: ".", children: map[string]*layer{}},
		locks:    map[string]bool{},
	}
}

// layer is a file or folder as the overlay has it.
type layer struct {
	from string // where it is in base; "" if it was made here
	dir  bool

	// Of a folder: what was looked at or changed. A nil child is a name that is
	// gone.
	children map[string]*layer

	// Of a file: its size, how much of base still shows through, and the pages
	// that were written.
	size, shown int64
	pages       map[int64]*page
	mod         time.Time
}

// root gives the root that a cleaned name begins at, and the rest.
func (o *Overlay) root(name string) (*layer, string) {
	if rest, ok := strings.CutPrefix(name, "/"); ok {
		return o.absolute, rest
	}
	return o.relative, name
}

// look finds a cleaned name; nil if it is not there.
func (o *Overlay) look(name string) (*layer, error) {
	at, rest := o.root(name)
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." {
			continue
		}
		if !at.dir {
			return nil, nil
		}
		next, err := o.child(at, part)
		if next == nil || err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// child gives what a folder has under a name, and remembers it.
func (o *Overlay) child(at *layer, name string) (*layer, error) {
	if c, known := at.children[name]; known || at.from == "" {
		return c, nil
	}
	from := path.Join(at.from, name)
	info, err := o.base.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &layer{from: from, dir: info.Dir, size: info.Size, shown: info.Size, mod: info.ModTime}
	if info.Dir {
		c.children = map[string]*layer{}
	}
	at.children[name] = c
	return c, nil
}

// parent gives the folder of a cleaned name.
func (o *Overlay) parent(op, name string) (*layer, error) {
	p, err := o.look(path.Dir(name))
	if err == nil && (p == nil || !p.dir) {
		err = pathError(op, name, fs.ErrNotExist)
	}
	return p, err
}

func (o *Overlay) Create(name string) (File, error) {
	return o.Open(name, ReadWrite|CreateNew|Truncate)
}

func (o *Overlay) Open(name string, flag Flag) (File, error) {
	name = path.Clean(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.look(name)
	if err != nil {
		return nil, err
	}
	switch {
	case l != nil && l.dir:
		return nil, pathError("open", name, errIsFolder)
	case l != nil && flag&Exclusive != 0 && flag&CreateNew != 0:
		return nil, pathError("open", name, fs.ErrExist)
	case l == nil && flag&CreateNew == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case l == nil:
		p, err := o.parent("open", name)
		if err != nil {
			return nil, err
		}
		l = &layer{}
		p.children[path.Base(name)] = l
	case flag&Truncate != 0:
		l.truncate(0)
	}
	f := &overlayFile{o: o, l: l, name: name, writable: flag&ReadWrite != 0}
	if l.from != "" {
		if f.base, err = o.base.Open(l.from, ReadOnly); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (o *Overlay) Remove(name string) error {
	name = path.Clean(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.look(name)
	if err != nil {
		return err
	}
	if l == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if l.dir {
		inside, err := o.list(l)
		if err != nil {
			return err
		}
		if len(inside) > 0 {
			return pathError("remove", name, errNotEmpty)
		}
	}
	return o.drop(name)
}

// drop takes a name that is there out of its folder.
func (o *Overlay) drop(name string) error {
	p, err := o.parent("remove", name)
	if err == nil {
		p.children[path.Base(name)] = nil
	}
	return err
}

func (o *Overlay) RemoveAll(name string) error {
	name = path.Clean(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.look(name)
	if l == nil || err != nil {
		return err
	}
	return o.drop(name)
}

func (o *Overlay) Rename(oldName, newName string) error {
	oldName, newName = path.Clean(oldName), path.Clean(newName)
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.look(oldName)
	if err != nil {
		return err
	}
	if l == nil {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	to, err := o.parent("rename", newName)
	if err != nil {
		return err
	}
	there, err := o.child(to, path.Base(newName))
	if err != nil {
		return err
	}
	switch {
	case there == l:
		return nil
	case l.dir && strings.HasPrefix(newName+"/", oldName+"/"):
		return pathError("rename", oldName, fs.ErrInvalid)
	case there != nil && there.dir != l.dir:
		return pathError("rename", newName, fs.ErrExist)
	case there != nil && there.dir:
		inside, err := o.list(there)
		if err != nil {
			return err
		}
		if len(inside) > 0 {
			return pathError("rename", newName, errNotEmpty)
		}
	}
	if err := o.drop(oldName); err != nil {
		return err
	}
	to.children[path.Base(newName)] = l
	return nil
}

func (o *Overlay) MkdirAll(name string) error {
	name = path.Clean(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	at, rest := o.root(name)
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." {
			continue
		}
		next, err := o.child(at, part)
		if err != nil {
			return err
		}
		if next == nil {
			next = &layer{dir: true, children: map[string]*layer{}}
			at.children[part] = next
		}
		if !next.dir {
			return pathError("mkdir", name, errNotFolder)
		}
		at = next
	}
	return nil
}

// ReadNames is [FS]'s.
func (o *Overlay) ReadNames(name string) ([]Info, error) {
	list, err := o.ReadDir(name)
	for i := range list {
		list[i] = Info{Name: list[i].Name, Dir: list[i].Dir}
	}
	return list, err
}

func (o *Overlay) ReadDir(name string) ([]Info, error) {
	name = path.Clean(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.look(name)
	switch {
	case err != nil:
		return nil, err
	case l == nil:
		return nil, pathError("readdir", name, fs.ErrNotExist)
	case !l.dir:
		return nil, pathError("readdir", name, errNotFolder)
	}
	return o.list(l)
}

// list is what a folder holds, sorted.
func (o *Overlay) list(l *layer) ([]Info, error) {
	out := []Info{}
	if l.from != "" {
		below, err := o.base.ReadDir(l.from)
		if err != nil {
			return nil, err
		}
		for _, i := range below {
			if _, known := l.children[i.Name]; !known {
				out = append(out, i)
			}
		}
	}
	for name, c := range l.children {
		if c != nil {
			out = append(out, c.info(name))
		}
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (l *layer) info(name string) Info {
	return Info{Name: name, Size: l.size, Dir: l.dir, ModTime: l.mod}
}

func (o *Overlay) Stat(name string) (Info, error) {
	name = path.Clean(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.look(name)
	if err != nil {
		return Info{}, err
	}
	if l == nil {
		return Info{}, pathError("stat", name, fs.ErrNotExist)
	}
	return l.info(path.Base(name)), nil
}

// SyncDir does nothing: nothing here is durable.
func (o *Overlay) SyncDir(name string) error {
	info, err := o.Stat(name)
	if err == nil && !info.Dir {
		err = pathError("syncdir", name, errNotFolder)
	}
	return err
}

// Lock takes the lock of base too if its file is there: so nobody changes base
// meanwhile. A file that is missing is not made.
func (o *Overlay) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	f, err := o.Open(name, ReadWrite|CreateNew)
	if err != nil {
		return nil, err
	}
	lock := &overlayLock{File: f, o: o, name: name}
	if err := o.hold(lock); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return lock, nil
}

func (o *Overlay) hold(lock *overlayLock) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.locks[lock.name] {
		return pathError("lock", lock.name, ErrLocked)
	}
	l, err := o.look(lock.name)
	if err != nil {
		return err
	}
	if l != nil && l.from != "" {
		if lock.below, err = o.base.Lock(l.from); err != nil {
			return err
		}
	}
	o.locks[lock.name] = true
	return nil
}

type overlayLock struct {
	File
	o     *Overlay
	name  string
	below io.Closer // nil if there is none
	once  sync.Once
}

func (l *overlayLock) Close() (err error) {
	l.once.Do(func() {
		l.o.mu.Lock()
		delete(l.o.locks, l.name)
		l.o.mu.Unlock()
		if l.below != nil {
			err = l.below.Close()
		}
		err = errors.Join(err, l.File.Close())
	})
	return err
}

func (o *Overlay) Space(name string) (Space, error) { return o.base.Space(name) }
func (o *Overlay) BootID(name string) string        { return o.base.BootID(name) }
