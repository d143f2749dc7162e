package state

import (
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/wire"
)

// ErrUnknown says that a record is of a type, or of a version, that this build
// does not know: a newer one wrote it.
var ErrUnknown = errors.New("unknown record")

// A record of a coordinator, in the value and key of a log record:
//
//	key    int16 type      body, always version 0
//	value  int16 version   body at that version
//
// A record of the metadata log (and of __remote_log_metadata), in the value of
// a log record:
//
//	uvarint frame version, 1   uvarint type   uvarint version   body
const frameVersion = 1

// MarshalKey frames the key of a coordinator's record.
func MarshalKey(k Key) []byte {
	return k.Append(wire.AppendInt16(nil, k.Type()), 0)
}

// MarshalValue frames the value of a coordinator's record, in a version that
// the message has. A null value, which deletes, is the caller's nil.
func MarshalValue(v Message, version int16) []byte {
	return v.Append(wire.AppendInt16(nil, version), version)
}

// ParseKey reads the key of a coordinator's record. An unknown type is an
// [ErrUnknown], anything else that is wrong a [wire.ErrInvalid].
func ParseKey(family Family, b []byte) (Key, error) {
	r := wire.NewReader(b)
	typ := r.Int16()
	if r.Failed() {
		return nil, r.Err()
	}
	k, ok := NewKey(family, typ)
	if !ok {
		return nil, fmt.Errorf("%w: key of type %d", ErrUnknown, typ)
	}
	k.Decode(r, 0)
	return k, r.Done()
}

// ParseValue reads the value of a coordinator's record into v and returns its
// version. One that v does not have is an [ErrUnknown].
func ParseValue(b []byte, v Message) (int16, error) {
	r := wire.NewReader(b)
	version := r.Int16()
	if err := known(r, v, int(version)); err != nil {
		return version, err
	}
	v.Decode(r, version)
	return version, r.Done()
}

// known says whether m has a version.
func known(r *wire.Reader, m Message, version int) error {
	if r.Failed() {
		return r.Err()
	}
	if first, last := m.Versions(); version < int(first) || version > int(last) {
		return fmt.Errorf("%w: %T of version %d", ErrUnknown, m, version)
	}
	return nil
}

// MarshalVersioned frames what group members exchange, a
// [ConsumerProtocolSubscription] or [ConsumerProtocolAssignment]: an int16
// version and the body.
func MarshalVersioned(m Message, version int16) []byte { return MarshalValue(m, version) }

// ParseVersioned reads what MarshalVersioned frames, the way clients do: a
// version later than the last one known is read as that, and what it has more
// is left alone. It returns the version that was sent.
func ParseVersioned(b []byte, m Message) (int16, error) {
	r := wire.NewReader(b)
	version := r.Int16()
	first, last := m.Versions()
	if version < first && !r.Failed() {
		return version, fmt.Errorf("%w: %T of version %d", ErrUnknown, m, version)
	}
	m.Decode(r, min(version, last))
	return version, r.Err()
}

// MarshalRecord frames a record of the metadata log in a version that it has.
func MarshalRecord(rec Record, version int16) []byte { return AppendRecord(nil, rec, version) }

// AppendRecord appends what MarshalRecord returns to b.
func AppendRecord(b []byte, rec Record, version int16) []byte {
	b = wire.AppendUvarint(b, frameVersion)
	b = wire.AppendUvarint(b, uint32(rec.Type()))
	b = wire.AppendUvarint(b, uint32(version))
	return rec.Append(b, version)
}

// ParseRecord reads a record of the given family, Metadata or Remote, and
// returns its version. An unknown type or version is an [ErrUnknown].
func ParseRecord(family Family, b []byte) (Record, int16, error) {
	r := wire.NewReader(b)
	frame, typ, version := r.Uvarint(), r.Uvarint(), r.Uvarint()
	if r.Failed() {
		return nil, 0, r.Err()
	}
	if frame != frameVersion || typ > 1<<15-1 || version > 1<<15-1 {
		return nil, 0, fmt.Errorf("%w: frame version %d, type %d, version %d", ErrUnknown, frame, typ, version)
	}
	rec, ok := NewRecord(family, int16(typ))
	if !ok {
		return nil, 0, fmt.Errorf("%w: type %d", ErrUnknown, typ)
	}
	if err := known(r, rec, int(version)); err != nil {
		return nil, 0, err
	}
	rec.Decode(r, int16(version))
	return rec, int16(version), r.Done()
}
