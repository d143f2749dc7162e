package replica

import (
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/commitlog"
)

// berth is where a replica's log lies.
type berth struct {
	dir *directory
	log *commitlog.Log
}

// schedule asks the directory's flusher for a flush of the log.
func (b *berth) schedule(urgent bool) { b.dir.Flusher.Schedule(b.log, urgent) }

// mooring is the part of a replica that knows its log. Another log takes its
// place when the replica moves to another directory, in a turn of its own: who
// does several things with one log loads the berth once.
type mooring struct {
	at   atomic.Pointer[berth]
	next atomic.Pointer[berth] // the copy, while it moves; nil otherwise
}

func (m *mooring) log() *commitlog.Log { return m.at.Load().log }

// Directory is the path of the log directory that the replica is in.
func (m *mooring) Directory() string { return m.at.Load().dir.Home.Path() }

// LogStart is the first offset that can be read.
func (m *mooring) LogStart() int64 { return m.log().Start() }

// LogEnd is the offset that the next record gets.
func (m *mooring) LogEnd() int64 { return m.log().End() }

// Flushed is the offset below which this broker's disk has everything.
func (m *mooring) Flushed() int64 { return m.log().Flushed() }

// Size is the log's size in bytes.
func (m *mooring) Size() int64 { return m.log().Size() }

// Segments describes the log's files.
func (m *mooring) Segments() []commitlog.SegmentInfo { return m.log().Segments() }

// Producers describes the idempotent and transactional producers that the log
// knows (DescribeProducers).
func (m *mooring) Producers() []commitlog.Producer { return m.log().Producers().Describe() }
