package state

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The frames, byte for byte.
func TestFrames(t *testing.T) {
	key := &OffsetCommitKey{Group: "g", Topic: "t", Partition: 5}
	if got, want := MarshalKey(key), unhex(t, "0001 0001 67 0001 74 00000005"); string(got) != string(want) {
		t.Errorf("key: %x, want %x", got, want)
	}
	value := NewOffsetCommitValue()
	value.Offset, value.Metadata, value.CommitTimestamp = 7, "m", 9
	//                           version  offset            leader epoch  metadata  time
	want := unhex(t, "0003     0000000000000007  ffffffff      0001 6d   0000000000000009")
	if got := MarshalValue(&value, 3); string(got) != string(want) {
		t.Errorf("value: %x, want %x", got, want)
	}
	rec := &TopicRecord{Name: "t", TopicID: kafka.UUID{15: 1}}
	//               frame type version  name   id                               tags
	want = unhex(t, "01    02   00       02 74  00000000000000000000000000000001 00")
	if got := MarshalRecord(rec, 0); string(got) != string(want) {
		t.Errorf("record: %x, want %x", got, want)
	}
}

func TestParse(t *testing.T) {
	key := &OffsetCommitKey{Group: "g", Topic: "t", Partition: 5}
	got, err := ParseKey(Group, MarshalKey(key))
	if err != nil || !reflect.DeepEqual(got, key) {
		t.Errorf("%+v, %v", got, err)
	}
	legacy, err := ParseKey(Group, unhex(t, "0000 0001 67 0001 74 00000005"))
	if _, ok := legacy.(*LegacyOffsetCommitKey); !ok || err != nil {
		t.Errorf("%T, %v", legacy, err)
	}
	value, back := NewOffsetCommitValue(), NewOffsetCommitValue()
	value.Offset, value.TopicID = 3, kafka.UUID{1}
	if version, err := ParseValue(MarshalValue(&value, 4), &back); err != nil || version != 4 || back != value {
		t.Errorf("%+v, version %d, %v", back, version, err)
	}
	rec := &TopicRecord{Name: "t"}
	if got, version, err := ParseRecord(Metadata, MarshalRecord(rec, 0)); err != nil || version != 0 || !reflect.DeepEqual(got, rec) {
		t.Errorf("%+v, %d, %v", got, version, err)
	}
}

// A later version of what members exchange is read as the last one known.
func TestVersioned(t *testing.T) {
	sub := ConsumerProtocolSubscription{Topics: []string{"a"}}
	b := append(MarshalVersioned(&sub, 3), 1, 2, 3)
	b[1] = 9
	var got ConsumerProtocolSubscription
	if version, err := ParseVersioned(b, &got); err != nil || version != 9 || got.Topics[0] != "a" {
		t.Errorf("%+v, %d, %v", got, version, err)
	}
	if _, err := ParseVersioned([]byte{0xff, 0xff}, &got); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if _, err := ParseVersioned([]byte{0}, &got); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
}

func TestUnknownAndInvalid(t *testing.T) {
	parseKey := func(b []byte) error { _, err := ParseKey(Group, b); return err }
	parseValue := func(b []byte) error { _, err := ParseValue(b, &OffsetCommitValue{}); return err }
	parseRecord := func(b []byte) error { _, _, err := ParseRecord(Metadata, b); return err }
	for _, c := range []struct {
		parse func([]byte) error
		bytes string
		want  error
	}{
		{parseKey, "0063", ErrUnknown},
		{parseKey, "ffff", ErrUnknown},
		{parseKey, "", wire.ErrInvalid},
		{parseKey, "0001 0001 67", wire.ErrInvalid},
		{parseKey, "0001 0001 67 0001 74 00000005 00", wire.ErrInvalid},
		{parseValue, "0009", ErrUnknown},
		{parseValue, "ffff", ErrUnknown},
		{parseValue, "00", wire.ErrInvalid},
		{parseRecord, "02 02 00", ErrUnknown},            // frame
		{parseRecord, "01 ff01 00", ErrUnknown},          // type
		{parseRecord, "01 02 09", ErrUnknown},            // version
		{parseRecord, "01 ffffffff0f 00", ErrUnknown},    // no int16
		{parseRecord, "01 02 ffff03", ErrUnknown},        // version 65535
		{parseRecord, "01 02", wire.ErrInvalid},          // cut
		{parseRecord, "01 02 00 02 74", wire.ErrInvalid}, // cut
	} {
		if err := c.parse(unhex(t, c.bytes)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.bytes, err, c.want)
		}
	}
}

// Types and the constructors agree.
func TestTypes(t *testing.T) {
	for i, typ := range Types {
		m, ok := NewOf(typ)
		if !ok || reflect.TypeOf(m).Elem().Name() == "" {
			t.Fatalf("%+v cannot be made", typ)
		}
		if first, last := m.Versions(); first != typ.Min || last != typ.Max {
			t.Errorf("%s: versions %d to %d, and %d to %d", typ.Name, first, last, typ.Min, typ.Max)
		}
		var same Message
		switch typ.Kind {
		case IsKey:
			same, ok = NewKey(typ.Family, typ.Type)
		case IsValue:
			same, ok = NewValue(typ.Family, typ.Type)
		case IsRecord:
			same, ok = NewRecord(typ.Family, typ.Type)
		default:
			continue
		}
		if !ok || reflect.TypeOf(same) != reflect.TypeOf(m) || m.(Typed).Type() != typ.Type {
			t.Errorf("%+v is %T and %T", Types[i], m, same)
		}
	}
	if _, ok := NewKey(Metadata, 1); ok {
		t.Error("a metadata record has no key")
	}
}
