package api

import (
	"errors"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/sasl"
)

// Logins is what authentication by SASL asks of the broker.
type Logins interface {
	// Mechanisms are those that clients of a listener may use.
	Mechanisms(listener string) []string
	// Begin starts an exchange by one of them.
	Begin(listener, mechanism string) sasl.Exchange
	// Session is how long a client may go on before it has to authenticate
	// again (connections.max.reauth.ms), 0 for ever.
	Session(listener, mechanism string) time.Duration
	// Delay is how long a client that failed waits for its answer
	// (connection.failed.authentication.delay.ms).
	Delay() time.Duration
}

// login is where a connection stands with SASL:
//
//	         ApiVersions           SaslHandshake        SaslAuthenticate ...
//	pending ------------> greeted ---------------> exchange ------------> in
//	    \______________________________________________^                  |
//	                                                    \__ SaslHandshake /
//	                                                        if the session ends
//
// What is not on the way closes the connection. It belongs to the connection's
// goroutine.
type login struct {
	greeted   bool // ApiVersions was answered: SaslHandshake has to follow
	exchange  sasl.Exchange
	mechanism string
	bare      bool      // tokens come without a request around them (handshake 0)
	wrong     bool      // another mechanism than before: the next request closes
	failed    bool      // the answer at work is the last
	again     time.Time // when the client last began to authenticate again
	ends      time.Time // of the session; zero: it does not
}

// ErrExpired says that a client did not authenticate again in time.
var ErrExpired = errors.New("the session has ended")

// reauthEvery is how often a client may authenticate again, at most.
const reauthEvery = time.Second

// guarded says that a request has to be looked at before it is served: the
// client is not in, or its session ends some time.
func (c *Conn) guarded() bool {
	return c.Pending || c.login.exchange != nil || c.login.wrong || !c.login.ends.IsZero()
}

// expected says whether a request of a guarded connection may come now.
func (c *Call) expected() error {
	l := &c.Conn.login
	switch {
	case l.wrong:
		return fmt.Errorf("%w: not the mechanism of before", ErrPending)
	case l.exchange != nil:
		if c.Key != kafka.KeySASLAuthenticate && c.Key != kafka.KeySASLHandshake {
			return fmt.Errorf("%w: %s", ErrPending, c.row.Name)
		}
	case c.Conn.Pending:
		if c.Key == kafka.KeySASLHandshake || c.Key == kafka.KeyAPIVersions && !l.greeted {
			return nil
		}
		return fmt.Errorf("%w: %s", ErrPending, c.row.Name)
	default:
		now := c.t.cfg.Now()
		if !now.After(l.ends) || c.Key == kafka.KeySASLHandshake && l.mayRenew(now) {
			return nil
		}
		return ErrExpired
	}
	return nil
}

// mayRenew says whether a client that is in may authenticate again: where that
// serves a purpose, and not all the time.
func (l *login) mayRenew(now time.Time) bool {
	return !l.ends.IsZero() && now.Sub(l.again) >= reauthEvery
}

// begin starts an exchange. Of one who is in already the session goes on, and
// the mechanism must stay.
func (c *Call) begin(mechanism string) {
	l := &c.Conn.login
	if !c.Conn.Pending {
		l.again = c.Now()
		if l.mechanism != mechanism {
			l.wrong = true
			return
		}
	}
	l.mechanism, l.bare = mechanism, c.Version == 0
	l.exchange = c.t.cfg.Logins.Begin(c.Conn.Listener, mechanism)
}

// step takes a client's token and gives the broker's and, if that was the last,
// how long the session lasts. An error ends the connection; it is what the client
// may be told.
func (c *Call) step(token []byte) (answer []byte, session time.Duration, err error) {
	l := &c.Conn.login
	answer, done, err := l.exchange.Step(token)
	principal := "User:" + l.exchange.User()
	if err == nil && done && !c.Conn.Pending && principal != c.Conn.Subject.Principal {
		err = &sasl.Refusal{Text: fmt.Sprintf("Cannot change principals during re-authentication from %s: %s",
			dotted(c.Conn.Subject.Principal), dotted(principal))}
	}
	if err != nil {
		return nil, 0, c.failed(err)
	}
	if !done {
		return answer, 0, nil
	}
	session = c.t.cfg.Logins.Session(c.Conn.Listener, l.mechanism)
	l.ends = time.Time{}
	if session > 0 {
		l.ends = c.Now().Add(session)
	}
	l.exchange, l.bare = nil, false
	c.Conn.Pending, c.Conn.Subject.Principal = false, principal
	return answer, session, nil
}

// dotted is a principal in the form that Kafka's texts have for it.
func dotted(principal string) string {
	return "User." + principal[len("User:"):]
}

// failed notes that the client could not authenticate. Why is for the log; the
// client is told only what cannot help it to guess.
func (c *Call) failed(why error) error {
	l := &c.Conn.login
	l.exchange, l.failed = nil, true
	c.t.cfg.Logger.Warn("a client failed to authenticate", "peer", c.Conn.Peer, "listener", c.Conn.Listener,
		"mechanism", l.mechanism, "err", why)
	var told *sasl.Refusal
	if errors.As(why, &told) {
		return told
	}
	how := "authentication"
	if !c.Conn.Pending {
		how = "re-authentication"
	}
	return &sasl.Refusal{Text: "Authentication failed during " + how + " due to invalid credentials with SASL mechanism " + l.mechanism}
}

// guard lets the answer of a failed authentication be the connection's last, and
// come late, so that guessing takes time.
func guard(serve Handler) Handler {
	return func(c *Call, out *Reply) {
		serve(c, out)
		if c.Conn.login.failed {
			out.Close, out.Mute = true, c.t.cfg.Logins.Delay()
		}
	}
}

// bareToken answers a token that came without a request around it, from a client
// that shook hands in version 0: with a token, or by closing.
func bareToken(c *Call, out *Reply) {
	answer, _, err := c.step(c.Body)
	if err != nil {
		out.Refuse()
		return
	}
	out.Buf = append(out.Buf, answer...)
}
