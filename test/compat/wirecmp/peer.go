package wirecmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Patience is how long a broker may take to answer one request, unless its Peer
// says otherwise; holding it longer counts as no answer.
const Patience = 3 * time.Second

// Peer is one broker under comparison, reached over one connection that is
// opened again whenever the broker closes it.
type Peer struct {
	Name string
	addr string
	conn net.Conn
	id   int32

	Patience time.Duration         // for the next exchange
	TopicIDs map[string]kafka.UUID // of the topics that setup made
}

// Dial makes a Peer for the broker at addr.
func Dial(name, addr string) *Peer {
	return &Peer{Name: name, addr: addr, Patience: Patience, TopicIDs: map[string]kafka.UUID{}}
}

// Again is another client of the same broker, with a connection of its own.
func (p *Peer) Again() *Peer {
	return &Peer{Name: p.Name, addr: p.addr, Patience: Patience, TopicIDs: p.TopicIDs}
}

// Close ends the connection.
func (p *Peer) Close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// How a broker can react to a request.
const (
	Answered = "answered"
	Closed   = "closed the connection"
	Silent   = "did not answer"
)

// Exchange sends one framed request body and waits for the answer's body,
// without its header.
func (p *Peer) Exchange(key, version int16, body []byte) (outcome string, answer []byte, err error) {
	if p.conn == nil {
		if p.conn, err = net.DialTimeout("tcp", p.addr, Patience); err != nil {
			return "", nil, err
		}
	}
	p.id++
	client := "wirecmp"
	h := msg.RequestHeader{APIKey: key, APIVersion: version, CorrelationID: p.id, ClientID: &client}
	frame := h.Append(make([]byte, 4), msg.RequestHeaderVersion(key, version))
	frame = append(frame, body...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	if err := p.conn.SetDeadline(time.Now().Add(p.Patience)); err != nil {
		return "", nil, err
	}
	if _, err := p.conn.Write(frame); err != nil {
		p.Close()
		return Closed, nil, nil
	}
	var size [4]byte
	if _, err := io.ReadFull(p.conn, size[:]); err != nil {
		return p.ended(err), nil, nil
	}
	answer = make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(p.conn, answer); err != nil {
		return p.ended(err), nil, nil
	}
	r := wire.NewReader(answer)
	var rh msg.ResponseHeader
	rh.Decode(r, msg.ResponseHeaderVersion(key, version))
	if rh.CorrelationID != p.id {
		return "", nil, fmt.Errorf("%s answered correlation id %d with %d", p.Name, p.id, rh.CorrelationID)
	}
	return Answered, answer[len(answer)-r.Remaining():], nil
}

// Raw sends bytes as they are and says how the broker reacts. An answer is not
// read beyond its size.
func (p *Peer) Raw(b []byte) (outcome string, err error) {
	if p.conn == nil {
		if p.conn, err = net.DialTimeout("tcp", p.addr, Patience); err != nil {
			return "", err
		}
	}
	if err := p.conn.SetDeadline(time.Now().Add(p.Patience)); err != nil {
		return "", err
	}
	if _, err := p.conn.Write(b); err != nil {
		return p.ended(err), nil
	}
	var size [4]byte
	if _, err := io.ReadFull(p.conn, size[:]); err != nil {
		return p.ended(err), nil
	}
	return Answered, nil
}

func (p *Peer) ended(err error) string {
	p.Close()
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return Silent
	}
	return Closed
}

// Do sends a typed request and decodes the typed answer; for set-up, which a
// loaded machine may make slow.
func (p *Peer) Do(req msg.Request, version int16, resp msg.Response) error {
	defer func(d time.Duration) { p.Patience = d }(p.Patience)
	p.Patience = 10 * Patience
	outcome, answer, err := p.Exchange(req.Key(), version, req.Append(nil, version))
	if err != nil {
		return err
	}
	if outcome != Answered {
		return fmt.Errorf("%s %s on %s v%d", p.Name, outcome, kafka.KeyName(req.Key()), version)
	}
	r := wire.NewReader(answer)
	resp.Decode(r, version)
	if err := r.Done(); err != nil {
		return fmt.Errorf("%s: %s v%d: %w", p.Name, kafka.KeyName(req.Key()), version, err)
	}
	return nil
}
