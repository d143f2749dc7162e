package streams

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestScripts drives a group by hand. Members are named m1, m2, …; a heartbeat
// carries the epoch that the member was told last, unless epoch= says otherwise.
//
//	topic NAME N                 make a topic, or give it more partitions
//	set KEY=VALUE …              delay, between, standbys, session, size, tags
//	topology LINE …              of those who join from now on, see topologyCmd
//	join M process= instance= endpoint= epoch= tags=
//	beat M epoch= has=TASKS standby=TASKS    what it has; without it says nothing
//	leave M away                 away: a static member that will be back
//	commit M epoch= topic partition
//	pass TIME, reload, group, describe M
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			d := &driver{world: newWorld(), epochs: map[string]int32{}, processes: map[string]string{}, instances: map[string]*string{}}
			d.cfg.InitialDelay, d.cfg.Between = 0, 0
			script.Run(t, f, func(c *script.Cmd) string {
				out := d.do(c)
				if d.wrong != "" {
					t.Fatal(d.wrong)
				}
				return out
			})
		})
	}
}

type driver struct {
	*world
	epochs    map[string]int32
	processes map[string]string
	instances map[string]*string
	topo      *msg.StreamsGroupHeartbeatRequestTopology
}

func (d *driver) do(c *script.Cmd) string {
	switch c.Name {
	case "topic":
		d.setTopic(c.Arg(0), int32(c.Int(1)))
		return ""
	case "set":
		d.set(c)
		return ""
	case "topology":
		d.topo = topologyCmd(c)
		return ""
	case "join":
		return d.join(c)
	case "beat":
		return d.heartbeat(c)
	case "leave":
		req := d.request(c)
		req.MemberEpoch = leaves
		if len(c.Args) > 1 {
			req.MemberEpoch = leavesAWhile
		}
		return d.send(req)
	case "commit":
		return d.commit(c)
	case "pass":
		took, err := time.ParseDuration(c.Arg(0))
		if err != nil {
			c.Fatalf("%v", err)
		}
		d.pass(took)
		return ""
	case "reload":
		d.reload()
		return ""
	case "group":
		return d.show()
	case "describe":
		return d.describe(c)
	}
	c.Fatalf("no such command")
	return ""
}

func (d *driver) set(c *script.Cmd) {
	for _, arg := range c.Args {
		k, v, _ := strings.Cut(arg, "=")
		n, _ := strconv.Atoi(v)
		took, _ := time.ParseDuration(v)
		switch k {
		case "delay":
			d.cfg.InitialDelay = took
		case "between":
			d.cfg.Between = took
		case "session":
			d.cfg.Session = took
		case "standbys":
			d.cfg.Standbys = n
		case "size":
			d.cfg.MaxSize = n
		case "tags":
			d.cfg.RackTags = []string{v}
		case "descriptions":
			d.cfg.KeepTopologies = true
		default:
			c.Fatalf("no setting %s", k)
		}
	}
}

// topologyCmd reads a topology: epoch=N, and a line for each subtopology after "< ":
//
//	ID in=TOPICS repartition=TOPICS[:N] out=TOPICS log=TOPICS together=TOPICS
func topologyCmd(c *script.Cmd) *msg.StreamsGroupHeartbeatRequestTopology {
	t := &msg.StreamsGroupHeartbeatRequestTopology{Epoch: int32(c.IntKey("epoch", 0))}
	for _, line := range c.Input {
		f := strings.Fields(line)
		s := msg.StreamsGroupHeartbeatRequestTopologySubtopology{SubtopologyID: f[0]}
		for _, arg := range f[1:] {
			k, v, _ := strings.Cut(arg, "=")
			names := strings.Split(v, ",")
			switch k {
			case "in":
				s.SourceTopics = names
			case "out":
				s.RepartitionSinkTopics = names
			case "repartition":
				for _, n := range names {
					name, parts, _ := strings.Cut(n, ":")
					p, _ := strconv.Atoi(parts)
					s.RepartitionSourceTopics = append(s.RepartitionSourceTopics, msg.StreamsGroupHeartbeatRequestTopicInfo{Name: name, Partitions: int32(p)})
				}
			case "log":
				for _, n := range names {
					s.StateChangelogTopics = append(s.StateChangelogTopics, msg.StreamsGroupHeartbeatRequestTopicInfo{Name: n})
				}
			case "together":
				var g msg.StreamsGroupHeartbeatRequestTopologySubtopologyCopartitionGroup
				for _, n := range names {
					if i := slices.Index(s.SourceTopics, n); i >= 0 {
						g.SourceTopics = append(g.SourceTopics, int16(i))
						continue
					}
					for i := range s.RepartitionSourceTopics {
						if s.RepartitionSourceTopics[i].Name == n {
							g.RepartitionSourceTopics = append(g.RepartitionSourceTopics, int16(i))
						}
					}
				}
				s.CopartitionGroups = append(s.CopartitionGroups, g)
			default:
				c.Fatalf("no %s in a subtopology", k)
			}
		}
		t.Subtopologies = append(t.Subtopologies, s)
	}
	return t
}

func (d *driver) request(c *script.Cmd) *msg.StreamsGroupHeartbeatRequest {
	id := c.Arg(0)
	return &msg.StreamsGroupHeartbeatRequest{
		GroupID: "app", MemberID: id, MemberEpoch: int32(c.IntKey("epoch", int64(d.epochs[id]))), InstanceID: d.instances[id], RebalanceTimeoutMs: -1,
	}
}

func (d *driver) join(c *script.Cmd) string {
	id := c.Arg(0)
	if v := c.Key("instance", ""); v != "" {
		d.instances[id] = &v
	}
	d.processes[id] = c.Key("process", "p-"+id)
	req := d.request(c)
	req.MemberEpoch, req.RebalanceTimeoutMs, req.Topology, req.ProcessID = joins, 30000, d.topo, new(d.processes[id])
	req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = owned(nil), owned(nil), owned(nil)
	if v := c.Key("endpoint", ""); v != "" {
		req.UserEndpoint = &msg.StreamsGroupHeartbeatRequestEndpoint{Host: v, Port: 80}
	}
	if v := c.Key("tags", ""); v != "" {
		req.ClientTags = []msg.StreamsGroupHeartbeatRequestKeyValue{{Key: v, Value: "x"}}
	}
	return d.send(req)
}

func (d *driver) heartbeat(c *script.Cmd) string {
	req := d.request(c)
	req.EndpointInformationEpoch = int32(c.IntKey("endpoints", int64(d.g.endpoints)))
	const none = "-"
	active, standby := c.Key("has", none), c.Key("standby", none)
	if active != none || standby != none {
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = owned(parseTasks(c, active)), owned(parseTasks(c, standby)), owned(nil)
	}
	req.ShutdownApplication = c.Key("shutdown", "") != ""
	if v := c.Key("offset", ""); v != "" {
		for _, t := range parseTasks(c, v) {
			req.TaskOffsets = append(req.TaskOffsets, msg.StreamsGroupHeartbeatRequestTaskOffset{SubtopologyID: t.Subtopology, Partition: t.Partition, Offset: 7})
		}
	}
	return d.send(req)
}

// parseTasks reads "0_1,1_0"; "-" is none.
func parseTasks(c *script.Cmd, text string) (s set) {
	for _, f := range strings.Split(text, ",") {
		if f == "-" || f == "" {
			continue
		}
		id, p, _ := strings.Cut(f, "_")
		n, err := strconv.Atoi(p)
		if err != nil {
			c.Fatalf("%v", err)
		}
		s = append(s, tasks.Task{Subtopology: id, Partition: int32(n)})
	}
	return newSet(s)
}

// send shows what the member is told.
func (d *driver) send(req *msg.StreamsGroupHeartbeatRequest) string {
	b, err := d.beat(req)
	if err != nil {
		return fmt.Sprintf("%s: %s", kafka.CodeOf(err).Name(), kind.Text(err))
	}
	r := b.Response
	d.epochs[r.MemberID] = r.MemberEpoch
	var out strings.Builder
	fmt.Fprintf(&out, "epoch %d", r.MemberEpoch)
	if r.ActiveTasks != nil {
		fmt.Fprintf(&out, ", active %s, standby %s", told(r.ActiveTasks), told(r.StandbyTasks))
	}
	if r.EndpointInformationEpoch != 0 {
		fmt.Fprintf(&out, ", endpoints %d", r.EndpointInformationEpoch)
	}
	if r.TopologyDescriptionRequired {
		out.WriteString(", describe yourself")
	}
	for _, e := range r.PartitionsByUserEndpoint {
		fmt.Fprintf(&out, "\n%s serves %v and stands by for %v", e.UserEndpoint.Host, e.ActivePartitions, e.StandbyPartitions)
	}
	for _, s := range r.Status {
		fmt.Fprintf(&out, "\nstatus %d: %s", s.StatusCode, s.StatusDetail)
	}
	for _, t := range b.Create {
		fmt.Fprintf(&out, "\nmake %s with %d partitions", t.Name, t.Partitions)
	}
	return out.String()
}

func told(list []msg.StreamsGroupHeartbeatResponseTaskID) string {
	var s set
	for _, t := range list {
		s = appendTasks(s, t.SubtopologyID, t.Partitions)
	}
	return "[" + showSet(s) + "]"
}

func (d *driver) commit(c *script.Cmd) string {
	who := kind.Committer{Member: c.Arg(0), Epoch: int32(c.IntKey("epoch", int64(d.epochs[c.Arg(0)]))), Version: 9}
	if code := d.g.CheckCommit(who); code != kafka.None {
		return code.Name()
	}
	return d.g.CheckPartition(who, c.Arg(1), int32(c.Int(2))).Name()
}

// show is the group in a few lines.
func (d *driver) show() string {
	g := d.g
	var b strings.Builder
	fmt.Fprintf(&b, "%s, epoch %d, target of %d", g.State(), g.epoch, g.assignment)
	for _, id := range g.order() {
		m := g.members[id]
		state := map[memberState]string{stable: "stable", unrevoked: "unrevoked", unreleased: "unreleased"}[m.state]
		fmt.Fprintf(&b, "\n%s %s in %d after %d, has [%s] [%s]", id, state, m.epoch, m.previous, showSet(m.assigned.active), showSet(m.assigned.standby))
		if !m.revoking.empty() {
			fmt.Fprintf(&b, ", gives up [%s] [%s]", showSet(m.revoking.active), showSet(m.revoking.standby))
		}
		if t := g.targets[id]; t != nil && !t.equal(&m.assigned) {
			fmt.Fprintf(&b, ", is to have [%s] [%s]", showSet(t.active), showSet(t.standby))
		}
		epochs := map[int32]bool{}
		for _, since := range m.since {
			epochs[since] = true
		}
		fmt.Fprintf(&b, ", since %v", slices.Sorted(maps.Keys(epochs)))
	}
	return b.String()
}

func (d *driver) describe(c *script.Cmd) string {
	if len(c.Args) > 0 {
		req := &msg.StreamsGroupTopologyDescriptionUpdateRequest{GroupID: "app", MemberID: c.Arg(0), TopologyEpoch: int32(c.IntKey("epoch", 0))}
		req.TopologyDescription.Subtopologies = []msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionSubtopology{{
			SubtopologyID: "0", Nodes: []msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode{{Name: "n", NodeType: int8(c.IntKey("node", 1))}},
		}}
		step, err := d.g.SetDescription(req)
		if err != nil {
			return fmt.Sprintf("%s: %s", kafka.CodeOf(err).Name(), kind.Text(err))
		}
		d.append(step)
		return "kept"
	}
	t := d.g.Describe(true)
	var b strings.Builder
	fmt.Fprintf(&b, "%s, epoch %d, description %d", t.GroupState, t.GroupEpoch, t.TopologyDescriptionStatus)
	for _, s := range t.Topology.Subtopologies {
		fmt.Fprintf(&b, "\n%s reads %v %v, writes %v, keeps %v", s.SubtopologyID, s.SourceTopics, s.RepartitionSourceTopics, s.RepartitionSinkTopics, s.StateChangelogTopics)
	}
	for _, m := range t.Members {
		fmt.Fprintf(&b, "\n%s of %s, disk %v", m.MemberID, m.ProcessID, m.TaskOffsets)
	}
	return b.String()
}
