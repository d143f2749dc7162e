package metrics

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Requests counts requests by API.
type Requests struct {
	mu struct {
		sync.Mutex
		byName map[string]*Request
	}
}

// NewRequests returns an empty set.
func NewRequests() *Requests {
	r := new(Requests)
	r.mu.byName = map[string]*Request{}
	return r
}

// Request is the counters of the API of that name, made at the first call. It
// may be called on nil, for a broker without metrics.
func (r *Requests) Request(name string) *Request {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.mu.byName[name]
	if q == nil {
		q = &Request{name: name}
		r.mu.byName[name] = q
	}
	return q
}

func (r *Requests) all() []*Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Request, 0, len(r.mu.byName))
	for _, q := range r.mu.byName {
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b *Request) int { return strings.Compare(a.name, b.name) })
	return out
}

// maxVersion is above the newest version of any API.
const maxVersion = 32

// Request is the counters of one API, in shards that come into being when they
// are first used.
type Request struct {
	name   string
	errors atomic.Uint64
	cells  [shards]atomic.Pointer[cell]

	old window // for quantiles of the last minutes
}

// cell is one shard of a Request.
type cell struct {
	total    shard // from the whole frame read to the answer given
	bytes    atomic.Uint64
	versions [maxVersion]atomic.Uint64
	_        [64]byte
}

// Observe counts an answered request: who tells connections apart, size is the
// request's in bytes, d from the whole frame read to the answer.
func (q *Request) Observe(who uint64, version int16, size int, d time.Duration) {
	if q == nil {
		return
	}
	p := &q.cells[who%shards]
	c := p.Load()
	if c == nil {
		p.CompareAndSwap(nil, new(cell))
		c = p.Load()
	}
	c.versions[uint16(version)%maxVersion].Add(1)
	c.bytes.Add(uint64(size))
	c.total.observe(d)
}

// Fail counts a request that was answered with an error, or not at all because
// of one.
func (q *Request) Fail() {
	if q != nil {
		q.errors.Add(1)
	}
}

// read adds up the shards.
func (q *Request) read() (total *Snapshot, bytes uint64, versions [maxVersion]uint64) {
	total = new(Snapshot)
	for i := range q.cells {
		c := q.cells[i].Load()
		if c == nil {
			continue
		}
		total.add(&c.total)
		bytes += c.bytes.Load()
		for v := range c.versions {
			versions[v] += c.versions[v].Load()
		}
	}
	return total, bytes, versions
}

// window remembers two older snapshots, so that quantiles speak of the last
// five to ten minutes.
type window struct {
	mu      sync.Mutex
	old     *Snapshot
	young   *Snapshot
	youngAt time.Time
}

const windowStep = 5 * time.Minute

// since returns the snapshot to compare s with, and remembers s when it is time.
func (w *window) since(s *Snapshot, now time.Time) *Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.youngAt.IsZero() || now.Sub(w.youngAt) >= windowStep {
		w.old, w.young, w.youngAt = w.young, s, now
	}
	return w.old
}
