package coordinator

import "time"

// Turn is one decision on a machine: what it wants appended, when it wants to be
// woken, and what has to wait for the commit. It is good only during the call
// that it was given to.
type Turn struct {
	// Now is the time of the decision.
	Now time.Time

	records []Record
	as      *Producer // whose transaction the records are in; nil: none
	marker  *Marker   // instead of records
	after   []func(m Machine, t *Turn, err error)
	alarms  *alarms
	soft    bool
	waits   bool // somebody waits for the commit of what is appended, however long
	held    bool // and has to flush it
}

// Put appends a record. All records of a turn stand in one batch: the log keeps
// all or none.
func (t *Turn) Put(key, value []byte) {
	t.records = append(t.records, Record{Key: key, Value: value})
}

// Delete appends a tombstone.
func (t *Turn) Delete(key []byte) { t.Put(key, nil) }

// Wake sets the alarm of this name, or moves it if it is set.
func (t *Turn) Wake(name string, at time.Time) { t.alarms.set(name, at) }

// Quiet drops the alarm of this name.
func (t *Turn) Quiet(name string) { t.alarms.drop(name) }

// After calls event in a turn of its own once the fate of this turn's records is
// known: err is nil when they are committed, and an error when they were refused
// before the log had them. It is not called when the partition was unloaded
// meanwhile: the machine is gone then, and told so by Closed.
func (t *Turn) After(event func(m Machine, t *Turn, err error)) {
	t.after = append(t.after, event)
}

// Soft says that the answer depends on nothing that is not committed, so that it
// need not wait for what others have in flight. A turn with records waits
// regardless.
func (t *Turn) Soft() { t.soft = true }
