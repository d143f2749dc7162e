package listen

import (
	"github.com/myelin-stream/myelin/internal/api"
)

// flush sends what was answered and empties out.
func (c *conn) flush() error {
	if len(c.out.Buf) == 0 {
		return nil
	}
	err := c.send(&c.out)
	c.out.Sent()
	return err
}

// send writes a Reply: bytes, and ranges of files in between. A range that was
// cut off cannot be made good, since its length is told already; the connection
// has to close.
func (c *conn) send(r *api.Reply) error {
	at := 0
	for i := range r.Files {
		f := &r.Files[i]
		if f.At > at {
			if err := c.writeBefore(r.Buf[at:f.At]); err != nil {
				return err
			}
			at = f.At
		}
		if err := c.sendRange(f.Range); err != nil {
			return err
		}
	}
	if at == len(r.Buf) {
		return nil
	}
	return c.write(r.Buf[at:])
}

// writeBefore writes p, after which a range of a file follows at once.
func (c *conn) writeBefore(p []byte) error {
	if c.raw != nil {
		return c.raw.writeMore(c, p)
	}
	return c.write(p)
}

// write writes p in pieces, so that the sweeper can tell slow from stalled.
func (c *conn) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), 256<<10)
		c.writing.Store(c.s.tick.Load())
		_, err := c.net.Write(p[:n])
		c.writing.Store(0)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// sendRange sends a range of a file: by the kernel where it can, else through a
// pooled buffer. The kernel is given what is in memory, since its thread would
// stand still for the rest.
func (c *conn) sendRange(f api.Range) error {
	if c.raw != nil {
		if fd, off, ok := f.Fd(); ok {
			for at := 0; at < f.Len(); {
				n := f.Ready(at)
				if err := c.raw.sendfile(c, fd, off+int64(at), n); err != nil {
					return err
				}
				at += n
			}
			return nil
		}
	}
	buf := c.s.buffers.takeFrame(frameAtOnce / 8)
	defer c.s.buffers.giveFrame(buf)
	for at := 0; at < f.Len(); {
		p := buf.bytes[:min(len(buf.bytes), f.Len()-at)]
		if err := f.ReadAt(p, at); err != nil {
			return err
		}
		if err := c.write(p); err != nil {
			return err
		}
		at += len(p)
	}
	return nil
}
