package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Check accepts b as exactly one whole batch that may stand in a log: format
// v2, the length and the CRC right, the numbers possible. It allocates nothing
// and does not open the batch.
//
// A log may hold what a client may not send: batches that compaction has
// thinned out (fewer records than offsets, even none) and control batches. For
// what comes from a client use [CheckClient].
//
// Errors wrap CORRUPT_MESSAGE, or UNSUPPORTED_FOR_MESSAGE_FORMAT for formats
// before v2.
func Check(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	if h.Size() != len(b) {
		return h, fmt.Errorf("batch of %d bytes in %d bytes: %w", h.Size(), len(b), kafka.CorruptMessage)
	}
	if err := checkCRC(b, &h); err != nil {
		return h, err
	}
	if h.LastOffsetDelta < 0 || h.Count < 0 || int64(h.Count) > int64(h.LastOffsetDelta)+1 || h.BaseOffset < 0 {
		return h, fmt.Errorf("batch at offset %d with last delta %d and %d records: %w",
			h.BaseOffset, h.LastOffsetDelta, h.Count, kafka.CorruptMessage)
	}
	return h, nil
}

func checkCRC(b []byte, h *Header) error {
	if sum := crc32.Checksum(b[posAttributes:], castagnoli); sum != h.CRC {
		return fmt.Errorf("batch at offset %d has CRC %08x, its bytes %08x: %w", h.BaseOffset, h.CRC, sum, kafka.CorruptMessage)
	}
	return nil
}

// CheckClient accepts what a client produces to one partition: exactly one
// batch of format v2 with base offset 0, as many records as offsets and at
// least one, no control batch, a sequence wherever there is a producer id, and
// a codec that exists. It allocates nothing unless it refuses.
//
// The batch is the first h.Size() bytes of b: like Kafka it takes no notice of
// a last batch that is cut off, as old clients leave one.
//
// Errors are a [*Refusal] with the code that Kafka answers, checked in its
// order: INVALID_RECORD for no batch, several, an older format, a base offset
// other than 0, wrong counts, a control batch or a missing sequence;
// CORRUPT_MESSAGE for a length or format that cannot be and for a wrong CRC;
// UNKNOWN_SERVER_ERROR for codecs 5 to 7.
func CheckClient(b []byte) (Header, error) {
	size, err := frame(b)
	switch {
	case err != nil:
		return Header{}, err
	case size == 0:
		return Header{}, refuse(kafka.InvalidRecord, "no record batch")
	case b[posMagic] != Magic:
		return Header{}, refuse(kafka.InvalidRecord, "a batch of format v%d, only v2 is taken", b[posMagic])
	}
	next, err := frame(b[size:])
	if err != nil {
		return Header{}, err
	}
	if next != 0 {
		return Header{}, refuse(kafka.InvalidRecord, "more than one record batch")
	}
	b = b[:size]
	if size < HeaderSize {
		return Header{}, refuse(kafka.CorruptMessage, "a batch of %d bytes, less than a header", size)
	}
	h := parse(b)
	if h.BaseOffset != 0 {
		r := refuse(kafka.InvalidRecord, "base offset %d, not 0", h.BaseOffset)
		r.Logged = true
		return h, r
	}
	if err := checkCRC(b, &h); err != nil {
		return h, refuse(kafka.CorruptMessage, "%v", err)
	}
	return h, checkNumbers(&h)
}

// frame finds the size of the first batch of b, of any format: 0 if it is cut
// off or b is empty.
func frame(b []byte) (int, error) {
	if len(b) < Overhead {
		return 0, nil
	}
	n := int32(binary.BigEndian.Uint32(b[posLength:]))
	if n < minLegacyLength {
		return 0, refuse(kafka.CorruptMessage, "batch length %d", n)
	}
	if len(b) < untilMagic {
		return 0, nil
	}
	if b[posMagic] > Magic {
		return 0, refuse(kafka.CorruptMessage, "unknown batch format v%d", int8(b[posMagic]))
	}
	if int64(len(b)) < int64(n)+Overhead {
		return 0, nil
	}
	return int(n) + Overhead, nil
}

// checkNumbers refuses headers that a client must not send though their CRC is
// right.
func checkNumbers(h *Header) error {
	var r *Refusal
	switch {
	case h.LastOffsetDelta < 0:
		r = refuse(kafka.InvalidRecord, "last offset delta %d", h.LastOffsetDelta)
	case h.Count <= 0:
		r = refuse(kafka.InvalidRecord, "a batch of %d records", h.Count)
	case int64(h.LastOffsetDelta)+1 != int64(h.Count):
		r = refuse(kafka.InvalidRecord, "%d records on %d offsets", h.Count, int64(h.LastOffsetDelta)+1)
	case h.Attributes.Has(Control):
		r = refuse(kafka.InvalidRecord, "a control batch from a client")
	case h.Idempotent() && h.BaseSequence < 0:
		r = refuse(kafka.InvalidRecord, "sequence %d with producer id %d", h.BaseSequence, h.ProducerID)
	case !h.Attributes.Codec().Known():
		r = refuse(kafka.UnknownServerError, "unknown compression codec %d", h.Attributes.Codec())
	default:
		return nil
	}
	r.Logged = true
	return r
}

// Refusal is why a client's batch was not taken.
type Refusal struct {
	Code kafka.Code
	// Records names the records at fault (Produce v8, KIP-467); nil if the
	// batch as a whole is.
	Records []RecordError
	// Message goes to the client only together with Records, as in Kafka;
	// otherwise it is for the log.
	Message string
	// Logged says that Kafka finds this fault within the log and so tells the
	// log's start offset beside it; before the log that offset is -1.
	Logged bool
}

// RecordError is one record's fault.
type RecordError struct {
	Index   int32 // of the record in the batch
	Message string
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string { return "record batch refused: " + r.Message + ": " + r.Code.Name() }

// Unwrap gives the code to [kafka.CodeOf].
func (r *Refusal) Unwrap() error { return r.Code }

func refuse(code kafka.Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}
