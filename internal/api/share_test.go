package api

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestShareScripts runs testdata/share_*.txt against the stage of data_test.go.
//
//	produce TOPIC PARTITION records=N size=N after=MS
//	set locks=N limit=N lock=MS committed=BOOL letters=BOOL reset=earliest|latest
//	fetch M EPOCH v=N wait=MS min=N max=N records=N batch=N mode=N renew=BOOL PARTITION... -PARTITION...
//	ack M EPOCH v=N renew=BOOL after=MS PARTITION...
//	marker PARTITION N end=abort seq=N   N records of a transaction, and its end
//	persister fails=CODE|lost=CODE|slow=MS
//	stored TOPIC-N
//	letters fails=TEXT slow=MS   what dead letters were sent; how it goes on
//	elect            this broker leads anew, with what is stored
//	close M          its connection ends
//	leave M after=MS its client closes while a request waits
//	trim TOPIC-N OFFSET
//	sleep DURATION
//
// M is a member; each has a connection of its own. A partition is TOPIC-N, then
// perhaps @FIRST-LAST=TYPES,... for each batch of acknowledgements.
func TestShareScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/share_*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShareStage(t)
				defer s.stop()
				script.Run(t, file, s.do)
			})
		})
	}
}

// shareStage is a stage whose topic "t" members of a share group read.
type shareStage struct {
	*stage
	stop    func()
	share   *share.Service
	store   *memState
	letters *outbox
	members map[string]*client

	mu    sync.Mutex
	set   share.Settings
	epoch int32 // this broker leads in
	moved bool  // another leads
	image *cluster.Image
}

func newShareStage(t *testing.T) *shareStage {
	s := &shareStage{stage: &stage{fs: vfs.NewMem(vfs.MemConfig{Now: time.Now})}, store: newMemState(), letters: &outbox{}, epoch: 1,
		set: share.DefaultSettings(), members: map[string]*client{}}
	s.set.Reset.Timestamp = kafka.EarliestTimestamp
	s.image = shareImage(t, 1)
	s.more = func(cfg *Config) {
		var err error
		s.share, err = share.New(share.Config{Persister: s.store, MaxSessions: 2, Now: time.Now, Letters: s.letters,
			Settings: func(string) share.Settings {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.set
			},
			Open: func(id kafka.UUID, p int32) (share.Log, error) {
				r, err := s.replicas.GetID(id, p)
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.moved {
					return nil, kafka.NotLeaderOrFollower
				}
				return stageLog{r, s.epoch}, err
			}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Data.Image = func() *cluster.Image {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.image
		}
		cfg.Share = &ShareHandlers{Share: s.share, Data: cfg.Data}
	}
	stop := s.start(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.share.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stop()
	}
	return s
}

// shareImage is a cluster with topic "t", in which share groups are served.
func shareImage(t *testing.T, leader int32) *cluster.Image {
	image := cluster.Empty("test-cluster-0000000000")
	d := cluster.NewDelta(image)
	recs := []state.Record{&state.FeatureLevelRecord{Name: shareFeature, FeatureLevel: 1}, &state.TopicRecord{Name: "t", TopicID: idOf("t")}}
	for p := range int32(2) {
		r := state.NewPartitionRecord()
		r.TopicID, r.PartitionID, r.Leader, r.Replicas, r.ISR = idOf("t"), p, leader, []int32{1, 2}, []int32{1, 2}
		recs = append(recs, &r)
	}
	for _, r := range recs {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Apply(1, 1)
}

func (s *shareStage) do(cmd *script.Cmd) string {
	switch cmd.Name {
	case "produce":
		return (&fetchScript{stage: s.stage}).produced(cmd)
	case "marker":
		return s.marker(cmd)
	case "set":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.set.Locks = int(cmd.IntKey("locks", int64(s.set.Locks)))
		s.set.Deliveries = int16(cmd.IntKey("limit", int64(s.set.Deliveries)))
		s.set.Lock = time.Duration(cmd.IntKey("lock", s.set.Lock.Milliseconds())) * time.Millisecond
		s.set.Committed = cmd.Key("committed", strconv.FormatBool(s.set.Committed)) == "true"
		s.set.Letters = cmd.Key("letters", strconv.FormatBool(s.set.Letters)) == "true"
		if cmd.Key("reset", "") == "latest" {
			s.set.Reset.Timestamp = kafka.LatestTimestamp
		}
		return ""
	case "fetch":
		return s.fetch(cmd)
	case "ack":
		return s.ack(cmd)
	case "persister":
		s.store.behave(time.Duration(cmd.IntKey("slow", 0))*time.Millisecond, codeNamed(cmd.Key("fails", "")), codeNamed(cmd.Key("lost", "")))
		return ""
	case "letters":
		return s.letters.show(time.Duration(cmd.IntKey("slow", 0))*time.Millisecond, cmd.Key("fails", ""))
	case "elect":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.epoch++
		return ""
	case "move": // to broker 2, or with an epoch to this one
		at := time.Duration(cmd.IntKey("after", 0)) * time.Millisecond
		time.AfterFunc(at, func() { s.move(cmd) })
		if at == 0 {
			synctest.Wait()
		}
		return ""
	case "stored":
		return s.store.show(cmd.Arg(0))
	case "leave":
		c := s.member(cmd.Arg(0))
		time.AfterFunc(time.Duration(cmd.IntKey("after", 0))*time.Millisecond, func() {
			c.call.Conn.Gone.Store(c.call.Conn.Parked.Load())
			c.call.Conn.Park.Wake()
		})
		return ""
	case "close":
		c := s.members[cmd.Arg(0)]
		delete(s.members, cmd.Arg(0))
		c.call.Conn.OnClose()
		synctest.Wait()
		return ""
	case "trim":
		s.trim(cmd)
		return ""
	case "sleep":
		d, err := time.ParseDuration(cmd.Arg(0))
		if err != nil {
			cmd.Fatalf("%v", err)
		}
		time.Sleep(d)
		synctest.Wait()
		return ""
	}
	cmd.Fatalf("unknown command")
	return ""
}

func (s *shareStage) trim(cmd *script.Cmd) {
	p := parsePlace(cmd, cmd.Arg(0))
	r, err := s.replicas.Get(p.topic, p.partition)
	if err == nil {
		_, err = r.DeleteRecords(cmd.Int(1))
	}
	if err != nil {
		cmd.Fatalf("%v", err)
	}
}

func (s *shareStage) move(cmd *script.Cmd) {
	s.mu.Lock()
	leader := int32(cmd.IntKey("to", 2))
	s.moved = leader != 1
	s.epoch++
	s.image = shareImage(s.t, leader)
	s.mu.Unlock()
	all := map[share.TopicPartition]bool{}
	for p := range int32(2) {
		all[share.TopicPartition{TopicID: idOf("t"), Partition: p}] = true
	}
	s.share.Moved(all)
}

// marker writes a transaction of producer 7: records, then its end.
func (s *shareStage) marker(cmd *script.Cmd) string {
	r, err := s.replicas.Get("t", int32(cmd.Int(0)))
	if err != nil {
		cmd.Fatalf("%v", err)
	}
	appendTxn(s.t, r, transactional(int(cmd.Int(1)), int32(cmd.IntKey("seq", 0))))
	end := record.Commit
	if cmd.Key("end", "") == "abort" {
		end = record.Abort
	}
	b := record.EndTxnMarker(record.Producer{ID: 7, Epoch: 1}, end, 0, time.Now().UnixMilli())
	appendMarker(s.t, r, b)
	synctest.Wait()
	return ""
}

func (s *shareStage) member(name string) *client {
	c := s.members[name]
	if c == nil {
		c = newClient(s.t, s.table)
		c.call.Conn.ID = uint64(name[0])
		s.members[name] = c
	}
	return c
}

// acksOf reads "t-0@0-2=1,1,2@4-4=3".
func acksOf(cmd *script.Cmd, s string) (p place, acks []ackBatch) {
	parts := strings.Split(s, "@")
	p = parsePlace(cmd, parts[0])
	for _, a := range parts[1:] {
		offsets, types, _ := strings.Cut(a, "=")
		first, last, _ := strings.Cut(offsets, "-")
		var b ackBatch
		var err error
		if b.FirstOffset, err = strconv.ParseInt(first, 10, 64); err != nil {
			cmd.Fatalf("%v", err)
		}
		if b.LastOffset, err = strconv.ParseInt(last, 10, 64); err != nil {
			cmd.Fatalf("%v", err)
		}
		for _, t := range strings.Split(types, ",") {
			n, err := strconv.ParseInt(t, 10, 8)
			if err != nil {
				cmd.Fatalf("%v", err)
			}
			b.AcknowledgeTypes = append(b.AcknowledgeTypes, int8(n))
		}
		acks = append(acks, b)
	}
	return p, acks
}

func (s *shareStage) fetch(cmd *script.Cmd) string {
	req := msg.NewShareFetchRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = new("g"), new(cmd.Arg(0)), int32(cmd.Int(1))
	req.MaxWaitMs, req.MinBytes = int32(cmd.IntKey("wait", 50)), int32(cmd.IntKey("min", 1))
	req.MaxBytes, req.MaxRecords = int32(cmd.IntKey("max", 1<<20)), int32(cmd.IntKey("records", 500))
	req.BatchSize, req.ShareAcquireMode = int32(cmd.IntKey("batch", 500)), int8(cmd.IntKey("mode", 0))
	if cmd.Key("renew", "") == "true" {
		req.IsRenewAck, req.MaxBytes, req.MinBytes, req.MaxRecords, req.MaxWaitMs = true, 0, 0, 0, 0
	}
	for _, a := range cmd.Args[2:] {
		if rest, ok := strings.CutPrefix(a, "-"); ok {
			p := parsePlace(cmd, rest)
			req.ForgottenTopicsData = append(req.ForgottenTopicsData, msg.ShareFetchRequestForgottenTopicsData{
				TopicID: idOf(p.topic), Partitions: []int32{p.partition}})
			continue
		}
		if strings.Contains(a, "=") && !strings.Contains(a, "@") {
			continue
		}
		p, acks := acksOf(cmd, a)
		req.Topics = append(req.Topics, msg.ShareFetchRequestTopic{TopicID: idOf(p.topic), Partitions: []msg.ShareFetchRequestTopicPartition{
			{PartitionIndex: p.partition, AcknowledgementBatches: acks}}})
	}
	resp := msg.NewShareFetchResponse()
	start := time.Now()
	s.member(cmd.Arg(0)).ask(int16(cmd.IntKey("v", 2)), &req, &resp)
	took := time.Since(start)
	synctest.Wait()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, lock %d, after %v\n", kafka.Code(resp.ErrorCode).Name(), resp.AcquisitionLockTimeoutMs, took)
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d%s", topicNamed(t.TopicID), p.PartitionIndex, failed(p.ErrorCode, p.ErrorMessage))
			if p.AcknowledgeErrorCode != 0 {
				fmt.Fprintf(&b, " ack%s", failed(p.AcknowledgeErrorCode, nil))
			}
			for _, r := range p.AcquiredRecords {
				fmt.Fprintf(&b, " %d-%d(%d)", r.FirstOffset, r.LastOffset, r.DeliveryCount)
			}
			b.WriteString(batchesIn(s.t, p.Records) + "\n")
		}
	}
	return b.String()
}

// batchesIn lists the first and last offsets of the batches in an answer.
func batchesIn(t *testing.T, records []byte) string {
	var b strings.Builder
	for len(records) > 0 {
		h, err := record.ParseHeader(records)
		if err != nil || h.Size() > len(records) {
			t.Fatalf("an answer has a broken batch: %v", err)
		}
		fmt.Fprintf(&b, " [%d-%d]", h.BaseOffset, h.LastOffset())
		records = records[h.Size():]
	}
	return b.String()
}

func failed(code int16, why *string) string {
	if code == 0 {
		return ""
	}
	return " " + kafka.Code(code).Name()
}

func topicNamed(id kafka.UUID) string { return strings.Trim(string(id[:1]), "\x00") }

func (s *shareStage) ack(cmd *script.Cmd) string {
	req := msg.NewShareAcknowledgeRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = new("g"), new(cmd.Arg(0)), int32(cmd.Int(1))
	req.IsRenewAck = cmd.Key("renew", "") == "true"
	for _, a := range cmd.Args[2:] {
		if strings.Contains(a, "=") && !strings.Contains(a, "@") {
			continue
		}
		p, acks := acksOf(cmd, a)
		row := msg.ShareAcknowledgeRequestTopicPartition{PartitionIndex: p.partition}
		for _, x := range acks {
			row.AcknowledgementBatches = append(row.AcknowledgementBatches, msg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(x))
		}
		req.Topics = append(req.Topics, msg.ShareAcknowledgeRequestTopic{TopicID: idOf(p.topic), Partitions: []msg.ShareAcknowledgeRequestTopicPartition{row}})
	}
	if ms := cmd.IntKey("after", 0); ms > 0 {
		c := s.member(cmd.Arg(0))
		time.AfterFunc(time.Duration(ms)*time.Millisecond, func() { c.send(kafka.KeyShareAcknowledge, 2, req.Append(nil, 2)) })
		return ""
	}
	resp := msg.NewShareAcknowledgeResponse()
	start := time.Now()
	s.member(cmd.Arg(0)).ask(int16(cmd.IntKey("v", 2)), &req, &resp)
	took := time.Since(start)
	synctest.Wait()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, lock %d, after %v\n", kafka.Code(resp.ErrorCode).Name(), resp.AcquisitionLockTimeoutMs, took)
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d%s\n", topicNamed(t.TopicID), p.PartitionIndex, failed(p.ErrorCode, p.ErrorMessage))
		}
	}
	return b.String()
}
