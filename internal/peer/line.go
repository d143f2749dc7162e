package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// line is one open connection: what is to be written, and whose answers are due.
type line struct {
	conn   *Conn
	net    net.Conn
	in     *bufio.Reader
	served map[int16]versions // what the node told; it does not tell of private keys
	wake   chan struct{}      // one slot: there is something to write, or the end has come
	watch  *time.Timer        // breaks the line off when it is silent for too long

	mu struct {
		sync.Mutex         // memory only
		out        []byte  // requests that the writer has not taken yet
		due        []*call // whose answers have not come, in order
		unsent     int     // how many of due, from the end, are in out
		id         int32   // of the last request
		err        error   // why the line broke
	}
}

// Sizes.
const (
	readBuffer = 8 << 10
	readStep   = 1 << 20 // of a large answer; the room for it grows as it comes
	keepOut    = 1 << 20 // a buffer for writing that is larger is not kept
)

func newLine(c *Conn, nc net.Conn) *line {
	l := &line{conn: c, net: nc, in: bufio.NewReaderSize(nc, readBuffer), wake: make(chan struct{}, 1)}
	l.watch = time.AfterFunc(l.patience(), l.silent)
	l.watch.Stop()
	return l
}

// greetVersion is that of ApiVersions by which nodes meet: older builds serve it.
const greetVersion = 5

// greet asks the node who it is and what it serves, before anything else.
func (l *line) greet() error {
	req := l.conn.greeting()
	if _, err := l.net.Write(l.encode(nil, req, greetVersion, 0)); err != nil {
		return err
	}
	size, id, err := l.head()
	if err != nil {
		return err
	}
	if id != 0 {
		return errOrder
	}
	body, err := l.body(nil, size)
	if err != nil {
		return err
	}
	resp := msg.NewAPIVersionsResponse()
	var r wire.Reader
	if r.Reset(body); kafka.Code(r.Int16()) == kafka.UnsupportedVersion {
		return fmt.Errorf("it is too old to be spoken to: %w", kafka.UnsupportedVersion)
	}
	r.Reset(body)
	if resp.Decode(&r, greetVersion); r.Failed() {
		return fmt.Errorf("%w: %w", ErrAnswer, r.Err())
	}
	l.served, err = greeted(&resp)
	return err
}

// version is the one in which a request goes to this node.
func (l *line) version(key, want int16) (int16, error) {
	v, told := l.served[key]
	if !told {
		return want, nil
	}
	if want = min(want, v.last); want < v.first {
		return 0, fmt.Errorf("%w: it serves %s from version %d up: %w", ErrUnsent, kafka.KeyName(key), v.first, kafka.UnsupportedVersion)
	}
	return want, nil
}

// encode appends a request as a frame.
func (l *line) encode(b []byte, req msg.Request, version int16, id int32) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: id, ClientID: &l.conn.pool.cfg.ClientID}
	b = h.Append(b, msg.RequestHeaderVersion(req.Key(), version))
	b = req.Append(b, version)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// send puts a request in the queue of the writer; nil if the line is broken. buf,
// if not nil, is lent for the answer.
func (l *line) send(req msg.Request, version int16, buf *[]byte) *call {
	q := &call{line: l, key: req.Key(), version: version, done: make(chan struct{})}
	if buf != nil {
		q.buf = *buf
	}
	l.mu.Lock()
	if l.mu.err != nil {
		l.mu.Unlock()
		return nil
	}
	l.mu.id++
	q.id = l.mu.id
	l.mu.out = l.encode(l.mu.out, req, version, q.id)
	l.mu.due = append(l.mu.due, q)
	l.mu.unsent++
	if len(l.mu.due) == 1 {
		l.watch.Reset(l.patience())
	}
	l.mu.Unlock()
	l.poke()
	return q
}

func (l *line) patience() time.Duration { return l.conn.pool.cfg.patience(l.conn.key.why) }

func (l *line) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // the writer is woken already
	}
}

// run writes and reads until the line breaks.
func (l *line) run() {
	var writer sync.WaitGroup
	writer.Go(l.write)
	l.fail(l.read())
	writer.Wait()
}

// write sends what is in the queue, all of it at once.
func (l *line) write() {
	var buf []byte
	for {
		<-l.wake
		l.mu.Lock()
		if l.mu.err != nil {
			l.mu.Unlock()
			return
		}
		buf, l.mu.out = l.mu.out, buf[:0]
		l.mu.unsent = 0
		l.mu.Unlock()
		if len(buf) == 0 {
			continue
		}
		if _, err := l.net.Write(buf); err != nil {
			l.fail(err)
			return
		}
		if cap(buf) > keepOut {
			buf = nil
		}
	}
}

// The ways in which a node may not keep to the protocol.
var (
	errOrder = errors.New("an answer that nobody asked for")
	errSize  = errors.New("an answer of a size that cannot be")
	errQuiet = errors.New("no answer for too long")
)

// read gives every answer to who waits for it.
func (l *line) read() error {
	for {
		size, id, err := l.head()
		if err != nil {
			return err
		}
		q, buf, wanted := l.take(id)
		switch {
		case q == nil:
			return errOrder
		case !wanted:
			_, err = l.in.Discard(size)
		default:
			q.body, err = l.body(buf, size)
		}
		if err != nil {
			return err
		}
		l.answered(q)
	}
}

// head reads the start of a frame: how much follows, and to what.
func (l *line) head() (size int, id int32, err error) {
	var b [8]byte
	if _, err := io.ReadFull(l.in, b[:]); err != nil {
		return 0, 0, err
	}
	n := int64(int32(binary.BigEndian.Uint32(b[:4])))
	if n < 4 || n > int64(l.conn.pool.cfg.MaxAnswer) {
		return 0, 0, fmt.Errorf("%w: %d bytes", errSize, n)
	}
	return int(n) - 4, int32(binary.BigEndian.Uint32(b[4:])), nil
}

// body reads the rest of a frame into buf, which grows as the bytes arrive, not
// as they are announced.
func (l *line) body(buf []byte, size int) ([]byte, error) {
	buf = buf[:0]
	for len(buf) < size {
		step := min(size-len(buf), max(readStep, cap(buf)-len(buf)))
		if free := cap(buf) - len(buf); free < step {
			larger := make([]byte, len(buf), min(size, max(len(buf)+step, 2*cap(buf))))
			copy(larger, buf)
			buf = larger
		}
		n, err := io.ReadFull(l.in, buf[len(buf):len(buf)+step])
		if buf = buf[:len(buf)+n]; err != nil {
			return nil, err
		}
		if len(buf) < size {
			l.watch.Reset(l.patience())
		}
	}
	return buf, nil
}

// take finds whose answer begins; wanted is false if the caller has left.
func (l *line) take(id int32) (q *call, buf []byte, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.due) == l.mu.unsent || l.mu.due[0].id != id {
		return nil, nil, false
	}
	q = l.mu.due[0]
	q.reading = true
	return q, q.buf, !q.gone
}

// answered ends a call, of which the answer is read.
func (l *line) answered(q *call) {
	l.mu.Lock()
	if l.mu.err != nil { // fail has ended it
		l.mu.Unlock()
		return
	}
	l.mu.due[0] = nil
	l.mu.due = l.mu.due[1:]
	if len(l.mu.due) == 0 {
		l.mu.due = nil
		l.watch.Stop()
	} else {
		l.watch.Reset(l.patience())
	}
	l.mu.Unlock()
	close(q.done)
}

// leave ends the wait for an answer; false if it is there already. The buffer
// stays the reader's if the answer is coming in.
func (l *line) leave(q *call, buf *[]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-q.done:
		return false
	default:
	}
	q.gone = true
	if q.reading && buf != nil {
		*buf = nil
	}
	q.buf = nil
	return true
}

// silent is called when answers were due for long and nothing came.
func (l *line) silent() {
	l.mu.Lock()
	quiet := len(l.mu.due) > 0
	l.mu.Unlock()
	if quiet {
		l.fail(errQuiet)
	}
}

// fail breaks the line off. The first reason counts.
func (l *line) fail(err error) {
	l.mu.Lock()
	if l.mu.err != nil {
		l.mu.Unlock()
		return
	}
	l.mu.err = err
	due, unsent := l.mu.due, l.mu.unsent
	l.mu.due, l.mu.out = nil, nil
	l.mu.Unlock()
	l.watch.Stop()
	l.conn.broken(l)
	_ = l.net.Close()
	for i, q := range due {
		q.err = fmt.Errorf("%w: %w", ErrDown, err)
		if i >= len(due)-unsent {
			q.err = fmt.Errorf("%w: %w", ErrUnsent, err)
		}
		close(q.done)
	}
	l.poke()
}

func (l *line) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.err
}
