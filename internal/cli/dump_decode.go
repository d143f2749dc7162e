package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"
	"unicode"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// decoded is one message of package state, with its name and its fields.
type decoded struct {
	Type  string          `json:"type"`
	Data  json.RawMessage `json:"data,omitempty"`
	Error string          `json:"error,omitempty"`
}

func (d decoded) String() string {
	switch {
	case d.Error != "":
		return d.Type + " DAMAGED: " + d.Error
	case d.Data == nil:
		return d.Type
	}
	return d.Type + " " + string(d.Data)
}

// teller says what a record of a certain log means; nothing if it cannot tell.
type teller func(r *record.Record, control bool) []decoded

// tellerOf chooses by the folder of a log, or by the name of a file.
func tellerOf(folder, file string) teller {
	topic := folder
	if i := strings.LastIndexByte(folder, '-'); i > 0 {
		topic = folder[:i]
	}
	families := map[string]state.Family{"__consumer_offsets": state.Group, "__transaction_state": state.Transaction, "__share_group_state": state.Share}
	family, keyed := families[topic]
	return func(r *record.Record, control bool) []decoded {
		switch {
		case control:
			return tellControl(r)
		case strings.HasSuffix(path.Base(file), ".checkpoint"):
			return tellRecord(state.Metadata, r.Value)
		case topic == quorum.Topic:
			return tellEntry(r.Value)
		case topic == "__remote_log_metadata":
			return tellRecord(state.Remote, r.Value)
		case keyed:
			return tellPair(family, r)
		}
		return nil
	}
}

// tellPair decodes the key and the value of a coordinator's record.
func tellPair(family state.Family, r *record.Record) []decoded {
	key, err := state.ParseKey(family, r.Key)
	if err != nil {
		return []decoded{{Type: "key", Error: oneLine(err)}}
	}
	out := []decoded{tell(key)}
	if r.Value == nil {
		return append(out, decoded{Type: "deleted"})
	}
	value, ok := state.NewValue(family, key.Type())
	if !ok {
		return out
	}
	if _, err := state.ParseValue(r.Value, value); err != nil {
		return append(out, decoded{Type: "value", Error: oneLine(err)})
	}
	return append(out, tell(value))
}

// tellRecord decodes a record that bears its type.
func tellRecord(family state.Family, value []byte) []decoded {
	rec, _, err := state.ParseRecord(family, value)
	if err != nil {
		return []decoded{{Type: "record", Error: oneLine(err)}}
	}
	return []decoded{tell(rec)}
}

// tellEntry decodes an entry of the metadata log: a kind, and records or what
// raft keeps there itself.
func tellEntry(value []byte) []decoded {
	switch {
	case len(value) == 0:
		return []decoded{{Type: "entry", Error: "it is empty"}}
	case value[0] != 0:
		return []decoded{{Type: "change of members"}}
	case len(value) == 1:
		return []decoded{{Type: "begin of a term"}}
	}
	records, err := metadata.ParseEntry(value[1:])
	if err != nil {
		return []decoded{{Type: "entry", Error: oneLine(err)}}
	}
	var out []decoded
	for _, r := range records {
		out = append(out, tell(r))
	}
	return out
}

// tellControl decodes a control record.
func tellControl(r *record.Record) []decoded {
	if t, epoch, err := record.ParseEndTxnMarker(r); err == nil && (t == record.Abort || t == record.Commit) {
		name := map[record.ControlType]string{record.Abort: "ABORT", record.Commit: "COMMIT"}[t]
		return []decoded{{Type: "EndTxnMarker", Data: json.RawMessage(fmt.Sprintf(`{"type":%q,"coordinatorEpoch":%d}`, name, epoch))}}
	}
	if len(r.Key) < 4 {
		return []decoded{{Type: "control record", Error: "its key is too short"}}
	}
	kinds := map[record.ControlType]string{record.LeaderChange: "LeaderChange", record.SnapshotHeader: "SnapshotHeader", record.SnapshotFooter: "SnapshotFooter",
		record.KRaftVersion: "KRaftVersion", record.KRaftVoters: "KRaftVoters"}
	t := record.ControlType(int16(r.Key[2])<<8 | int16(r.Key[3]))
	if name := kinds[t]; name != "" {
		return []decoded{{Type: name}}
	}
	return []decoded{{Type: fmt.Sprintf("control record of type %d", t)}}
}

// tell gives a message's name and fields.
func tell(m state.Message) decoded {
	v := reflect.ValueOf(m).Elem()
	return decoded{Type: v.Type().Name(), Data: appendPlain(nil, v)}
}

// appendPlain writes a message as JSON: field names as Kafka has them, ids as
// text, bytes as text where they are text.
func appendPlain(b []byte, v reflect.Value) []byte {
	if id, ok := v.Interface().(kafka.UUID); ok {
		return append(append(append(b, '"'), id.String()...), '"')
	}
	if bytes, ok := v.Interface().([]byte); ok {
		return appendBytes(b, bytes)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, "null"...)
		}
		return appendPlain(b, v.Elem())
	case reflect.Slice, reflect.Array:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendPlain(b, v.Index(i))
		}
		return append(b, ']')
	case reflect.Struct:
		return appendStruct(b, v)
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		text, _ = json.Marshal(fmt.Sprint(v.Interface()))
	}
	return append(b, text...)
}

func appendBytes(b, bytes []byte) []byte {
	for _, r := range string(bytes) {
		if !unicode.IsPrint(r) {
			return append(append(append(b, `"base64:`...), base64.StdEncoding.EncodeToString(bytes)...), '"')
		}
	}
	if bytes == nil {
		return append(b, "null"...)
	}
	text, _ := json.Marshal(string(bytes))
	return append(b, text...)
}

func appendStruct(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	n := 0
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), lowerFirst(f.Name)...), `":`...)
		b = appendPlain(b, v.Field(i))
	}
	return append(b, '}')
}

// lowerFirst makes topicId of TopicID and isr of ISR, as Kafka writes its fields.
func lowerFirst(name string) string {
	upper := strings.IndexFunc(name, func(r rune) bool { return !unicode.IsUpper(r) })
	switch {
	case upper < 0:
		return strings.ToLower(name)
	case upper > 1:
		upper-- // the last begins the next word
	}
	return strings.ReplaceAll(strings.ToLower(name[:upper])+name[upper:], "ID", "Id")
}
