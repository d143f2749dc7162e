package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Transactions as a client of version 2 (KIP-890) makes them: a Produce of
// version 12, which needs no AddPartitionsToTxn before it, and an EndTxn of
// version 5, whose answer names the producer of the next transaction.
const (
	txnProduceVersion = 12
	initVersion       = 5
	endVersion        = 5
)

// txnShape is the work of one transaction: how many records go to each partition.
var txnShape = []int{4, 3, 3}

const (
	txnRecord  = 100 // bytes of a record's value
	txnRecords = 10
)

// Where things stand in a batch.
const (
	crcAt      = 17
	attrsAt    = 21
	lastAt     = 23
	producerAt = 43
	epochAt    = 51
	sequenceAt = 53

	transactional = 1 << 4
	control       = 1 << 5
)

// transactor runs transactions on a connection of its own, one after the other.
type transactor struct {
	c         *conn
	id, topic string
	producer  int64
	epoch     int16
	timeout   time.Duration
	frame     []byte   // the Produce of a transaction
	batches   [][]byte // in the frame
}

// newTransactor gets a producer for a transactional id.
func newTransactor(ctx context.Context, to target, id, topic string) (*transactor, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	t := &transactor{c: c, id: id, topic: topic, timeout: time.Minute}
	if err = t.build(); err == nil {
		err = t.begin(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// build makes the Produce, with producers that are put in later.
func (t *transactor) build() error {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.TransactionID = txnProduceVersion, -1, 30_000, &t.id
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = t.topic
	for i, n := range txnShape {
		b := txnBatch(n)
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	t.frame = frameOf(req)
	from := 0
	for _, p := range topic.Partitions {
		at := bytes.Index(t.frame[from:], p.Records)
		if at < 0 {
			return errors.New("a batch is not in its frame")
		}
		from += at
		t.batches = append(t.batches, t.frame[from:from+len(p.Records)])
		from += len(p.Records)
	}
	return nil
}

// txnBatch is a transactional batch of n records.
func txnBatch(n int) []byte {
	var records []byte
	for i := range n {
		records = appendRecord(records, i, bytes.Repeat([]byte{'v'}, txnRecord))
	}
	return sealBatch(records, n, transactional)
}

// begin asks for a producer until the coordinator is there.
func (t *transactor) begin(ctx context.Context) error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{t.id}
	if _, err := t.c.call(find, 4); err != nil { // makes the topic
		return err
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &t.id, int32(t.timeout.Milliseconds())
	return again(ctx, "InitProducerId", func() (int16, error) {
		resp, err := t.c.call(req, initVersion)
		if err != nil {
			return 0, err
		}
		got := resp.(*kmsg.InitProducerIDResponse)
		t.producer, t.epoch = got.ProducerID, got.ProducerEpoch
		return got.ErrorCode, nil
	})
}

// again repeats a request for as long as a coordinator tells to come again.
func again(ctx context.Context, what string, ask func() (int16, error)) error {
	for {
		code, err := ask()
		if err != nil || code == 0 {
			return err
		}
		if e := kerr.TypedErrorForCode(code); !e.Retriable {
			return fmt.Errorf("%s: %w", what, e)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%s: error code %d: %w", what, code, err)
		}
	}
}

// seal puts the producer of the transaction into its batches. Each transaction
// has an epoch of its own, so its sequences begin at 0.
func (t *transactor) seal() {
	for _, b := range t.batches {
		t.sign(b)
	}
}

func (t *transactor) sign(b []byte) {
	be := binary.BigEndian
	be.PutUint64(b[producerAt:], uint64(t.producer))
	be.PutUint16(b[epochAt:], uint16(t.epoch))
	be.PutUint32(b[sequenceAt:], 0)
	be.PutUint32(b[crcAt:], crc32.Checksum(b[crcFrom:], crc32.MakeTable(crc32.Castagnoli)))
}

// write sends the records and waits until they are acknowledged. While the
// transaction before is being ended the broker has it come again.
func (t *transactor) write(ctx context.Context) error {
	return again(ctx, "Produce", func() (int16, error) {
		body, err := t.c.exchange(t.frame)
		if err != nil {
			return 0, err
		}
		var resp kmsg.ProduceResponse
		resp.Version = txnProduceVersion
		if err := resp.ReadFrom(body[5:]); err != nil {
			return 0, err
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode, nil
				}
			}
		}
		return 0, nil
	})
}

// commit ends the transaction and learns the producer of the next.
func (t *transactor) commit(ctx context.Context) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = t.id, t.producer, t.epoch, true
	return again(ctx, "EndTxn", func() (int16, error) {
		resp, err := t.c.call(req, endVersion)
		if err != nil {
			return 0, err
		}
		got := resp.(*kmsg.EndTxnResponse)
		if got.ErrorCode == 0 {
			t.producer, t.epoch = got.ProducerID, got.ProducerEpoch
		}
		return got.ErrorCode, nil
	})
}

// committedReader waits for the records of transactions, as a consumer with
// read_committed does.
type committedReader struct {
	c     *conn
	topic string
	next  []int64 // by partition
	seen  chan time.Time
	have  int // records of the transaction that is not whole yet
}

// run fetches until the connection is closed, and tells when the last record of
// each transaction came.
func (r *committedReader) run() error {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = fetchVersion, 500, 1, 64<<20, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = r.topic
	for i := range r.next {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = int32(i), 1<<20, -1
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	for {
		for i := range r.next {
			req.Topics[0].Partitions[i].FetchOffset = r.next[i]
		}
		body, err := r.c.exchange(frameOf(req))
		if err != nil {
			return err
		}
		if err := r.take(body, time.Now()); err != nil {
			return err
		}
	}
}

func (r *committedReader) take(body []byte, now time.Time) error {
	var resp kmsg.FetchResponse
	resp.Version = fetchVersion
	if err := resp.ReadFrom(body[5:]); err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("fetch of %s-%d: %w", r.topic, p.Partition, err)
			}
			n := r.batches(p.Partition, p.RecordBatches)
			for r.have += n; r.have >= txnRecords; r.have -= txnRecords {
				r.seen <- now
			}
		}
	}
	return nil
}

// batches counts the records that were not read before, and goes on behind them.
func (r *committedReader) batches(partition int32, b []byte) (records int) {
	be := binary.BigEndian
	for len(b) >= batchHeader {
		size := 12 + int(be.Uint32(b[8:]))
		if size > len(b) {
			break
		}
		base := int64(be.Uint64(b))
		if base >= r.next[partition] {
			r.next[partition] = base + int64(be.Uint32(b[lastAt:])) + 1
			if be.Uint16(b[attrsAt:])&control == 0 {
				records += int(be.Uint32(b[57:]))
			}
		}
		b = b[size:]
	}
	return records
}

// txnTimes is what the transactions of a measurement took.
type txnTimes struct{ seen, write, end []time.Duration }

// transactions is a while of transactions, each seen by a parked consumer before
// the next begins, with a rest between them in which the broker finishes the last.
type transactions struct {
	d, rest time.Duration
}

// run measures them. The topic may hold transactions of before.
func (w transactions) run(ctx context.Context, to target, id, topic string) (txnTimes, error) {
	var got txnTimes
	t, err := newTransactor(ctx, to, id, topic)
	if err != nil {
		return got, err
	}
	defer t.c.Close()
	r, err := newReader(ctx, to, topic)
	if err != nil {
		return got, err
	}
	ended := make(chan error, 1)
	go func() { ended <- r.run() }()
	defer func() {
		r.c.Close()
		if ended != nil {
			<-ended
		}
	}()
	const uncounted = 20
	for i, begin := 0, time.Now(); i <= uncounted || time.Since(begin) < w.d; i++ {
		t.seal()
		if err := pause(ctx, w.rest); err != nil {
			return got, err
		}
		at := time.Now()
		if err := t.write(ctx); err != nil {
			return got, err
		}
		wrote := time.Since(at)
		ending := time.Now()
		if err := t.commit(ctx); err != nil {
			return got, err
		}
		end := time.Since(ending)
		select {
		case seen := <-r.seen:
			if i >= uncounted {
				got.seen, got.write, got.end = append(got.seen, seen.Sub(at)), append(got.write, wrote), append(got.end, end)
			}
		case err := <-ended:
			ended = nil
			return got, err
		case <-time.After(30 * time.Second):
			return got, errors.New("a transaction was not seen within 30 s")
		}
	}
	return got, nil
}

// newReader begins behind what the topic holds.
func newReader(ctx context.Context, to target, topic string) (*committedReader, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	r := &committedReader{c: c, topic: topic, next: make([]int64, len(txnShape)), seen: make(chan time.Time, 1)}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for i := range txnShape {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = int32(i), -1, -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req, 6)
	if err != nil {
		c.Close()
		return nil, err
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				c.Close()
				return nil, err
			}
			r.next[p.Partition] = p.Offset
		}
	}
	return r, nil
}
