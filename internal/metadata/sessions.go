package metadata

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/controller"
)

// sessionTick is the unit of the leader's patience. Time is counted in ticks, of
// which several that the process slept through are one: a leader that stood still
// has not heard of anybody, and must not take that for their silence.
const sessionTick = 100 * time.Millisecond

// probeFor is how long finding out whether a broker is gone may take.
const probeFor = time.Second

// sessions is what a leader of the quorum knows of when it last heard of each
// broker but its own. While it knows of none, no timer runs.
type sessions struct {
	wake chan struct{} // one slot

	mu struct {
		sync.Mutex // memory only
		leading    bool
		now        int64 // ticks
		list       []session
		doubted    []int32 // to be probed
		gone       []int32 // to be fenced
		begun      int64   // index of the metadata as this node began to lead
	}
}

// session is one broker that counts as alive.
type session struct {
	node  int32
	since int64 // tick at which it was last heard of
	beats int64 // how often it was heard of
	at    int64 // how far it has applied the metadata
	leave int64 // where the metadata gave away what it led; 0 while it stays
}

func newSessions() *sessions { return &sessions{wake: make(chan struct{}, 1)} }

func (s *sessions) rouse() {
	select { //house:select two cases, one of them default
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// find gives the place of a broker. The caller holds the mutex.
func (s *sessions) find(node int32) (int, bool) {
	return slices.BinarySearchFunc(s.mu.list, node, func(e session, n int32) int { return cmp.Compare(e.node, n) })
}

// lead begins with brokers that may be alive: each has a whole session to say so,
// and is probed at once.
func (s *sessions) lead(nodes []int32, index int64) {
	s.mu.Lock()
	s.mu.begun = index
	s.mu.leading, s.mu.list, s.mu.gone = true, nil, nil
	for _, n := range nodes {
		s.mu.list = append(s.mu.list, session{node: n, since: s.mu.now})
	}
	s.mu.doubted = slices.Clone(nodes)
	s.mu.Unlock()
	s.rouse()
}

// follow ends it: somebody else watches now.
func (s *sessions) follow() {
	s.mu.Lock()
	s.mu.leading, s.mu.list, s.mu.doubted, s.mu.gone = false, nil, nil, nil
	s.mu.Unlock()
	s.rouse()
}

// heard notes a sign of life of a broker that has applied the metadata up to at.
func (s *sessions) heard(node int32, at int64) {
	s.mu.Lock()
	i, known := s.find(node)
	if !known {
		s.mu.list = slices.Insert(s.mu.list, i, session{node: node})
	}
	s.mu.list[i].since = s.mu.now
	s.mu.list[i].beats++
	s.mu.list[i].at = max(s.mu.list[i].at, at)
	s.mu.Unlock()
	if !known {
		s.rouse()
	}
}

// leaves notes that a broker shuts down, and that what it led was given away at an
// index of the metadata.
func (s *sessions) leaves(node int32, index int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.find(node); ok && s.mu.list[i].leave == 0 {
		s.mu.list[i].leave = index
	}
}

// moved says whether all others know who leads in place of a broker that leaves.
func (s *sessions) moved(node int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(node)
	if !ok {
		return true
	}
	index := s.mu.list[i].leave
	if index == 0 {
		index = s.mu.begun // decided by an earlier leader
	}
	for _, e := range s.mu.list {
		if e.node != node && e.at < index {
			return false
		}
	}
	return true
}

// left forgets a broker that said goodbye.
func (s *sessions) left(node int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.find(node); ok {
		s.mu.list = slices.Delete(s.mu.list, i, i+1)
	}
}

// alive says whether a broker counts as alive, and how often it was heard of.
func (s *sessions) alive(node int32) (beats int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(node)
	if ok {
		beats = s.mu.list[i].beats
	}
	return beats, ok
}

// doubt asks for a probe of a broker, if it counts as alive here or is to be probed
// anyway.
func (s *sessions) doubt(node int32, anyway bool) {
	s.mu.Lock()
	_, ok := s.find(node)
	if ok = (ok || anyway) && !slices.Contains(s.mu.doubted, node); ok {
		s.mu.doubted = append(s.mu.doubted, node)
	}
	s.mu.Unlock()
	if ok {
		s.rouse()
	}
}

// dead ends the session of a broker of which nobody has heard since it had been
// heard of so often.
func (s *sessions) dead(node int32, beats int64) {
	s.mu.Lock()
	i, ok := s.find(node)
	if ok = ok && s.mu.list[i].beats == beats; ok {
		s.mu.list = slices.Delete(s.mu.list, i, i+1)
		s.mu.gone = append(s.mu.gone, node)
	}
	s.mu.Unlock()
	if ok {
		s.rouse()
	}
}

// due is what there is to do after a tick, or after being roused: who is to be
// fenced and who to be probed, and whether anybody is left to wait for.
func (s *sessions) due(ticked bool, patience int64) (gone, doubted []int32, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ticked {
		s.mu.now++
	}
	gone, s.mu.gone = s.mu.gone, nil
	s.mu.list = slices.DeleteFunc(s.mu.list, func(e session) bool {
		silent := s.mu.now-e.since > patience
		if silent {
			gone = append(gone, e.node)
		}
		return silent
	})
	doubted, s.mu.doubted = s.mu.doubted, nil
	slices.Sort(gone)
	return gone, doubted, s.mu.leading && len(s.mu.list) > 0
}

// watch is the activity that fences brokers which are silent or gone, while this
// node leads.
func (m watcher) watch(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(sessionTick)
	timer.Stop()
	running := false
	for {
		ticked := false
		//house:select a tick and news may come in any order, both are looked at
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.sessions.wake:
		case <-timer.C:
			ticked, running = true, false
		}
		patience := m.Properties().Millis("broker.session.timeout.ms") / sessionTick
		gone, doubted, more := m.sessions.due(ticked, int64(patience))
		for _, node := range gone {
			m.fence(ctx, node)
		}
		for _, node := range doubted {
			probes.Go(func() { m.probe(ctx, node) })
		}
		if more && !running {
			timer.Reset(sessionTick)
			running = true
		}
	}
}

// fence takes a silent broker out of service. If that cannot be decided now, the
// broker has another session.
func (m watcher) fence(ctx context.Context, node int32) {
	_, err := leader(m).decided(ctx, func(s *controller.State) controller.Records {
		recs := controller.FenceBroker(s, node)
		if len(recs) > 0 {
			m.cfg.Logger.Warn("a broker is silent and is taken out of service", "node", node)
		}
		return recs
	})
	if err != nil && ctx.Err() == nil {
		m.sessions.heard(node, 0)
	}
}

// probe ends the session of a broker whose machine says that its process is gone,
// and lets the quorum know if that one led it.
func (m watcher) probe(ctx context.Context, node int32) {
	beats, ok := m.sessions.alive(node)
	once, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	if m.cfg.Peers.Probe(once, node) || ctx.Err() != nil {
		return
	}
	if ok {
		m.sessions.dead(node, beats)
	}
	m.node.Gone(node)
}

// Down says that a connection to a node has broken, or could not be opened. If this
// node leads and a broker is there no more, that is found out before its session
// ends; so it is if that one leads.
func (m *Metadata) Down(node int32) {
	m.sessions.doubt(node, node == m.Image().ControllerID())
}
