package msg

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
)

// RequestHeaderVersion is the version of the header before a request: 2, which
// has tags, if the request is flexible, else 1. Whatever the version, the client
// id is written in the old form, so that a broker can read the header of a
// request that it does not know.
func RequestHeaderVersion(key, version int16) int16 {
	if isFlexible(key, version) {
		return 2
	}
	return 1
}

// ResponseHeaderVersion is the version of the header before a response: 1, which
// has tags, if the response is flexible, else 0. ApiVersions always has 0, since
// the client does not know yet what the broker can do (KIP-511).
func ResponseHeaderVersion(key, version int16) int16 {
	if isFlexible(key, version) && key != kafka.KeyAPIVersions {
		return 1
	}
	return 0
}

func isFlexible(key, version int16) bool {
	api, ok := APIByKey(key)
	return ok && api.Flexible >= 0 && version >= api.Flexible
}

// PeekRequestHeader reads what stands at the start of a request's header in all
// its versions: key, version and correlation id, but not the client id. It is
// false if the frame is too short.
func PeekRequestHeader(frame []byte) (RequestHeader, bool) {
	r := wire.NewReader(frame)
	h := RequestHeader{APIKey: r.Int16(), APIVersion: r.Int16(), CorrelationID: r.Int32()}
	return h, !r.Failed()
}
