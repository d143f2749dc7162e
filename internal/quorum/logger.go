package quorum

import (
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
)

// raftLogger lets raft speak through slog. What raft calls information is for
// those who debug it.
type raftLogger struct{ log *slog.Logger }

var _ raft.Logger = raftLogger{}

func (l raftLogger) Debug(v ...any)            {}
func (l raftLogger) Debugf(f string, v ...any) {}
func (l raftLogger) Info(v ...any)             { l.log.Debug("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Infof(f string, v ...any)  { l.log.Debug("raft: " + fmt.Sprintf(f, v...)) }
func (l raftLogger) Warning(v ...any)          { l.log.Warn("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) {
	l.log.Warn("raft: " + fmt.Sprintf(f, v...))
}
func (l raftLogger) Error(v ...any)            { l.log.Error("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any) { l.log.Error("raft: " + fmt.Sprintf(f, v...)) }

// Fatal and Panic are raft's word for a state that must not be, or for a log that
// cannot be read; package raft does not go on after them. They unwind to whoever
// called raft, see rescue.
func (l raftLogger) Fatal(v ...any)            { panic(fault(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(f string, v ...any) { panic(fault(fmt.Sprintf(f, v...))) }
func (l raftLogger) Panic(v ...any)            { panic(fault(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(f string, v ...any) { panic(fault(fmt.Sprintf(f, v...))) }

// fault is what raft ended with.
type fault string

func (f fault) Error() string { return "raft: " + string(f) }

// rescue, deferred, makes an error of raft's end; anything else goes on unwinding.
func rescue(err *error) {
	switch r := recover().(type) {
	case nil:
	case fault:
		*err = r
	default:
		panic(r)
	}
}
