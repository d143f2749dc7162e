package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/script"
)

// TestGroupScripts runs the commands over groups of every kind against a broker
// in this process. Members do what the script says and nothing by themselves, so
// a script can stop between two steps of a rebalance. Commands of the scripts:
//
//	myelin ARGUMENTS...                  the command: what it prints, and its exit code
//	file NAME                            writes its input into a file; NAME in arguments becomes its path
//	consumer GROUP MEMBER TOPIC...       a heartbeat of a consumer group's member; it owns what it was given
//	classic GROUP CLIENT TOPIC...        a member of the classic protocol that joins and stays
//	share GROUP MEMBER TOPIC...          a heartbeat of a share group's member
//	streams GROUP MEMBER TOPIC...        a heartbeat of a streams group's member, whose topology reads the topics
//	settle MEMBER                        beats until the streams group has made its topics and given the member tasks
//	leave MEMBER                         the member goes
//	commit GROUP TOPIC PARTITION OFFSET [MEMBER]
//	begin ID TOPIC PARTITION COUNT       opens a transaction and writes
//	end ID                               commits it
func TestGroupScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/group/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			args := []string{"--ephemeral"}
			for _, p := range []string{"group.initial.rebalance.delay.ms", "group.streams.initial.rebalance.delay.ms", "group.consumer.assignment.interval.ms",
				"group.share.assignment.interval.ms", "group.streams.assignment.interval.ms"} {
				args = append(args, "--set", p+"=0") // what a heartbeat changes is there when it is answered
			}
			address, _ := startDev(t, args...)
			s := &groupStand{t: t, dir: t.TempDir(), address: address, members: map[string]*standMember{}, txns: map[string]*kgo.Client{}, clients: map[string]*kgo.Client{}}
			s.cl = s.client(kgo.ClientID("stand"))
			s.must(kadm.NewClient(s.cl).FindGroupCoordinators(t.Context(), "any").Error()) // that makes the topic
			script.Run(t, file, s.do)
		})
	}
}

// groupStand is the broker of one script and its members.
type groupStand struct {
	t       *testing.T
	dir     string
	address string
	cl      *kgo.Client
	members map[string]*standMember
	clients map[string]*kgo.Client // of classic members, by client id
	txns    map[string]*kgo.Client
}

// standMember is a member as the script last let it beat.
type standMember struct {
	kind, group string
	epoch       int32
	topics      []string
	owns        []kmsg.ConsumerGroupHeartbeatRequestTopic
	active      []kmsg.TaskIDs
}

func (s *groupStand) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.address))...)
	s.must(err)
	s.t.Cleanup(cl.Close)
	return cl
}

func (s *groupStand) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *groupStand) do(c *script.Cmd) string {
	switch c.Name {
	case "myelin":
		return s.myelin(c)
	case "file":
		s.must(os.WriteFile(filepath.Join(s.dir, c.Arg(0)), []byte(strings.Join(c.Input, "\n")+"\n"), 0o644))
		return ""
	case "consumer", "share", "streams":
		m := s.members[c.Arg(1)]
		if m == nil {
			m = &standMember{kind: c.Name, group: c.Arg(0)}
			s.members[c.Arg(1)] = m
		}
		if len(c.Args) > 2 {
			m.topics = c.Args[2:]
		}
		return s.beat(c.Arg(1), m)
	case "settle":
		return s.settle(c.Arg(0))
	case "classic":
		return s.joinClassic(c)
	case "leave":
		if cl, ok := s.clients[c.Arg(0)]; ok {
			cl.Close()
			delete(s.clients, c.Arg(0))
			return ""
		}
		m := s.members[c.Arg(0)]
		delete(s.members, c.Arg(0))
		m.epoch = -1
		return s.beat(c.Arg(0), m)
	case "commit":
		return s.commit(c)
	case "begin", "end":
		return s.txn(c)
	}
	c.Fatalf("no such command")
	return ""
}

var groupMasks = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`\b(\d+[dhm])?\d+[hms]\b`), "SPAN"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`-[0-9a-f]{8}-[0-9a-f-]{27}`), "-ID"},
	{regexp.MustCompile(`producer \d+`), "producer N"},
	{regexp.MustCompile(`"timestamp":\d+`), `"timestamp":N`},
}

func (s *groupStand) myelin(c *script.Cmd) string {
	args := make([]string, len(c.Args))
	for i, arg := range c.Args {
		args[i] = strings.ReplaceAll(arg, "FILE", s.dir+"/FILE")
	}
	var out, errs bytes.Buffer
	input := strings.Join(c.Input, "\n")
	if len(c.Input) > 0 {
		input += "\n"
	}
	code := Run(s.t.Context(), Process{Args: args, In: strings.NewReader(input), Out: &out, Err: &errs, Env: []string{"MYELIN_BROKERS=" + s.address}})
	text := strings.ReplaceAll(out.String()+errs.String(), s.dir+"/", "")
	for _, m := range groupMasks {
		text = m.find.ReplaceAllString(text, m.put)
	}
	if code != 0 {
		text += fmt.Sprintf("exit %d\n", code)
	}
	return text
}

// beat sends one heartbeat and takes what the answer gives.
func (s *groupStand) beat(name string, m *standMember) string {
	switch m.kind {
	case "consumer":
		return s.beatConsumer(name, m)
	case "share":
		return s.beatShare(name, m)
	}
	return s.beatStreams(name, m)
}

func (s *groupStand) beatConsumer(name string, m *standMember) string {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.Topics = m.group, name, m.epoch, m.owns
	if req.Topics == nil {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if m.epoch >= 0 {
		req.SubscribedTopicNames, req.RebalanceTimeoutMillis = m.topics, 300_000
	}
	resp := ask(s, req.RequestWith, func(r *kmsg.ConsumerGroupHeartbeatResponse) int16 { return r.ErrorCode })
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err.Error()
	}
	if m.epoch = resp.MemberEpoch; resp.Assignment != nil {
		m.owns = nil
		for _, t := range resp.Assignment.Topics {
			m.owns = append(m.owns, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
	return fmt.Sprintf("epoch %d", m.epoch)
}

func (s *groupStand) beatShare(name string, m *standMember) string {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = m.group, name, m.epoch
	if m.epoch >= 0 {
		req.SubscribedTopicNames = m.topics
	}
	resp := ask(s, req.RequestWith, func(r *kmsg.ShareGroupHeartbeatResponse) int16 { return r.ErrorCode })
	m.epoch = resp.MemberEpoch
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("epoch %d", m.epoch)
}

func (s *groupStand) beatStreams(name string, m *standMember) string {
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = m.group, name, m.epoch, -1
	process := "process-of-" + name
	if m.epoch == 0 {
		sub := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
		sub.SubtopologyID, sub.SourceTopics = "0", m.topics
		changelog := kmsg.NewTopicInfo()
		changelog.Topic = m.group + "-counts-changelog"
		sub.StateChangelogTopics = append(sub.StateChangelogTopics, changelog)
		req.Topology = &kmsg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{sub}}
		req.RebalanceTimeoutMillis, req.ProcessID = 300_000, &process
	}
	if m.epoch >= 0 {
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = append([]kmsg.TaskIDs{}, m.active...), []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	}
	resp := ask(s, req.RequestWith, func(r *kmsg.StreamsGroupHeartbeatResponse) int16 { return r.ErrorCode })
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err.Error()
	}
	if m.epoch = resp.MemberEpoch; resp.ActiveTasks != nil {
		m.active = resp.ActiveTasks
	}
	return fmt.Sprintf("epoch %d", m.epoch)
}

func (s *groupStand) settle(name string) string {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	m := s.members[name]
	for tries := 0; len(m.active) == 0; tries++ {
		if s.beatStreams(name, m); tries == 4000 {
			s.t.Fatalf("%s was given no tasks", name)
		}
		<-tick.C
	}
	return fmt.Sprintf("epoch %d", m.epoch)
}

// ask sends a request to the only broker, again while its coordinator loads.
func ask[R any](s *groupStand, send func(context.Context, kmsg.Requestor) (R, error), code func(R) int16) R {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		resp, err := send(s.t.Context(), s.cl.SeedBrokers()[0])
		s.must(err)
		if !isAny(kerr.ErrorForCode(code(resp)), kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator) || tries == 4000 {
			return resp
		}
		<-tick.C
	}
}

// joinClassic starts a consumer and waits until it has its partitions.
func (s *groupStand) joinClassic(c *script.Cmd) string {
	has := make(chan struct{}, 100)
	s.clients[c.Arg(1)] = s.client(kgo.ConsumerGroup(c.Arg(0)), kgo.ClientID(c.Arg(1)), kgo.ConsumeTopics(c.Args[2:]...), kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.RangeBalancer()), kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { has <- struct{}{} }))
	s.wait(has)
	return ""
}

func (s *groupStand) wait(has <-chan struct{}) {
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	select {
	case <-has:
	case <-limit.C:
		s.t.Fatal("the member was given nothing for 30 s")
	}
}

func (s *groupStand) commit(c *script.Cmd) string {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = c.Arg(0), -1
	if len(c.Args) > 4 {
		req.MemberID, req.Generation = c.Arg(4), s.members[c.Arg(4)].epoch
	}
	topic, part := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	details, err := kadm.NewClient(s.cl).ListTopics(s.t.Context(), c.Arg(1))
	s.must(err)
	topic.Topic, topic.TopicID = c.Arg(1), details[c.Arg(1)].ID
	part.Partition, part.Offset = int32(c.Int(2)), c.Int(3)
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(s.t.Context(), s.cl)
	s.must(err)
	if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
		return err.Error()
	}
	return ""
}

func (s *groupStand) txn(c *script.Cmd) string {
	if c.Name == "end" {
		s.must(s.txns[c.Arg(0)].EndTransaction(s.t.Context(), kgo.TryCommit))
		return ""
	}
	cl := s.client(kgo.TransactionalID(c.Arg(0)), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.txns[c.Arg(0)] = cl
	s.must(cl.BeginTransaction())
	for range c.Int(3) {
		s.must(cl.ProduceSync(s.t.Context(), &kgo.Record{Topic: c.Arg(1), Partition: int32(c.Int(2)), Value: []byte("v")}).FirstErr())
	}
	return ""
}
