package sasl

import (
	"errors"
	"fmt"
	"slices"
)

// Plain is the name of the mechanism that sends the password itself.
const Plain = "PLAIN"

// Exchange is one authentication under way. It belongs to one goroutine.
type Exchange interface {
	// Step takes the client's token, which it does not keep, and gives the
	// broker's. done says that it was the last and the client is [Exchange.User].
	// After an error, or done, Step is not to be called again.
	//
	// An error is a [*Refusal] where the client may be told why; of all others
	// it is told nothing, since they could tell it who exists.
	Step(token []byte) (answer []byte, done bool, err error)

	// User is who the client is, after done.
	User() string
}

// Refusal is an error that the client is told.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// Errors of which the client hears only that its credentials are invalid.
var (
	ErrMalformed = errors.New("a token that cannot be read")
	ErrSecret    = errors.New("unknown user or wrong password")
	ErrToken     = errors.New("delegation tokens are not served")
	ErrOver      = errors.New("the exchange is over")
)

// errIdentity is Kafka's text where a client wants to act for another user.
func errIdentity() error {
	return refuse("Authentication failed: Client requested an authorization id that is different from username")
}

// Served says whether there is a mechanism of that name here.
func Served(mechanism string) bool { return slices.Contains(Names(), mechanism) }

// Names are the mechanisms that are served.
func Names() []string { return []string{Plain, SHA256.String(), SHA512.String()} }
