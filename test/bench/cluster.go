package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// trio is three processes of ours that form a cluster, each broker and
// controller, each with a folder of its own.
type trio struct {
	binary string
	nodes  [3]*myelin // nil while it is down; node i has the id i+1
}

// startTrio starts three nodes on empty folders below dir and waits until all
// of them are in the cluster.
func startTrio(ctx context.Context, binary, dir string, set ...string) (*trio, error) {
	t := &trio{binary: binary}
	var clients, controllers, voters []string
	for i := range t.nodes {
		for _, list := range []*[]string{&clients, &controllers} {
			addr, err := freePort()
			if err != nil {
				return nil, err
			}
			*list = append(*list, addr)
		}
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, controllers[i]))
	}
	for i := range t.nodes {
		home, err := os.MkdirTemp(dir, fmt.Sprintf("node%d-", i+1))
		if err != nil {
			return nil, err
		}
		t.nodes[i] = &myelin{target: target{name: "myelin", addr: clients[i]}, dir: home}
		properties := append([]string{fmt.Sprintf("node.id=%d", i+1), "process.roles=broker,controller",
			fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s", clients[i], controllers[i]),
			"advertised.listeners=PLAINTEXT://" + clients[i], "controller.listener.names=CONTROLLER",
			"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
			"controller.quorum.voters=" + strings.Join(voters, ","), "admin.listener=127.0.0.1:0", "log.dirs=" + filepath.Join(home, "data")}, set...)
		if err := os.WriteFile(t.config(i), []byte(strings.Join(properties, "\n")+"\n"), 0o644); err != nil {
			return nil, err
		}
		out, err := exec.CommandContext(ctx, binary, "storage", "format", "--config", t.config(i), "--cluster-id", "BenchBenchBenchBenchBg").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("format node %d: %w: %s", i+1, err, out)
		}
	}
	for i := range t.nodes {
		if err := t.start(i); err != nil {
			return nil, errors.Join(err, t.stop())
		}
	}
	if err := t.until(ctx, "three brokers", func(m *kmsg.MetadataResponse) bool { return len(m.Brokers) == len(t.nodes) }); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

func (t *trio) config(i int) string { return filepath.Join(t.nodes[i].dir, "server.properties") }

// start starts node i on what is in its folder, and waits for nothing.
func (t *trio) start(i int) error {
	addr := t.nodes[i].addr
	m, err := launch(t.binary, t.nodes[i].dir, "serve", "--config", t.config(i))
	if err != nil {
		return err
	}
	m.addr = addr
	t.nodes[i] = m
	return nil
}

// stop ends all three and removes what they wrote.
func (t *trio) stop() error {
	errs := make([]error, 2*len(t.nodes))
	var all sync.WaitGroup
	for i, m := range t.nodes {
		if m.cmd != nil {
			all.Go(func() { errs[i] = m.end(20 * time.Second) })
		}
	}
	all.Wait()
	for i, m := range t.nodes {
		errs[len(t.nodes)+i] = os.RemoveAll(m.dir)
	}
	return errors.Join(errs...)
}

// addrs are where clients reach the nodes, in an order of chance.
func (t *trio) addrs() []string {
	out := make([]string, len(t.nodes))
	for i, j := range rand.Perm(len(t.nodes)) {
		out[i] = t.nodes[j].addr
	}
	return out
}

// asked sends a request to some node that answers.
func asked(ctx context.Context, addrs []string, req kmsg.Request, version int16) (resp kmsg.Response, err error) {
	for _, addr := range addrs {
		if resp, err = askOne(ctx, addr, req, version); err == nil {
			return resp, nil
		}
	}
	return nil, err
}

// answerWithin is how long a node may be silent before another is asked.
const answerWithin = 2 * time.Second

func askOne(ctx context.Context, addr string, req kmsg.Request, version int16) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, err
	}
	return c.call(req, version)
}

// picture is the cluster's metadata with the given topics, as some node has it.
func picture(ctx context.Context, addrs []string, topics ...string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := asked(ctx, addrs, req, 9)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// until looks at the picture until ready likes what every node says.
func (t *trio) until(ctx context.Context, what string, ready func(*kmsg.MetadataResponse) bool, topics ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last error
	for {
		all := true
		for _, m := range t.nodes {
			got, err := picture(ctx, []string{m.addr}, topics...)
			if all = all && err == nil && ready(got); err != nil {
				last = err
			}
		}
		if all {
			return nil
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("the cluster has not come to %s: %w; the log of node 1:\n%s", what, errors.Join(ctx.Err(), last), t.nodes[0].log())
		}
	}
}

// create makes a topic whose partition i is led by node i+1 (modulo three) and
// has its replicas on all three.
func (t *trio) create(ctx context.Context, name string, partitions int32, configs ...string) error {
	if err := spreadTopic(ctx, t.nodes[0].addr, topicSpec{name, partitions, topicConfigs(configs)}); err != nil {
		return err
	}
	return t.whole(ctx, name)
}

// spreadTopic makes a topic whose leaders take turns over the brokers of a cluster
// and whose replicas are on three of them.
func spreadTopic(ctx context.Context, addr string, spec topicSpec) error {
	m, err := picture(ctx, []string{addr})
	if err != nil {
		return err
	}
	var ids []int32
	for _, b := range m.Brokers {
		ids = append(ids, b.NodeID)
	}
	slices.Sort(ids)
	if len(ids) < 3 {
		return fmt.Errorf("%s knows of %d brokers, three are needed", addr, len(ids))
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = spec.name, -1, -1
	for p := range spec.partitions {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = p
		for i := range 3 {
			a.Replicas = append(a.Replicas, ids[(int(p)+i)%len(ids)])
		}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	for kv := range slices.Chunk(spec.configs, 2) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = kv[0], &kv[1]
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := askOne(ctx, addr, req, 7)
	if err != nil {
		return err
	}
	if got := resp.(*kmsg.CreateTopicsResponse).Topics; len(got) != 1 || got[0].ErrorCode != 0 {
		return fmt.Errorf("create topic %s: %+v", spec.name, got)
	}
	return nil
}

// leaders gives the address of the leader of each partition.
func leaders(ctx context.Context, addrs []string, topic string) (map[int32]string, error) {
	m, err := picture(ctx, addrs, topic)
	if err != nil {
		return nil, err
	}
	of := map[int32]string{}
	for _, b := range m.Brokers {
		of[b.NodeID] = fmt.Sprintf("%s:%d", b.Host, b.Port)
	}
	out := map[int32]string{}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if addr, ok := of[p.Leader]; ok && p.ErrorCode == 0 {
				out[p.Partition] = addr
			}
		}
	}
	return out, nil
}

// whole waits until every partition of a topic has its first replica as leader
// and all three in sync. It asks for an election of those that wait for one.
func (t *trio) whole(ctx context.Context, name string) error {
	asked := time.Now()
	return t.until(ctx, "leaders of "+name, func(m *kmsg.MetadataResponse) bool {
		if len(m.Topics) != 1 || m.Topics[0].ErrorCode != 0 || len(m.Topics[0].Partitions) == 0 || len(m.Brokers) != 3 {
			return false
		}
		inSync, led := true, true
		for _, p := range m.Topics[0].Partitions {
			inSync = inSync && len(p.ISR) == 3
			led = led && len(p.Replicas) > 0 && p.Leader == p.Replicas[0]
		}
		if inSync && !led && time.Since(asked) > 200*time.Millisecond {
			asked = time.Now()
			_ = t.elect(ctx) // repeated until it helps
		}
		return inSync && led
	}, name)
}

// elect gives every partition to its preferred leader.
func (t *trio) elect(ctx context.Context) error {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis = 10_000
	_, err := asked(ctx, t.addrs(), req, 2)
	return err
}

// controller is the node that leads the quorum, from 0 on.
func (t *trio) controller(ctx context.Context) (int, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := asked(ctx, t.addrs(), req, 1)
	if err != nil {
		return 0, err
	}
	for _, topic := range resp.(*kmsg.DescribeQuorumResponse).Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode == 0 && p.LeaderID >= 1 && p.LeaderID <= 3 {
				return int(p.LeaderID) - 1, nil
			}
		}
	}
	return 0, errors.New("nobody leads the quorum")
}
