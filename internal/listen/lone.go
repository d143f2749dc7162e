package listen

import "encoding/binary"

// lone says that all earlier requests are answered and that no further one
// stands in the read buffer: see [api.Call].
func (c *conn) lone() bool {
	n := c.in.w - c.in.r
	another := n >= 4 && n-4 >= int(int32(binary.BigEndian.Uint32(c.in.buf[c.in.r:])))
	return !another && c.ring.empty()
}
