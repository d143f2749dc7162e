package api

import (
	"fmt"
	"io"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// fetchPartition is one partition of a Fetch: what is wanted of it, what the
// client was told last, and what the request at work found.
type fetchPartition struct {
	topic topicRef
	index int32

	// wanted
	offset       int64
	maxBytes     int32
	currentEpoch int32
	lastEpoch    int32

	// told: a session leaves out what has not changed
	toldHW    int64
	toldStart int64

	// found
	res    replica.Result
	code   kafka.Code
	early  bool // the error came before the log was asked
	row    bool // goes into the answer
	gave   bool // with records
	leader leaderHint

	throttled bool // what is read counts against the rate

	durable int64 // for a follower: up to where the whole ISR has flushed
	nearer  int32 // the replica to read from instead; kafka.NoBroker if none is

	watch   replica.FetchWaiter
	watched *replica.Replica // non-nil while watch is on

	prev, next *fetchPartition
}

// leaderHint is whom to ask instead (KIP-951).
type leaderHint struct{ id, epoch int32 }

// want takes over what the request says of the partition.
func (p *fetchPartition) want(q *msg.FetchRequestTopicPartition) {
	p.offset, p.maxBytes = q.FetchOffset, q.PartitionMaxBytes
	p.currentEpoch, p.lastEpoch = max(q.CurrentLeaderEpoch, kafka.NoEpoch), max(q.LastFetchedEpoch, kafka.NoEpoch)
}

// forget drops what was found.
func (p *fetchPartition) forget() {
	p.res.Range.Release()
	p.res, p.code, p.early, p.row, p.watched, p.throttled = replica.Result{}, kafka.None, false, false, nil, false
	p.leader, p.nearer = leaderHint{kafka.NoBroker, kafka.NoEpoch}, kafka.NoBroker
}

// fetchKey is a partition as a request names it.
type fetchKey struct {
	name  string
	id    kafka.UUID
	index int32
}

func (p *fetchPartition) key() fetchKey { return fetchKey{p.topic.name, p.topic.id, p.index} }

// fetchSet is the partitions of a Fetch in the order in which they are served.
type fetchSet struct {
	head, tail *fetchPartition
	size       int
}

func (s *fetchSet) add(p *fetchPartition) {
	p.prev, p.next = s.tail, nil
	if s.tail == nil {
		s.head = p
	} else {
		s.tail.next = p
	}
	s.tail = p
	s.size++
}

func (s *fetchSet) remove(p *fetchPartition) {
	if p.prev == nil {
		s.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		s.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
	s.size--
}

// rotate moves what got records behind the others, so that a partition with
// much to read does not starve those after it.
func (s *fetchSet) rotate() {
	last := s.tail
	for p := s.head; p != nil; {
		next, end := p.next, p == last
		if p.row && p.gave {
			s.remove(p)
			s.add(p)
		}
		if end {
			return
		}
		p = next
	}
}

// fileRange is a range of a log as [Reply] takes it.
type fileRange struct{ r commitlog.Range }

func (f *fileRange) Len() int         { return f.r.Len() }
func (f *fileRange) Ready(at int) int { return f.r.Ready(at) }
func (f *fileRange) Release()         { f.r.Release() }

func (f *fileRange) ReadAt(p []byte, off int) error {
	n, err := f.r.ReadAt(p, int64(off))
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes of a segment: %w", len(p), err)
}

func (f *fileRange) Fd() (fd uintptr, off int64, ok bool) {
	fd, ok = f.r.File().Fd()
	return fd, f.r.Off(), ok
}
