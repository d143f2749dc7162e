package commitlog

// LastOf tells how the log knows a producer that may still write: by its newest
// data batch that ends below offset, or, if epoch has none, by the marker that
// began it; last is -1 then. ok is false for a producer that is not known.
func (p *ProducerState) LastOf(id, offset int64) (last int64, epoch int16, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[id]
	if e == nil {
		return -1, 0, false
	}
	last = -1
	for i := range e.batches[:e.n] {
		if at := e.batches[i].lastOffset; at < offset {
			last = max(last, at)
		}
	}
	return last, e.epoch, true
}

// Tunables are the settings now.
func (l Rewriter) Tunables() Tunables { return *l.tunables.Load() }
