package metadata

import "context"

// turn lets one at a time through, in the order of asking. Unlike a mutex it
// can be given up on, and who waits for it is visible to testing/synctest.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }

// takeFor is take that ends with ctx.
func (t turn) takeFor(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	//house:select a caller that gives up when it could go on gives up
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }
