package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeatRow is T3: members whose assignment stands tell that they are alive.
func heartbeatRow() *row {
	l := load{conns: 8, window: 1, partitions: 24, bytes: 40_000}
	return &row{id: "T3", work: "ConsumerGroupHeartbeat (KIP-848), nothing new", load: l,
		metrics: []metric{{"CPU", "us/request", []limit{atMost(0.3, "kafka")}}},
		measure: func(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
			members, err := joinGroup(ctx, to, fmt.Sprintf("%s-%d", topic, time.Now().UnixNano()), topic, l.conns)
			defer func() {
				for _, m := range members {
					m.c.Close()
				}
			}()
			if err != nil {
				return nil, err
			}
			lanes := make([]*lane, len(members))
			for i, m := range members {
				lanes[i] = &lane{c: m.c, window: 1, frame: m.steady(), check: heartbeatAnswer}
			}
			w, err := drivePrepared(ctx, to, lanes, int(s.scaled(l).bytes)/l.conns, 1)
			return []float64{w.cpuPerRequest()}, errors.Join(err, leaveGroup(members))
		}}
}

// member is one consumer of a group, on a connection of its own.
type member struct {
	c     *conn
	req   *kmsg.ConsumerGroupHeartbeatRequest
	owned int // partitions
}

// joinGroup makes a group and heartbeats until every member has its partitions and
// nothing changes any more.
func joinGroup(ctx context.Context, to target, group, topic string, n int) ([]*member, error) {
	var members []*member
	for i := range n {
		m, err := newMember(ctx, to, group, fmt.Sprintf("member-%02d", i), topic)
		if err != nil {
			return members, err
		}
		members = append(members, m)
	}
	const calm = 5
	for still := 0; still < calm; still++ {
		for _, m := range members {
			changed, err := m.beat()
			if err != nil {
				return members, err
			}
			if changed || m.owned == 0 || m.req.MemberEpoch != members[0].req.MemberEpoch {
				still = -1
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return members, fmt.Errorf("group %s does not come to rest: %w", group, err)
		}
	}
	return members, nil
}

// newMember joins a group.
func newMember(ctx context.Context, to target, group, id, topic string) (*member, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	m := &member{c: c}
	if err := m.join(ctx, group, id, topic); err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

func (m *member) join(ctx context.Context, group, id, topic string) error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{group}
	if _, err := m.c.call(find, 4); err != nil {
		return err
	}
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.RebalanceTimeoutMillis = group, id, 60_000
	r.SubscribedTopicNames, r.Topics = []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	m.req = r
	return again(ctx, "ConsumerGroupHeartbeat", func() (int16, error) {
		resp, err := m.c.call(r, 1)
		if err != nil {
			return 0, err
		}
		got := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
		if got.ErrorCode == 0 {
			m.take(got)
		}
		return got.ErrorCode, nil
	})
}

// beat sends a heartbeat, and says whether it brought something.
func (m *member) beat() (changed bool, err error) {
	resp, err := m.c.call(m.req, 1)
	if err != nil {
		return false, err
	}
	got := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return false, fmt.Errorf("heartbeat: %w", err)
	}
	return m.take(got), nil
}

// take makes the next heartbeat from the answer to the last: it tells what is
// owned after each assignment, and otherwise nothing.
func (m *member) take(got *kmsg.ConsumerGroupHeartbeatResponse) (changed bool) {
	changed = got.MemberEpoch != m.req.MemberEpoch || got.Assignment != nil
	m.req.MemberEpoch = got.MemberEpoch
	m.req.SubscribedTopicNames, m.req.RebalanceTimeoutMillis, m.req.Topics = nil, -1, nil
	if got.Assignment == nil {
		return changed
	}
	m.owned = 0
	m.req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range got.Assignment.Topics {
		own := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		own.TopicID, own.Partitions = t.TopicID, t.Partitions
		m.req.Topics = append(m.req.Topics, own)
		m.owned += len(t.Partitions)
	}
	return true
}

// steady is the frame of a heartbeat that brings nothing and asks for nothing.
func (m *member) steady() []byte {
	m.req.SetVersion(1)
	m.req.Topics = nil
	return frameOf(m.req)
}

// heartbeatAnswer holds an answer to no error and no change of the epoch.
func heartbeatAnswer(body []byte) error {
	w := walker{b: body}
	w.skip(4 + 1 + 4) // correlation id, tags, throttle time
	code := w.int16()
	if w.err == nil && code != 0 {
		return fmt.Errorf("heartbeat: %w", kerr.ErrorForCode(code))
	}
	return w.err
}

func leaveGroup(members []*member) error {
	var errs []error
	for _, m := range members {
		m.req.MemberEpoch = -1
		_, err := m.beat()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
