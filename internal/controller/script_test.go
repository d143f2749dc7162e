package controller

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestScripts plays requests against a controller whose records act at once.
//
//	static KEY=VALUE ...                 settings of the controller's own file
//	broker N [rack=R] [dirs=A,B] [prev=E] [fenced]  registers a new process of a broker
//	beat N [offline=A,B] [cordoned=A,B | cordoned=] a heartbeat that speaks of log directories
//	place N DIR TOPIC P                  AssignReplicasToDirs
//	reassign TOPIC P [R,R | null]        AlterPartitionReassignments
//	dirs                                 where replicas are, and who has which directories
//	fence N, unregister N
//	create [validate]                    input: NAME PARTITIONS FACTOR [KEY=VALUE | KEY | P:R,R] ...
//	delete [v=N] [NAME | #NAME | null]   # asks by the id of the named topic
//	grow [validate]                      CreatePartitions; input: NAME COUNT [R,R ...]
//	alter [validate], replace [validate] input: KIND/NAME [+-KEY[=VALUE]] ...; "+" appends, "-" subtracts,
//	                                     "!" deletes, a number before "?" is the operation
//	auto NAME ...                        topics made on first use
//	isr BROKER NAME P isr=.. [pe=N] [le=N]  AlterPartition
//	ids BROKER [epoch=N]                 AllocateProducerIds
//	topics                               what there is
//	configs KIND/NAME                    the dynamic settings of a resource
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			p := newPlayer()
			script.Run(t, f, p.do)
		})
	}
}

type player struct {
	*State
	static config.Settings
	drawn  byte
}

func newPlayer() *player {
	p := &player{State: &State{Image: cluster.Empty("test"), Rand: rand.New(rand.NewPCG(7, 7))}, static: config.Settings{}}
	p.resolve()
	p.replay(Bootstrap(p.State))
	return p
}

func (p *player) resolve() {
	p.Config = config.NewBroker(p.static).With(nil, p.Image.Config(cluster.Resource{Kind: cluster.BrokerResource}).Map())
}

func (p *player) replay(recs Records) string {
	d := cluster.NewDelta(p.Image)
	for _, r := range recs {
		if err := d.Replay(r); err != nil {
			return "replay: " + err.Error() + "\n"
		}
	}
	p.Image = d.Apply(p.Image.Index()+1, 1)
	p.resolve()
	return ""
}

func (p *player) do(c *script.Cmd) string {
	validate := len(c.Args) > 0 && c.Args[0] == "validate"
	switch c.Name {
	case "static":
		for _, a := range c.Args {
			k, v, _ := strings.Cut(a, "=")
			p.static[k] = config.Setting{Value: v, Origin: "test"}
		}
		p.resolve()
		return ""
	case "broker", "fence", "unregister", "ids":
		return p.broker(c)
	case "create":
		req := createOf(c)
		req.ValidateOnly = validate
		recs, resp := CreateTopics(p.State, req)
		return p.replay(recs) + created(resp)
	case "delete":
		recs, resp := DeleteTopics(p.State, p.deleteOf(c), int16(c.IntKey("v", 6)))
		return p.replay(recs) + deleted(resp)
	case "grow":
		req := growOf(c)
		req.ValidateOnly = validate
		recs, resp := CreatePartitions(p.State, req)
		var b strings.Builder
		for _, r := range resp.Results {
			fmt.Fprintf(&b, "%s: %s\n", r.Name, outcome(r.ErrorCode, r.ErrorMessage))
		}
		return p.replay(recs) + b.String()
	case "alter":
		return p.alter(c, validate)
	case "replace":
		return p.replace(c, validate)
	case "auto":
		recs, errs := AutoCreate(p.State, c.Args)
		var b strings.Builder
		for i, err := range errs {
			code, text := answer(err)
			fmt.Fprintf(&b, "%s: %s\n", c.Args[i], outcome(code, text))
		}
		return p.replay(recs) + b.String()
	case "isr":
		return p.isr(c)
	case "beat":
		return p.beat(c)
	case "place":
		return p.place(c)
	case "reassign":
		req := msg.NewAlterPartitionReassignmentsRequest()
		rp := msg.AlterPartitionReassignmentsRequestTopicPartition{PartitionIndex: int32(c.Int(1))}
		if len(c.Args) < 3 {
			rp.Replicas = []int32{}
		} else if c.Arg(2) != "null" {
			rp.Replicas = ints(c.Arg(2))
		}
		req.Topics = []msg.AlterPartitionReassignmentsRequestTopic{{Name: c.Arg(0), Partitions: []msg.AlterPartitionReassignmentsRequestTopicPartition{rp}}}
		recs, resp := AlterPartitionReassignments(p.State, &req)
		row := resp.Responses[0].Partitions[0]
		list := ListPartitionReassignments(p.Image, new(msg.NewListPartitionReassignmentsRequest()))
		return p.replay(recs) + fmt.Sprintf("%s, %d records, %d under way", outcome(row.ErrorCode, row.ErrorMessage), len(recs), len(list.Topics))
	case "dirs":
		return p.dirs()
	case "topics":
		return p.topics()
	case "configs":
		return fmt.Sprint(p.Image.Config(resourceArg(c.Arg(0))))
	}
	c.Fatalf("unknown command")
	return ""
}

func outcome(code int16, text *string) string {
	switch {
	case code == 0 && text == nil:
		return "ok"
	case text == nil:
		return kafka.Code(code).Name()
	}
	return kafka.Code(code).Name() + ": " + *text
}

func (p *player) broker(c *script.Cmd) string {
	id := int32(c.Int(0))
	switch c.Name {
	case "fence":
		return p.replay(FenceBroker(p.State, id))
	case "unregister":
		recs, resp := UnregisterBroker(p.State, &msg.UnregisterBrokerRequest{BrokerID: id})
		return p.replay(recs) + outcome(resp.ErrorCode, resp.ErrorMessage)
	case "ids":
		req := msg.NewAllocateProducerIDsRequest()
		req.BrokerID = id
		if b := p.Image.Broker(id); b != nil {
			req.BrokerEpoch = b.Epoch
		}
		req.BrokerEpoch = c.IntKey("epoch", req.BrokerEpoch)
		recs, resp := AllocateProducerIDs(p.State, &req)
		return p.replay(recs) + fmt.Sprintf("%s, %d ids from %d", outcome(resp.ErrorCode, nil), resp.ProducerIDLen, resp.ProducerIDStart)
	}
	req := msg.NewBrokerRegistrationRequest()
	req.LogDirs = dirIDs(c.Key("dirs", ""))
	if len(req.LogDirs) == 0 {
		req.LogDirs = []kafka.UUID{{2: byte(id)}}
	}
	return p.register(&req, id, c.Key("rack", ""), c.IntKey("prev", -1), c.Args[len(c.Args)-1] != "fenced")
}

// dirIDs are the ids of directories that a script calls by letters.
func dirIDs(list string) []kafka.UUID {
	out := []kafka.UUID{}
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case "":
		case "unassigned":
			out = append(out, kafka.DirUnassigned)
		case "lost":
			out = append(out, kafka.DirLost)
		default:
			out = append(out, kafka.UUID{3: name[0]})
		}
	}
	return out
}

func dirName(id kafka.UUID) string {
	switch {
	case id == kafka.DirUnassigned:
		return "unassigned"
	case id == kafka.DirLost:
		return "lost"
	case id == kafka.DirMigrating:
		return "migrating"
	case id[3] != 0:
		return string(rune(id[3]))
	}
	return fmt.Sprintf("of%d", id[2])
}

func (p *player) beat(c *script.Cmd) string {
	req := msg.NewBrokerHeartbeatRequest()
	req.BrokerID = int32(c.Int(0))
	if b := p.Image.Broker(req.BrokerID); b != nil {
		req.BrokerEpoch, req.CurrentMetadataOffset = b.Epoch, p.Image.Index()
	}
	req.OfflineLogDirs = dirIDs(c.Key("offline", ""))
	if list := c.Key("cordoned", "none"); list != "none" {
		req.CordonedLogDirs = dirIDs(list)
	}
	recs, resp := BrokerHeartbeat(p.State, &req)
	return p.replay(recs) + fmt.Sprintf("%s, %d records", outcome(resp.ErrorCode, nil), len(recs))
}

func (p *player) place(c *script.Cmd) string {
	req := msg.NewAssignReplicasToDirsRequest()
	req.BrokerID = int32(c.Int(0))
	if b := p.Image.Broker(req.BrokerID); b != nil {
		req.BrokerEpoch = b.Epoch
	}
	req.BrokerEpoch = c.IntKey("epoch", req.BrokerEpoch)
	id := kafka.UUID{1}
	if t := p.Image.Topic(c.Arg(2)); t != nil {
		id = t.ID
	}
	req.Directories = []msg.AssignReplicasToDirsRequestDirectory{{ID: dirIDs(c.Arg(1))[0], Topics: []msg.AssignReplicasToDirsRequestDirectoryTopic{{
		TopicID: id, Partitions: []msg.AssignReplicasToDirsRequestDirectoryTopicPartition{{PartitionIndex: int32(c.Int(3))}}}}}}
	recs, resp := AssignReplicasToDirs(p.State, &req)
	if resp.ErrorCode != 0 {
		return outcome(resp.ErrorCode, nil)
	}
	row := resp.Directories[0].Topics[0].Partitions[0]
	return p.replay(recs) + fmt.Sprintf("%s, %d records", outcome(row.ErrorCode, nil), len(recs))
}

func (p *player) dirs() string {
	var b strings.Builder
	names := func(ids []kafka.UUID) (out []string) {
		for _, id := range ids {
			out = append(out, dirName(id))
		}
		return out
	}
	for _, r := range p.Image.Brokers() {
		fmt.Fprintf(&b, "broker %d has %v cordoned %v\n", r.ID, names(r.LogDirs), names(r.CordonedLogDirs))
	}
	for _, t := range p.Image.Topics() {
		for _, q := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d leader %d epoch %d isr %v in %v offline %v\n", t.Name, q.ID, q.Leader, q.LeaderEpoch, q.ISR, names(q.Directories), p.Image.Offline(&q))
		}
	}
	return b.String()
}

func (p *player) register(req *msg.BrokerRegistrationRequest, id int32, rack string, previous int64, ready bool) string {
	p.drawn++
	req.BrokerID, req.ClusterID, req.IncarnationID = id, "test", kafka.UUID{1: p.drawn}
	req.PreviousBrokerEpoch = previous
	if rack != "" {
		req.Rack = &rack
	}
	for _, f := range Supported() {
		req.Features = append(req.Features, msg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	recs, resp := RegisterBroker(p.State, req, ready)
	return p.replay(recs) + fmt.Sprintf("%s, epoch %d", outcome(resp.ErrorCode, nil), resp.BrokerEpoch)
}

func ints(s string) []int32 {
	var out []int32
	for part := range strings.SplitSeq(s, ",") {
		if n, err := strconv.ParseInt(part, 10, 32); err == nil {
			out = append(out, int32(n))
		}
	}
	return out
}

func createOf(c *script.Cmd) *msg.CreateTopicsRequest {
	req := new(msg.NewCreateTopicsRequest())
	for _, line := range c.Input {
		f := strings.Fields(line)
		t := msg.CreateTopicsRequestTopic{Name: strings.Trim(f[0], `"`)}
		t.NumPartitions, t.ReplicationFactor = ints(f[1])[0], int16(ints(f[2])[0])
		for _, extra := range f[3:] {
			if p, replicas, ok := strings.Cut(extra, ":"); ok && len(ints(p)) == 1 {
				t.Assignments = append(t.Assignments, msg.CreateTopicsRequestTopicAssignment{PartitionIndex: ints(p)[0], BrokerIDs: ints(replicas)})
				continue
			}
			k, v, set := strings.Cut(extra, "=")
			conf := msg.CreateTopicsRequestTopicConfig{Name: k}
			if set {
				conf.Value = &v
			}
			t.Configs = append(t.Configs, conf)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func created(resp *msg.CreateTopicsResponse) string {
	var b strings.Builder
	for _, t := range resp.Topics {
		fmt.Fprintf(&b, "%q: %s", t.Name, outcome(t.ErrorCode, t.ErrorMessage))
		if t.ErrorCode == 0 {
			fmt.Fprintf(&b, ", %d x %d", t.NumPartitions, t.ReplicationFactor)
			for _, c := range t.Configs {
				if c.ConfigSource == int8(config.FromTopic) {
					fmt.Fprintf(&b, " %s=%s", c.Name, *c.Value)
				}
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (p *player) deleteOf(c *script.Cmd) *msg.DeleteTopicsRequest {
	req := new(msg.NewDeleteTopicsRequest())
	for _, a := range c.Args {
		name, id := a, kafka.UUID{}
		switch {
		case strings.HasPrefix(a, "v="):
			continue
		case strings.HasPrefix(a, "#"):
			if id = (kafka.UUID{9}); p.Image.Topic(a[1:]) != nil {
				id = p.Image.Topic(a[1:]).ID
			}
			req.Topics = append(req.Topics, msg.DeleteTopicsRequestTopic{TopicID: id})
		case a == "null":
			req.Topics = append(req.Topics, msg.DeleteTopicsRequestTopic{})
		case c.IntKey("v", 6) < 6:
			req.TopicNames = append(req.TopicNames, name)
		default:
			req.Topics = append(req.Topics, msg.DeleteTopicsRequestTopic{Name: &name})
		}
	}
	return req
}

func deleted(resp *msg.DeleteTopicsResponse) string {
	var b strings.Builder
	for _, r := range resp.Responses {
		name := "(null)"
		if r.Name != nil {
			name = *r.Name
		}
		fmt.Fprintf(&b, "%s, id %v: %s\n", name, !r.TopicID.IsZero(), outcome(r.ErrorCode, r.ErrorMessage))
	}
	return b.String()
}

func growOf(c *script.Cmd) *msg.CreatePartitionsRequest {
	req := new(msg.NewCreatePartitionsRequest())
	for _, line := range c.Input {
		f := strings.Fields(line)
		t := msg.CreatePartitionsRequestTopic{Name: f[0], Count: ints(f[1])[0]}
		for _, replicas := range f[2:] {
			t.Assignments = append(t.Assignments, msg.CreatePartitionsRequestTopicAssignment{BrokerIDs: ints(replicas)})
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func resourceArg(s string) cluster.Resource {
	kinds := map[string]cluster.Kind{"topic": cluster.TopicResource, "broker": cluster.BrokerResource,
		"group": cluster.GroupResource, "metrics": cluster.ClientMetricsResource, "what": 99}
	kind, name, _ := strings.Cut(s, "/")
	return cluster.Resource{Kind: kinds[kind], Name: name}
}

func (p *player) alter(c *script.Cmd, validate bool) string {
	req := msg.NewIncrementalAlterConfigsRequest()
	req.ValidateOnly = validate
	for _, line := range c.Input {
		f := strings.Fields(line)
		res := resourceArg(f[0])
		r := msg.IncrementalAlterConfigsRequestResource{ResourceType: int8(res.Kind), ResourceName: res.Name}
		for _, s := range f[1:] {
			conf := msg.IncrementalAlterConfigsRequestResourceConfig{}
			if op := strings.IndexByte("?!+-", s[0]); op >= 0 {
				conf.ConfigOperation, s = int8(op), s[1:]
			}
			if s[0] >= '0' && s[0] <= '9' {
				conf.ConfigOperation, s = int8(s[0]-'0'), s[2:]
			}
			k, v, set := strings.Cut(s, "=")
			if conf.Name = k; set {
				conf.Value = &v
			}
			r.Configs = append(r.Configs, conf)
		}
		req.Resources = append(req.Resources, r)
	}
	recs, resp := IncrementalAlterConfigs(p.State, &req, 1)
	var b strings.Builder
	for i, r := range resp.Responses {
		fmt.Fprintf(&b, "%s: %s\n", strings.Fields(c.Input[i])[0], outcome(r.ErrorCode, r.ErrorMessage))
	}
	return p.replay(recs) + b.String()
}

func (p *player) replace(c *script.Cmd, validate bool) string {
	req := msg.NewAlterConfigsRequest()
	req.ValidateOnly = validate
	for _, line := range c.Input {
		f := strings.Fields(line)
		res := resourceArg(f[0])
		r := msg.AlterConfigsRequestResource{ResourceType: int8(res.Kind), ResourceName: res.Name}
		for _, s := range f[1:] {
			k, v, set := strings.Cut(s, "=")
			conf := msg.AlterConfigsRequestResourceConfig{Name: k}
			if set {
				conf.Value = &v
			}
			r.Configs = append(r.Configs, conf)
		}
		req.Resources = append(req.Resources, r)
	}
	recs, resp := AlterConfigs(p.State, &req, 1)
	var b strings.Builder
	for i, r := range resp.Responses {
		fmt.Fprintf(&b, "%s: %s\n", strings.Fields(c.Input[i])[0], outcome(r.ErrorCode, r.ErrorMessage))
	}
	return p.replay(recs) + b.String()
}

func (p *player) isr(c *script.Cmd) string {
	id := int32(c.Int(0))
	t := p.Image.Topic(c.Arg(1))
	part := t.Partition(int32(c.Int(2)))
	req := msg.NewAlterPartitionRequest()
	req.BrokerID = id
	if b := p.Image.Broker(id); b != nil {
		req.BrokerEpoch = b.Epoch
	}
	rp := msg.AlterPartitionRequestTopicPartition{PartitionIndex: int32(c.Int(2)), NewISR: ints(c.Key("isr", ""))}
	if part != nil {
		rp.LeaderEpoch, rp.PartitionEpoch = int32(c.IntKey("le", int64(part.LeaderEpoch))), int32(c.IntKey("pe", int64(part.PartitionEpoch)))
	}
	req.Topics = []msg.AlterPartitionRequestTopic{{TopicID: t.ID, Partitions: []msg.AlterPartitionRequestTopicPartition{rp}}}
	recs, resp := AlterPartition(p.State, &req)
	if resp.ErrorCode != 0 {
		return outcome(resp.ErrorCode, nil)
	}
	r := resp.Topics[0].Partitions[0]
	return p.replay(recs) + fmt.Sprintf("%s leader %d epoch %d/%d isr %v", outcome(r.ErrorCode, nil), r.LeaderID, r.LeaderEpoch, r.PartitionEpoch, r.ISR)
}

func (p *player) topics() string {
	var b strings.Builder
	for _, t := range p.Image.Topics() {
		fmt.Fprintf(&b, "%s\n", t.Name)
		for _, q := range t.Partitions {
			fmt.Fprintf(&b, ". %d leader %d epoch %d/%d replicas %v isr %v elr %v\n", q.ID, q.Leader, q.LeaderEpoch, q.PartitionEpoch, q.Replicas, q.ISR, q.ELR)
		}
	}
	return b.String()
}

// Names that differ in dots and underscores are found without looking at all
// topics.
func TestCollisionAmongMany(t *testing.T) {
	p := newPlayer()
	req := msg.NewBrokerRegistrationRequest()
	p.register(&req, 1, "", -1, true)
	var c script.Cmd
	for i := range 9000 {
		c.Input = append(c.Input, fmt.Sprintf("a_b.c_%05d 1 1", i))
	}
	c.Name = "create"
	if out := p.do(&c); strings.Contains(out, "INVALID") {
		t.Fatal(out)
	}
	got := testing.AllocsPerRun(1, func() {
		if other := collision(p.Image, "", "a.b_c.08999", "a.b_c.08999"); other != "a_b.c_08999" {
			t.Errorf("found %q", other)
		}
	})
	if got > 200 {
		t.Errorf("looking for one collision made %v allocations", got)
	}
}
