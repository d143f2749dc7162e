package metrics

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Sockets counts connections by listener.
type Sockets struct {
	mu struct {
		sync.Mutex
		byName map[string]*Listener
	}
}

// NewSockets returns an empty set.
func NewSockets() *Sockets {
	s := new(Sockets)
	s.mu.byName = map[string]*Listener{}
	return s
}

// Listener is the counters of the listener of that name. It may be called on
// nil, for a broker without metrics.
func (s *Sockets) Listener(name string) *Listener {
	if s == nil {
		return new(Listener)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.mu.byName[name]
	if l == nil {
		l = &Listener{name: name}
		s.mu.byName[name] = l
	}
	return l
}

func (s *Sockets) all() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Listener, 0, len(s.mu.byName))
	for _, l := range s.mu.byName {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *Listener) int { return strings.Compare(a.name, b.name) })
	return out
}

// Listener is the counters of one listener.
type Listener struct {
	name                    string
	opened, closed, refused atomic.Uint64
}

// Opened counts a connection that is served from now on; Closed one that ended;
// Refused one that was closed because its address had too many.
func (l *Listener) Opened()  { l.opened.Add(1) }
func (l *Listener) Closed()  { l.closed.Add(1) }
func (l *Listener) Refused() { l.refused.Add(1) }
