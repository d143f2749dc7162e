package commitlog

import (
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// epochCache knows at which offset each leader epoch began (KIP-101). It is a
// cache: every batch carries its epoch, so it can be made anew from them.
type epochCache struct {
	mu      sync.Mutex // memory only
	entries []EpochStart
	changes uint64 // counts changes
	saved   uint64 // changes that are in the file
}

// assign says that epoch begins at start. What contradicts it, later entries of
// an older past, goes. It tells whether anything changed.
func (c *epochCache) assign(epoch int32, start int64) bool {
	if epoch < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	floor := len(c.entries) - 1
	for floor >= 0 && c.entries[floor].Start > start {
		floor--
	}
	if floor >= 0 && c.entries[floor].Epoch == epoch {
		return false // known, also when an old batch is looked at again
	}
	n := len(c.entries)
	for n > 0 && (c.entries[n-1].Epoch >= epoch || c.entries[n-1].Start >= start) {
		n--
	}
	c.entries = append(slices.Clip(c.entries[:n]), EpochStart{epoch, start})
	c.changes++
	return true
}

// latest is the newest epoch, -1 if there is none.
func (c *epochCache) latest() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.entries); n > 0 {
		return c.entries[n-1].Epoch
	}
	return kafka.NoEpoch
}

// all gives a copy.
func (c *epochCache) all() []EpochStart {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.entries)
}

// set replaces everything, as read from the file.
func (c *epochCache) set(entries []EpochStart) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = entries
}

// dropFrom forgets epochs that begin at or after end: the log ends there.
func (c *epochCache) dropFrom(end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	for n > 0 && c.entries[n-1].Start >= end {
		n--
	}
	if n < len(c.entries) {
		c.entries = slices.Clone(c.entries[:n])
		c.changes++
	}
}

// dropBelow forgets epochs that ended at or before start; the one that holds
// start begins there now.
func (c *epochCache) dropBelow(start int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n+1 < len(c.entries) && c.entries[n+1].Start <= start {
		n++
	}
	if n == 0 && (len(c.entries) == 0 || c.entries[0].Start >= start) {
		return
	}
	c.entries = slices.Clone(c.entries[n:])
	c.entries[0].Start = max(c.entries[0].Start, start)
	c.changes++
}

// endOf answers OffsetForLeaderEpoch: the largest known epoch that is not above
// the one asked for, and the offset at which it ended. The newest epoch ends at
// end, the log's end. -1 and -1 if the epoch is unknown.
func (c *epochCache) endOf(epoch int32, end int64) (int32, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	switch {
	case n == 0 || epoch == kafka.NoEpoch || epoch > c.entries[n-1].Epoch:
		return kafka.NoEpoch, kafka.NoOffset
	case epoch == c.entries[n-1].Epoch:
		return epoch, end
	case epoch < c.entries[0].Epoch:
		return epoch, c.entries[0].Start // everything known is newer
	}
	i, found := slices.BinarySearchFunc(c.entries, epoch, func(e EpochStart, want int32) int { return int(e.Epoch - want) })
	if !found {
		i--
	}
	return c.entries[i].Epoch, c.entries[i+1].Start
}

// touch makes the next save write the file, even with nothing in it: a missing
// file costs the next Open a look at every batch.
func (c *epochCache) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
}

// unsaved gives the file's content if it differs from what was saved.
func (c *epochCache) unsaved() (data []byte, version uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == c.saved {
		return nil, 0, false
	}
	return encodeEpochs(c.entries), c.changes, true
}

func (c *epochCache) markSaved(version uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved = max(c.saved, version)
}
