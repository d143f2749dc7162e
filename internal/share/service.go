package share

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Service has the share partitions whose logs this broker leads.
//
// A share partition comes into being when a member first asks for it, and goes
// when the last connection of its group ends, when its leader epoch is over, or
// when the persister says that somebody else has it.
type Service struct {
	cfg      Config
	Sessions *Sessions
	Stats    Stats

	tasks sync.WaitGroup // goroutines that store
	bell  chan struct{}  // one slot: due, mailing or leaving has something

	mu struct {
		sync.Mutex // memory only
		groups     map[string]map[TopicPartition]*Partition
		due        []*Partition // whose locks may have run out
		mailing    []*Partition // which have letters to send
		leaving    []leaver
		closed     bool
	}
}

// leaver is a member whose session ended.
type leaver struct {
	Member
	last bool // of its group
}

// New makes a Service that has nothing. It starts nothing: see Run.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Letters == nil {
		cfg.Letters = noLetters{}
	}
	s := &Service{cfg: cfg, Sessions: newSessions(cfg.MaxSessions), bell: make(chan struct{}, 1)}
	s.mu.groups = map[string]map[TopicPartition]*Partition{}
	return s, nil
}

// Settings are those of a group.
func (s *Service) Settings(group string) Settings { return s.cfg.Settings(group) }

// Run takes back what was locked too long and what members who left had, and
// sends dead letters, until ctx ends. It returns when all is stored that was
// begun.
func (s *Service) Run(ctx context.Context) error {
	for {
		select { //house:select what was rung for is done either way, or by the next leader
		case <-ctx.Done():
			s.close()
			s.tasks.Wait()
			return nil
		case <-s.bell:
		}
		s.mu.Lock()
		due, mailing, leaving := s.mu.due, s.mu.mailing, s.mu.leaving
		s.mu.due, s.mu.mailing, s.mu.leaving = nil, nil, nil
		s.mu.Unlock()
		for _, p := range mailing {
			s.tasks.Go(func() {
				p.deliver(ctx)
				s.retire(p)
			})
		}
		for _, p := range due {
			if p.expire() {
				s.background(ctx, p)
			}
		}
		for _, l := range leaving {
			s.leave(ctx, l)
		}
	}
}

// close lets no timer ring any more.
func (s *Service) close() {
	s.mu.Lock()
	groups := s.mu.groups
	s.mu.groups, s.mu.closed = nil, true
	s.mu.Unlock()
	for _, g := range groups {
		for _, p := range g {
			p.end(kafka.NotLeaderOrFollower)
		}
	}
}

// background stores what p has to store.
func (s *Service) background(ctx context.Context, p *Partition) {
	s.tasks.Go(func() {
		p.flush(ctx)
		s.retire(p)
	})
}

// retire forgets a share partition that nobody uses.
func (s *Service) retire(p *Partition) {
	if s.Sessions.size(p.key.Group) == 0 && p.idle() {
		s.forget(p, kafka.NotLeaderOrFollower)
	}
}

// ring has Run look at a partition's locks.
func (s *Service) ring(p *Partition) {
	s.mu.Lock()
	s.mu.due = append(s.mu.due, p)
	s.mu.Unlock()
	s.wake()
}

// post has Run send a partition's letters.
func (s *Service) post(p *Partition) {
	s.mu.Lock()
	s.mu.mailing = append(s.mu.mailing, p)
	s.mu.Unlock()
	s.wake()
}

func (s *Service) wake() {
	select { //house:select two cases, one of them default
	case s.bell <- struct{}{}:
	default:
	}
}

// Closed is to be called when a connection ended: its session does too.
func (s *Service) Closed(conn uint64) {
	if m, known, last := s.Sessions.Closed(conn); known {
		s.left(m, last)
	}
}

// left has Run give back what a member had.
func (s *Service) left(m Member, last bool) {
	s.mu.Lock()
	s.mu.leaving = append(s.mu.leaving, leaver{m, last})
	s.mu.Unlock()
	s.wake()
}

// leave gives back what a member had, in the background.
func (s *Service) leave(ctx context.Context, l leaver) {
	for _, p := range s.of(l.Group) {
		if p.release(l.ID) {
			s.background(ctx, p)
		}
	}
	if l.last {
		s.tasks.Go(func() { s.drop(ctx, l.Group) })
	}
}

// End ends a member's session and gives back what it had; it returns when that
// is stored.
//
// Errors: SHARE_SESSION_NOT_FOUND.
func (s *Service) End(ctx context.Context, m Member) kafka.Code {
	if !s.Sessions.Close(m) {
		return kafka.ShareSessionNotFound
	}
	for _, p := range s.of(m.Group) {
		if p.release(m.ID) {
			p.flush(ctx)
		}
	}
	return kafka.None
}

// of lists the share partitions of a group in order.
func (s *Service) of(group string) []*Partition {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.mu.groups[group]))
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Partition) int { return a.key.compare(&b.key) })
	return all
}

// drop forgets the share partitions of a group that has no session, once all
// they have is stored.
func (s *Service) drop(ctx context.Context, group string) {
	for _, p := range s.of(group) {
		p.flush(ctx)
		s.retire(p)
	}
}

// forget drops a share partition: whoever still waits for it gets the error, and
// who asks again has it loaded anew.
func (s *Service) forget(p *Partition, why error) {
	s.mu.Lock()
	if g := s.mu.groups[p.key.Group]; g[p.tp()] == p {
		delete(g, p.tp())
		if len(g) == 0 {
			delete(s.mu.groups, p.key.Group)
		}
	}
	s.mu.Unlock()
	p.end(why)
}

// Moved ends the share partitions, of all groups, of partitions that this broker
// does not lead any more, or not in the epoch that they began with. Who waits for one
// looks again. What its members had is available again at the next leader, once that
// has read what is stored.
func (s *Service) Moved(partitions map[TopicPartition]bool) {
	s.mu.Lock()
	var gone []*Partition
	for _, g := range s.mu.groups {
		for tp, p := range g {
			if partitions[tp] {
				gone = append(gone, p)
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(gone, func(a, b *Partition) int { return a.key.compare(&b.key) })
	for _, p := range gone {
		s.forget(p, kafka.NotLeaderOrFollower)
	}
}

// Partition gives a share partition, loaded. It waits for the persister where it
// was not known.
//
// Errors: those of the log, and of the persister as members are told: see told.
func (s *Service) Partition(ctx context.Context, group string, tp TopicPartition) (*Partition, error) {
	log, err := s.cfg.Open(tp.TopicID, tp.Partition)
	if err != nil {
		return nil, err
	}
	epoch := log.Epoch()
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil, kafka.NotLeaderOrFollower
	}
	g := s.mu.groups[group]
	if g == nil {
		g = map[TopicPartition]*Partition{}
		s.mu.groups[group] = g
	}
	p := g[tp]
	old := p
	first := p == nil || p.epoch < epoch
	if first {
		p = newPartition(s, Key{group, tp.TopicID, tp.Partition}, epoch)
		g[tp] = p
	}
	s.mu.Unlock()
	if !first {
		<-p.loaded
		return p, p.failed
	}
	if old != nil {
		old.end(kafka.NotLeaderOrFollower)
	}
	p.load(ctx, log)
	if p.failed != nil {
		s.forget(p, p.failed)
	}
	return p, p.failed
}

// Known gives a share partition if it is here.
func (s *Service) Known(group string, tp TopicPartition) *Partition {
	s.mu.Lock()
	p := s.mu.groups[group][tp]
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	<-p.loaded
	if p.failed != nil {
		return nil
	}
	return p
}

// told is the error of a persister as members are told it: what is between the
// leader and the share coordinator is none of their business.
func told(err error) error {
	code := kafka.CodeOf(err)
	switch code {
	case kafka.NotCoordinator, kafka.CoordinatorNotAvailable, kafka.CoordinatorLoadInProgress:
		code = kafka.CoordinatorNotAvailable
	case kafka.GroupIDNotFound, kafka.UnknownTopicOrPartition:
	case kafka.FencedLeaderEpoch, kafka.FencedStateEpoch:
		code = kafka.NotLeaderOrFollower
	default:
		code = kafka.UnknownServerError
	}
	return fmt.Errorf("state of a share partition: %v: %w", err, code)
}

// fenced says whether an error means that what is known here of the share
// partition counts no more.
func fenced(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.FencedLeaderEpoch, kafka.FencedStateEpoch, kafka.GroupIDNotFound, kafka.UnknownTopicOrPartition, kafka.NotLeaderOrFollower:
		return true
	}
	return false
}
