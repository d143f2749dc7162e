package record

import "sync"

// Pool keeps readers and builders for reuse and bounds what opening batches may
// cost the process: how many are open at once, and to how much each expands.
// Make one per broker.
type Pool struct {
	limit    int64
	slots    chan struct{} // one token for each batch that is open
	readers  sync.Pool
	builders sync.Pool
}

// PoolConfig says how much a [Pool] may spend.
type PoolConfig struct {
	// Slots is how many batches may be open at once; whoever comes later waits.
	// Two for each core keep the processors busy. 0 means 4.
	Slots int
	// Limit is to how many bytes a batch may expand. 0 means [DefaultLimit].
	Limit int64
}

// NewPool makes an empty pool.
func NewPool(cfg PoolConfig) *Pool {
	p := &Pool{limit: cfg.Limit}
	if p.limit <= 0 {
		p.limit = DefaultLimit
	}
	n := cfg.Slots
	if n <= 0 {
		n = 4
	}
	p.slots = make(chan struct{}, n)
	p.readers.New = func() any { return new(Reader) }
	p.builders.New = func() any { return new(Builder) }
	return p
}

// Open waits for a slot and begins to read batch, which must be exactly one
// checked batch. Give the reader back with [Pool.Close].
func (p *Pool) Open(batch []byte) *Reader {
	p.slots <- struct{}{}
	r := p.readers.Get().(*Reader)
	r.Reset(batch, p.limit)
	return r
}

// Close takes back a reader and its slot. What it yielded is no longer valid.
func (p *Pool) Close(r *Reader) {
	r.Release()
	p.readers.Put(r)
	<-p.slots
}
