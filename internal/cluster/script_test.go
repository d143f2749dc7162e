package cluster

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestScripts plays records into images.
//
//	topic NAME id=N                     TopicRecord
//	partition id=N p=P replicas=1,2     PartitionRecord, led by the first replica
//	change id=N p=P [leader=L] [isr=..] PartitionChangeRecord
//	remove id=N                         RemoveTopicRecord
//	config KIND/NAME key[=value]        ConfigRecord; without a value it deletes
//	feature NAME level=N                FeatureLevelRecord
//	broker N epoch=E [fenced]           RegisterBrokerRecord
//	fence N epoch=E, unfence N epoch=E  BrokerRegistrationChangeRecord
//	unregister N epoch=E                UnregisterBrokerRecord
//	scram USER mech=M [i=N]             UserScramCredentialRecord; its bytes are made of the arguments
//	unscram USER mech=M                 RemoveUserScramCredentialRecord
//	producers next=N                    ProducerIDsRecord
//	apply                               ends the delta: what changed
//	show                                the image
//	snapshot                            the image through its records, and what differs
//	restore                             as a member that was empty would see it
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			p := &player{image: Empty("test")}
			p.delta = NewDelta(p.image)
			script.Run(t, f, p.do)
		})
	}
}

type player struct {
	image *Image
	delta *Delta
	index int64
}

func (p *player) do(c *script.Cmd) string {
	switch c.Name {
	case "apply":
		d := p.delta
		p.index++
		p.image = d.Apply(p.index, 1)
		p.delta = NewDelta(p.image)
		return changes(d)
	case "show":
		return show(p.image)
	case "snapshot":
		return p.snapshot(c)
	case "restore":
		return changes(Between(Empty("test"), p.image))
	}
	if err := p.delta.Replay(recordOf(c)); err != nil {
		return "error: " + err.Error()
	}
	return ""
}

func (p *player) snapshot(c *script.Cmd) string {
	d := NewDelta(Empty("test"))
	n := 0
	for r := range p.image.Records() {
		_, version := r.Versions()
		back, _, err := state.ParseRecord(state.Metadata, state.MarshalRecord(r, version))
		if err != nil {
			c.Fatalf("%T: %v", r, err)
		}
		if err := d.Replay(back); err != nil {
			c.Fatalf("%T: %v", r, err)
		}
		n++
	}
	again := d.Apply(p.image.Index(), p.image.Term())
	if a, b := show(p.image), show(again); a != b {
		return "differs:\n" + b
	}
	if diff := Between(p.image, again); !diff.Empty() {
		return "differs: " + changes(diff)
	}
	return fmt.Sprintf("%d records, equal", n)
}

func idOf(n int64) kafka.UUID { return kafka.UUID{15: byte(n)} }

func list(s string) []int32 {
	if s == "none" {
		return []int32{}
	}
	var out []int32
	for part := range strings.SplitSeq(s, ",") {
		var n int32
		if _, err := fmt.Sscan(part, &n); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func recordOf(c *script.Cmd) state.Record {
	id := idOf(c.IntKey("id", 0))
	switch c.Name {
	case "topic":
		return &state.TopicRecord{Name: c.Arg(0), TopicID: id}
	case "remove":
		return &state.RemoveTopicRecord{TopicID: id}
	case "partition":
		r := state.NewPartitionRecord()
		r.TopicID, r.PartitionID = id, int32(c.IntKey("p", 0))
		r.Replicas = list(c.Key("replicas", "1"))
		r.ISR, r.Leader, r.LeaderEpoch, r.PartitionEpoch = r.Replicas, r.Replicas[0], 0, 0
		return &r
	case "change":
		r := state.NewPartitionChangeRecord()
		r.TopicID, r.PartitionID = id, int32(c.IntKey("p", 0))
		r.Leader = int32(c.IntKey("leader", leaderUnchanged))
		r.ISR, r.EligibleLeaderReplicas = list(c.Key("isr", "")), list(c.Key("elr", ""))
		return &r
	case "config":
		kinds := map[string]Kind{"topic": TopicResource, "broker": BrokerResource, "group": GroupResource}
		kind, name, _ := strings.Cut(c.Arg(0), "/")
		r := &state.ConfigRecord{ResourceType: int8(kinds[kind]), ResourceName: name}
		value, set := "", false
		if r.Name, value, set = strings.Cut(c.Arg(1), "="); set {
			r.Value = &value
		}
		return r
	case "feature":
		return &state.FeatureLevelRecord{Name: c.Arg(0), FeatureLevel: int16(c.IntKey("level", 0))}
	case "scram":
		r := state.NewUserScramCredentialRecord()
		r.Name, r.Mechanism, r.Iterations = c.Arg(0), int8(c.IntKey("mech", 1)), int32(c.IntKey("i", 4096))
		r.Salt, r.StoredKey, r.ServerKey = []byte("salt"), []byte(fmt.Sprint("stored", r.Iterations)), []byte("server")
		return &r
	case "unscram":
		return &state.RemoveUserScramCredentialRecord{Name: c.Arg(0), Mechanism: int8(c.IntKey("mech", 1))}
	case "producers":
		return &state.ProducerIDsRecord{NextProducerID: c.IntKey("next", 0)}
	}
	return brokerRecordOf(c)
}

func brokerRecordOf(c *script.Cmd) state.Record {
	id, epoch := int32(c.Int(0)), c.IntKey("epoch", 1)
	switch c.Name {
	case "broker":
		r := state.NewRegisterBrokerRecord()
		r.BrokerID, r.BrokerEpoch, r.IncarnationID = id, epoch, idOf(epoch)
		r.Fenced = len(c.Args) > 2 && c.Args[2] == "fenced"
		r.EndPoints = []state.RegisterBrokerRecordEndPoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}}
		r.LogDirs = []kafka.UUID{idOf(int64(id))}
		return &r
	case "fence":
		return &state.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: epoch, Fenced: 1}
	case "unfence":
		return &state.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: epoch, Fenced: -1}
	case "unregister":
		return &state.UnregisterBrokerRecord{BrokerID: id, BrokerEpoch: epoch}
	}
	c.Fatalf("unknown command")
	return nil
}

func changes(d *Delta) string {
	var b strings.Builder
	for _, c := range d.Topics() {
		switch {
		case c.New == nil:
			fmt.Fprintf(&b, "deleted %s\n", c.Old.Name)
		case c.Old == nil:
			fmt.Fprintf(&b, "created %s %v\n", c.New.Name, c.Partitions())
		default:
			fmt.Fprintf(&b, "changed %s %v\n", c.New.Name, c.Partitions())
		}
	}
	if ids := d.Brokers(); len(ids) > 0 {
		fmt.Fprintf(&b, "brokers %v\n", ids)
	}
	for _, r := range d.Resources() {
		fmt.Fprintf(&b, "config %s %q\n", r.Kind, r.Name)
	}
	if d.Features() {
		fmt.Fprintf(&b, "features\n")
	}
	if d.Users() {
		fmt.Fprintf(&b, "users\n")
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

func show(m *Image) string {
	var b strings.Builder
	for _, f := range m.Features() {
		fmt.Fprintf(&b, "feature %s %d\n", f.Name, f.Level)
	}
	for _, k := range m.Brokers() {
		fmt.Fprintf(&b, "broker %d epoch %d fenced %v %v\n", k.ID, k.Epoch, k.Fenced, k.Endpoints)
	}
	for _, t := range m.Topics() {
		fmt.Fprintf(&b, "topic %s id %d\n", t.Name, t.ID[15])
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "  %d leader %d epoch %d/%d replicas %v isr %v", p.ID, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, p.ISR)
			if len(p.ELR) > 0 {
				fmt.Fprintf(&b, " elr %v", p.ELR)
			}
			b.WriteString("\n")
		}
	}
	for r, pairs := range m.ConfigResources() {
		fmt.Fprintf(&b, "config %s %q %v\n", r.Kind, r.Name, pairs)
	}
	for k, s := range m.Scrams() {
		fmt.Fprintf(&b, "user %s mechanism %d iterations %d %s %s\n", k.User, k.Mechanism, s.Iterations, s.Salt, s.StoredKey)
	}
	fmt.Fprintf(&b, "%d topics, %d partitions, next producer id %d\n", m.TopicCount(), m.PartitionCount(), m.NextProducerID())
	return b.String()
}

// A delta never changes its base, whatever is replayed into it.
func TestBaseStays(t *testing.T) {
	p := &player{image: Empty("test")}
	d := NewDelta(p.image)
	for i := range int64(5) {
		for _, r := range []state.Record{
			&state.TopicRecord{Name: fmt.Sprint("t", i), TopicID: idOf(i + 1)},
			&state.PartitionRecord{TopicID: idOf(i + 1), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1},
		} {
			if err := d.Replay(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	base := d.Apply(1, 1)
	before := show(base)
	d = NewDelta(base)
	r := state.NewPartitionChangeRecord()
	r.TopicID, r.PartitionID, r.Leader = idOf(2), 0, -1
	if err := d.Replay(&r); err != nil {
		t.Fatal(err)
	}
	if err := d.Replay(&state.RemoveTopicRecord{TopicID: idOf(1)}); err != nil {
		t.Fatal(err)
	}
	next := d.Apply(2, 1)
	if after := show(base); after != before {
		t.Errorf("the base became\n%s", after)
	}
	if reflect.DeepEqual(show(next), before) {
		t.Error("the next image is like the base")
	}
	if base.TopicByID(idOf(1)) == nil || next.TopicByID(idOf(1)) != nil {
		t.Error("ids do not follow")
	}
}
