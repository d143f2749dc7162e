package follow

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// part is a partition as its fetcher keeps it.
type part struct {
	x   *fetcher
	tp  kafka.TopicPartition
	key partKey
	r   replica.Follower

	flushing atomic.Bool    // a flush is under way that has to end first
	waiter   replica.Waiter // for it

	until  time.Time // it rests until then
	tries  int       // that failed, in a row
	behind bool      // the leader had more than this replica

	due    bool // in this round
	listed bool // in the session
	want   msg.FetchRequestTopicPartition
	told   msg.FetchRequestTopicPartition // what the session has of it
}

func newPart(x *fetcher, c change) *part {
	return &part{x: x, tp: c.tp, key: partKey{c.r.TopicID(), c.tp.Partition}, r: replica.Follower{Replica: c.r}, behind: true}
}

// wait is how long it takes until the partition may be asked for; a flush that is
// under way wakes the fetcher.
func (p *part) wait(now time.Time) time.Duration {
	if p.flushing.Load() {
		return time.Hour
	}
	wait := p.until.Sub(now)
	if p.throttled() {
		if paid := p.x.f.pace.wait(now, p.x.set.Rate); paid > 0 {
			wait, p.x.paid = max(wait, paid), paid
		}
	}
	return wait
}

// aim says from where to fetch; false if nowhere now.
func (p *part) aim(s *Settings) bool {
	at, err := p.r.Position()
	if errors.Is(err, replica.ErrSettling) {
		p.settle(at.Offset)
		return false
	}
	if err != nil || at.Leader != p.x.lane.leader {
		return false // it is told of that by and by
	}
	p.want.SetDefaults()
	p.want.Partition, p.want.PartitionMaxBytes = p.tp.Partition, s.MaxBytes
	p.want.CurrentLeaderEpoch, p.want.LastFetchedEpoch = at.Epoch, at.LastEpoch
	p.want.FetchOffset, p.want.LogStartOffset = at.Offset, at.LogStart
	return true
}

// settle leaves the partition out until its log is flushed up to an offset.
func (p *part) settle(offset int64) {
	p.flushing.Store(true)
	p.waiter = replica.Waiter{Offset: offset, Done: p.settled}
	p.r.AwaitFlushed(&p.waiter)
}

func (p *part) settled(error) { // an error comes up again where the partition is asked
	p.flushing.Store(false)
	p.x.ring()
}

func (p *part) settling() bool { return p.flushing.Load() }

// take takes in what the leader says of the partition.
func (p *part) take(ctx context.Context, row *msg.FetchResponseResponsePartition) {
	epoch := p.want.CurrentLeaderEpoch
	var err error
	switch code := kafka.Code(row.ErrorCode); {
	case code == kafka.OffsetOutOfRange:
		err = p.reset(ctx, epoch)
	case code != kafka.None:
		err = code
	case row.DivergingEpoch.EndOffset >= 0:
		_, err = p.r.Diverged(replica.EpochEnd{Epoch: row.DivergingEpoch.Epoch, Offset: row.DivergingEpoch.EndOffset}, epoch)
	default:
		err = p.append(row, epoch)
	}
	if err == nil {
		p.until, p.tries = time.Time{}, 0
		return
	}
	p.rest(err)
}

// append takes records in, and then what the leader tells with them.
func (p *part) append(row *msg.FetchResponseResponsePartition, epoch int32) error {
	if len(row.Records) > 0 {
		wrote, err := p.r.Append(row.Records, epoch)
		if wrote {
			p.x.filled = append(p.x.filled, p.r.Replica)
			p.x.fresh = append(p.x.fresh, p)
		}
		if err != nil {
			return err
		}
		p.x.f.pace.took(p, len(row.Records))
	}
	p.behind = p.r.LogEnd() < row.HighWatermark
	return p.r.Learn(replica.Told{Epoch: epoch, HW: row.HighWatermark, Durable: row.LastStableOffset, LogStart: row.LogStartOffset})
}

// rest leaves the partition alone for a while.
func (p *part) rest(err error) {
	s := &p.x.set
	pause := min(firstRest<<min(p.tries, 16), max(s.Backoff, firstRest))
	p.until = p.x.f.cfg.Now().Add(pause)
	if p.tries++; p.tries == 5 { // what comes of a change of leaders is over by then
		p.x.f.cfg.Logger.Warn("a partition cannot be filled from its leader", "partition", p.tp.String(), "leader", p.x.lane.leader, "err", err)
	}
}

// reset asks the leader where its log begins and ends, and goes there.
func (p *part) reset(ctx context.Context, epoch int32) error {
	start, err := p.offset(ctx, epoch, kafka.EarliestTimestamp)
	if err != nil {
		return err
	}
	end, err := p.offset(ctx, epoch, kafka.LatestTimestamp)
	if err != nil {
		return err
	}
	_, err = p.r.Reset(start, end, epoch)
	return err
}

// offset asks the leader for one end of its log.
func (p *part) offset(ctx context.Context, epoch int32, which int64) (int64, error) {
	req := msg.NewListOffsetsRequest()
	req.ReplicaID = p.x.f.cfg.Self
	one := msg.NewListOffsetsRequestTopicPartition()
	one.PartitionIndex, one.CurrentLeaderEpoch, one.Timestamp = p.tp.Partition, epoch, which
	req.Topics = []msg.ListOffsetsRequestTopic{{Name: p.tp.Topic, Partitions: []msg.ListOffsetsRequestTopicPartition{one}}}
	var resp msg.ListOffsetsResponse
	if err := p.x.conn.DoInto(ctx, &req, &resp, listVersion, nil); err != nil {
		return 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, kafka.UnknownServerError
	}
	row := &resp.Topics[0].Partitions[0]
	if code := kafka.Code(row.ErrorCode); code != kafka.None {
		return 0, code
	}
	return row.Offset, nil
}
