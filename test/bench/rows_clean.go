package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleanRows is row S2: a compacted log of which half is dirty, every key of the
// clean half written anew.
func cleanRows() []*row {
	l := load{conns: 1, window: 5, partitions: 1, acks: 1, bytes: 1_000_000 * keyedRecord,
		configs: []string{"cleanup.policy", "compact", "segment.bytes", "104857600", "min.cleanable.dirty.ratio", "1"}}
	lean := map[string]int64{} // by side, before it first compacted anything
	return []*row{{
		id: "S2", work: "compaction, 1 M keys with values of 1 KiB, 50 % dirty", load: l,
		metrics: []metric{
			{"CPU", "CPU-s/GB cleaned", []limit{atMost(0.5, "kafka")}},
			{"memory", "MB more", []limit{atMost(64, "")}},
		},
		measure: func(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
			c := cleaning{to: to, topic: topic, keys: int(s.scaled(l).bytes / keyedRecord), lean: lean}
			return c.measure(ctx)
		},
	}}
}

const (
	keyedRecord = 1024
	keyDigits   = 12
	perBatch    = 60
)

// cleaning lets a broker compact a topic and measures what that costs it.
type cleaning struct {
	to    target
	topic string
	keys  int
	lean  map[string]int64
	conn  *conn
}

func (c *cleaning) measure(ctx context.Context) ([]float64, error) {
	var err error
	if c.conn, err = dial(ctx, c.to.addr); err != nil {
		return nil, err
	}
	defer c.conn.Close()
	if err := c.set(4, "", "log.cleaner.backoff.ms", "500"); err != nil {
		return nil, err
	}
	if err := c.set(2, c.topic, "min.cleanable.dirty.ratio", "1"); err != nil {
		return nil, err
	}
	size, err := c.size()
	if err != nil {
		return nil, err
	}
	if size == 0 { // what will be the clean half
		err = c.write(ctx, 1)
	}
	if err == nil {
		err = c.write(ctx, 7919)
	}
	if err == nil {
		err = pause(ctx, 2*time.Second)
	}
	if err != nil {
		return nil, err
	}
	return c.clean(ctx)
}

// clean sets the cleaner off and follows it to its end: the topic is smaller
// than before by what was overwritten, and rests.
func (c *cleaning) clean(ctx context.Context) ([]float64, error) {
	begin, err := c.size()
	if err != nil {
		return nil, err
	}
	before, err := c.to.cpu()
	if err != nil {
		return nil, err
	}
	lean, _, err := c.to.memory()
	if c.lean[c.to.name] == 0 {
		c.lean[c.to.name] = lean
	}
	lean = c.lean[c.to.name]
	if err == nil {
		err = c.set(2, c.topic, "min.cleanable.dirty.ratio", "0.01")
	}
	peak, size, quiet := lean, begin, 0
	var after time.Duration
	for n := 0; err == nil && (quiet < 15 || size > begin*7/10); n++ {
		if n == 3000 {
			return nil, fmt.Errorf("%d of %d bytes are left after five minutes", size, begin)
		}
		if err = pause(ctx, 100*time.Millisecond); err != nil {
			break
		}
		now, _, merr := c.to.memory()
		peak = max(peak, now)
		last := size
		size, err = c.size()
		if quiet++; size != last || n == 0 {
			quiet = 0
			cpu, cerr := c.to.cpu()
			after, merr = cpu, errors.Join(merr, cerr)
		}
		err = errors.Join(err, merr)
	}
	return []float64{(after - before).Seconds() / (float64(begin) / 1e9), float64(peak-lean) / 1e6}, err
}

// write sends every key once, in an order that step decides.
func (c *cleaning) write(ctx context.Context, step int) error {
	to, err := dial(ctx, c.to.addr)
	if err != nil {
		return err
	}
	defer to.Close()
	b, keyAt := keyedBatch()
	frame := produceFrame(c.topic, 0, 1, batch{b, perBatch})
	at := bytes.Index(frame, b)
	next := 0
	l := &lane{c: to, window: 5, frame: frame, advance: func(frame []byte) {
		batch := frame[at : at+len(b)]
		for _, k := range keyAt {
			key := strconv.AppendInt(nil, int64(next*step%c.keys), 10)
			copy(batch[k:k+keyDigits], "000000000000")
			copy(batch[k+keyDigits-len(key):], key)
			next++
		}
		binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[crcFrom:], crc32.MakeTable(crc32.Castagnoli)))
	}}
	return drive(ctx, []*lane{l}, c.keys/perBatch)
}

// keyedBatch is a batch of records with keys of keyDigits bytes, and where these
// lie in it.
func keyedBatch() (b []byte, keyAt []int) {
	value := bytes.Repeat([]byte("0123456789abcdef"), keyedRecord/16)
	var records []byte
	for i := range perBatch {
		body := []byte{0, 0} // attributes, timestamp delta
		body = binary.AppendVarint(body, int64(i))
		body = binary.AppendVarint(body, keyDigits)
		key := len(body)
		body = append(body, make([]byte, keyDigits)...)
		body = binary.AppendVarint(body, int64(len(value)))
		body = append(append(body, value...), 0) // no headers
		records = binary.AppendVarint(records, int64(len(body)))
		keyAt = append(keyAt, batchHeader+len(records)+key)
		records = append(records, body...)
	}
	return sealBatch(records, perBatch, 0), keyAt
}

// size is what the topic's segments have in bytes.
func (c *cleaning) size() (int64, error) {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	t := kmsg.NewDescribeLogDirsRequestTopic()
	t.Topic, t.Partitions = c.topic, []int32{0}
	req.Topics = append(req.Topics, t)
	resp, err := c.conn.call(req, 2)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, d := range resp.(*kmsg.DescribeLogDirsResponse).Dirs {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				n += p.Size
			}
		}
	}
	return n, nil
}

// set changes a property of a topic (kind 2) or of all brokers (kind 4).
func (c *cleaning) set(kind kmsg.ConfigResourceType, name, key, value string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	cfg := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	cfg.Name, cfg.Value = key, &value
	r.Configs = append(r.Configs, cfg)
	req.Resources = append(req.Resources, r)
	resp, err := c.conn.call(req, 1)
	if err != nil {
		return err
	}
	for _, r := range resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if r.ErrorCode != 0 {
			return &refusal{"set " + key, r.ErrorCode, ""}
		}
	}
	return nil
}
