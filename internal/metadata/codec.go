package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/wire/state"
)

// An entry of the metadata log holds records, each framed as Kafka frames them
// and with its length before it:
//
//	uvarint n   n bytes: uvarint 1, uvarint type, uvarint version, body
//	...
//
// The records of an entry act together. A decision of more than maxEntry bytes
// takes several entries, of which the first begins with a BeginTransaction
// record and the last ends with an EndTransaction record; it acts at the end.
// AbortTransaction takes back one that its leader did not live to finish.
const maxEntry = 1 << 20

// encode makes the entries of one decision.
func encode(records []state.Record) [][]byte {
	var entries [][]byte
	var entry, one []byte
	add := func(r state.Record) {
		_, version := r.Versions()
		one = state.AppendRecord(one[:0], r, version)
		if len(entry) > 0 && len(entry)+len(one)+binary.MaxVarintLen32 > maxEntry {
			entries = append(entries, entry)
			entry = nil
		}
		entry = binary.AppendUvarint(entry, uint64(len(one)))
		entry = append(entry, one...)
	}
	for _, r := range records {
		add(r)
	}
	if len(entries) == 0 {
		return [][]byte{entry}
	}
	// Rather than guess the size before, frame what turned out to be too large.
	begin, end := state.NewBeginTransactionRecord(), state.NewEndTransactionRecord()
	entries = append(entries, entry)
	entries[0] = append(frame(&begin), entries[0]...)
	last := len(entries) - 1
	entries[last] = append(entries[last], frame(&end)...)
	return entries
}

// frame is one record with its length before it.
func frame(r state.Record) []byte {
	_, version := r.Versions()
	one := state.MarshalRecord(r, version)
	return append(binary.AppendUvarint(nil, uint64(len(one))), one...)
}

// errEntry says that an entry is not one of the metadata log.
var errEntry = errors.New("malformed metadata entry")

// decode reads the records of an entry.
func decode(b []byte) ([]state.Record, error) {
	var records []state.Record
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, errEntry
		}
		r, _, err := state.ParseRecord(state.Metadata, b[size:size+int(n)])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errEntry, err)
		}
		records = append(records, r)
		b = b[size+int(n):]
	}
	return records, nil
}

// ParseEntry reads the records of an entry of the metadata log, for tools.
func ParseEntry(b []byte) ([]state.Record, error) { return decode(b) }
