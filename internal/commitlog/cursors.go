package commitlog

import (
	"sync"

	"github.com/myelin-stream/myelin/internal/segment"
)

// cursors remember where reads stopped: the batch behind the last one that went
// out. A consumer asks for that one next, so it is found without the index and
// without a look at the file.
//
// They belong to one view of the log: who cuts the log off makes a new view, and
// what a reader of the old one still notes is lost with it.
type cursors struct {
	mu struct {
		sync.Mutex // memory only
		places     [readersAhead]place
		next       int
	}
}

// readersAhead is how many consumers can be at different places of one log
// before they make each other look.
const readersAhead = 16

// note remembers a batch where a reader will go on.
func (c *cursors) note(p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.mu.places {
		if q := &c.mu.places[i]; q.seg == p.seg && q.base == p.base {
			return
		}
	}
	c.mu.places[c.mu.next%readersAhead] = p
	c.mu.next++
}

// find gives the remembered batch of a segment that holds offset.
func (c *cursors) find(seg *segment.Segment, offset int64) (place, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.mu.places {
		if p := &c.mu.places[i]; p.seg == seg && p.base <= offset && offset <= p.last {
			return *p, true
		}
	}
	return place{}, false
}
