package msg

import (
	"sort"

	"github.com/myelin-stream/myelin/internal/wire"
)

// Message is what requests and responses have in common.
type Message interface {
	Key() int16                           // of the API
	Versions() (first, last int16)        // that there are
	IsFlexible(version int16) bool        // of the body; see also the header versions
	SetDefaults()                         // every field
	Decode(r *wire.Reader, version int16) // the error is in r
	Append(b []byte, version int16) []byte
}

// Request is a request of any API.
type Request interface{ Message }

// Response is a response of any API.
type Response interface{ Message }

// Throttled is a response that can tell its client to wait.
type Throttled interface {
	Response
	SetThrottleTimeMs(ms int32)
}

// FirstPrivateKey is where the keys begin that Kafka does not have: messages of
// brokers to each other, served on inter-broker and controller listeners only
// and never advertised.
const FirstPrivateKey = 20000

// API is a row of [APIs].
type API struct {
	Key        int16
	Name       string // Kafka's, such as "Produce"
	Min, Max   int16  // versions of the schema; a broker may serve or tell others
	Flexible   int16  // the first flexible version, -1 if none is
	Broker     bool   // served on a broker's listeners
	Controller bool   // served on a controller's listeners
	Unstable   bool   // Max is not yet final, and off unless unstable versions are on
}

// APIByKey finds a row of [APIs].
func APIByKey(key int16) (API, bool) {
	i := sort.Search(len(APIs), func(i int) bool { return APIs[i].Key >= key })
	if i == len(APIs) || APIs[i].Key != key {
		return API{}, false
	}
	return APIs[i], true
}
