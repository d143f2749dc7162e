package quorum

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// network carries messages between members in one process; it loses those to
// and from members that are cut off.
type network struct {
	mu      sync.Mutex
	members map[int32]*member
	cut     map[int32]bool
}

// way is the member to if messages pass, nil if not.
func (n *network) way(from, to int32) *member {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[from] || n.cut[to] {
		return nil
	}
	return n.members[to]
}

func (n *network) put(id int32, m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.members[id] = m; m == nil {
		delete(n.members, id)
	}
}

func (n *network) cutOff(ids ...int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for _, id := range ids {
		n.cut[id] = true
	}
}

type port struct {
	net  *network
	from int32
}

func (p port) Send(messages []Message) {
	for _, m := range messages {
		to := p.net.way(p.from, m.To.Node)
		if to == nil {
			continue
		}
		if m.Snapshot != "" {
			p.ship(to, m)
			continue
		}
		_ = to.Step(self(p.from), m.Data)
	}
}

// ship copies the snapshot's file first, as a transport has to.
func (p port) ship(to *member, m Message) {
	from := p.net.way(p.from, p.from)
	if from == nil {
		return
	}
	name := Folder("/q") + "/" + m.Snapshot
	b, err := vfs.ReadFile(from.fs, name, 1<<20)
	if err == nil {
		err = vfs.WriteAtomic(to.fs, name, b)
	}
	if err == nil {
		err = to.Step(self(p.from), m.Data)
	}
	from.ReportSnapshot(m.To, err == nil)
}

func (n *network) start(t *testing.T, id int32, fs *vfs.Mem, change func(*Config)) *member {
	m := open(t, fs, func(c *Config) {
		c.Transport = port{n, id}
		if change != nil {
			change(c)
		}
	})
	n.put(id, m)
	return m.run()
}

// leader waits until one that is not cut off leads.
func (n *network) leader(t *testing.T) *member {
	t.Helper()
	for range 200 {
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		for id, m := range n.members {
			if s := m.Status(); s.Leader == id && n.way(id, id) != nil && m.propose("probe") == nil {
				return m
			}
		}
	}
	t.Fatal("nobody leads after 10 s")
	return nil
}

func withoutProbes(items []string) []string {
	return slices.DeleteFunc(slices.Clone(items), func(s string) bool { return s == "probe" })
}

// Three voters agree, go on without one, and the one that comes back catches up,
// what it proposed alone being undone.
func TestThreeVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{members: map[int32]*member{}, cut: map[int32]bool{}}
		voters := []Member{self(1), self(2), self(3)}
		disks := map[int32]*vfs.Mem{}
		for id := range int32(3) {
			disks[id+1] = vfs.NewMem(vfs.MemConfig{})
			format(t, disks[id+1], self(id+1), voters...)
			n.start(t, id+1, disks[id+1], nil)
		}
		var want []string
		say := func(m *member, s string) {
			t.Helper()
			if err := m.propose(s); err != nil {
				t.Fatal(err)
			}
			want = append(want, s)
		}
		first := n.leader(t)
		for i := range 20 {
			say(first, fmt.Sprint("a", i))
		}
		n.cutOff(first.Self().Node)
		lost := make(chan error, 1)
		first.Propose([]byte("nobody hears this"), func(err error) { lost <- err })
		second := n.leader(t)
		if second == first {
			t.Fatal("the leader that is cut off still leads")
		}
		for i := range 20 {
			say(second, fmt.Sprint("b", i))
		}
		if err := <-lost; !errors.Is(err, ErrNotLeader) {
			t.Errorf("the lost proposal: %v", err)
		}
		n.cutOff()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for id, m := range n.members {
			if got := withoutProbes(m.machine.all()); !slices.Equal(got, want) {
				t.Errorf("member %d has %v", id, got)
			}
			if s := m.Status(); len(s.Voters) != 3 {
				t.Errorf("member %d: %+v", id, s)
			}
		}
		for _, m := range n.members {
			m.end()
		}
	})
}

// A member that joins gets a snapshot, since index 1 is in nobody's log, then
// the rest; it receives and does not vote until it is made a voter.
func TestLearnerJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{members: map[int32]*member{}, cut: map[int32]bool{}}
		small := func(c *Config) { c.SnapshotBytes = 200 }
		disk := vfs.NewMem(vfs.MemConfig{})
		format(t, disk, self(1), self(1))
		one := n.start(t, 1, disk, small)
		synctest.Wait()
		var want []string
		for i := range 40 {
			want = append(want, fmt.Sprint("entry ", i))
			if err := one.propose(want[i]); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()

		fresh := vfs.NewMem(vfs.MemConfig{})
		format(t, fresh, self(2))
		two := n.start(t, 2, fresh, small)
		one.AddLearner(self(2), func(error) {})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := two.machine.all(); !slices.Equal(got, want) || two.machine.restore == 0 {
			t.Fatalf("the learner has %d of %d entries, %d from a snapshot", len(got), len(want), two.machine.restore)
		}
		if s := two.Status(); s.Leader != 1 || len(s.Voters) != 1 || len(s.Learners) != 1 || s.Learners[0].Node != 2 {
			t.Errorf("status of the learner %+v", s)
		}
		one.AddVoter(self(2), func(error) {})
		time.Sleep(time.Second)
		synctest.Wait()
		if s := one.Status(); len(s.Voters) != 2 || len(s.Learners) != 0 {
			t.Errorf("after promotion %+v", s)
		}
		if err := one.propose("by two"); err != nil {
			t.Error(err)
		}
		two.end()
		n.put(2, nil)
		two = n.start(t, 2, fresh, small)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := withoutProbes(two.machine.all()); !slices.Equal(got, append(want, "by two")) {
			t.Errorf("after a restart the second has %d entries", len(got))
		}
		two.end()
		n.put(2, nil)
		one.end()
	})
}
