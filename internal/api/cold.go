package api

import (
	"time"

	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// message is what cold needs of a request's or response's pointer type.
type message[T any] interface {
	*T
	msg.Message
}

// cold makes a Handler of a function from a decoded request to a response:
//
//	row(kafka.KeyHeartbeat, cold(h.heartbeat), Access{auth.Read, auth.Group})
//
//	func (h *GroupHandlers) heartbeat(c *Call, req *msg.HeartbeatRequest) *msg.HeartbeatResponse
//
// The request is the handler's to keep, except fields of raw bytes, which lie in
// the frame. A body that cannot be decoded closes the connection, as in Kafka,
// and so does a nil response. The throttle time is filled in here.
func cold[Q, S any, PQ message[Q], PS message[S]](f func(*Call, *Q) *S) Handler {
	return func(c *Call, out *Reply) {
		req := new(Q)
		PQ(req).SetDefaults()
		var r wire.Reader
		r.Reset(c.Body)
		PQ(req).Decode(&r, c.Version)
		if r.Failed() {
			c.undecodable(r.Err())
			out.Refuse()
			return
		}
		resp := f(c, req)
		if resp == nil {
			out.Refuse()
			return
		}
		out.Mute = c.Charge(quota.Request, int64(c.Now().Sub(c.Time)))
		if t, ok := any(PS(resp)).(msg.Throttled); ok && out.Mute > 0 {
			t.SetThrottleTimeMs(millis(out.Mute))
		}
		out.Buf = PS(resp).Append(out.Buf, c.Version)
	}
}

func (c *Call) undecodable(err error) {
	c.t.cfg.Logger.Warn("closing a connection: its request cannot be decoded", "api", c.row.Name,
		"version", c.Version, "peer", c.Conn.Peer, "client", c.ClientID, "err", err)
}

// millis is d in whole milliseconds, at least 1 if there is any.
func millis(d time.Duration) int32 {
	return int32((d + time.Millisecond - 1) / time.Millisecond)
}
