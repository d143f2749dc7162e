// Package quota says how long a client must wait because it used more than its
// share.
//
// A broker never refuses work over a quota: it answers at once, tells the client
// how long it is throttled, and stops reading from it for that time (KIP-219).
package quota

import "time"

// Kind is what is rationed.
type Kind int8

// The kinds of quotas: bytes a second in and out, handler time, and changes of
// metadata.
const (
	Produce Kind = iota
	Fetch
	Request
	Mutation
)

// Client is whom a quota is for: the principal, the client id, or both.
type Client struct {
	Principal string
	ID        string
}

// Quotas takes note of usage. It is asked for every request on the
// connection's goroutine, so it must neither block nor allocate.
type Quotas interface {
	// Charge notes amount (bytes, nanoseconds of handler time, or mutations) at
	// now, and returns how long the client is throttled, mostly 0.
	Charge(who *Client, kind Kind, amount int64, now time.Time) time.Duration
}

// Unlimited is the Quotas of a broker without any.
type Unlimited struct{}

// Charge never throttles.
func (Unlimited) Charge(*Client, Kind, int64, time.Time) time.Duration { return 0 }
