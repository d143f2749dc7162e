package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Rules are what a topic's configuration demands of a client's batch beyond
// what [CheckClient] sees.
type Rules struct {
	Partition kafka.TopicPartition // named in messages to the client
	// Recode asks for Codec at Level, whatever the client used
	// (compression.type other than producer).
	Recode bool
	Codec  Codec
	Level  int
	// AppendTime: the broker's clock counts (message.timestamp.type), and the
	// two bounds below do not.
	AppendTime bool
	// Before and After are by how many ms a record's time may differ from now
	// (message.timestamp.before.max.ms, .after.max.ms); math.MaxInt64: at will.
	Before, After int64
	// Compacted: every record needs a key (cleanup.policy).
	Compacted bool
	// Validate opens every batch (validate.records).
	Validate bool
}

// MustOpen says whether the header alone cannot show that the rules are kept.
// Kafka opens every batch; here the header's word on timestamps is taken as
// long as it lies within the bounds.
func (r *Rules) MustOpen(h *Header, now int64) bool {
	switch {
	case r.Validate, r.Compacted, r.Recode && r.Codec != h.Attributes.Codec(), h.Attributes.Has(AppendTime):
		return true
	case r.AppendTime:
		return false
	}
	return r.Before != math.MaxInt64 || outOfRange(h.MaxTimestamp, now, r)
}

func outOfRange(ts, now int64, r *Rules) bool {
	if ts == kafka.NoTimestamp {
		return false
	}
	if diff := now - ts; diff > 0 {
		return diff > r.Before
	} else {
		return -diff > r.After
	}
}

// Inspect opens a batch that [CheckClient] accepted and holds each record to
// the rules. It returns the batch to append: b, with its largest timestamp and
// timestamp type put right if they were wrong, or a new one in the topic's
// codec, or with the records' offsets put right. It writes into b, which the
// caller must own, and may wait for a slot of the pool.
//
// Errors are a [*Refusal]: INVALID_RECORD and INVALID_TIMESTAMP with the
// records at fault, MESSAGE_TOO_LARGE for a batch that expands too far,
// INVALID_RECORD for records that do not parse, UNKNOWN_SERVER_ERROR for
// compressed data that does not expand, as Kafka answers.
func (p *Pool) Inspect(b []byte, h Header, rules *Rules, now int64) ([]byte, Header, error) {
	in := inspection{rules: rules, h: &h, now: now, codec: h.Attributes.Codec()}
	if rules.Recode && rules.Codec != in.codec {
		in.codec, in.level, in.recode = rules.Codec, rules.Level, true
	}
	out, err := p.pass(b, &in)
	if err == nil && out == nil && in.gaps { // the records' own offsets are wrong
		in.recode = true
		out, err = p.pass(b, &in)
	}
	switch {
	case err != nil:
		return b, h, err
	case out != nil:
		return out, parse(out), nil
	case rules.AppendTime || in.top == h.MaxTimestamp && !h.Attributes.Has(AppendTime):
		return b, h, nil
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(h.Attributes&^AppendTime))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(in.top))
	seal(b)
	return b, parse(b), nil
}

// pass reads the batch once; with in.recode it gives a new one.
func (p *Pool) pass(b []byte, in *inspection) ([]byte, error) {
	r := p.Open(b)
	defer p.Close(r)
	in.top = kafka.NoTimestamp
	r.shapes = !in.recode
	if in.recode {
		in.out = p.builders.Get().(*Builder)
		defer func() {
			in.out.Reset()
			p.builders.Put(in.out)
		}()
		in.begin()
	}
	for i := int32(0); r.Next(); i++ {
		in.record(r, i)
	}
	if err := r.Err(); err != nil {
		return nil, refusalOf(err)
	}
	if err := in.verdict(); err != nil {
		return nil, err
	}
	if in.recode {
		return slices.Clone(in.out.Bytes()), nil
	}
	return nil, nil
}

// maxRecordErrors bounds what one batch can make an answer hold.
const maxRecordErrors = 1000

// inspection is one batch under Inspect.
type inspection struct {
	rules  *Rules
	h      *Header
	now    int64
	codec  Codec // in which the batch is stored
	level  int
	recode bool     // the batch is made anew
	out    *Builder // then
	top    int64    // largest timestamp so far
	gaps   bool     // the records' offsets do not follow each other
	code   kafka.Code
	wrong  []RecordError
}

// begin prepares the new batch: all that the header says of the producer stays.
func (in *inspection) begin() {
	in.out.Reset()
	in.out.Codec, in.out.Level = in.codec, in.level
	in.out.Flags = in.h.Attributes & Transactional
	if in.h.Idempotent() {
		in.out.Producer = &Producer{in.h.ProducerID, in.h.ProducerEpoch, in.h.BaseSequence}
	}
}

func (in *inspection) record(r *Reader, i int32) {
	rec := r.Record()
	in.gaps = in.gaps || rec.Offset-in.h.BaseOffset != int64(i)
	in.top = max(in.top, rec.Timestamp)
	if in.recode {
		r.key, r.value = nullSize(rec.Key), nullSize(rec.Value)
		in.out.Append(*rec)
	}
	switch {
	case in.rules.Compacted && r.key < 0:
		in.fault(kafka.InvalidRecord, i, "Compacted topic cannot accept message without key in topic partition "+
			in.rules.Partition.String())
	case !in.rules.AppendTime && rec.Timestamp != kafka.NoTimestamp:
		if outOfRange(rec.Timestamp, in.now, in.rules) {
			in.fault(kafka.InvalidTimestamp, i, fmt.Sprintf("Timestamp %d of message with offset %d is out of range. "+
				"The timestamp should be within [%d, %d]", rec.Timestamp, rec.Offset, in.now-in.rules.Before, in.now+in.rules.After))
		}
	case in.h.Attributes.Has(AppendTime):
		in.fault(kafka.InvalidTimestamp, i, fmt.Sprintf("Invalid timestamp type in message %s. "+
			"Producer should not set timestamp type to LogAppendTime.", in.describe(r)))
	}
}

// describe names a record as Kafka prints it: it knows whether a key is null
// only where it skips the contents of a compressed batch.
func (in *inspection) describe(r *Reader) string {
	kind, key, value := "PartialDefaultRecord", r.key, r.value
	if in.recode || in.h.Attributes.Codec() == None {
		kind, key, value = "DefaultRecord", max(key, 0), max(value, 0)
	}
	return fmt.Sprintf("%s(offset=%d, timestamp=%d, key=%d bytes, value=%d bytes)",
		kind, r.rec.Offset, r.rec.Timestamp, key, value)
}

// fault notes a record's error in the words that Kafka's clients show.
func (in *inspection) fault(code kafka.Code, i int32, message string) {
	if in.wrong == nil || code == kafka.InvalidTimestamp {
		in.code = code
	}
	if len(in.wrong) < maxRecordErrors {
		in.wrong = append(in.wrong, RecordError{i, message})
	}
}

// verdict sums up the records' faults. The batch's code is INVALID_TIMESTAMP if
// any record's is.
func (in *inspection) verdict() error {
	if in.wrong == nil {
		return nil
	}
	r := &Refusal{Code: in.code, Records: in.wrong, Logged: true}
	if in.code == kafka.InvalidTimestamp {
		r.Message = "One or more records have been rejected due to invalid timestamp"
		return r
	}
	var first []string
	for _, e := range in.wrong[:min(3, len(in.wrong))] {
		first = append(first, fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", e.Index, e.Message))
	}
	r.Message = fmt.Sprintf("One or more records have been rejected due to %d record errors in total, "+
		"and only showing the first three errors at most: [%s]", len(in.wrong), strings.Join(first, ", "))
	return r
}

func nullSize(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

// refusalOf is Kafka's code for what stopped a reader: it takes records that do
// not parse for the client's fault, and data that does not expand for the
// server's.
func refusalOf(err error) error {
	code := kafka.InvalidRecord
	switch {
	case errors.Is(err, errLimit):
		code = kafka.MessageTooLarge
	case errors.Is(err, errExpand):
		code = kafka.UnknownServerError
	}
	r := refuse(code, "%v", err)
	r.Logged = true
	return r
}
