package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hosted is how many groups, and how many transactional ids with an open
// transaction, T4 puts on one broker.
const (
	hosted      = 10_000
	hostedTopic = "hosted"
	hostedLanes = 32
)

// hostRows is T4. It has no limits: its numbers are to be known.
func hostRows() []*row {
	return []*row{{id: "T4", work: "10,000 groups and 10,000 open transactions", own: hostRow,
		load: load{conns: hostedLanes, window: 1, partitions: 8, acks: -1, batch: batchSpec{size: len(txnBatch(1)), record: txnRecord}},
		metrics: []metric{{"empty", "MB", nil}, {"with all", "MB", nil}, {"started", "MB", nil}, {"started after kill -9", "MB", nil},
			{"clean end", "s", nil}, {"clean start", "s", nil}, {"start after kill -9", "s", nil}}}}
}

// hostRow fills a broker, ends it in order, starts it, kills it and starts it
// again. A start ends when all groups and all open transactions are listed.
func hostRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	n := hosted
	if s.quick {
		n /= 10
		r.note = fmt.Sprintf("(quick: %d of each)", n)
	}
	dir, err := os.MkdirTemp(s.dir, "hosted-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	h := &host{dir: dir, n: n}
	values, err := h.run(ctx, s)
	if err != nil {
		return nil, err
	}
	r.add("myelin", values)
	return r, nil
}

type host struct {
	dir string
	n   int
	m   *myelin
}

func (h *host) run(ctx context.Context, s *session) (values []float64, err error) {
	if h.m, err = serve(ctx, s.binary, h.dir, flags([]string{"group.consumer.session.timeout.ms=60000"})...); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; the broker's log:\n%s", err, h.m.log())
		}
		err = errors.Join(err, h.m.end(time.Minute))
	}()
	empty, err := settled(ctx, h.m.target)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := h.fill(ctx); err != nil {
		return nil, err
	}
	s.log("T4: %d groups and transactions in %.1f s", h.n, time.Since(begin).Seconds())
	full, err := settled(ctx, h.m.target)
	if err != nil {
		return nil, err
	}
	begin = time.Now()
	if err := h.m.end(time.Minute); err != nil {
		return nil, err
	}
	ended := time.Since(begin).Seconds()
	cleanStart, cleanMemory, err := h.start(ctx, s)
	if err != nil {
		return nil, err
	}
	h.m.kill()
	killStart, killMemory, err := h.start(ctx, s)
	return []float64{empty, full, cleanMemory, killMemory, ended, cleanStart, killStart}, err
}

// start starts the broker on what is there, and gives the seconds until it lists
// everything and the memory that it then has.
func (h *host) start(ctx context.Context, s *session) (took, memory float64, err error) {
	addr, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if h.m, err = spawn(s.binary, h.dir, "--listen", addr, "--set", "group.consumer.session.timeout.ms=60000"); err != nil {
		return 0, 0, err
	}
	h.m.addr = addr
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.listed(within); err != nil {
		return 0, 0, err
	}
	took = time.Since(begin).Seconds()
	memory, err = settled(ctx, h.m.target)
	return took, memory, err
}

// listed waits until all groups and all open transactions are listed.
func (h *host) listed(ctx context.Context) error {
	c, err := dialUntil(ctx, h.m.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		groups, txns, err := h.count(c)
		if err != nil || groups == h.n && txns == h.n {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("%d groups and %d open transactions are listed, of %d: %w", groups, txns, h.n, err)
		}
	}
}

// count lists groups and open transactions; while a part of them is being loaded
// it finds none.
func (h *host) count(c *conn) (groups, txns int, err error) {
	resp, err := c.call(kmsg.NewPtrListGroupsRequest(), 5)
	if err != nil {
		return 0, 0, err
	}
	if got := resp.(*kmsg.ListGroupsResponse); got.ErrorCode == 0 {
		groups = len(got.Groups)
	}
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"Ongoing"}
	if resp, err = c.call(req, 1); err != nil {
		return 0, 0, err
	}
	if got := resp.(*kmsg.ListTransactionsResponse); got.ErrorCode == 0 {
		txns = len(got.TransactionStates)
	}
	return groups, txns, nil
}

// fill makes the groups, each with a member and a committed offset, and the
// transactions, each with a record.
func (h *host) fill(ctx context.Context) error {
	if err := createTopic(ctx, h.m.addr, topicSpec{hostedTopic, 8, topicConfigs(nil)}); err != nil {
		return err
	}
	errs := make([]error, hostedLanes)
	var all sync.WaitGroup
	for lane := range hostedLanes {
		all.Go(func() {
			for i := lane; i < h.n && errs[lane] == nil; i += hostedLanes {
				errs[lane] = errors.Join(h.group(ctx, i), h.open(ctx, i))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// group makes one group of a member that has committed an offset.
func (h *host) group(ctx context.Context, i int) error {
	group := fmt.Sprintf("hosted-group-%05d", i)
	m, err := newMember(ctx, h.m.target, group, fmt.Sprintf("hosted-member-%05d", i), hostedTopic)
	if err != nil {
		return err
	}
	defer m.c.Close()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = group, m.req.MemberID, m.req.MemberEpoch
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	t.Topic, p.Offset = hostedTopic, 1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := m.c.call(req, 9)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

// open begins one transaction and leaves it open.
func (h *host) open(ctx context.Context, i int) error {
	c, err := dial(ctx, h.m.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t := &transactor{c: c, id: fmt.Sprintf("hosted-txn-%05d", i), topic: hostedTopic, timeout: 15 * time.Minute}
	if err := t.begin(ctx); err != nil {
		return err
	}
	b := txnBatch(1)
	t.sign(b)
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.TransactionID = txnProduceVersion, -1, 30_000, &t.id
	topic, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	topic.Topic, p.Partition, p.Records = hostedTopic, int32(i%8), b
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	t.frame = frameOf(req)
	return t.write(ctx)
}
