package coordinator

// Log is one partition of the internal topic, as seen by the broker that leads
// it. Whoever provides one may serve several calls at once.
type Log interface {
	// Append adds one batch as the leader of the given epoch and returns the
	// offset after it. It refuses with NOT_LEADER_OR_FOLLOWER when the partition
	// has moved on to another epoch. The batch may be reused afterwards.
	Append(epoch int32, batch []byte) (end int64, err error)

	// Committed calls done once: with nil when everything below end is on stable
	// storage of all in-sync replicas, with an error when that will not be known
	// any more. It may do so before it returns, or later from any goroutine; done
	// does not block.
	Committed(end int64, done func(error))

	// Read returns whole batches from the one that holds offset from on, and the
	// offset after them; no batches mean that from is the end. An offset before
	// the log's start means its start. The bytes belong to the caller.
	Read(from int64) (batches []byte, next int64, err error)
}

// Flusher may be a part of a Log that lets who waits for a batch make it durable
// by itself, so that nobody has to be woken for it.
type Flusher interface {
	// AppendHeld is Append by a caller that calls Flush next, whatever it returns.
	AppendHeld(epoch int32, batch []byte) (end int64, err error)

	// Flush makes durable what AppendHeld held back, unless somebody does already.
	// It may take as long as the disk does.
	Flush()
}

// Record is one record of a coordinator's log. A nil Value is a tombstone: what
// the key named is gone.
type Record struct {
	Key   []byte
	Value []byte

	// Offset is where the record stands in the log: for Replay only.
	Offset int64
}

// Machine is the state of one partition and what is decided on it. Its methods
// are called one at a time, under the partition's turn, and must not block.
type Machine interface {
	// Replay applies one record. It must not depend on anything but the record
	// and what was replayed before. An error stops loading.
	Replay(r Record) error

	// Loaded is called once, when the log has been replayed, to set alarms and
	// to build what is not in the log.
	Loaded(t *Turn)

	// Alarm is called when an alarm of this name is due.
	Alarm(name string, t *Turn)

	// Closed is called last, when the partition moves away or is loaded anew;
	// why wraps the code for whoever still waits.
	Closed(why error)
}

// Leader may be a part of a Machine that wants to know the leader epoch under
// which it is loaded and will append.
type Leader interface {
	// Led is called once, before anything is replayed.
	Led(epoch int32)
}
