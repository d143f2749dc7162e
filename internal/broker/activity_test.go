package broker

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// Activities start in order and end in the reverse order, each before the next.
func TestActivitiesEndInReverse(t *testing.T) {
	var ended []string
	started := make(chan string, 3)
	list := []activity{}
	for _, name := range []string{"a", "b", "c"} {
		list = append(list, activity{name, func(ctx context.Context) error {
			started <- name
			<-ctx.Done()
			ended = append(ended, name) // one at a time, or the race detector speaks
			return ctx.Err()
		}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- runAll(ctx, list) }()
	for range list {
		<-started
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ended, []string{"c", "b", "a"}) {
		t.Fatalf("ended in the order %v", ended)
	}
}

func TestActivityFailureEndsAll(t *testing.T) {
	boom := errors.New("boom")
	err := runAll(t.Context(), []activity{
		{"waits", func(ctx context.Context) error { <-ctx.Done(); return nil }},
		{"fails", func(context.Context) error { return boom }},
	})
	if !errors.Is(err, boom) || err.Error() != "fails: boom" {
		t.Fatalf("err = %v", err)
	}
}
