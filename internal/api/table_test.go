package api

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// served are the keys that this broker serves. A key that comes to be served
// is added here and gets a row.
var served = []int16{
	kafka.KeyProduce, kafka.KeyFetch, kafka.KeyListOffsets, kafka.KeyAPIVersions, kafka.KeyOffsetForLeaderEpoch,
	kafka.KeySASLHandshake, kafka.KeySASLAuthenticate,
	// groups
	kafka.KeyOffsetCommit, kafka.KeyOffsetFetch, kafka.KeyFindCoordinator, kafka.KeyJoinGroup, kafka.KeyHeartbeat,
	kafka.KeyLeaveGroup, kafka.KeySyncGroup, kafka.KeyDescribeGroups, kafka.KeyListGroups, kafka.KeyDeleteGroups,
	kafka.KeyOffsetDelete, kafka.KeyTxnOffsetCommit, kafka.KeyConsumerGroupHeartbeat, kafka.KeyConsumerGroupDescribe,
	kafka.KeyStreamsGroupHeartbeat, kafka.KeyStreamsGroupDescribe, kafka.KeyStreamsGroupTopologyDescriptionUpdate,
	// transactions
	kafka.KeyInitProducerID, kafka.KeyAddPartitionsToTxn, kafka.KeyAddOffsetsToTxn, kafka.KeyEndTxn, kafka.KeyWriteTxnMarkers,
	kafka.KeyDescribeTransactions, kafka.KeyListTransactions,
	kafka.KeyShareGroupHeartbeat, kafka.KeyShareGroupDescribe, kafka.KeyDescribeShareGroupOffsets, kafka.KeyAlterShareGroupOffsets,
	kafka.KeyDeleteShareGroupOffsets,
	// share partitions
	kafka.KeyInitializeShareGroupState, kafka.KeyReadShareGroupState, kafka.KeyWriteShareGroupState, kafka.KeyDeleteShareGroupState,
	kafka.KeyReadShareGroupStateSummary,
	// admin and cluster
	kafka.KeyMetadata, kafka.KeyCreateTopics, kafka.KeyDeleteTopics, kafka.KeyDeleteRecords,
	kafka.KeyAlterReplicaLogDirs, kafka.KeyAssignReplicasToDirs, kafka.KeyAlterPartitionReassignments, kafka.KeyListPartitionReassignments,
	kafka.KeyRaftMessages, kafka.KeyRaftSnapshot, kafka.KeyControllerAsk, kafka.KeyJoinQuorum,
	kafka.KeyElectLeaders, kafka.KeyUnregisterBroker,
	kafka.KeyAddRaftVoter, kafka.KeyRemoveRaftVoter, kafka.KeyUpdateRaftVoter,
	kafka.KeyDescribeConfigs, kafka.KeyAlterConfigs, kafka.KeyDescribeLogDirs, kafka.KeyCreatePartitions,
	kafka.KeyIncrementalAlterConfigs, kafka.KeyDescribeQuorum, kafka.KeyDescribeCluster, kafka.KeyDescribeProducers,
	kafka.KeyUpdateFeatures, kafka.KeyAllocateProducerIDs, kafka.KeyListConfigResources, kafka.KeyDescribeTopicPartitions,
	kafka.KeyDescribeClientQuotas, kafka.KeyDescribeUserScramCredentials, kafka.KeyAlterUserScramCredentials,
}

func testConfig() Config {
	image := cluster.Empty("test-cluster-0000000000")
	return Config{
		Data: &DataHandlers{}, Groups: &GroupHandlers{}, Txns: &TxnHandlers{}, Admin: &AdminHandlers{}, Cluster: &ClusterHandlers{},
		Shares: &ShareStateHandlers{},
		Self: Self{NodeID: 1, Image: func() *cluster.Image { return image }, Supported: []cluster.FeatureRange{
			{Name: "group.version", Min: 0, Max: 1}, {Name: "metadata.version", Min: 7, Max: 33}}},
		Authorizer: auth.AllowAll{},
		Quotas:     quota.Unlimited{},
		Metrics:    metrics.NewRequests(),
		Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now:        time.Now,
	}
}

func testTable(t *testing.T, cfg Config) *Table {
	t.Helper()
	table, err := NewTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// client sends requests straight into a Table, without a connection.
type client struct {
	t     *testing.T
	table *Table
	call  *Call
	out   Reply
	next  int32
}

func newClient(t *testing.T, table *Table) *client {
	conn := &Conn{ID: 1, Listener: "PLAINTEXT", Peer: "/127.0.0.1", Local: "127.0.0.1:9092",
		Subject: auth.Subject{Principal: auth.Anonymous, Host: "127.0.0.1"}}
	conn.Park.Init()
	return &client{t: t, table: table, call: NewCall(context.Background(), conn, nil)}
}

// send returns the frame of the answer without its size, nil if there is none.
func (c *client) send(key, version int16, body []byte) []byte {
	c.t.Helper()
	c.next++
	id := "test"
	h := msg.RequestHeader{APIKey: key, APIVersion: version, CorrelationID: c.next, ClientID: &id}
	frame := append(h.Append(nil, msg.RequestHeaderVersion(key, version)), body...)
	if err := c.table.Admit(c.call, frame); err != nil {
		c.out.Close = true
		return nil
	}
	c.out = Reply{}
	c.call.Time = time.Now()
	c.table.Serve(c.call, &c.out)
	if len(c.out.Buf) == 0 {
		return nil
	}
	if s := c.out.Later; s != nil {
		return c.await(s)
	}
	if n := int(binary.BigEndian.Uint32(c.out.Buf)); n != c.out.Size()-4 {
		c.t.Fatalf("frame says %d bytes, has %d", n, c.out.Size()-4)
	}
	return c.out.Buf[4:]
}

// await waits for an answer that comes later, as the writer of a connection does.
func (c *client) await(s *Slot) []byte {
	settled := settledSlot(make(chan struct{}, 1))
	s.Owner = settled
	s.Keep(c.out.Frame())
	s.Release()
	timer := time.AfterFunc(time.Until(s.Deadline), func() { settled.SlotSettled(s) })
	<-settled
	timer.Stop()
	frame := append([]byte(nil), s.Finish()...)
	s.Free()
	return frame[4:]
}

type settledSlot chan struct{}

func (s settledSlot) SlotSettled(*Slot) {
	select {
	case s <- struct{}{}:
	default:
	}
}

// ask sends req and decodes the answer into resp.
func (c *client) ask(version int16, req msg.Request, resp msg.Response) {
	c.t.Helper()
	frame := c.send(req.Key(), version, req.Append(nil, version))
	if frame == nil {
		c.t.Fatalf("%s v%d: no answer", kafka.KeyName(req.Key()), version)
	}
	r := wire.NewReader(frame)
	var h msg.ResponseHeader
	h.Decode(r, msg.ResponseHeaderVersion(req.Key(), version))
	resp.Decode(r, version)
	if err := r.Done(); err != nil {
		c.t.Fatalf("%s v%d: %v", kafka.KeyName(req.Key()), version, err)
	}
	if h.CorrelationID != c.next {
		c.t.Fatalf("%s v%d: correlation id %d, want %d", kafka.KeyName(req.Key()), version, h.CorrelationID, c.next)
	}
}

func TestEveryServedKeyHasARow(t *testing.T) {
	table := testTable(t, testConfig())
	rows := map[int16]*Row{}
	for _, r := range table.Rows() {
		rows[r.Key] = r
		a, ok := msg.APIByKey(r.Key)
		if !ok || a.Name != r.Name {
			t.Errorf("row %d is called %q, the protocol says %q", r.Key, r.Name, a.Name)
		}
		if r.Served.Min < a.Min || r.Served.Max > a.Max {
			t.Errorf("%s serves %v, the codec has %d-%d", r.Name, r.Served, a.Min, a.Max)
		}
		if r.Advertised.Max > r.Served.Max {
			t.Errorf("%s tells %v, but serves %v", r.Name, r.Advertised, r.Served)
		}
	}
	for _, key := range served {
		if rows[key] == nil {
			t.Errorf("%s is served, but has no row", kafka.KeyName(key))
		}
		delete(rows, key)
	}
	for key := range rows {
		t.Errorf("%s has a row, but is not in the list of served keys", kafka.KeyName(key))
	}
}

func TestAdmitRefuses(t *testing.T) {
	table := testTable(t, testConfig())
	c := newClient(t, table)
	for name, f := range map[string][]byte{
		"empty":          {},
		"short":          {0, 18, 0},
		"unknown key":    {0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"negative key":   {0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"removed key":    {0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"no client id":   {0, 18, 0, 0, 0, 0, 0, 1},
		"long client id": {0, 18, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 1},
		"no tags":        {0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff},
	} {
		if err := table.Admit(c.call, f); err == nil {
			t.Errorf("%s: admitted", name)
		}
	}
	c.call.Conn.Pending = true
	if err := table.Admit(c.call, []byte{0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}); err != nil {
		t.Errorf("ApiVersions before authentication: %v", err)
	}
}

func TestUndecodableBodyCloses(t *testing.T) {
	c := newClient(t, testTable(t, testConfig()))
	if c.send(kafka.KeyAPIVersions, 3, []byte{0xff, 0xff}) != nil || !c.out.Close {
		t.Errorf("want no answer and a close")
	}
}

func TestAPIVersions(t *testing.T) {
	c := newClient(t, testTable(t, testConfig()))
	ask := func(version int16, change func(*msg.APIVersionsRequest)) msg.APIVersionsResponse {
		t.Helper()
		req, resp := msg.NewAPIVersionsRequest(), msg.NewAPIVersionsResponse()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test-client", "1.0"
		if change != nil {
			change(&req)
		}
		c.ask(version, &req, &resp)
		return resp
	}
	for v := int16(0); v <= 5; v++ {
		resp := ask(v, nil)
		if resp.ErrorCode != 0 || len(resp.APIKeys) == 0 {
			t.Errorf("v%d: %+v", v, resp)
		}
		if want := map[bool]int{false: 0, true: 1}[v >= 3] + map[bool]int{false: 0, true: 1}[v >= 4]; len(resp.SupportedFeatures) != want {
			t.Errorf("v%d: %d supported features, want %d", v, len(resp.SupportedFeatures), want)
		}
	}
	if c.call.Conn.SoftwareName != "test-client" {
		t.Errorf("software name %q", c.call.Conn.SoftwareName)
	}
	for _, name := range []string{"", "-x", "x-", "a b", "ü"} {
		if got := ask(3, func(r *msg.APIVersionsRequest) { r.ClientSoftwareName = name }); got.ErrorCode != int16(kafka.InvalidRequest) || len(got.APIKeys) != 0 {
			t.Errorf("name %q: %+v", name, got)
		}
	}
	right, wrong, empty := "test-cluster-0000000000", "wrong", ""
	for _, id := range []struct {
		cluster *string
		node    int32
		want    kafka.Code
	}{
		{nil, -1, kafka.None}, {&right, 1, kafka.None}, {&wrong, 1, kafka.RebootstrapRequired},
		{&right, 2, kafka.RebootstrapRequired}, {&empty, 1, kafka.RebootstrapRequired},
		{&right, -1, kafka.InvalidRequest}, {nil, 1, kafka.InvalidRequest},
	} {
		if got := ask(5, func(r *msg.APIVersionsRequest) { r.ClusterID, r.NodeID = id.cluster, id.node }); got.ErrorCode != int16(id.want) {
			t.Errorf("identity %v: code %d", id, got.ErrorCode)
		}
	}
}

// TestAPIVersionsToCome pins what a broker answers to a newer client: version 0
// and its own range, so that the client can try again.
func TestAPIVersionsToCome(t *testing.T) {
	c := newClient(t, testTable(t, testConfig()))
	got := c.send(kafka.KeyAPIVersions, 9, []byte{6, 'p', 'r', 'o', 'b', 'e', 2, '1', 0})
	want := []byte{0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5}
	if string(got) != string(want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// What nodes send to each other is unknown on a listener of clients, and is not
// told of on any.
func TestPrivateKeys(t *testing.T) {
	table := testTable(t, testConfig())
	req := msg.NewRaftMessagesRequest()
	h := msg.RequestHeader{APIKey: req.Key(), ClientID: new("other")}
	frame := req.Append(h.Append(nil, 2), 0)
	for _, internal := range []bool{false, true} {
		c := newClient(t, table)
		c.call.Conn.Internal = internal
		err := table.Admit(c.call, frame)
		if known := err == nil; known != internal {
			t.Errorf("on a listener of the cluster's own: %t: %v", internal, err)
		}
	}
	for _, r := range table.Rows() {
		if r.Private() && !r.Hidden {
			t.Errorf("%s would be told by ApiVersions", r.Name)
		}
	}
}
