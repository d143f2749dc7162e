package group

import (
	"context"
	"time"

	"github.com/myelin-stream/myelin/internal/group/consumer"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// newConsumer makes the groups of the consumer protocol.
func (c *Config) newConsumer() func(id string) kind.Group {
	c.Consumer.Topics = c.topics
	if c.Settings != nil {
		c.Consumer.Settings = c.consumerSettings
	}
	return func(id string) kind.Group { return consumer.New(id, &c.Consumer) }
}

func (c *Config) consumerSettings(group string) consumer.Settings {
	s := c.Settings(group)
	return consumer.Settings{
		Session:    s.Millis("consumer.session.timeout.ms"),
		Heartbeat:  s.Millis("consumer.heartbeat.interval.ms"),
		Assignment: s.Millis("consumer.assignment.interval.ms"),
	}
}

// ConsumerGroupHeartbeat answers ConsumerGroupHeartbeat (key 68). describer gives
// what says whether the client may know of a topic that its pattern matches; it
// is asked for that during the call, and kept until the pattern has been matched.
func (s *Service) ConsumerGroupHeartbeat(
	ctx context.Context, c Client, req *msg.ConsumerGroupHeartbeatRequest, describer func() func(topic string) bool,
) *msg.ConsumerGroupHeartbeatResponse {
	var resp *msg.ConsumerGroupHeartbeatResponse
	err := s.cfg.Consumer.Check(c.Version, req)
	if err == nil {
		who := consumer.Who{ClientID: c.ID, Host: c.Host, Version: c.Version, Describer: describer}
		if req.MemberID == "" {
			who.NewID = s.ids.uuid().String()
		}
		join := req.MemberEpoch == 0
		err = s.decide(ctx, req.GroupID, kind.Consumer, join, func(g kind.Group, now time.Time, _ kind.Topics) (kind.Step, error) {
			var step kind.Step
			var err error
			resp, step, err = g.(*consumer.Group).Heartbeat(now, who, req)
			return step, err
		})
	}
	if err == nil {
		return resp
	}
	bad := msg.NewConsumerGroupHeartbeatResponse()
	bad.ErrorCode = int16(code(err))
	bad.ErrorMessage = new(kind.Text(err))
	return &bad
}

// ConsumerGroupDescribe answers ConsumerGroupDescribe (key 69).
func (s *Service) ConsumerGroupDescribe(ctx context.Context, ids []string) []msg.ConsumerGroupDescribeResponseGroup {
	groups := make([]msg.ConsumerGroupDescribeResponseGroup, 0, len(ids))
	for _, id := range ids {
		var d msg.ConsumerGroupDescribeResponseGroup
		err := error(kafka.InvalidGroupID)
		if id != "" {
			err = s.look(ctx, id, kind.Consumer, func(g kind.Group, _ kind.Topics) error {
				d = g.(*consumer.Group).Describe()
				return nil
			})
		}
		if err != nil {
			d = msg.NewConsumerGroupDescribeResponseGroup()
			d.GroupID, d.ErrorCode = id, int16(code(err))
			if d.ErrorCode == int16(kafka.GroupIDNotFound) {
				d.ErrorMessage = new(kind.Text(err))
			}
		}
		groups = append(groups, d)
	}
	return groups
}
