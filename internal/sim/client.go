package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// errGone says that the connection ended before the answer: nobody knows what
// became of the request.
var errGone = errors.New("the connection is gone")

// patience is how long an answer may take in the bubble's time. Nothing that
// the client asks may take so long on a node that is up.
const patience = 30 * time.Second

// client is one connection to the node, opened when it is needed.
type client struct {
	dial     func(ctx context.Context) (net.Conn, error)
	patience time.Duration // for an answer; 0 means patience
	conn     net.Conn
	id       int32
}

func (c *client) limit() time.Duration {
	if c.patience > 0 {
		return c.patience
	}
	return patience
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// send writes one request without waiting for its answer.
func (c *client) send(req msg.Request, version int16) error {
	if c.conn == nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.limit())
		defer cancel()
		conn, err := c.dial(ctx)
		if err != nil {
			return errGone
		}
		c.conn = conn
	}
	c.id++
	name := "sim"
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: c.id, ClientID: &name}
	frame := h.Append(make([]byte, 4), msg.RequestHeaderVersion(req.Key(), version))
	frame = req.Append(frame, version)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	c.conn.SetDeadline(time.Now().Add(c.limit()))
	if _, err := c.conn.Write(frame); err != nil {
		c.close()
		return errGone
	}
	return nil
}

// receive reads the answer to the request that was sent `behind` requests ago.
func (c *client) receive(resp msg.Response, version int16, behind int32) error {
	if c.conn == nil {
		return errGone
	}
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		c.close()
		return errGone
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		c.close()
		return errGone
	}
	r := wire.NewReader(body)
	var h msg.ResponseHeader
	h.Decode(r, msg.ResponseHeaderVersion(resp.Key(), version))
	if h.CorrelationID != c.id-behind {
		return fmt.Errorf("answer %d where %d was due: answers are out of order", h.CorrelationID, c.id-behind)
	}
	resp.Decode(r, version)
	return r.Done()
}

// settle lets everything that is under way come to rest, so that what the node
// does beside its answers never races with the next request.
func (c *client) settle() { synctest.Wait() }

// ask sends a request and waits for the answer.
func (c *client) ask(req msg.Request, version int16, resp msg.Response) error {
	c.settle()
	if err := c.send(req, version); err != nil {
		return err
	}
	return c.receive(resp, version, 0)
}
