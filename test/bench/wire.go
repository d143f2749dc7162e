package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is a raw connection to a broker or a sink.
type conn struct {
	net.Conn
	in  *bufio.Reader
	buf []byte // the last answer
}

func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
}

// answer reads the next response without its size. It is valid until the next.
func (c *conn) answer() ([]byte, error) {
	head, err := c.in.Peek(4)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n < 4 || n > 128<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	if _, err := c.in.Discard(4); err != nil {
		return nil, err
	}
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	_, err = io.ReadFull(c.in, c.buf)
	return c.buf, err
}

// exchange sends one frame and reads its answer.
func (c *conn) exchange(frame []byte) ([]byte, error) {
	if _, err := c.Write(frame); err != nil {
		return nil, err
	}
	return c.answer()
}

// call sends a request through kmsg; for what is not measured.
func (c *conn) call(req kmsg.Request, version int16) (kmsg.Response, error) {
	req.SetVersion(version)
	body, err := c.exchange(frameOf(req))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	skip := 4
	if resp.IsFlexible() && req.Key() != 18 {
		skip++ // no tags
	}
	if err := resp.ReadFrom(body[skip:]); err != nil {
		return nil, fmt.Errorf("%s: answer: %w", kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

// topicSpec is a topic as a row wants it.
type topicSpec struct {
	name       string
	partitions int32
	configs    []string // key, value, key, value ...
}

// refusal is an error that the broker answered with.
type refusal struct {
	what string
	code int16
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: error code %d %s", r.what, r.code, r.text) }

// createTopic makes a topic and waits until every partition has a leader that
// knows it.
func createTopic(ctx context.Context, addr string, spec topicSpec) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.create(spec); err != nil {
		return err
	}
	for {
		ready, err := c.hasLeaders(spec)
		if ready && err == nil {
			ready, err = c.leads(spec)
		}
		if ready || err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("topic %s has no leaders: %w", spec.name, err)
		}
	}
}

func (c *conn) create(spec topicSpec) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = spec.name, spec.partitions, 1
	for i := 0; i+1 < len(spec.configs); i += 2 {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = spec.configs[i], &spec.configs[i+1]
		t.Configs = append(t.Configs, cfg)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req, 7)
	if err != nil {
		return err
	}
	got := resp.(*kmsg.CreateTopicsResponse).Topics
	if len(got) != 1 {
		return errors.New("create topic: no answer for it")
	}
	if got[0].ErrorCode != 0 {
		text := ""
		if got[0].ErrorMessage != nil {
			text = *got[0].ErrorMessage
		}
		return &refusal{"create topic " + spec.name, got[0].ErrorCode, text}
	}
	return nil
}

func (c *conn) hasLeaders(spec topicSpec) (bool, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &spec.name
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req, 9)
	if err != nil {
		return false, err
	}
	topics := resp.(*kmsg.MetadataResponse).Topics
	if len(topics) != 1 || topics[0].ErrorCode != 0 || len(topics[0].Partitions) != int(spec.partitions) {
		return false, nil
	}
	for _, p := range topics[0].Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 {
			return false, nil
		}
	}
	return true, nil
}

// leads tells whether the broker answers for every partition itself: Metadata
// may name a leader that has yet to hear of it.
func (c *conn) leads(spec topicSpec) (bool, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = spec.name
	for i := range spec.partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = i, -1, -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req, 6)
	if err != nil {
		return false, err
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return false, nil
			}
		}
	}
	return true, nil
}

// deleteTopic gives the space of a row back.
func deleteTopic(ctx context.Context, addr, name string) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 30_000
	req.TopicNames = []string{name}
	resp, err := c.call(req, 5)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.DeleteTopicsResponse).Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("delete topic %s: error code %d", name, t.ErrorCode)
		}
	}
	return nil
}

// pause lets d pass between two looks at something that tells nobody when it is
// ready.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
