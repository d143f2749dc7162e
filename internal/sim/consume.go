package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/history"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// cursor reads partitions with read_committed, forward from where it stands.
type cursor struct {
	*agent
	at map[tp]int64
}

// poll fetches once from the leader of one of the partitions all that it leads
// of them. Positions go forward; what was read is returned in order.
func (c *cursor) poll(parts []tp, maxBytes int32) ([]history.Record, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	leader, err := c.lead(parts[c.rand.IntN(len(parts))])
	if err != nil {
		return nil, err
	}
	req := msg.NewFetchRequest()
	req.MaxWaitMs, req.MinBytes, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 100, 1, maxBytes, 1, -1
	for _, p := range parts {
		if c.leader(p) != leader {
			continue
		}
		fp := msg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes, fp.CurrentLeaderEpoch = p.part, c.at[p], maxBytes, c.view.epochs[p]
		if i := slices.IndexFunc(req.Topics, func(t msg.FetchRequestTopic) bool { return t.Topic == p.topic }); i >= 0 {
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, fp)
		} else {
			req.Topics = append(req.Topics, msg.FetchRequestTopic{Topic: p.topic, Partitions: []msg.FetchRequestTopicPartition{fp}})
		}
	}
	life := int(c.fleet.nodes[leader].life.Load())
	marks := c.fleet.book.waters(leader, life)
	var resp msg.FetchResponse
	if err := c.ask(leader, &req, 12, &resp); err != nil {
		_ = c.refresh()
		return nil, err
	}
	if code := kafka.Code(resp.ErrorCode); code != kafka.None {
		return nil, c.passing("Fetch", code)
	}
	return c.take(answer{leader, life, marks, &resp})
}

// answer is a node's answer to Fetch, with what the node had told before it was
// asked.
type answer struct {
	leader int32
	life   int
	marks  map[tp]int64
	resp   *msg.FetchResponse
}

// take opens an answer. An error of one partition does not spoil the others.
func (c *cursor) take(from answer) (out []history.Record, err error) {
	leader := from.leader
	for _, t := range from.resp.Responses {
		for _, r := range t.Partitions {
			at := tp{t.Topic, r.PartitionIndex}
			c.learn(at, r.CurrentLeader.LeaderID, r.CurrentLeader.LeaderEpoch)
			if code := kafka.Code(r.ErrorCode); code != kafka.None {
				c.trace("fetch %v at %d: %s", at, c.at[at], code.Name())
				if code == kafka.OffsetOutOfRange {
					return out, fmt.Errorf("%v: %d was read up to, and node %d has nothing there", at, c.at[at], leader)
				}
				_ = c.refresh()
				if e := c.passing("Fetch of "+at.String(), code); !errors.Is(e, errRetry) {
					return out, e
				} else if err == nil {
					err = e
				}
				continue
			}
			if e := c.fleet.book.water(watched{at, leader, from.life}, from.marks[at], r.HighWatermark); e != nil {
				return out, e
			}
			got, next, e := openCommitted(r.Records, r.AbortedTransactions, c.at[at])
			if e != nil {
				return out, fmt.Errorf("%v at %d from node %d: %w", at, c.at[at], leader, e)
			}
			for _, s := range got {
				v, e := parseValue([]byte(s.value))
				if e != nil {
					return out, fmt.Errorf("%v offset %d: %w", at, s.offset, e)
				}
				out = append(out, history.Record{Key: at.String(), Offset: s.offset, Value: v})
			}
			c.at[at] = max(next, c.at[at])
			if e := lastEpoch(r.Records); e >= 0 {
				c.outdated(at, e)
			}
		}
	}
	if len(out) > 0 {
		err = nil
	}
	return out, err
}

// openCommitted gives what a read_committed consumer shows of a fetch answer, and
// the position behind it.
func openCommitted(b []byte, aborted []msg.FetchResponseResponsePartitionAbortedTransaction, from int64) (out []seen, next int64, err error) {
	next = from
	aborted = slices.Clone(aborted)
	slices.SortStableFunc(aborted, func(a, b msg.FetchResponseResponsePartitionAbortedTransaction) int {
		return int(a.FirstOffset - b.FirstOffset)
	})
	gone := map[int64]bool{} // producers whose transaction here is an aborted one
	for len(b) > record.HeaderSize {
		h, err := record.ParseHeader(b)
		if err != nil {
			return nil, 0, err
		}
		if h.Size() > len(b) {
			break
		}
		if _, err := record.Check(b[:h.Size()]); err != nil {
			return nil, 0, fmt.Errorf("a fetched batch at offset %d: %w", h.BaseOffset, err)
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= h.LastOffset() {
			gone[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		switch {
		case h.Attributes.Has(record.Control):
			delete(gone, h.ProducerID)
		case h.Attributes.Has(record.Transactional) && gone[h.ProducerID]:
		default:
			if out, err = openBatch(out, b[:h.Size()], from); err != nil {
				return nil, 0, err
			}
		}
		next = max(next, h.NextOffset())
		b = b[h.Size():]
	}
	return out, next, nil
}

// lastEpoch is the leader epoch of the last whole batch, -1 if there is none.
func lastEpoch(b []byte) int32 {
	epoch := int32(-1)
	for len(b) > record.HeaderSize {
		h, err := record.ParseHeader(b)
		if err != nil || h.Size() > len(b) {
			break
		}
		epoch, b = h.LeaderEpoch, b[h.Size():]
	}
	return epoch
}

func openBatch(out []seen, b []byte, from int64) ([]seen, error) {
	var r record.Reader
	for r.Reset(b, 64<<20); r.Next(); {
		if rec := r.Record(); rec.Offset >= from {
			out = append(out, seen{rec.Offset, string(rec.Key)})
		}
	}
	return out, r.Err()
}

// reader reads topics for itself, and now and then begins at some place anew.
type reader struct {
	cursor
	parts   []tp
	process int
	moved   []string
}

func newReader(a *agent) (func() error, func()) {
	r := &reader{cursor: cursor{agent: a, at: map[tp]int64{}}, parts: a.fleet.parts(plain, wide, copied, shared), process: a.fleet.book.process()}
	return r.round, nil
}

func (r *reader) round() error {
	if r.rand.IntN(150) == 0 {
		p := r.parts[r.rand.IntN(len(r.parts))]
		r.at[p] = r.rand.Int64N(r.at[p] + 1)
		r.moved = append(r.moved, p.String())
		r.trace("seeks to %d of %v", r.at[p], p)
	}
	got, err := r.poll(r.parts, 4<<10<<r.rand.IntN(8))
	if len(got) > 0 {
		r.fleet.book.note(history.Op{Process: r.process, Moved: r.moved, Steps: []history.Step{{Polled: got}}})
		r.moved = nil
	}
	r.trace("polled %d: %v", len(got), err)
	r.rest(5*time.Millisecond, 150*time.Millisecond)
	return err
}
