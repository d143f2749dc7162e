package torture

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// tape is what happened to a disk and what was promised meanwhile, in one order.
// It is played again onto another disk, one tick after the other: what the disk
// held before any operation is then there at the cost of that one operation.
type tape struct {
	turn  chan struct{} // a lock that may be held over I/O
	ticks []tick
	files int
}

func newTape() *tape { return &tape{turn: make(chan struct{}, 1)} }

// tick is one operation of the file system, or one event of a history.
type tick struct {
	op   vfs.OpKind
	name string
	to   string // of a rename
	flag vfs.Flag
	file int   // which open file, from 1 on
	at   int64 // offset of a write, size of a truncation
	data []byte
	err  error // of a sync that failed

	log   int // whose event
	event *event
}

// changes tells whether a tick changes the disk.
func (t *tick) changes() bool { return t.event == nil && t.op.Changes() }

func (t *tick) String() string {
	switch {
	case t.event != nil:
		return fmt.Sprintf("log %d: event %d at %d", t.log, t.event.kind, t.event.at)
	case t.op == vfs.OpWrite:
		return fmt.Sprintf("write %d bytes at %d of %s", len(t.data), t.at, t.name)
	case t.op == vfs.OpRename:
		return fmt.Sprintf("rename %s to %s", t.name, t.to)
	}
	return fmt.Sprintf("%s %s", t.op, t.name)
}

func (t *tape) note(log int, e event) {
	t.turn <- struct{}{}
	t.ticks = append(t.ticks, tick{log: log, event: &e})
	<-t.turn
}

// ops counts the operations that change something.
func (t *tape) ops() int {
	n := 0
	for i := range t.ticks {
		if t.ticks[i].changes() {
			n++
		}
	}
	return n
}

// recorder is a disk whose operations a tape records.
type recorder struct {
	*vfs.Mem
	tape *tape
}

// record does an operation and writes it down if it succeeded.
func (r recorder) record(t tick, do func() error) error {
	r.tape.turn <- struct{}{}
	defer func() { <-r.tape.turn }()
	err := do()
	if err == nil || t.op == vfs.OpSync {
		t.err = err
		r.tape.ticks = append(r.tape.ticks, t)
	}
	return err
}

func (r recorder) Create(name string) (vfs.File, error) {
	return r.Open(name, vfs.ReadWrite|vfs.CreateNew|vfs.Truncate)
}

func (r recorder) Open(name string, flag vfs.Flag) (vfs.File, error) {
	name = path.Clean(name)
	if flag&vfs.ReadWrite == 0 {
		return r.Mem.Open(name, flag)
	}
	t := tick{op: vfs.OpOpen, name: name, flag: flag}
	if flag&(vfs.CreateNew|vfs.Truncate) != 0 {
		t.op = vfs.OpCreate
	}
	r.tape.turn <- struct{}{}
	defer func() { <-r.tape.turn }()
	f, err := r.Mem.Open(name, flag)
	if err != nil {
		return nil, err
	}
	r.tape.files++
	t.file = r.tape.files
	r.tape.ticks = append(r.tape.ticks, t)
	return recordedFile{f, r, t.file, name}, nil
}

func (r recorder) Remove(name string) error {
	name = path.Clean(name)
	return r.record(tick{op: vfs.OpRemove, name: name}, func() error { return r.Mem.Remove(name) })
}

func (r recorder) RemoveAll(name string) error {
	list, err := r.ReadDir(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		for _, i := range list {
			if err := r.RemoveAll(path.Join(name, i.Name)); err != nil {
				return err
			}
		}
	}
	return r.Remove(name)
}

func (r recorder) Rename(oldName, newName string) error {
	t := tick{op: vfs.OpRename, name: path.Clean(oldName), to: path.Clean(newName)}
	return r.record(t, func() error { return r.Mem.Rename(oldName, newName) })
}

func (r recorder) MkdirAll(name string) error {
	name = path.Clean(name)
	if there, err := vfs.Exists(r.Mem, name); there || err != nil {
		return r.Mem.MkdirAll(name)
	}
	if err := r.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	return r.record(tick{op: vfs.OpMkdir, name: name}, func() error { return r.Mem.MkdirAll(name) })
}

func (r recorder) SyncDir(name string) error {
	return r.record(tick{op: vfs.OpSyncDir, name: path.Clean(name)}, func() error { return r.Mem.SyncDir(name) })
}

func (r recorder) Lock(name string) (io.Closer, error) {
	var c io.Closer
	err := r.record(tick{op: vfs.OpCreate, name: path.Clean(name), flag: vfs.ReadWrite | vfs.CreateNew}, func() (err error) {
		c, err = r.Mem.Lock(name)
		return err
	})
	return c, err
}

type recordedFile struct {
	vfs.File
	r    recorder
	id   int
	name string
}

func (f recordedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.Writev([][]byte{p}, off)
	return int(n), err
}

func (f recordedFile) Writev(bufs [][]byte, off int64) (int64, error) {
	var n int64
	err := f.r.record(tick{op: vfs.OpWrite, name: f.name, file: f.id, at: off, data: slices.Concat(bufs...)}, func() (err error) {
		n, err = f.File.Writev(bufs, off)
		return err
	})
	return n, err
}

func (f recordedFile) Sync() error {
	return f.r.record(tick{op: vfs.OpSync, name: f.name, file: f.id}, f.File.Sync)
}

func (f recordedFile) Truncate(size int64) error {
	return f.r.record(tick{op: vfs.OpTruncate, name: f.name, file: f.id, at: size}, func() error { return f.File.Truncate(size) })
}

// player plays a tape onto a disk and into histories.
type player struct {
	disk  *vfs.Mem
	files map[int]vfs.File
	logs  []*history
}

func newPlayer(logs int) *player {
	p := &player{disk: vfs.NewMem(vfs.MemConfig{}), files: map[int]vfs.File{}}
	for range logs {
		p.logs = append(p.logs, newHistory(topicID(0)))
	}
	return p
}

// play does what a tick says.
func (p *player) play(t *tick) error {
	if t.event != nil {
		p.logs[t.log].apply(*t.event)
		return nil
	}
	f := p.files[t.file]
	var err error
	switch t.op {
	case vfs.OpCreate, vfs.OpOpen:
		f, err = p.disk.Open(t.name, t.flag)
		p.files[t.file] = f
	case vfs.OpWrite:
		_, err = f.WriteAt(t.data, t.at)
	case vfs.OpTruncate:
		err = f.Truncate(t.at)
	case vfs.OpSync:
		err = p.sync(f, t.err)
	case vfs.OpRename:
		err = p.disk.Rename(t.name, t.to)
	case vfs.OpRemove:
		err = p.disk.Remove(t.name)
	case vfs.OpMkdir:
		err = p.disk.MkdirAll(t.name)
	case vfs.OpSyncDir:
		err = p.disk.SyncDir(t.name)
	default:
		err = fmt.Errorf("a tape holds no %s", t.op)
	}
	return err
}

// sync syncs, or fails as it did.
func (p *player) sync(f vfs.File, failed error) error {
	if failed == nil {
		return f.Sync()
	}
	p.disk.SetHook(func(op vfs.Op) vfs.Verdict { return vfs.Verdict{Err: failed} })
	defer p.disk.SetHook(nil)
	if err := f.Sync(); err == nil {
		return errors.New("a sync that failed succeeds when it is played again")
	}
	return nil
}

// torn gives the disk of a process that was killed in the middle of a write.
func (p *player) torn(t *tick, bytes int) (*vfs.Mem, error) {
	disk := p.disk.Fork()
	f, err := disk.Open(t.name, vfs.ReadWrite)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(t.data[:bytes], t.at)
	return disk, errors.Join(err, f.Close())
}
