package courier

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func three(t *testing.T) (*ring, []quorum.Member) {
	r := newRing(t)
	voters := []quorum.Member{member(1, 1), member(2, 1), member(3, 1)}
	for _, v := range voters {
		r.start(v, r.format(v, voters...), "cluster")
	}
	return r, voters
}

// Three voters agree over the network. The death of the leader is noticed by the
// refusal of its machine: the next is there long before an election timeout. What
// comes back catches up.
func TestLeaderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := three(t)
		var took []time.Duration
		for round := range 6 {
			first := r.leader()
			for i := range 20 {
				if err := first.say(fmt.Sprint("round ", round, " ", i)); err != nil {
					t.Fatal(err)
				}
			}
			died := time.Now()
			first.kill()
			r.leader()
			took = append(took, time.Since(died))
			r.start(first.self, first.disk, "cluster")
			time.Sleep(time.Second)
		}
		slices.Sort(took)
		if last := took[len(took)-1]; last > 500*time.Millisecond {
			t.Errorf("without a leader for %v", took)
		}
		r.agree()
		if n := len(r.nodes[1].words.all()); n < 120 {
			t.Errorf("%d words", n)
		}
		r.end()
	})
}

// A leader that is cut off stops to lead, the others go on without it, and what it
// was told meanwhile is undone.
func TestLeaderCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := three(t)
		first := r.leader()
		for _, id := range r.ids() {
			if id != first.self.Node {
				r.net.CutBoth(host(id), host(first.self.Node))
			}
		}
		lost := make(chan error, 1)
		first.Propose([]byte("nobody hears this"), func(err error) { lost <- err })
		confirmed := make(chan error, 1)
		first.Confirm(func(err error) { confirmed <- err })
		time.Sleep(3 * time.Second)
		if err := <-lost; err == nil {
			t.Error("who is cut off has decided")
		}
		if err := <-confirmed; err == nil {
			t.Error("who is cut off has confirmed that it leads")
		}
		second := r.leader()
		if second == first {
			t.Fatal("the leader that is cut off leads")
		}
		for i := range 30 {
			if err := second.say(fmt.Sprint("b", i)); err != nil {
				t.Fatal(err)
			}
		}
		second.Confirm(func(err error) { confirmed <- err })
		if err := <-confirmed; err != nil {
			t.Error(err)
		}
		term := second.Status().Term
		for _, id := range r.ids() {
			r.net.HealBoth(host(id), host(first.self.Node))
		}
		r.agree()
		if got := r.nodes[1].Status().Term; got != term {
			t.Errorf("term %d became %d when the one that was cut off came back", term, got)
		}
		r.end()
	})
}

// A node that joins gets a snapshot in pieces, on a way that breaks in the middle,
// votes when it was promoted, and not any more when it was removed.
func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t)
		one := r.start(member(1, 1), r.format(member(1, 1), member(1, 1)), "cluster")
		synctest.Wait()
		for i := range 300 { // 4.5 MB: several snapshots, the log behind them cut
			if err := one.say(fmt.Sprint(i, strings.Repeat("-", 15000))); err != nil {
				t.Fatal(err)
			}
		}
		two := r.start(member(2, 1), r.format(member(2, 1)), "cluster")
		for _, ways := range [][2]string{{"node1", "node2"}, {"node2", "node1"}} {
			r.net.Latency(ways[0], ways[1], 5*time.Millisecond)
		}
		if err := change(one.AddLearner, two.self); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			two.mu.Lock()
			pieces := two.pieces
			two.mu.Unlock()
			if pieces > 4 {
				break
			}
		}
		r.net.Reset("node1", "node2")
		r.agree()
		if two.words.restored == 0 || two.pieces < 15 {
			t.Errorf("%d words from a snapshot, in %d pieces", two.words.restored, two.pieces)
		}
		if s := one.Status(); len(s.Learners) != 1 || s.Learners[0].End != int64(s.Last)+1 || s.Learners[0].Whole <= 0 {
			t.Errorf("status %+v", s)
		}
		if err := change(one.AddVoter, two.self); err != nil {
			t.Fatal(err)
		}
		if err := change(one.AddVoter, member(2, 9)); err == nil {
			t.Error("a second voter of node 2")
		}
		if err := one.say("by both"); err != nil {
			t.Fatal(err)
		}
		r.net.CutBoth("node1", "node2")
		if err := one.say("alone"); err == nil {
			t.Error("one of two voters has decided")
		}
		r.net.HealBoth("node1", "node2")
		leader := r.leader()
		other := r.nodes[3-leader.self.Node]
		if err := change(leader.Remove, other.self); err != nil {
			t.Fatal(err)
		}
		if err := change(leader.Remove, leader.self); err == nil {
			t.Error("the last voter was removed")
		}
		other.kill()
		if err := leader.say("alone again"); err != nil {
			t.Error(err)
		}
		r.end()
	})
}

// A voter that lost its disk comes back under another directory id: it learns, its
// predecessor is removed, and nobody takes messages meant for the other.
func TestWipedDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, voters := three(t)
		leader := r.leader()
		lost := r.nodes[leader.self.Node%3+1]
		if err := leader.say("before"); err != nil {
			t.Fatal(err)
		}
		lost.kill()
		fresh := member(lost.self.Node, 2)
		n := r.start(fresh, r.format(fresh), "cluster")
		time.Sleep(5 * time.Second)
		if got := n.words.all(); len(got) != 0 {
			t.Errorf("what was meant for the old directory has reached the new one: %q", got)
		}
		if r.warns.count["a member of the metadata quorum takes no messages of this node"] != 1 {
			t.Errorf("the log says %v", r.warns.count)
		}
		leader = r.leader()
		for _, step := range []struct {
			do func(quorum.Member, func(error))
			m  quorum.Member
		}{{leader.AddLearner, fresh}, {leader.Remove, lost.self}} {
			if err := change(step.do, step.m); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if err := change(leader.AddVoter, fresh); err != nil {
			t.Fatal(err)
		}
		r.agree()
		third := r.nodes[6-leader.self.Node-lost.self.Node]
		third.kill()
		if err := r.leader().say("with the new voter's vote"); err != nil {
			t.Error(err)
		}
		_ = voters
		r.end()
	})
}

// A voter whose disk was lost and formatted as it was in the beginning has no vote
// for one that lacks what the lost disk had.
func TestAmnesia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, voters := three(t)
		leader := r.leader()
		behind, wiped := r.nodes[leader.self.Node%3+1], r.nodes[(leader.self.Node+1)%3+1]
		behindDisk := behind.disk
		behind.kill()
		if err := leader.say("decided"); err != nil {
			t.Fatal(err)
		}
		leader.kill()
		wiped.kill()
		r.start(wiped.self, r.format(wiped.self, voters...), "cluster")
		r.start(behind.self, behindDisk, "cluster")
		time.Sleep(20 * time.Second)
		for _, id := range r.ids() {
			if s := r.nodes[id].Status(); s.Leader >= 0 {
				t.Errorf("node %d sees a leader: %+v", id, s)
			}
		}
		r.start(leader.self, leader.disk, "cluster")
		r.leader()
		r.agree()
		if got := r.nodes[behind.self.Node].words.all(); !slices.Contains(got, "decided") {
			t.Errorf("what was decided is lost: %q", got)
		}
		r.end()
	})
}

// A node with the id of a voter and another directory, and a node of another
// cluster, get no vote and do not disturb who leads.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, voters := three(t)
		leader := r.leader()
		term := leader.Status().Term
		two := r.nodes[leader.self.Node%3+1]
		two.kill()
		double := member(two.self.Node, 7)
		others := slices.DeleteFunc(slices.Clone(voters), func(m quorum.Member) bool { return m == two.self })
		d := r.start(double, r.format(double, append(others, double)...), "cluster")
		time.Sleep(20 * time.Second)
		if s := d.Status(); s.Leader == double.Node {
			t.Errorf("the double leads: %+v", s)
		}
		if s := leader.Status(); s.Term != term || s.Leader != leader.self.Node {
			t.Errorf("the double has disturbed: %+v, term was %d", s, term)
		}
		d.kill()
		foreign := r.start(two.self, two.disk, "another")
		time.Sleep(20 * time.Second)
		if s := leader.Status(); s.Term != term || s.Leader != leader.self.Node {
			t.Errorf("a foreign node has disturbed: %+v, term was %d", s, term)
		}
		foreign.kill()
		r.end()
	})
}

// What a member was given of a snapshot is checked before it counts.
func TestDamagedPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t)
		n := r.start(member(2, 1), r.format(member(2, 1)), "cluster")
		name := fmt.Sprintf("%020d-%010d.checkpoint", 50, 2)
		junk := []byte(strings.Repeat("no batch ", 100))
		p := quorum.Piece{From: member(1, 1), Name: name, Size: int64(len(junk)), Checksum: quorum.Checksum(junk), Data: junk}
		if _, err := n.Receive(p); err == nil {
			t.Error("junk was taken")
		}
		p.Checksum++
		if _, err := n.Receive(p); err == nil {
			t.Error("a wrong checksum was taken")
		}
		p.Name = "../" + name
		if _, err := n.Receive(p); err == nil {
			t.Error("a path was taken")
		}
		files, err := n.disk.ReadDir(quorum.Folder("/q"))
		if err != nil || slices.ContainsFunc(files, func(f vfs.Info) bool { return strings.Contains(f.Name, "checkpoint") }) {
			t.Errorf("%v %v", files, err)
		}
		r.end()
	})
}
