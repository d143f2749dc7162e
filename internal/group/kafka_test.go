package group

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

func TestKafka(t *testing.T) { ask(t, "testdata/kafka/*.txt", nil) }

// TestKafkaLimits is TestKafka with settings that are not so usual.
func TestKafkaLimits(t *testing.T) {
	ask(t, "testdata/kafka-limits/*.txt", func(c *Config) {
		c.Limits.InitialDelay, c.Limits.MaxSize = 3*time.Second, 2
	})
}

// ask asks the service what was asked of an Apache Kafka 4.4, and wants
// its answers. They are recorded by
//
//	MYELIN_PEER=127.0.0.1:9092 go test ./internal/group -run TestKafka -update
//
// against a broker with group.initial.rebalance.delay.ms=0 and a topic t of
// four partitions. Member ids show as M1, M2, ... in the order of their coming.
func ask(t *testing.T, scripts string, adjust func(*Config)) {
	files, err := filepath.Glob(scripts)
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			if addr := os.Getenv("MYELIN_PEER"); addr != "" {
				p := &remote{t: t, addr: addr, prefix: "x" + strconv.FormatInt(time.Now().UnixNano(), 36) + "-"}
				p.ready()
				d := newDialogue(p)
				script.Run(t, f, d.do)
				return
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				log := slicelog.New(1)
				s, wait := open(ctx, t, log, adjust)
				s.Elect(0, 1)
				synctest.Wait()
				d := newDialogue(&local{t: t, s: s, log: log, ctx: ctx})
				script.Run(t, f, d.do)
				cancel()
				wait()
				synctest.Wait()
			})
		})
	}
}

// dialogue runs the commands of a script against a peer.
type dialogue struct {
	p     peer
	open  map[string]<-chan msg.Response
	names map[string]string // M1 -> member id
}

func newDialogue(p peer) *dialogue {
	return &dialogue{p: p, open: map[string]<-chan msg.Response{}, names: map[string]string{}}
}

var memberID = regexp.MustCompile(`([a-zA-Z0-9_]+-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// plain replaces ids that differ from run to run.
func (d *dialogue) plain(text string) string {
	if r, ok := d.p.(*remote); ok {
		text = strings.ReplaceAll(text, r.prefix, "")
	}
	return memberID.ReplaceAllStringFunc(text, func(id string) string {
		for i := 1; ; i++ {
			name := "M" + strconv.Itoa(i)
			switch known, ok := d.names[name]; {
			case !ok:
				d.names[name] = id
				return name
			case known == id:
				return name
			}
		}
	})
}

func (d *dialogue) do(c *script.Cmd) string {
	switch c.Name {
	case "pass":
		dur, err := time.ParseDuration(c.Arg(0))
		if err != nil {
			c.Fatalf("%v", err)
		}
		d.p.pass(dur)
		return ""
	case "records":
		group := c.Key("group", "g")
		return d.plain(showRecords(d.p.records(group), d.p.group(group)))
	case "answer":
		return d.answer(c.Arg(0))
	}
	req := d.request(c)
	name := c.Key("as", "")
	version := int16(c.IntKey("v", 0))
	d.open[name] = d.p.send(req, version)
	return d.answer(name)
}

func (d *dialogue) answer(name string) string {
	ch := d.open[name]
	if ch == nil {
		return "no such request"
	}
	resp, ok := d.p.await(ch)
	if !ok {
		return "waits"
	}
	delete(d.open, name)
	if resp == nil {
		return "closed"
	}
	d.sort(resp)
	return d.plain(show(resp))
}

// sort brings what Kafka lists in the order of a hash table into the order of
// names, and drops groups that are none of ours.
func (d *dialogue) sort(resp msg.Response) {
	switch r := resp.(type) {
	case *msg.ListGroupsResponse:
		r.Groups = slices.DeleteFunc(r.Groups, func(g msg.ListGroupsResponseGroup) bool {
			return !strings.HasPrefix(g.GroupID, d.p.group("g"))
		})
		slices.SortFunc(r.Groups, func(a, b msg.ListGroupsResponseGroup) int { return strings.Compare(a.GroupID, b.GroupID) })
	case *msg.DeleteGroupsResponse:
		slices.SortFunc(r.Results, func(a, b msg.DeleteGroupsResponseResult) int { return strings.Compare(a.GroupID, b.GroupID) })
	case *msg.JoinGroupResponse:
		d.plain(r.Leader + " " + r.MemberID) // names them
		slices.SortFunc(r.Members, func(a, b msg.JoinGroupResponseMember) int { return d.byName(a.MemberID, b.MemberID) })
	case *msg.DescribeGroupsResponse:
		for _, g := range r.Groups {
			slices.SortFunc(g.Members, func(a, b msg.DescribeGroupsResponseGroupMember) int { return d.byName(a.MemberID, b.MemberID) })
		}
	case *msg.OffsetFetchResponse:
		for _, t := range r.Topics {
			slices.SortFunc(t.Partitions, func(a, b msg.OffsetFetchResponseTopicPartition) int { return int(a.PartitionIndex - b.PartitionIndex) })
		}
		for _, g := range r.Groups {
			for _, t := range g.Topics {
				slices.SortFunc(t.Partitions, func(a, b msg.OffsetFetchResponseGroupTopicPartition) int {
					return int(a.PartitionIndex - b.PartitionIndex)
				})
			}
		}
	}
}

// byName orders member ids by when they first came.
func (d *dialogue) byName(a, b string) int {
	rank := func(id string) int {
		for i := 1; ; i++ {
			if known, ok := d.names["M"+strconv.Itoa(i)]; !ok || known == id {
				return i
			}
		}
	}
	return rank(a) - rank(b)
}

// member turns M1 into the id it stands for.
func (d *dialogue) member(name string) string {
	if id, ok := d.names[name]; ok {
		return id
	}
	return name
}

func optional(c *script.Cmd, key string) *string {
	if v := c.Key(key, "\x00"); v != "\x00" {
		return &v
	}
	return nil
}

func split(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

func (d *dialogue) request(c *script.Cmd) msg.Request {
	group := d.p.group(c.Key("group", "g"))
	member := d.member(c.Key("member", ""))
	switch c.Name {
	case "join":
		r := msg.NewJoinGroupRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID = group, member, optional(c, "instance")
		r.SessionTimeoutMs, r.RebalanceTimeoutMs = int32(c.IntKey("session", 10000)), int32(c.IntKey("rebalance", 10000))
		r.ProtocolType = c.Key("type", "consumer")
		for _, p := range split(c.Key("protocols", "range:x"), ",") {
			name, meta, _ := strings.Cut(p, ":")
			r.Protocols = append(r.Protocols, msg.JoinGroupRequestProtocol{Name: name, Metadata: metadata(meta)})
		}
		return &r
	case "sync":
		r := msg.NewSyncGroupRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID = group, member, optional(c, "instance")
		r.GenerationID = int32(c.IntKey("gen", 1))
		if c.IntKey("v", 0) >= 5 && c.Key("type", "") != "null" {
			r.ProtocolType, r.ProtocolName = new(c.Key("type", "consumer")), new(c.Key("protocol", "range"))
		}
		for _, a := range split(c.Key("assign", ""), ",") {
			id, what, _ := strings.Cut(a, ":")
			r.Assignments = append(r.Assignments, msg.SyncGroupRequestAssignment{MemberID: d.member(id), Assignment: metadata(what)})
		}
		return &r
	case "heartbeat":
		r := msg.NewHeartbeatRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID = group, member, optional(c, "instance")
		r.GenerationID = int32(c.IntKey("gen", 1))
		return &r
	case "leave":
		r := msg.NewLeaveGroupRequest()
		r.GroupID, r.MemberID = group, member
		for _, m := range split(c.Key("members", ""), ",") {
			id, instance, ok := strings.Cut(m, "@")
			lm := msg.LeaveGroupRequestMember{MemberID: d.member(id)}
			if ok {
				lm.GroupInstanceID = &instance
			}
			r.Members = append(r.Members, lm)
		}
		return &r
	default:
		return d.other(c, group, member)
	}
}

func (d *dialogue) other(c *script.Cmd, group, member string) msg.Request {
	switch c.Name {
	case "cbeat":
		return d.consumerBeat(c, group, member)
	case "cdescribe":
		r := msg.NewConsumerGroupDescribeRequest()
		r.GroupIDs = []string{group}
		return &r
	case "txncommit":
		return d.txnCommit(c, group, member)
	case "commit":
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID = group, member, optional(c, "instance")
		r.GenerationIDOrMemberEpoch = int32(c.IntKey("gen", -1))
		r.RetentionTimeMs = c.IntKey("retention", -1)
		r.Topics = d.commits(c)
		return &r
	case "fetch":
		r := msg.NewOffsetFetchRequest()
		r.RequireStable = c.Key("stable", "") != ""
		r.GroupID, r.Topics = group, nil
		g := msg.NewOffsetFetchRequestGroup()
		g.GroupID = group
		if m := optional(c, "member"); m != nil {
			g.MemberID, g.MemberEpoch = &member, int32(c.IntKey("epoch", 0))
		}
		if c.Key("topics", "-") != "-" {
			r.Topics, g.Topics = []msg.OffsetFetchRequestTopic{}, []msg.OffsetFetchRequestGroupTopic{}
		}
		for _, t := range split(c.Key("topics", ""), ",") {
			name, list, _ := strings.Cut(t, ":")
			var partitions []int32
			for _, p := range split(list, "+") {
				n, _ := strconv.Atoi(p)
				partitions = append(partitions, int32(n))
			}
			r.Topics = append(r.Topics, msg.OffsetFetchRequestTopic{Name: name, PartitionIndexes: partitions})
			g.Topics = append(g.Topics, msg.OffsetFetchRequestGroupTopic{Name: name, PartitionIndexes: partitions})
		}
		r.Groups = []msg.OffsetFetchRequestGroup{g}
		return &r
	case "describe":
		r := msg.NewDescribeGroupsRequest()
		r.Groups = []string{group}
		return &r
	case "list":
		r := msg.NewListGroupsRequest()
		r.StatesFilter, r.TypesFilter = split(c.Key("states", ""), ","), split(c.Key("types", ""), ",")
		return &r
	case "delete":
		r := msg.NewDeleteGroupsRequest()
		for _, g := range split(c.Key("groups", "g"), ",") {
			r.GroupsNames = append(r.GroupsNames, d.p.group(g))
		}
		return &r
	case "offsetdelete":
		r := msg.NewOffsetDeleteRequest()
		r.GroupID = group
		for _, t := range d.commits(c) {
			ot := msg.OffsetDeleteRequestTopic{Name: t.Name}
			for _, p := range t.Partitions {
				ot.Partitions = append(ot.Partitions, msg.OffsetDeleteRequestTopicPartition{PartitionIndex: p.PartitionIndex})
			}
			r.Topics = append(r.Topics, ot)
		}
		return &r
	}
	c.Fatalf("no such command")
	return nil
}

// showRecords prints what the log says of a group, a record a line, without the
// times.
func showRecords(records []record.Record, group string) string {
	var b strings.Builder
	for _, r := range records {
		key, err := state.ParseKey(state.Group, r.Key)
		if err != nil {
			return err.Error()
		}
		var v state.Message
		switch k := key.(type) {
		case *state.OffsetCommitKey:
			if k.Group != group {
				continue
			}
			fmt.Fprintf(&b, "offset %s-%d: ", k.Topic, k.Partition)
			v = &state.OffsetCommitValue{}
		case *state.GroupMetadataKey:
			if k.Group != group {
				continue
			}
			b.WriteString("group: ")
			v = &state.GroupMetadataValue{}
		default:
			if at, _ := keyOf(key); at.group == group {
				fmt.Fprintf(&b, "%s %d: %s\n", at.kind, key.Type(), map[bool]string{true: "gone", false: "set"}[r.Value == nil])
			}
			continue
		}
		if r.Value == nil {
			b.WriteString("gone\n")
			continue
		}
		v.SetDefaults()
		version, err := state.ParseValue(r.Value, v)
		if err != nil {
			return err.Error()
		}
		switch v := v.(type) {
		case *state.OffsetCommitValue:
			v.CommitTimestamp, v.TopicID = 0, kafka.UUID{}
			v.ExpireTimestamp = min(v.ExpireTimestamp, 0)
		case *state.GroupMetadataValue:
			v.CurrentStateTimestamp = min(v.CurrentStateTimestamp, 0)
			slices.SortFunc(v.Members, func(a, b state.GroupMetadataValueMemberMetadata) int {
				return strings.Compare(string(a.Subscription), string(b.Subscription))
			})
		}
		fmt.Fprintf(&b, "v%d %s\n", version, show(v))
	}
	return sortRuns(b.String())
}

// sortRuns orders tombstones that follow each other, which Kafka writes in the
// order of a hash table.
func sortRuns(text string) string {
	lines := strings.SplitAfter(text, "\n")
	gone := func(i int) bool { return i < len(lines) && strings.HasSuffix(lines[i], ": gone\n") }
	for i := 0; i < len(lines); i++ {
		j := i
		for gone(j) && strings.HasPrefix(lines[j], "offset") {
			j++
		}
		slices.Sort(lines[i:j])
		i = max(i, j-1)
	}
	return strings.Join(lines, "")
}

// commits reads topics=t:0:17:text,t:1:18, all of topic t.
func (d *dialogue) commits(c *script.Cmd) []msg.OffsetCommitRequestTopic {
	var list []msg.OffsetCommitRequestTopic
	for _, o := range split(c.Key("topics", "t:0:1"), ",") {
		f := strings.Split(o, ":")
		if len(list) == 0 || list[len(list)-1].Name != f[0] {
			list = append(list, msg.OffsetCommitRequestTopic{Name: f[0]})
		}
		p := msg.OffsetCommitRequestTopicPartition{CommittedLeaderEpoch: kafka.NoEpoch}
		n, _ := strconv.Atoi(f[1])
		p.PartitionIndex = int32(n)
		if len(f) > 2 {
			p.CommittedOffset, _ = strconv.ParseInt(f[2], 10, 64)
		}
		if len(f) > 3 {
			p.CommittedMetadata = &f[3]
		}
		t := &list[len(list)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return list
}
