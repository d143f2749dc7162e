package sim

import (
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// fetch reads some partition from some offset and compares what comes with the
// promises.
func (p *play) fetch() error {
	from := p.somePart()
	if from == nil {
		return nil
	}
	log, err := p.read(from, p.rand.Int64N(from.end+1), p.rand.IntN(2) == 0)
	if err != nil {
		return err
	}
	p.trace("fetched %d from %s-%d", len(log), from.topic, from.id)
	for _, s := range log {
		if v, ok := from.promised[s.offset]; ok && v != s.value {
			return fmt.Errorf("%s-%d offset %d: read %q, %q was promised", from.topic, from.id, s.offset, s.value, v)
		}
		if !from.sent[s.value] {
			return fmt.Errorf("%s-%d offset %d: %q was never sent", from.topic, from.id, s.offset, s.value)
		}
	}
	return nil
}

// read fetches once. Records before offset, which may come with the batch that
// holds it, are left out as a client does.
func (p *play) read(from *part, offset int64, wait bool) ([]seen, error) {
	req := msg.NewFetchRequest()
	req.MinBytes, req.MaxBytes = 1, 1<<20
	if wait {
		req.MaxWaitMs = 100
	}
	fp := msg.NewFetchRequestTopicPartition()
	fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = from.id, offset, 300<<10
	req.SessionEpoch = -1
	req.Topics = []msg.FetchRequestTopic{{Topic: from.topic, Partitions: []msg.FetchRequestTopicPartition{fp}}}
	var resp msg.FetchResponse
	if err := p.client.ask(&req, 11, &resp); err != nil {
		return nil, err
	}
	if resp.ErrorCode != 0 {
		return nil, p.tolerate(kafka.Code(resp.ErrorCode))
	}
	part := resp.Responses[0].Partitions[0]
	if part.ErrorCode != 0 {
		return nil, p.tolerate(kafka.Code(part.ErrorCode))
	}
	return decode(part.Records, offset)
}

// decode opens the whole batches of a fetch answer.
func decode(b []byte, offset int64) ([]seen, error) {
	var out []seen
	for len(b) > record.HeaderSize {
		h, err := record.ParseHeader(b)
		if err != nil {
			return nil, err
		}
		if h.Size() > len(b) {
			break
		}
		if _, err := record.Check(b[:h.Size()]); err != nil {
			return nil, fmt.Errorf("a fetched batch at offset %d: %w", h.BaseOffset, err)
		}
		var r record.Reader
		for r.Reset(b[:h.Size()], 64<<20); r.Next(); {
			if rec := r.Record(); rec.Offset >= offset {
				out = append(out, seen{rec.Offset, string(rec.Key)})
			}
		}
		if err := r.Err(); err != nil {
			return nil, err
		}
		b = b[h.Size():]
	}
	return out, nil
}

// audit holds the node, just started, to every promise: topics, records,
// offsets.
func (p *play) audit() error {
	if err := p.auditTopics(); err != nil {
		return err
	}
	for _, t := range p.model.topics {
		if !t.exists {
			continue
		}
		for _, part := range t.parts {
			if err := p.auditPart(part); err != nil {
				return err
			}
		}
	}
	return p.auditCommits()
}

func (p *play) auditTopics() error {
	req := msg.NewMetadataRequest()
	var resp msg.MetadataResponse
	if err := p.client.ask(&req, 8, &resp); err != nil {
		return fmt.Errorf("metadata after a restart: %w", err)
	}
	there := map[string]int{}
	for _, t := range resp.Topics {
		there[*t.Name] = len(t.Partitions)
	}
	for _, t := range p.model.topics {
		if n, ok := there[t.name]; ok {
			t.exists = true
			if n != len(t.parts) {
				return fmt.Errorf("topic %s has %d partitions, %d were asked for", t.name, n, len(t.parts))
			}
		} else if t.exists {
			return fmt.Errorf("topic %s was acknowledged and is gone", t.name)
		}
	}
	return nil
}

func (p *play) auditPart(part *part) error {
	var log []seen
	for next := int64(0); ; {
		got, err := p.read(part, next, false)
		if err != nil {
			if errors.Is(err, errGone) {
				err = errors.New("no answer")
			}
			return fmt.Errorf("reading %s-%d from %d: %w", part.topic, part.id, next, err)
		}
		if len(got) == 0 {
			break
		}
		log = append(log, got...)
		next = got[len(got)-1].offset + 1
	}
	if err := part.check(0, log); err != nil {
		return err
	}
	p.trace("audited %s-%d: %d records", part.topic, part.id, len(log))
	return part.settle(log)
}
