package broker

import (
	"context"
	"errors"
	"fmt"
)

// activity is a part that runs: run returns when ctx ends and every goroutine
// it started is gone, or earlier with an error that is final for the node.
type activity struct {
	name string
	run  func(ctx context.Context) error
}

// runAll starts the activities in order and lets them run until ctx ends or one
// of them fails. Then it ends them one by one in the reverse order, each before
// the next, and returns the first error.
func runAll(ctx context.Context, list []activity) error {
	type running struct {
		cancel context.CancelFunc
		done   chan error
	}
	failed := make(chan struct{}, len(list))
	all := make([]running, len(list))
	for i, a := range list {
		// Each has a context of its own, so that one ends while those it needs
		// still run.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		all[i] = running{cancel, make(chan error, 1)}
		go func() {
			err := a.run(own)
			if err != nil && own.Err() == nil {
				err = fmt.Errorf("%s: %w", a.name, err)
			} else if errors.Is(err, context.Canceled) {
				err = nil
			}
			all[i].done <- err
			failed <- struct{}{}
		}()
	}
	select { //house:select either way everything is ended, and an error is kept
	case <-ctx.Done():
	case <-failed:
	}
	var first error
	for i := len(all) - 1; i >= 0; i-- {
		all[i].cancel()
		if err := <-all[i].done; err != nil && first == nil {
			first = err
		}
	}
	return first
}
