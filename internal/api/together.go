package api

import "sync"

// mostTogether bounds how much of one request is under way at once.
const mostTogether = 64

// together calls do for 0 to n-1, some at once, and returns when all are done. It is
// for what waits for commits: one round of flushes then does for many.
func together(n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	var tasks sync.WaitGroup
	slots := make(chan struct{}, mostTogether)
	for i := range n {
		slots <- struct{}{}
		tasks.Go(func() {
			do(i)
			<-slots
		})
	}
	tasks.Wait()
}
