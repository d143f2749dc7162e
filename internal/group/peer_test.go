package group

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// peer answers requests: the service under test, or a real Kafka, so that both
// can be asked the same and what Kafka says can be recorded.
type peer interface {
	send(req msg.Request, version int16) <-chan msg.Response
	await(ch <-chan msg.Response) (resp msg.Response, answered bool)
	pass(d time.Duration) // lets time pass
	group(name string) string
	records(group string) []record.Record // what the log says of a group
}

// local is the service in a bubble.
type local struct {
	t   testing.TB
	s   *Service
	log *slicelog.Log
	ctx context.Context
	ids map[string]kafka.UUID // of topics
}

func (p *local) group(name string) string { return name }
func (p *local) pass(d time.Duration)     { time.Sleep(d); synctest.Wait() }

func (p *local) await(ch <-chan msg.Response) (msg.Response, bool) {
	select {
	case resp := <-ch:
		return resp, true
	case <-time.After(patience):
		return nil, false
	}
}

// patience is how long an answer may take before it counts as waiting.
const patience = 500 * time.Millisecond

func (p *local) send(req msg.Request, version int16) <-chan msg.Response {
	ch := make(chan msg.Response, 1)
	c := Client{ID: "client", Host: "/127.0.0.1", Version: version}
	// Over the wire and back, so that fields a version lacks are lost here too.
	frame := req.Append(nil, version)
	req, _ = msg.NewRequest(req.Key())
	req.SetDefaults()
	req.Decode(wire.NewReader(frame), version)
	if r, ok := req.(*msg.OffsetCommitRequest); ok { // as package api does
		for i := range r.Topics {
			r.Topics[i].TopicID = p.ids[r.Topics[i].Name]
		}
	}
	go func() {
		resp := p.s.serve(p.ctx, c, req)
		frame := resp.Append(nil, version)
		resp, _ = msg.NewResponse(resp.Key())
		resp.SetDefaults()
		resp.Decode(wire.NewReader(frame), version)
		ch <- resp
	}()
	return ch
}

// serve dispatches a request of any kind.
func (s *Service) serve(ctx context.Context, c Client, req msg.Request) msg.Response {
	switch req := req.(type) {
	case *msg.JoinGroupRequest:
		return s.Join(ctx, c, req)
	case *msg.SyncGroupRequest:
		return s.Sync(ctx, c, req)
	case *msg.HeartbeatRequest:
		return s.Heartbeat(ctx, c, req)
	case *msg.LeaveGroupRequest:
		return s.Leave(ctx, c, req)
	case *msg.OffsetCommitRequest:
		return s.OffsetCommit(ctx, c, req)
	case *msg.OffsetFetchRequest:
		return s.fetchAll(ctx, c, req)
	case *msg.ConsumerGroupHeartbeatRequest:
		return s.ConsumerGroupHeartbeat(ctx, c, req, nil)
	case *msg.ConsumerGroupDescribeRequest:
		return &msg.ConsumerGroupDescribeResponse{Groups: s.ConsumerGroupDescribe(ctx, req.GroupIDs)}
	case *msg.TxnOffsetCommitRequest:
		return s.TxnOffsetCommit(ctx, c, req)
	case *msg.OffsetDeleteRequest:
		return s.OffsetDelete(ctx, c, req)
	case *msg.DescribeGroupsRequest:
		return s.Describe(ctx, c, req)
	case *msg.ListGroupsRequest:
		return s.List(ctx, c, req)
	case *msg.DeleteGroupsRequest:
		return s.Delete(ctx, c, req)
	}
	panic(fmt.Sprintf("no request %T", req))
}

// fetchAll does for OffsetFetch what package api does.
func (s *Service) fetchAll(ctx context.Context, c Client, req *msg.OffsetFetchRequest) msg.Response {
	resp := msg.NewOffsetFetchResponse()
	if c.Version >= 8 {
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, s.Fetch(ctx, c, &req.Groups[i], req.RequireStable))
		}
		return &resp
	}
	one := msg.OffsetFetchRequestGroup{GroupID: req.GroupID}
	for _, t := range req.Topics {
		one.Topics = append(one.Topics, msg.OffsetFetchRequestGroupTopic{Name: t.Name, PartitionIndexes: t.PartitionIndexes})
	}
	got := s.Fetch(ctx, c, &one, req.RequireStable)
	resp.ErrorCode = got.ErrorCode
	for _, t := range got.Topics {
		row := msg.OffsetFetchResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			row.Partitions = append(row.Partitions, msg.OffsetFetchResponseTopicPartition(p))
		}
		resp.Topics = append(resp.Topics, row)
	}
	return &resp
}

// remote is a Kafka broker. Each request has a connection of its own.
type remote struct {
	t      testing.TB
	addr   string
	prefix string
}

func (p *remote) group(name string) string {
	if name == "" {
		return ""
	}
	return p.prefix + name
}
func (p *remote) pass(d time.Duration) { time.Sleep(d) }

func (p *remote) await(ch <-chan msg.Response) (msg.Response, bool) {
	select {
	case resp := <-ch:
		return resp, true
	case <-time.After(patience):
		return nil, false
	}
}

func (p *remote) send(req msg.Request, version int16) <-chan msg.Response {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	id := "client"
	h := msg.RequestHeader{APIKey: req.Key(), APIVersion: version, CorrelationID: 7, ClientID: &id}
	b := h.Append(make([]byte, 4), msg.RequestHeaderVersion(req.Key(), version))
	b = req.Append(b, version)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
	ch := make(chan msg.Response, 1)
	go func() {
		defer conn.Close()
		defer close(ch)
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		r := wire.NewReader(frame)
		var rh msg.ResponseHeader
		rh.Decode(r, msg.ResponseHeaderVersion(req.Key(), version))
		resp, _ := msg.NewResponse(req.Key())
		resp.SetDefaults()
		resp.Decode(r, version)
		if err := r.Done(); err != nil {
			p.t.Errorf("%T v%d: %v", resp, version, err)
		}
		ch <- resp
	}()
	return ch
}

func (p *local) records(string) []record.Record { return p.log.Records(p.t) }

func (p *remote) records(group string) []record.Record {
	req := msg.NewFetchRequest()
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = 100, 1, 50<<20
	part := msg.NewFetchRequestTopicPartition()
	part.Partition, part.PartitionMaxBytes = kafka.CoordinatorPartition(p.prefix+group, 50), 50<<20
	req.Topics = []msg.FetchRequestTopic{{Topic: kafka.OffsetsTopic, Partitions: []msg.FetchRequestTopicPartition{part}}}
	resp := (<-p.send(&req, 12)).(*msg.FetchResponse)
	if got := &resp.Responses[0].Partitions[0]; got.ErrorCode == 0 {
		return slicelog.Parse(p.t, got.Records)
	}
	p.t.Fatal(show(resp))
	return nil
}

// ready asks until the groups have a coordinator.
func (p *remote) ready() {
	for range 50 {
		req := msg.NewFindCoordinatorRequest()
		req.CoordinatorKeys = []string{"g"}
		r := (<-p.send(&req, 4)).(*msg.FindCoordinatorResponse)
		if r.Coordinators[0].ErrorCode == 0 {
			return
		}
		p.pass(300 * time.Millisecond)
	}
	p.t.Fatal("no coordinator")
}

// show prints a message on one line: every field but the throttle time.
func show(v any) string {
	var b strings.Builder
	showValue(&b, reflect.ValueOf(v).Elem())
	return b.String()
}

func showValue(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		showValue(b, v.Elem())
	case reflect.Struct:
		n := 0
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "ThrottleTimeMs" {
				continue
			}
			if n++; n > 1 {
				b.WriteString(" ")
			}
			b.WriteString(f.Name + "=")
			if f.Name == "ErrorCode" {
				b.WriteString(kafka.Code(v.Field(i).Int()).Name())
				continue
			}
			showValue(b, v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.IsNil() {
				b.WriteString("null")
				return
			}
			fmt.Fprintf(b, "%q", v.Bytes())
			return
		}
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		b.WriteString("[")
		for i := range v.Len() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("{")
			showValue(b, v.Index(i))
			b.WriteString("}")
		}
		b.WriteString("]")
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprint(b, v.Interface())
	}
}
