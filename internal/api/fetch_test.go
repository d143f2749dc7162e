package api

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestFetchScripts runs testdata/fetch_*.txt against the stage of data_test.go.
//
//	produce TOPIC PARTITION records=N size=N acks=N after=MS
//	fetch v=N s=NAME epoch=N wait=MS min=N max=N iso=N replica=N PARTITION... -PARTITION...
//	list v=N iso=N TOPIC-N@TIMESTAMP[/EPOCH]...
//	epoch v=N TOPIC-N@EPOCH[/CURRENT]...
//	sleep DURATION
//
// A partition of fetch is TOPIC-N@OFFSET, then perhaps :MAXBYTES and /EPOCH; with
// a minus in front it is forgotten. A session has a name in scripts, since its
// id is drawn; "s=new" begins one and names it by the letters in order.
func TestFetchScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/fetch_*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				f := &fetchScript{stage: s, sessions: map[string]int32{"none": 0}}
				script.Run(t, file, f.do)
			})
		})
	}
}

type fetchScript struct {
	*stage
	sessions map[string]int32
}

func (f *fetchScript) do(cmd *script.Cmd) string {
	switch cmd.Name {
	case "produce":
		return f.produced(cmd)
	case "fetch":
		return f.fetch(cmd)
	case "list":
		return f.list(cmd)
	case "epoch":
		return f.epoch(cmd)
	case "sleep":
		d, err := time.ParseDuration(cmd.Arg(0))
		if err != nil {
			cmd.Fatalf("%v", err)
		}
		time.Sleep(d)
		return ""
	}
	cmd.Fatalf("unknown command")
	return ""
}

func (f *fetchScript) produced(cmd *script.Cmd) string {
	req := produceTo(int16(cmd.IntKey("acks", 1)), cmd.Arg(0), int32(cmd.Int(1)))
	req.TopicData[0].PartitionData[0].Records = batch(int(cmd.IntKey("records", 1)), int(cmd.IntKey("size", 10)))
	if ms := cmd.IntKey("after", 0); ms > 0 {
		other := newClient(f.t, f.table)
		time.AfterFunc(time.Duration(ms)*time.Millisecond, func() {
			other.send(kafka.KeyProduce, 9, req.Append(nil, 9))
		})
		return ""
	}
	return f.produce(9, req)
}

// place is a partition as the script writes it.
type place struct {
	topic     string
	partition int32
	at        int64
	max       int64
	epoch     int64
}

func parsePlace(cmd *script.Cmd, s string) (p place) {
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			cmd.Fatalf("%q: %v", s, err)
		}
		return n
	}
	p.max, p.epoch = 1<<20, -1
	s, epoch, ok := strings.Cut(s, "/")
	if ok {
		p.epoch = number(epoch)
	}
	s, limit, ok := strings.Cut(s, ":")
	if ok {
		p.max = number(limit)
	}
	s, at, ok := strings.Cut(s, "@")
	if ok {
		p.at = number(at)
	}
	topic, partition, _ := strings.Cut(s, "-")
	p.topic, p.partition = topic, int32(number(partition))
	return p
}

func (f *fetchScript) fetch(cmd *script.Cmd) string {
	version := int16(cmd.IntKey("v", 12))
	req := msg.NewFetchRequest()
	req.MaxWaitMs, req.MinBytes = int32(cmd.IntKey("wait", 50)), int32(cmd.IntKey("min", 1))
	req.MaxBytes, req.IsolationLevel = int32(cmd.IntKey("max", 1<<20)), int8(cmd.IntKey("iso", 0))
	req.ReplicaID = int32(cmd.IntKey("replica", -1))
	name := cmd.Key("s", "none")
	if name != "none" {
		req.SessionEpoch = int32(cmd.IntKey("epoch", 0))
		req.SessionID = f.sessions[name]
	}
	for _, a := range cmd.Args {
		if strings.Contains(a, "=") {
			continue
		}
		if rest, ok := strings.CutPrefix(a, "-"); ok {
			p := parsePlace(cmd, rest)
			req.ForgottenTopicsData = append(req.ForgottenTopicsData, msg.FetchRequestForgottenTopicsData{
				Topic: p.topic, TopicID: idOf(p.topic), Partitions: []int32{p.partition}})
			continue
		}
		p := parsePlace(cmd, a)
		q := msg.NewFetchRequestTopicPartition()
		q.Partition, q.FetchOffset, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p.partition, p.at, int32(p.max), int32(p.epoch)
		req.Topics = append(req.Topics, msg.FetchRequestTopic{Topic: p.topic, TopicID: idOf(p.topic),
			Partitions: []msg.FetchRequestTopicPartition{q}})
	}
	resp := msg.NewFetchResponse()
	start := time.Now()
	f.ask(version, &req, &resp)
	return f.show(&resp, time.Since(start))
}

func (f *fetchScript) show(resp *msg.FetchResponse, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, session %s, after %v\n", kafka.Code(resp.ErrorCode).Name(), f.name(resp.SessionID), took)
	for _, t := range resp.Responses {
		name := t.Topic
		if name == "" {
			name = "id:" + strings.Trim(string(t.TopicID[:1]), "\x00")
		}
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d", name, p.PartitionIndex)
			if p.ErrorCode != 0 {
				fmt.Fprintf(&b, " %s", kafka.Code(p.ErrorCode).Name())
			}
			fmt.Fprintf(&b, " hw=%d lso=%d start=%d", p.HighWatermark, p.LastStableOffset, p.LogStartOffset)
			switch {
			case p.AbortedTransactions == nil:
				b.WriteString(" aborted=null")
			default:
				fmt.Fprintf(&b, " aborted=%d", len(p.AbortedTransactions))
			}
			if p.Records == nil {
				b.WriteString(" records=null")
			} else {
				fmt.Fprintf(&b, " bytes=%d", len(p.Records))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func (f *fetchScript) name(id int32) string {
	for name, n := range f.sessions {
		if n == id {
			return name
		}
	}
	name := string(rune('A' + len(f.sessions) - 1))
	f.sessions[name] = id
	return name
}

func (f *fetchScript) list(cmd *script.Cmd) string {
	req, resp := msg.NewListOffsetsRequest(), msg.NewListOffsetsResponse()
	req.ReplicaID, req.IsolationLevel = int32(cmd.IntKey("replica", -1)), int8(cmd.IntKey("iso", 0))
	for _, a := range cmd.Args {
		if strings.Contains(a, "=") {
			continue
		}
		p := parsePlace(cmd, a)
		q := msg.NewListOffsetsRequestTopicPartition()
		q.PartitionIndex, q.Timestamp, q.CurrentLeaderEpoch = p.partition, p.at, int32(p.epoch)
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Name == p.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, q)
			continue
		}
		req.Topics = append(req.Topics, msg.ListOffsetsRequestTopic{Name: p.topic, Partitions: []msg.ListOffsetsRequestTopicPartition{q}})
	}
	f.ask(int16(cmd.IntKey("v", 11)), &req, &resp)
	var b strings.Builder
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d %s offset=%d timed=%v epoch=%d\n", t.Name, p.PartitionIndex, kafka.Code(p.ErrorCode).Name(),
				p.Offset, p.Timestamp > 0, p.LeaderEpoch)
		}
	}
	return b.String()
}

func (f *fetchScript) epoch(cmd *script.Cmd) string {
	req, resp := msg.NewOffsetForLeaderEpochRequest(), msg.NewOffsetForLeaderEpochResponse()
	for _, a := range cmd.Args {
		if strings.Contains(a, "=") {
			continue
		}
		p := parsePlace(cmd, a)
		q := msg.NewOffsetForLeaderEpochRequestTopicPartition()
		q.Partition, q.LeaderEpoch, q.CurrentLeaderEpoch = p.partition, int32(p.at), int32(p.epoch)
		req.Topics = append(req.Topics, msg.OffsetForLeaderEpochRequestTopic{Topic: p.topic,
			Partitions: []msg.OffsetForLeaderEpochRequestTopicPartition{q}})
	}
	f.ask(int16(cmd.IntKey("v", 4)), &req, &resp)
	var b strings.Builder
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d %s epoch=%d end=%d\n", t.Topic, p.Partition, kafka.Code(p.ErrorCode).Name(), p.LeaderEpoch, p.EndOffset)
		}
	}
	return b.String()
}

// TestFetchParkedHoldsNothing pins that a Fetch that waits gave its frame back,
// is woken by the record it waits for, and by the end of the broker.
func TestFetchParkedHoldsNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		freed := false
		s.call.free = func() { freed = true }
		req, resp := msg.NewFetchRequest(), msg.NewFetchResponse()
		req.MaxWaitMs, req.MinBytes = 1<<30, 1
		q := msg.NewFetchRequestTopicPartition()
		q.PartitionMaxBytes = 1 << 20
		req.Topics = []msg.FetchRequestTopic{{Topic: "t", Partitions: []msg.FetchRequestTopicPartition{q}}}
		done := make(chan struct{})
		go func() { s.ask(12, &req, &resp); close(done) }()
		synctest.Wait()
		if !freed {
			t.Error("the frame was not given back")
		}
		r, err := s.replicas.Get("t", 0)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, r, batch(1, 10))
		<-done
		if n := len(resp.Responses[0].Partitions[0].Records); n == 0 {
			t.Error("woken without records")
		}
	})
}

func appendTo(t *testing.T, r *replica.Replica, b []byte) {
	t.Helper()
	h, err := record.CheckClient(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(replica.Batch{Bytes: b, Header: h, Epoch: kafka.NoEpoch}); err != nil {
		t.Fatal(err)
	}
}
