package vfs

import (
	"errors"
	"time"
)

// OpKind is what an operation does.
type OpKind int

// The kinds. Those up to OpSyncDir change something, which is what counts for
// [Mem.Ops] and [Mem.StopBefore]; the others only look.
const (
	OpCreate OpKind = iota
	OpWrite
	OpTruncate
	OpRename
	OpRemove
	OpMkdir
	OpSync
	OpSyncDir
	OpOpen
	OpRead
	OpReadDir
	OpStat
	OpDropCache
)

var opNames = [...]string{
	"create", "write", "truncate", "rename", "remove", "mkdir", "sync", "syncdir",
	"open", "read", "readdir", "stat", "dropcache",
}

func (k OpKind) String() string { return opNames[k] }

// Changes tells whether an operation of this kind changes something.
func (k OpKind) Changes() bool { return k <= OpSyncDir }

// Op is an operation that is about to happen.
type Op struct {
	Kind OpKind
	Name string // cleaned path
	To   string // of a rename
	Off  int64  // of a read or write
	Len  int64  // bytes to read or write; the new size of a truncation
	Seq  int64  // how many changing operations came before
}

// Verdict is what a [Hook] wants done with an operation. The zero value lets it
// happen.
type Verdict struct {
	// Delay is how long the operation takes.
	Delay time.Duration
	// Err fails it. A failed sync takes its data with it: the pages count as
	// clean, and the next sync succeeds without them.
	Err error
	// Short lets a write that fails put down its first bytes.
	Short int64
	// Skip makes Sync and SyncDir answer nil without doing anything, as a
	// device that lies does, or a program that forgot to call them.
	Skip bool
}

// Hook decides on every operation, in the order in which they begin. It is
// called under a lock: it must not call the Mem nor wait.
type Hook func(Op) Verdict

// ErrPowerCut is what every operation answers once the power is gone.
var ErrPowerCut = errors.New("power cut")

// errSkip carries Verdict.Skip to Sync and SyncDir.
var errSkip = errors.New("skipped")

// shortError carries Verdict.Short to Writev.
type shortError struct {
	n   int64
	err error
}

func (s *shortError) Error() string { return s.err.Error() }
func (s *shortError) Unwrap() error { return s.err }

// SetHook puts h in charge of every operation from now on; nil takes it away.
func (m *Mem) SetHook(h Hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.hook = h
}

// Ops counts the changing operations so far. The n-th has Seq n-1.
func (m *Mem) Ops() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.ops
}

// StopBefore cuts the power when the changing operation with Seq n is about to
// happen: it and everything after it, reads too, answers [ErrPowerCut] and does
// nothing. n at or below [Mem.Ops] cuts at once. [Mem.Crash] then gives what is
// left.
func (m *Mem) StopBefore(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.stopAt = n
}

// SetBytes changes how much fits, see MemConfig.Bytes; less than there is makes
// the disk full.
func (m *Mem) SetBytes(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.budget = n
	if n <= 0 {
		m.mu.budget = -1
	}
}

// Used is how many bytes files hold together.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.used
}

// Stopped tells whether the power is gone.
func (m *Mem) Stopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stoppedLocked()
}

func (m *Mem) stoppedLocked() bool { return m.mu.stopAt >= 0 && m.mu.ops > m.mu.stopAt }

// begin counts op, asks the hook and waits as it says.
func (m *Mem) begin(op Op) error {
	m.mu.Lock()
	op.Seq = m.mu.ops
	if op.Kind.Changes() {
		m.mu.ops++
	}
	if m.stoppedLocked() {
		m.mu.Unlock()
		return pathError(op.Kind.String(), op.Name, ErrPowerCut)
	}
	var v Verdict
	if m.mu.hook != nil {
		v = m.mu.hook(op)
	}
	m.mu.Unlock()
	if v.Delay > 0 {
		time.Sleep(v.Delay)
	}
	switch {
	case v.Err != nil && op.Kind == OpWrite:
		return &shortError{n: v.Short, err: pathError(op.Kind.String(), op.Name, v.Err)}
	case v.Err != nil:
		return pathError(op.Kind.String(), op.Name, v.Err)
	case v.Skip && (op.Kind == OpSync || op.Kind == OpSyncDir):
		return errSkip
	}
	return nil
}
