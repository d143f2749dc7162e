package sim

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/history"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// How long things may take.
const (
	startLimit    = 2 * time.Minute // until topics can be made
	recoveryLimit = 2 * time.Minute // until everything works again after the last fault
)

// within repeats do until it succeeds. errGone and errRetry may pass, and so may
// whatever else is said before the time is up if it is wrapped in one of them.
func (a *agent) within(limit time.Duration, do func() error) error {
	var err error
	for until := time.Now().Add(limit); time.Now().Before(until) && !a.fleet.broken(); {
		if err = do(); err == nil || !errors.Is(err, errGone) && !errors.Is(err, errRetry) {
			return err
		}
		a.rest(50*time.Millisecond, 300*time.Millisecond)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("not within %v: %s", limit, err)
}

// openTopics makes the topics of the play once the cluster answers.
func (a *agent) openTopics() error {
	for _, t := range a.fleet.topics {
		err := a.within(startLimit, func() error {
			req := msg.NewCreateTopicsRequest()
			req.TimeoutMs = 10000
			topic := msg.CreateTopicsRequestTopic{Name: t.name, NumPartitions: t.parts, ReplicationFactor: t.rf}
			small, two := "1048576", "2"
			topic.Configs = []msg.CreateTopicsRequestTopicConfig{{Name: "segment.bytes", Value: &small}}
			if t.rf > 1 {
				topic.Configs = append(topic.Configs, msg.CreateTopicsRequestTopicConfig{Name: "min.insync.replicas", Value: &two})
			}
			req.Topics = []msg.CreateTopicsRequestTopic{topic}
			var resp msg.CreateTopicsResponse
			if err := a.ask(a.anyone(), &req, 5, &resp); err != nil {
				return err
			}
			switch c := kafka.Code(resp.Topics[0].ErrorCode); c {
			case kafka.None, kafka.TopicAlreadyExists:
				return nil
			case kafka.InvalidReplicationFactor:
				return fmt.Errorf("%w: not enough brokers", errRetry)
			default:
				return a.passing("CreateTopics of "+t.name, c)
			}
		})
		if err != nil {
			return err
		}
	}
	return a.shareAll()
}

// shareAll lets the share group begin with the first record there is.
func (a *agent) shareAll() error {
	earliest, ten := "earliest", "10"
	var req msg.IncrementalAlterConfigsRequest
	req.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 32, ResourceName: sharing, Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{
		{Name: "share.auto.offset.reset", Value: &earliest}, {Name: "share.delivery.count.limit", Value: &ten}}}}
	return a.within(startLimit, func() error {
		var resp msg.IncrementalAlterConfigsResponse
		if err := a.ask(a.anyone(), &req, 1, &resp); err != nil {
			return err
		}
		if c := kafka.Code(resp.Responses[0].ErrorCode); c != kafka.None {
			return a.passing("IncrementalAlterConfigs of "+sharing, c)
		}
		return nil
	})
}

// shareLag demands that the share group is given all that was read of its topic
// before now.
func (a *agent) shareLag() error {
	ends := map[tp]int64{}
	c := &cursor{agent: a, at: map[tp]int64{}}
	for _, p := range a.fleet.parts(shared) {
		err := a.within(recoveryLimit, func() (err error) {
			ends[p], err = c.latest(p)
			return err
		})
		if err != nil {
			return err
		}
	}
	return a.within(recoveryLimit, func() error {
		for _, p := range a.fleet.parts(shared) {
			if o, missing := a.fleet.book.neverGiven(sharing, p, ends[p]); missing {
				return fmt.Errorf("%w: the share group was never given offset %d of %v", errRetry, o, p)
			}
		}
		return nil
	})
}

// recovery demands that everything works again:
//
//	brokers   every node tells the same of every topic: leaders, whole ISRs
//	agents    each of them gets something done
//	sharing   every record of the shared topic comes to somebody
func (a *agent) recovery(n *nemesis) {
	if err := a.within(recoveryLimit, a.whole); err != nil {
		a.fleet.violate("after healing: %v", err)
		return
	}
	a.fleet.tell("", "all partitions have leaders and whole ISRs, and all nodes say so")
	had := map[string]int{}
	for _, c := range a.fleet.crew {
		had[c.name], _ = c.progress()
	}
	err := a.within(recoveryLimit, func() error {
		for _, c := range a.fleet.crew {
			if rounds, blocked := c.progress(); rounds < had[c.name]+3 {
				return fmt.Errorf("%w: %s gets nothing done: %s", errRetry, c.name, blocked)
			}
		}
		return nil
	})
	if err == nil {
		err = a.shareLag()
	}
	if err != nil {
		a.fleet.violate("after healing: %v", err)
	}
}

// whole compares what the nodes say.
func (a *agent) whole() error {
	var first string
	for i := range a.fleet.nodes {
		req := msg.NewMetadataRequest()
		req.Topics = nil
		var resp msg.MetadataResponse
		if err := a.ask(int32(i), &req, 12, &resp); err != nil {
			return fmt.Errorf("%w: metadata of node %d", err, i)
		}
		said, err := picture(&resp, len(a.fleet.nodes))
		if err != nil {
			return fmt.Errorf("%w: node %d: %v", errRetry, i, err)
		}
		if first == "" {
			first = said
		} else if said != first {
			return fmt.Errorf("%w: node %d says other things than node 0:\n%s\n%s", errRetry, i, said, first)
		}
	}
	return nil
}

// picture puts an answer to Metadata into words that compare.
func picture(resp *msg.MetadataResponse, nodes int) (string, error) {
	var b strings.Builder
	if len(resp.Brokers) != nodes {
		return "", fmt.Errorf("%d brokers are alive, not %d", len(resp.Brokers), nodes)
	}
	slices.SortFunc(resp.Topics, func(x, y msg.MetadataResponseTopic) int { return strings.Compare(*x.Name, *y.Name) })
	for _, t := range resp.Topics {
		slices.SortFunc(t.Partitions, func(x, y msg.MetadataResponseTopicPartition) int { return int(x.PartitionIndex - y.PartitionIndex) })
		for _, p := range t.Partitions {
			if p.LeaderID < 0 || p.ErrorCode != 0 {
				return "", fmt.Errorf("%s-%d has no leader", *t.Name, p.PartitionIndex)
			}
			if len(p.ISRNodes) < len(p.ReplicaNodes) {
				return "", fmt.Errorf("%s-%d: of %v only %v are in sync", *t.Name, p.PartitionIndex, p.ReplicaNodes, p.ISRNodes)
			}
			fmt.Fprintf(&b, "%s-%d %v leader %d epoch %d\n", *t.Name, p.PartitionIndex, p.ReplicaNodes, p.LeaderID, p.LeaderEpoch)
		}
	}
	return b.String(), nil
}

// reckoning reads everything once more and holds it to the history.
func (a *agent) reckoning(*nemesis) {
	final := map[string]map[int64]int64{}
	c := &cursor{agent: a, at: map[tp]int64{}}
	process := a.fleet.book.process()
	all := a.fleet.parts(plain, wide, copied, shared, loose)
	for _, p := range all {
		final[p.String()] = map[int64]int64{}
		err := a.within(recoveryLimit, func() error { return c.toTheEnd(p, process, final[p.String()]) })
		if err != nil {
			a.fleet.violate("reading %v to its end: %v", p, err)
			return
		}
	}
	ends := map[tp]int64{}
	for _, p := range a.fleet.parts(plain) {
		err := a.within(recoveryLimit, func() (err error) {
			ends[p], err = a.committed("copiers", p, "", -1)
			return err
		})
		if err != nil {
			a.fleet.violate("the copiers' offset of %v: %v", p, err)
			return
		}
	}
	for _, bad := range a.fleet.book.verdict(final, a.fleet.parts(loose)) {
		a.fleet.violate("%s", bad)
	}
	for _, bad := range a.fleet.book.verdictOfCopies(final, a.fleet.parts(copied), ends) {
		a.fleet.violate("%s", bad)
	}
}

// toTheEnd reads a partition as far as it goes, which is the high watermark once
// no transaction is open.
func (c *cursor) toTheEnd(p tp, process int, into map[int64]int64) error {
	for {
		before := c.at[p]
		got, err := c.poll([]tp{p}, 1<<20)
		if err != nil {
			return err
		}
		if len(got) > 0 {
			c.fleet.book.note(history.Op{Process: process, Steps: []history.Step{{Polled: got}}})
			for _, r := range got {
				into[r.Offset] = r.Value
			}
		}
		if c.at[p] == before {
			break
		}
	}
	mark, err := c.latest(p)
	if err == nil && mark > c.at[p] {
		err = fmt.Errorf("%w: it can be read up to %d of %d", errRetry, c.at[p], mark)
	}
	return err
}

// latest asks for the high watermark.
func (c *cursor) latest(p tp) (int64, error) {
	leader, err := c.lead(p)
	if err != nil {
		return 0, err
	}
	req := msg.NewListOffsetsRequest()
	lp := msg.NewListOffsetsRequestTopicPartition()
	lp.PartitionIndex, lp.Timestamp = p.part, -1
	req.ReplicaID = -1
	req.Topics = []msg.ListOffsetsRequestTopic{{Name: p.topic, Partitions: []msg.ListOffsetsRequestTopicPartition{lp}}}
	var resp msg.ListOffsetsResponse
	if err := c.ask(leader, &req, 6, &resp); err != nil {
		return 0, err
	}
	r := resp.Topics[0].Partitions[0]
	if code := kafka.Code(r.ErrorCode); code != kafka.None {
		_ = c.refresh()
		return 0, c.passing("ListOffsets of "+p.String(), code)
	}
	return r.Offset, nil
}

// compareDisks holds the logs that the nodes left behind to each other, byte by
// byte. All were whole when they were drained, and nobody wrote since.
func (f *fleet) compareDisks() {
	for _, t := range f.topics {
		for _, p := range t.each() {
			var first []byte
			var of int
			for i, m := range f.nodes {
				b, err := logBytes(m.fs, path.Join("/data", p.String()))
				switch {
				case err != nil && t.rf == int16(len(f.nodes)):
					f.violate("the log of %v on node %d: %v", p, i, err)
				case err != nil:
				case first == nil:
					first, of = b, i
				case !bytes.Equal(b, first):
					f.violate("%v: node %d has %d bytes and node %d %d, and they differ from byte %d on", p, i, len(b), of, len(first), differ(b, first))
				}
			}
		}
	}
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func logBytes(fs vfs.FS, dir string) ([]byte, error) {
	names, err := fs.ReadNames(dir)
	if err != nil {
		return nil, err
	}
	all := []byte{}
	for _, n := range names {
		if !strings.HasSuffix(n.Name, ".log") {
			continue
		}
		b, err := vfs.ReadFile(fs, path.Join(dir, n.Name), 1<<30)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}
