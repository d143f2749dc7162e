package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/group/share"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// ShareState is the share coordinator as the group coordinator needs it. Its
// methods may ask several times before they give up.
type ShareState interface {
	// Initialize begins the state of a share partition, from an offset or from
	// -1: its first reader decides.
	Initialize(ctx context.Context, at SharePartition, stateEpoch int32, start int64) error
	// Summary tells how far a share partition is.
	Summary(ctx context.Context, at SharePartition) (ShareSummary, error)
	// Delete forgets a share partition.
	Delete(ctx context.Context, at SharePartition) error
	// Text is what a client is told of an error.
	Text(err error) (kafka.Code, *string)
}

// SharePartition is what a share group has of one partition.
type SharePartition struct {
	Group     string
	Topic     kafka.UUID
	Partition int32
}

// ShareSummary says how far a share partition is.
type ShareSummary struct {
	Start            int64 // first offset that is not done, -1 unknown
	LeaderEpoch      int32
	DeliveryComplete int32 // records from Start on that are done, -1 unknown
}

// newShare makes share groups; nil without a share coordinator.
func (c *Config) newShare() func(id string) kind.Group {
	if c.ShareState == nil {
		return nil
	}
	c.Share.Topics = c.topics
	if c.Settings != nil {
		c.Share.Settings = c.shareSettings
	}
	return func(id string) kind.Group { return share.New(id, &c.Share) }
}

func (c *Config) shareSettings(group string) share.Settings {
	s := c.Settings(group)
	return share.Settings{
		Session:    s.Millis("share.session.timeout.ms"),
		Heartbeat:  s.Millis("share.heartbeat.interval.ms"),
		Assignment: s.Millis("share.assignment.interval.ms"),
	}
}

// Shares answers what is asked of share groups (KIP-932).
type Shares struct {
	s     *Service
	asked chan wished
}

// wished is what a group wants to be initialized.
type wished struct {
	group  string
	wishes []share.Wish
}

func newShares(s *Service) *Shares { return &Shares{s: s, asked: make(chan wished, 1024)} }

// Shares are the share groups of this broker.
func (s *Service) Shares() *Shares { return s.shares }

// run initializes what heartbeats wish for, until ctx ends.
func (h *Shares) run(ctx context.Context) {
	for {
		select { //house:select the end may come before or after one more group
		case <-ctx.Done():
			return
		case w := <-h.asked:
			if _, err := h.fulfil(ctx, w, true); err != nil && ctx.Err() == nil {
				h.s.cfg.Logger.Warn("the state of a share group cannot be initialized yet", "group", w.group, "err", err)
			}
		}
	}
}

// fulfil has the share coordinator initialize partitions and tells the group. It
// returns what failed, by the wish's place, and the first error or that of the
// group. With whole, one partition that failed lets those of its topic fail: the
// topic is then still one that the group does not know, and all of it begins at
// the same place.
func (h *Shares) fulfil(ctx context.Context, w wished, whole bool) (failed map[int]error, err error) {
	errs := each(len(w.wishes), func(i int) error {
		wish := &w.wishes[i]
		return h.s.cfg.ShareState.Initialize(ctx, SharePartition{w.group, wish.Topic, wish.Partition}, wish.StateEpoch, wish.Start)
	})
	failed = map[int]error{}
	broken := map[kafka.UUID]bool{}
	for i, e := range errs {
		if e == nil {
			continue
		}
		failed[i] = e
		broken[w.wishes[i].Topic] = whole
		if err == nil {
			err = fmt.Errorf("topic %s partition %d: %w", w.wishes[i].Topic, w.wishes[i].Partition, e)
		}
	}
	var done, not []share.Wish
	for i, wish := range w.wishes {
		if errs[i] == nil && !broken[wish.Topic] {
			done = append(done, wish)
		} else {
			not = append(not, wish)
		}
	}
	settle := h.decide(ctx, w.group, false, func(g *share.Group, _ time.Time, _ kind.Topics) (kind.Step, error) {
		return g.Settle(done, not), nil
	})
	return failed, errors.Join(err, settle)
}

// atOnce bounds how many share partitions one request has under way.
const atOnce = 16

// each calls do for 0 to n-1, some at once, and returns when all are done.
func each(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = do(i)
			<-slots
		})
	}
	wg.Wait()
	return errs
}

func (h *Shares) decide(ctx context.Context, id string, create bool,
	f func(g *share.Group, now time.Time, topics kind.Topics) (kind.Step, error)) error {
	return h.s.decide(ctx, id, kind.Share, create, func(g kind.Group, now time.Time, topics kind.Topics) (kind.Step, error) {
		return f(g.(*share.Group), now, topics)
	})
}

// Heartbeat answers ShareGroupHeartbeat (key 76). What a member reads for the
// first time gets its state in the background; the member is assigned it by one
// of its next heartbeats.
func (h *Shares) Heartbeat(ctx context.Context, c Client, req *msg.ShareGroupHeartbeatRequest) *msg.ShareGroupHeartbeatResponse {
	var b share.Beat
	err := share.CheckHeartbeat(req)
	if err == nil {
		err = h.decide(ctx, req.GroupID, req.MemberEpoch == share.Joining, func(g *share.Group, now time.Time, topics kind.Topics) (kind.Step, error) {
			var err error
			b, err = g.Heartbeat(now, share.Who{ClientID: c.ID, Host: c.Host}, req, topics)
			return b.Step, err
		})
	}
	if err != nil {
		resp := msg.NewShareGroupHeartbeatResponse()
		resp.ErrorCode, resp.ErrorMessage = told(err)
		if req.MemberEpoch > 0 && kind.Text(err) == kind.Text(notFound(req.GroupID)) {
			resp.ErrorMessage = new("Share group " + req.GroupID + " not found.")
		}
		return &resp
	}
	if len(b.Wishes) > 0 {
		select { //house:select two cases, one of them default
		case h.asked <- wished{req.GroupID, b.Wishes}:
		default: // the group asks again when group.share.initialize.retry.interval.ms is over
		}
	}
	return b.Response
}

// told is an error with its text as responses have them.
func told(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	return int16(code(err)), new(kind.Text(err))
}

// Describe answers ShareGroupDescribe (key 77) for one group.
func (h *Shares) Describe(ctx context.Context, id string) msg.ShareGroupDescribeResponseGroup {
	var d msg.ShareGroupDescribeResponseGroup
	if id == "" {
		d = msg.NewShareGroupDescribeResponseGroup()
		d.ErrorCode = int16(kafka.InvalidGroupID)
		return d
	}
	err := h.s.look(ctx, id, kind.Share, func(g kind.Group, topics kind.Topics) error {
		d = g.(*share.Group).Describe(topics)
		return nil
	})
	if err != nil {
		d = msg.NewShareGroupDescribeResponseGroup()
		d.GroupID = id
		d.ErrorCode, d.ErrorMessage = told(err)
	}
	return d
}

// AlterOffsets answers AlterShareGroupOffsets (key 91). A group that does not
// exist is made.
func (h *Shares) AlterOffsets(ctx context.Context, req *msg.AlterShareGroupOffsetsRequest) *msg.AlterShareGroupOffsetsResponse {
	resp := msg.NewAlterShareGroupOffsetsResponse()
	if req.GroupID == "" {
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.InvalidGroupID), new("The group id is invalid.")
		return &resp
	}
	var a share.Altered
	err := h.decide(ctx, req.GroupID, true, func(g *share.Group, now time.Time, topics kind.Topics) (kind.Step, error) {
		var err error
		a, err = g.Alter(now, req, topics)
		return a.Step, err
	})
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = told(err)
		return &resp
	}
	resp.Responses = a.Responses
	if len(a.Wishes) == 0 {
		return &resp
	}
	failed, err := h.fulfil(ctx, wished{req.GroupID, a.Wishes}, false)
	if err != nil {
		h.s.cfg.Logger.Warn("offsets of a share group are not altered everywhere", "group", req.GroupID, "err", err)
	}
	for i, e := range failed {
		w := a.Wishes[i]
		for _, t := range resp.Responses {
			for n := range t.Partitions {
				if p := &t.Partitions[n]; t.TopicID == w.Topic && p.PartitionIndex == w.Partition && p.ErrorCode == 0 {
					c, text := h.s.cfg.ShareState.Text(e)
					p.ErrorCode, p.ErrorMessage = int16(c), text
				}
			}
		}
	}
	if len(failed) == 0 && err != nil { // the group did not hear of it
		resp.ErrorCode, resp.ErrorMessage = told(err)
	}
	return &resp
}

// DeleteOffsets answers DeleteShareGroupOffsets (key 92).
func (h *Shares) DeleteOffsets(ctx context.Context, req *msg.DeleteShareGroupOffsetsRequest) *msg.DeleteShareGroupOffsetsResponse {
	resp := msg.NewDeleteShareGroupOffsetsResponse()
	if req.GroupID == "" {
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.InvalidGroupID), new("The group id is invalid.")
		return &resp
	}
	var d share.Dropped
	err := h.decide(ctx, req.GroupID, false, func(g *share.Group, _ time.Time, topics kind.Topics) (kind.Step, error) {
		var err error
		d, err = g.Drop(req, topics)
		return d.Step, err
	})
	if err == nil && len(d.Delete) > 0 {
		var done []kafka.UUID
		for i, e := range h.erase(ctx, req.GroupID, d.Delete) {
			row := msg.DeleteShareGroupOffsetsResponseResponse{TopicID: d.Delete[i].Topic}
			if t, ok := h.s.cfg.topics().ByID(row.TopicID); ok {
				row.TopicName = t.Name
			}
			if e != nil {
				c, text := h.s.cfg.ShareState.Text(e)
				row.ErrorCode, row.ErrorMessage = int16(c), text
			} else {
				done = append(done, row.TopicID)
			}
			resp.Responses = append(resp.Responses, row)
		}
		err = h.decide(ctx, req.GroupID, false, func(g *share.Group, _ time.Time, _ kind.Topics) (kind.Step, error) {
			return g.Forget(done), nil
		})
	}
	if err != nil {
		resp.Responses = nil
		resp.ErrorCode, resp.ErrorMessage = told(err)
		return &resp
	}
	resp.Responses = append(resp.Responses, d.Refused...)
	return &resp
}

// erase has the share coordinator forget topics, and gives an error or nil for
// each.
func (h *Shares) erase(ctx context.Context, group string, topics []assign.TopicPartitions) []error {
	errs := make([]error, len(topics))
	for i, t := range topics {
		errs[i] = errors.Join(each(len(t.Partitions), func(n int) error {
			return h.s.cfg.ShareState.Delete(ctx, SharePartition{group, t.Topic, t.Partitions[n]})
		})...)
	}
	return errs
}

// dissolve takes down the state of a share group that is to be deleted. Groups of
// other kinds, and those that are not there, have none.
func (h *Shares) dissolve(ctx context.Context, id string) error {
	var d share.Dropped
	err := h.decide(ctx, id, false, func(g *share.Group, _ time.Time, topics kind.Topics) (kind.Step, error) {
		var err error
		d, err = g.Dissolve(topics)
		return d.Step, err
	})
	if kafka.CodeOf(err) == kafka.GroupIDNotFound {
		return nil
	}
	return errors.Join(append(h.erase(ctx, id, d.Delete), err)...)
}

// DescribeOffsets answers DescribeShareGroupOffsets (key 90) for one group: of
// the topics asked for, or of all that it has, if nil.
func (h *Shares) DescribeOffsets(ctx context.Context, id string, topics []msg.DescribeShareGroupOffsetsRequestGroupTopic) msg.DescribeShareGroupOffsetsResponseGroup {
	row := msg.DescribeShareGroupOffsetsResponseGroup{GroupID: id, Topics: []msg.DescribeShareGroupOffsetsResponseGroupTopic{}}
	picture := h.s.cfg.topics()
	if topics == nil {
		known, err := h.known(ctx, id)
		if err != nil {
			row.ErrorCode, row.ErrorMessage = told(err)
			return row
		}
		for _, t := range known {
			if info, ok := picture.ByID(t.Topic); ok {
				topics = append(topics, msg.DescribeShareGroupOffsetsRequestGroupTopic{TopicName: info.Name, Partitions: t.Partitions})
			}
		}
	}
	var missing []msg.DescribeShareGroupOffsetsResponseGroupTopic
	for _, t := range topics {
		info, ok := picture.Named(t.TopicName)
		out := msg.DescribeShareGroupOffsetsResponseGroupTopic{TopicName: t.TopicName, TopicID: info.ID,
			Partitions: make([]msg.DescribeShareGroupOffsetsResponseGroupTopicPartition, len(t.Partitions))}
		each(len(t.Partitions), func(i int) error {
			p := &out.Partitions[i]
			p.SetDefaults()
			p.PartitionIndex, p.StartOffset = t.Partitions[i], -1
			if ok {
				h.describePartition(ctx, id, &info, p)
			}
			return nil
		})
		if ok {
			row.Topics = append(row.Topics, out)
		} else {
			missing = append(missing, out)
		}
	}
	row.Topics = append(row.Topics, missing...)
	return row
}

// known are the partitions of a group that were initialized; a group that is not
// there has none.
func (h *Shares) known(ctx context.Context, id string) (known assign.Set, err error) {
	err = h.s.look(ctx, id, kind.Share, func(g kind.Group, _ kind.Topics) error {
		known = g.(*share.Group).Known()
		return nil
	})
	if kafka.CodeOf(err) == kafka.GroupIDNotFound {
		err = nil
	}
	return known, err
}

// describePartition fills in how far a share partition is, and how many records
// are not done.
func (h *Shares) describePartition(ctx context.Context, group string, topic *kind.Topic, p *msg.DescribeShareGroupOffsetsResponseGroupTopicPartition) {
	sum, err := h.s.cfg.ShareState.Summary(ctx, SharePartition{group, topic.ID, p.PartitionIndex})
	if err != nil {
		return // no offset is known: Kafka says no more
	}
	p.StartOffset, p.LeaderEpoch = sum.Start, sum.LeaderEpoch
	if sum.Start < 0 || sum.DeliveryComplete < 0 || h.s.cfg.EndOffset == nil {
		return
	}
	end, err := h.s.cfg.EndOffset(ctx, kafka.TopicPartition{Topic: topic.Name, Partition: p.PartitionIndex})
	if err != nil {
		c := kafka.CodeOf(err)
		p.StartOffset, p.LeaderEpoch = 0, 0
		p.ErrorCode, p.ErrorMessage = int16(c), new(c.Name())
		return
	}
	p.Lag = end - sum.Start - int64(sum.DeliveryComplete)
}

// TopicsDeleted takes topics that are no more out of the share groups of this
// broker.
func (h *Shares) TopicsDeleted(ctx context.Context, topics []kafka.UUID) error {
	var errs []error
	for _, p := range h.s.rt.Owned() {
		errs = append(errs, h.s.rt.Write(ctx, p, func(sh *shard, t *coordinator.Turn) error {
			t.Soft()
			for _, id := range sh.kinds.Keys() {
				k, _ := sh.kinds.Get(id)
				if g, ok := k.(*share.Group); ok {
					for _, r := range g.TopicsGone(topics) {
						t.Put(r.Key, r.Value)
					}
				}
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}

// code is what a client is told of an error of the share coordinator or of the
// group.
func (h *Shares) code(err error) kafka.Code {
	if bad := code(err); bad != kafka.UnknownServerError || h.s.cfg.ShareState == nil {
		return bad
	}
	bad, _ := h.s.cfg.ShareState.Text(err)
	return bad
}
