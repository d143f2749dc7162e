package broker

import (
	crand "crypto/rand"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/sasl"
)

// logins is how clients of this broker authenticate: by what the properties say
// of their listener, as passwords in them or as credentials in the image.
type logins struct {
	props  func() *config.Broker
	image  func() *cluster.Image
	secret []byte // see sasl.Decoy
	delay  time.Duration
}

// newLogins is nil where no listener asks for authentication. The decoys are the
// same on every broker, since what differed from one to the other could not be a
// user.
func newLogins(b *Broker, props *config.Broker) api.Logins {
	for _, l := range b.sockets.all {
		if l.Authenticate {
			secret := sha256.Sum256([]byte("who is not there\x00" + b.dirs.info.ClusterID))
			return &logins{props: b.metadata.Properties, image: b.metadata.Image, secret: secret[:],
				delay: props.Millis("connection.failed.authentication.delay.ms")}
		}
	}
	return nil
}

// Mechanisms are those that the listener's clients may use. What somebody enabled
// at run time that is not served is left out.
func (l *logins) Mechanisms(listener string) []string {
	return slices.DeleteFunc(slices.Clone(config.SASLOf(l.props(), listener).Mechanisms()), func(m string) bool { return !sasl.Served(m) })
}

// Begin starts an exchange. Users of PLAIN that cannot be read, since somebody
// changed them badly at run time, are none.
func (l *logins) Begin(listener, mechanism string) sasl.Exchange {
	if m, ok := sasl.ScramOf(mechanism); ok {
		return sasl.NewScram(sasl.ScramConfig{Mechanism: m, Secret: l.secret, Random: unguessable,
			Credential: func(user string) (sasl.Credential, bool) {
				c := l.image().Scram(user, int8(m))
				if c == nil {
					return sasl.Credential{}, false
				}
				return sasl.Credential{Salt: c.Salt, StoredKey: c.StoredKey, ServerKey: c.ServerKey, Iterations: c.Iterations}, true
			}})
	}
	users, _ := config.SASLOf(l.props(), listener).PlainUsers()
	return sasl.NewPlain(func(user string) (string, bool) {
		password, ok := users[user]
		return password, ok
	})
}

// unguessable fills p from the machine's source of chance; without one nobody
// can log in, and the program ends.
func unguessable(p []byte) { _, _ = crand.Read(p) } // never an error, see its doc

// Session is how long a client may go on.
func (l *logins) Session(listener, mechanism string) time.Duration {
	return config.SASLOf(l.props(), listener).MaxReauth(mechanism)
}

// Delay is how long a client that failed waits for its answer.
func (l *logins) Delay() time.Duration { return l.delay }
