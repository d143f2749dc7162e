package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describe asks a node about the quorum.
func (c *cohort) describe(n *peerNode) (msg.DescribeQuorumResponseTopicPartition, []msg.DescribeQuorumResponseNode) {
	c.t.Helper()
	req, resp := msg.NewDescribeQuorumRequest(), msg.NewDescribeQuorumResponse()
	req.Topics = []msg.DescribeQuorumRequestTopic{{TopicName: quorum.Topic, Partitions: []msg.DescribeQuorumRequestTopicPartition{{}}}}
	c.call(n, &req, &resp, 2)
	return resp.Topics[0].Partitions[0], resp.Nodes
}

func replicaIDs(list []msg.DescribeQuorumResponseReplicaState) []int32 {
	var ids []int32
	for _, r := range list {
		ids = append(ids, r.ReplicaID)
	}
	slices.Sort(ids)
	return ids
}

func (c *cohort) addVoter(by, n *peerNode) (kafka.Code, *string) {
	req, resp := msg.NewAddRaftVoterRequest(), msg.NewAddRaftVoterResponse()
	req.ClusterID, req.TimeoutMs = new(testCluster), 20_000
	req.VoterID, req.VoterDirectoryID = n.id, n.metadata.DirectoryID()
	req.Listeners = []msg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: fmt.Sprintf("node%d", n.id), Port: 9093}}
	c.call(by, &req, &resp, 1)
	return kafka.Code(resp.ErrorCode), resp.ErrorMessage
}

// addNobody asks for the vote of a node that is not there.
func (c *cohort) addNobody(by *peerNode) kafka.Code {
	req, resp := msg.NewAddRaftVoterRequest(), msg.NewAddRaftVoterResponse()
	req.TimeoutMs, req.VoterID, req.VoterDirectoryID = 2000, 99, kafka.UUID{7: 1}
	req.Listeners = []msg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "node99", Port: 9093}}
	c.call(by, &req, &resp, 1)
	return kafka.Code(resp.ErrorCode)
}

func (c *cohort) removeVoter(by *peerNode, id int32, directory kafka.UUID) kafka.Code {
	req, resp := msg.NewRemoveRaftVoterRequest(), msg.NewRemoveRaftVoterResponse()
	req.VoterID, req.VoterDirectoryID = id, directory
	c.call(by, &req, &resp, 0)
	if resp.ErrorMessage != nil {
		c.t.Logf("remove %d: %s", id, *resp.ErrorMessage)
	}
	return kafka.Code(resp.ErrorCode)
}

func (c *cohort) stopAll() {
	for _, n := range c.nodes {
		n.stop()
	}
	for _, n := range c.nodes {
		<-n.done
	}
}

// A fourth node joins, is made a voter through a node that does not lead, and the
// leader is taken out of the voters: each is told by every node.
func TestVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		four := c.add(4, "controller.quorum.bootstrap.servers=node1:9093,node2:9093")
		c.start(four)
		c.ready(four)
		leader := c.leader(c.nodes...)
		c.settle(c.nodes...)
		for _, n := range c.nodes {
			row, nodes := c.describe(n)
			if row.ErrorCode != 0 || row.LeaderID != leader || !slices.Equal(replicaIDs(row.CurrentVoters), []int32{1, 2, 3}) ||
				!slices.Equal(replicaIDs(row.Observers), []int32{4}) || len(nodes) != 4 || len(nodes[0].Listeners) != 1 {
				t.Errorf("node %d: %+v %+v", n.id, row, nodes)
			}
			now := time.Now().UnixMilli()
			for _, r := range slices.Concat(row.CurrentVoters, row.Observers) {
				if r.LogEndOffset < 2 || now-r.LastFetchTimestamp > 5000 || now-r.LastCaughtUpTimestamp > 5000 {
					t.Errorf("at %d, high watermark %d: %+v", now, row.HighWatermark, r)
				}
			}
		}
		other := c.node(leader%3 + 1)
		if code, _ := c.addVoter(other, other); code != kafka.DuplicateVoter {
			t.Errorf("a voter again: %v", code)
		}
		if code := c.addNobody(other); code != kafka.RequestTimedOut {
			t.Errorf("a node that nobody has heard of: %v", code)
		}
		if row, _ := c.describe(other); !slices.Equal(replicaIDs(row.CurrentVoters), []int32{1, 2, 3}) || !slices.Equal(replicaIDs(row.Observers), []int32{4}) {
			t.Errorf("after a node that nobody has heard of: %+v", row)
		}
		if code, text := c.addVoter(other, four); code != kafka.None {
			t.Fatalf("%v %v", code, text)
		}
		old := c.node(leader)
		if code := c.removeVoter(other, leader, kafka.UUID{1}); code != kafka.VoterNotFound {
			t.Errorf("a directory that is not the voter's: %v", code)
		}
		if code := c.removeVoter(four, leader, old.metadata.DirectoryID()); code != kafka.None {
			t.Fatal(code)
		}
		var next int32
		for range 200 {
			if next = c.leader(c.nodes...); next != leader {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		row, _ := c.describe(four)
		want := slices.DeleteFunc([]int32{1, 2, 3, 4}, func(id int32) bool { return id == leader })
		if !slices.Equal(replicaIDs(row.CurrentVoters), want) || !slices.Equal(replicaIDs(row.Observers), []int32{leader}) || row.LeaderID == leader {
			t.Errorf("after %d voted for the last time: %+v", leader, row)
		}
		if code := c.create(old, "after", 1, 3); code != kafka.None {
			t.Error(code)
		}
		c.samePicture(c.nodes...)
		c.stopAll()
	})
}

// A voter that loses its disk comes back as somebody else under its old number. It
// counts for nothing until it is made a voter, and its predecessor can be removed.
func TestVoterComesBackEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		leader := c.leader(c.nodes...)
		lost := c.node(leader%3 + 1)
		before := lost.metadata.DirectoryID()
		lost.end(t)
		lost.cfg.FS, lost.cfg.Join = vfs.NewMem(vfs.MemConfig{}), true
		c.start(lost)
		c.ready(lost)
		if lost.metadata.DirectoryID() == before {
			t.Fatal("it has the directory id of the disk that is lost")
		}
		by := c.node(leader)
		row, _ := c.describe(by)
		if !slices.Equal(replicaIDs(row.CurrentVoters), []int32{1, 2, 3}) || !slices.Equal(replicaIDs(row.Observers), []int32{lost.id}) {
			t.Errorf("%+v", row)
		}
		if code, _ := c.addVoter(by, lost); code != kafka.DuplicateVoter {
			t.Errorf("while its predecessor votes: %v", code)
		}
		if code := c.removeVoter(lost, lost.id, before); code != kafka.None {
			t.Fatal(code)
		}
		if code, text := c.addVoter(lost, lost); code != kafka.None {
			t.Fatalf("%v %v", code, text)
		}
		row, _ = c.describe(by)
		if !slices.Equal(replicaIDs(row.CurrentVoters), []int32{1, 2, 3}) || len(row.Observers) != 0 {
			t.Errorf("%+v", row)
		}
		c.samePicture(c.nodes...)
		c.stopAll()
	})
}

// Without a majority nobody says that it knows how the quorum is.
func TestDescribeWithoutMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		leader := c.leader(c.nodes...)
		alone := c.node(leader)
		for _, n := range c.nodes {
			if n != alone {
				c.net.CutBoth(fmt.Sprintf("node%d", n.id), fmt.Sprintf("node%d", leader))
			}
		}
		if row, _ := c.describe(alone); row.ErrorCode == 0 || len(row.CurrentVoters) != 0 {
			t.Errorf("%+v", row)
		}
		if code := c.create(alone, "alone", 1, 1); code == kafka.None {
			t.Error("one of three has decided")
		}
		for _, n := range c.nodes {
			if n != alone {
				c.net.HealBoth(fmt.Sprintf("node%d", n.id), fmt.Sprintf("node%d", leader))
			}
		}
		c.stopAll()
	})
}
