package controller

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// letter is an AlterPartition on its way.
type letter struct {
	from  int32
	epoch int64
	at    spot
	req   *msg.AlterPartitionRequest
}

// step lets something happen.
func (w *world) step() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch k := w.rng.IntN(200); {
	case k < 70:
		w.work(n)
	case k < 110:
		if n.alive {
			w.observe(n, n.seen+w.rng.IntN(len(w.history)-n.seen))
		}
	case k < 130:
		for _, n := range w.nodes {
			if n.alive && w.rng.IntN(4) > 0 {
				w.observe(n, len(w.history)-1)
			}
		}
	case k < 155:
		w.heartbeat(n, w.rng.IntN(60) == 0, w.rng.IntN(40) == 0)
	case k < 157:
		w.crash(n)
	case k < 166:
		w.start(n)
	case k < 168:
		ids := []int32{n.id}
		if w.rng.IntN(3) == 0 {
			ids = append(ids, int32(w.rng.IntN(len(w.nodes))))
		}
		w.decide(fmt.Sprintf("fence %v", ids), FenceBrokers(w.State, ids))
	case k < 190:
		w.deliver()
	default:
		w.administer(n)
	}
}

// work is what a leader and its followers do with the partitions that it leads.
func (w *world) work(n *node) {
	for _, t := range w.Image.Topics() {
		for i := range t.Partitions {
			at := spot{t.Name, int32(i)}
			l := n.leads[at]
			if !n.alive || l == nil {
				continue
			}
			if w.rng.IntN(2) == 0 {
				w.records++
				n.logs[at] = append(slices.Clip(n.logs[at]), w.records)
			}
			if w.rng.IntN(2) == 0 {
				n.flushed[at] = len(n.logs[at])
			}
			for _, i := range w.rng.Perm(len(w.nodes)) {
				for range w.rng.IntN(3) {
					w.fetch(w.nodes[i], at)
				}
			}
			w.commit(n, at, l)
			w.propose(n, at, l)
		}
	}
}

func (w *world) pick() *cluster.Topic { return w.Image.Topics()[w.rng.IntN(w.Image.TopicCount())] }

// fetch copies from the leader that a follower knows, if that knows itself so.
func (w *world) fetch(n *node, at spot) {
	p := w.view(n).Topic(at.topic).Partition(at.partition)
	if p == nil || !n.alive || !p.HasReplica(n.id) || p.Leader < 0 || p.Leader == n.id {
		return
	}
	from := w.nodes[p.Leader]
	l := from.leads[at]
	if !from.alive || l == nil || l.epoch != p.LeaderEpoch {
		return
	}
	l.ends[n.id], l.epochs[n.id] = len(common(n.logs[at], from.logs[at])), n.epoch // all of it is flushed
	n.logs[at] = common(n.logs[at], from.logs[at])
	if more := len(from.logs[at]) - len(n.logs[at]); more > 0 {
		n.logs[at] = slices.Clone(from.logs[at][:len(n.logs[at])+1+w.rng.IntN(more)])
	}
	n.flushed[at] = len(n.logs[at])
}

// commit moves the leader's high watermark.
func (w *world) commit(n *node, at spot, l *leading) {
	v := w.view(n)
	t := v.Topic(at.topic)
	seen := &State{Image: v, Config: w.Config.WithDefaults(v.Config(cluster.Resource{Kind: cluster.BrokerResource}).Map())}
	if len(l.isr) < max(1, min(seen.rulesOf(t).minISR, len(t.Partition(at.partition).Replicas))) || l.epoch < w.dirty[at] {
		return
	}
	end := n.flushed[at]
	for _, id := range slices.Concat(l.isr, l.pending) {
		if id != n.id {
			end = min(end, l.ends[id])
		}
	}
	if end > len(w.committed[at]) {
		w.committed[at] = slices.Clone(n.logs[at][:end])
		w.seen["committed"]++
		w.say("broker %d commits %s-%d up to %d", n.id, at.topic, at.partition, end)
		p := w.Image.Topic(at.topic).Partition(at.partition)
		w.check(w.Image.Topic(at.topic), nil, p)
	}
}

// propose asks for another ISR.
func (w *world) propose(n *node, at spot, l *leading) {
	if l.pending != nil {
		return
	}
	isr := slices.Clone(l.isr)
	p := w.view(n).Topic(at.topic).Partition(at.partition)
	id := p.Replicas[w.rng.IntN(len(p.Replicas))]
	end, known := l.ends[id]
	switch {
	case id == n.id:
		return
	case slices.Contains(isr, id) && w.rng.IntN(10) == 0:
		isr = drop(isr, id)
	case !slices.Contains(isr, id) && known && end >= l.start && end >= len(common(w.committed[at], n.logs[at])):
		isr = append(isr, id)
	default:
		return
	}
	l.pending = isr
	req := msg.NewAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = n.id, n.epoch
	rp := msg.AlterPartitionRequestTopicPartition{PartitionIndex: at.partition, LeaderEpoch: l.epoch, PartitionEpoch: l.partition}
	for _, id := range isr {
		epoch, ok := l.epochs[id]
		if !ok || id == n.id {
			epoch = -1
		}
		if n.id%2 == 0 { // as one that never was bytes
			rp.NewISR = append(rp.NewISR, id)
		}
		rp.NewISRWithEpochs = append(rp.NewISRWithEpochs, msg.AlterPartitionRequestTopicPartitionNewISRWithEpoch{BrokerID: id, BrokerEpoch: epoch})
	}
	req.Topics = []msg.AlterPartitionRequestTopic{{TopicID: w.Image.Topic(at.topic).ID, Partitions: []msg.AlterPartitionRequestTopicPartition{rp}}}
	w.mail = append(w.mail, letter{n.id, n.epoch, at, &req})
}

// deliver brings one letter to the controller, perhaps not the oldest, and its
// answer back, if that is not lost.
func (w *world) deliver() {
	if len(w.mail) == 0 {
		return
	}
	i := w.rng.IntN(len(w.mail))
	m := w.mail[i]
	if w.rng.IntN(8) > 0 { // else it comes again
		w.mail = slices.Delete(w.mail, i, i+1)
	}
	recs, resp := AlterPartition(w.State, m.req)
	w.invited = map[spot][]int32{}
	if len(recs) > 0 {
		for _, member := range m.req.Topics[0].Partitions[0].NewISRWithEpochs {
			w.invited[m.at] = append(w.invited[m.at], member.BrokerID)
		}
	}
	defer func() { w.invited = nil }()
	w.decide(fmt.Sprintf("alter of %d: %v", m.from, m.req.Topics[0].Partitions[0]), recs)
	n := w.nodes[m.from]
	l := n.leads[m.at]
	if !n.alive || n.epoch != m.epoch || l == nil || resp.ErrorCode != 0 || w.rng.IntN(4) == 0 {
		return
	}
	switch row := resp.Topics[0].Partitions[0]; {
	case row.ErrorCode == int16(kafka.IneligibleReplica) && l.epoch == m.req.Topics[0].Partitions[0].LeaderEpoch:
		l.pending = nil
	case row.ErrorCode == 0 && row.LeaderEpoch == l.epoch && row.PartitionEpoch > l.partition:
		l.isr, l.partition, l.pending = row.ISR, row.PartitionEpoch, nil
	}
}

// observe shows a node a newer image.
func (w *world) observe(n *node, index int) {
	n.seen = index
	for _, t := range w.view(n).Topics() {
		for i := range t.Partitions {
			p, at := &t.Partitions[i], spot{t.Name, int32(i)}
			l := n.leads[at]
			switch {
			case !p.HasReplica(n.id):
				delete(n.logs, at)
				delete(n.flushed, at)
				delete(n.leads, at)
			case p.Leader != n.id:
				delete(n.leads, at)
			case l == nil || l.epoch != p.LeaderEpoch:
				n.leads[at] = &leading{p.LeaderEpoch, p.PartitionEpoch, len(n.logs[at]), p.ISR, nil, map[int32]int{}, map[int32]int64{}}
			case l.partition < p.PartitionEpoch:
				l.isr, l.partition, l.pending = p.ISR, p.PartitionEpoch, nil
			}
		}
	}
}

func (w *world) heartbeat(n *node, fence, stop bool) {
	if !n.alive {
		return
	}
	req := msg.NewBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = n.id, n.epoch, w.view(n).Index()
	req.WantFence, req.WantShutDown = fence, stop
	recs, resp := BrokerHeartbeat(w.State, &req)
	w.decide(fmt.Sprintf("heartbeat of %d fence %v stop %v", n.id, fence, stop), recs)
	if resp.ShouldShutDown {
		for at := range n.logs {
			n.flushed[at] = len(n.logs[at])
		}
		n.alive, n.ended = false, true
		n.leads = map[spot]*leading{}
	}
}

// crash takes a process away, with what was not flushed.
func (w *world) crash(n *node) {
	if !n.alive {
		return
	}
	w.say("crash of %d", n.id)
	n.alive, n.ended = false, false
	n.leads = map[spot]*leading{}
	for at := range n.logs {
		n.logs[at] = n.logs[at][:n.flushed[at]:n.flushed[at]]
	}
}

// start brings a node back; where somebody else can be elected it may be with
// yesterday's disk, and with none at all even where nobody can.
func (w *world) start(n *node) {
	if n.alive {
		return
	}
	w.drawn++
	req := msg.NewBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = n.id, "test", kafka.UUID{1: w.drawn, 2: byte(n.id), 3: byte(len(w.history)), 4: byte(len(w.history) >> 8)}
	req.PreviousBrokerEpoch = -1
	if n.ended {
		req.PreviousBrokerEpoch = n.epoch
	} else if k := w.rng.IntN(6); k == 0 {
		w.say("disk of %d is new", n.id)
		n.disk++
		clear(n.logs)
		clear(n.flushed)
	} else if k < 3 && w.replaceable(n.id) {
		w.say("disk of %d is old", n.id)
		for _, t := range w.Image.Topics() {
			for i := range t.Partitions {
				at := spot{t.Name, int32(i)}
				n.logs[at] = n.logs[at][:w.rng.IntN(len(n.logs[at])+1)]
				n.flushed[at] = len(n.logs[at])
			}
		}
	}
	req.LogDirs = []kafka.UUID{{2: byte(n.id) + 1, 3: n.disk + 1}}
	rack := string('a' + rune(n.id%3))
	req.Rack = &rack
	for _, f := range Supported() {
		req.Features = append(req.Features, msg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	recs, resp := RegisterBroker(w.State, &req, false)
	if resp.ErrorCode != 0 {
		w.fail("broker %d cannot register: %v", n.id, kafka.Code(resp.ErrorCode))
	}
	n.alive, n.ended, n.epoch = true, false, resp.BrokerEpoch
	w.decide(fmt.Sprintf("register %d", n.id), recs)
	w.observe(n, len(w.history)-1)
}

// replaceable says whether others can be elected for all that a broker may be.
func (w *world) replaceable(id int32) bool {
	for _, t := range w.Image.Topics() {
		for i := range t.Partitions {
			both := slices.Concat(t.Partitions[i].ISR, t.Partitions[i].ELR)
			if len(both) == 1 && both[0] == id {
				return false
			}
		}
	}
	return true
}

// administer is what operators and timers ask for.
func (w *world) administer(n *node) {
	t := w.pick()
	id := int32(w.rng.IntN(len(t.Partitions)))
	elect := func(kind int8) {
		req := msg.NewElectLeadersRequest()
		req.ElectionType, req.TopicPartitions = kind, []msg.ElectLeadersRequestTopicPartition{{Topic: t.Name, Partitions: []int32{id}}}
		recs, _ := ElectLeaders(w.State, &req)
		w.decide(fmt.Sprintf("election %d of %s-%d", kind, t.Name, id), recs)
	}
	switch w.rng.IntN(12) {
	case 0:
		elect(electPreferred)
	case 1:
		if at := (spot{t.Name, id}); t.Partitions[id].Leader < 0 {
			before := w.dirty[at]
			if w.dirty[at] = -1; true {
				elect(electUnclean)
			}
			if w.dirty[at] == -1 {
				w.dirty[at] = before
			}
		}
	case 2:
		recs, _ := Balance(w.State)
		w.decide("balance", recs)
	case 3:
		recs, _ := ElectUnclean(w.State)
		w.decide("unclean elections", recs)
	case 4, 5, 6:
		w.reassign(t, id)
	case 7:
		if w.rng.IntN(3) == 0 {
			w.configure(MinISR, fmt.Sprint(1+w.rng.IntN(3)))
		}
	case 8:
		if w.rng.IntN(4) == 0 {
			w.configure(Unclean, "true")
		} else {
			w.configure(Unclean, "false")
		}
	case 9:
		recs, _ := UnregisterBroker(w.State, &msg.UnregisterBrokerRequest{BrokerID: n.id})
		if !n.alive && recs != nil && w.rng.IntN(4) == 0 {
			w.decide(fmt.Sprintf("unregister %d", n.id), recs)
		}
	case 10:
		w.house(n)
	default:
		if len(t.Partitions) < 4 {
			req := msg.NewCreatePartitionsRequest()
			req.Topics = []msg.CreatePartitionsRequestTopic{{Name: t.Name, Count: int32(len(t.Partitions) + 1)}}
			recs, _ := CreatePartitions(w.State, &req)
			w.decide("grow "+t.Name, recs)
		}
	}
}

// house puts the replicas of a broker that it has begun anew into its directory.
// A broker that may be elected has none that began anew.
func (w *world) house(n *node) {
	b := w.Image.Broker(n.id)
	if !n.alive || b == nil {
		return
	}
	for _, t := range w.Image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if !p.HasReplica(n.id) || b.HasDirectory(p.DirectoryOf(n.id)) || slices.Contains(p.ELR, n.id) {
				continue
			}
			req := msg.NewAssignReplicasToDirsRequest()
			req.BrokerID, req.BrokerEpoch = n.id, n.epoch
			req.Directories = []msg.AssignReplicasToDirsRequestDirectory{{ID: b.LogDirs[0], Topics: []msg.AssignReplicasToDirsRequestDirectoryTopic{{
				TopicID: t.ID, Partitions: []msg.AssignReplicasToDirsRequestDirectoryTopicPartition{{PartitionIndex: int32(i)}}}}}}
			recs, _ := AssignReplicasToDirs(w.State, &req)
			w.decide(fmt.Sprintf("broker %d houses %s-%d", n.id, t.Name, i), recs)
		}
	}
}

func (w *world) reassign(t *cluster.Topic, id int32) {
	req := msg.NewAlterPartitionReassignmentsRequest()
	rp := msg.AlterPartitionReassignmentsRequestTopicPartition{PartitionIndex: id}
	if w.rng.IntN(3) > 0 {
		for _, i := range w.rng.Perm(len(w.nodes))[:1+w.rng.IntN(3)] {
			rp.Replicas = append(rp.Replicas, int32(i))
		}
	}
	req.Topics = []msg.AlterPartitionReassignmentsRequestTopic{{Name: t.Name, Partitions: []msg.AlterPartitionReassignmentsRequestTopicPartition{rp}}}
	at := spot{t.Name, id}
	recs, _ := AlterPartitionReassignments(w.State, &req)
	w.decide(fmt.Sprintf("reassign %s-%d to %v", at.topic, id, rp.Replicas), recs)
}

func (w *world) configure(name, value string) {
	req := msg.NewIncrementalAlterConfigsRequest()
	req.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: int8(cluster.BrokerResource),
		Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}}}}
	recs, resp := IncrementalAlterConfigs(w.State, &req, 0)
	if resp.Responses[0].ErrorCode != 0 {
		w.fail("%s=%s: %s", name, value, *resp.Responses[0].ErrorMessage)
	}
	w.decide(name+"="+value, recs)
}

func (w *world) create() {
	req := msg.NewCreateTopicsRequest()
	for _, name := range []string{"a", "b"} {
		req.Topics = append(req.Topics, msg.CreateTopicsRequestTopic{Name: name, NumPartitions: 2, ReplicationFactor: int16(1 + w.rng.IntN(3))})
	}
	recs, resp := CreateTopics(w.State, &req)
	for _, row := range resp.Topics {
		if row.ErrorCode != 0 {
			w.fail("%s: %s", row.Name, *row.ErrorMessage)
		}
	}
	w.decide("create", recs)
}
