package commitlog

import "sync"

// group runs one action for all who ask while it is not yet under way: whoever
// asks gets the result of a run that began after asking.
type group struct {
	run  func() error
	turn chan struct{} // 1-slot lock, held over I/O

	mu struct {
		sync.Mutex  // memory only
		asked, done uint64
		err         error
	}
}

func newGroup(run func() error) *group {
	return &group{run: run, turn: make(chan struct{}, 1)}
}

func (g *group) do() error {
	g.mu.Lock()
	g.mu.asked++
	mine := g.mu.asked
	g.mu.Unlock()
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	g.mu.Lock()
	if g.mu.done >= mine {
		err := g.mu.err
		g.mu.Unlock()
		return err
	}
	upTo := g.mu.asked
	g.mu.Unlock()
	err := g.run()
	g.mu.Lock()
	g.mu.done, g.mu.err = upTo, err
	g.mu.Unlock()
	return err
}
