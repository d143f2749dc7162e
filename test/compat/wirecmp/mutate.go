package wirecmp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Case is one request body and the name of what was changed in it.
type Case struct {
	Name string
	Body []byte
}

// Build makes a fresh ordinary request whose own groups and topics carry the
// label; cases change it in place.
type Build func(label string) msg.Request

// Cases is every change of one request at one version that reaches the wire:
// a change to a field that the version lacks makes no case.
//
// Every case has its own label, so that one case's groups and topics are not
// another's.
func Cases(ordinary Build, key, version int16) []Case {
	const same = "same"
	var cases []Case
	seen := map[string]bool{}
	add := func(name string, change func(msg.Request)) {
		probe := ordinary(same)
		change(probe)
		if body := string(probe.Append(nil, version)); seen[body] {
			return
		} else {
			seen[body] = true
		}
		req := ordinary(fmt.Sprintf("w%d-%d-%d", key, version, len(cases)))
		change(req)
		if j, ok := req.(*msg.JoinGroupRequest); ok && j.GroupID != "" {
			j.GroupID += fmt.Sprint("-", version) // members linger, so no version may meet another's
		}
		cases = append(cases, Case{name, req.Append(nil, version)})
	}
	add("ordinary", func(msg.Request) {})
	for _, path := range fields(reflect.ValueOf(ordinary(same)).Elem(), "") {
		for _, m := range mutations(path.value, path.name) {
			if key == kafka.KeyUnregisterBroker && m.name == "one" {
				continue // Kafka lets its only broker go, live as it is, and serves nothing any more
			}
			add(path.name+" "+m.name, func(req msg.Request) { m.apply(path.find(reflect.ValueOf(req).Elem())) })
		}
	}
	for i, m := range malformed {
		base := ordinary(fmt.Sprintf("m%d-%d-%d", key, version, i)).Append(nil, version)
		if body, ok := m.spoil(base); ok {
			cases = append(cases, Case{"malformed: " + m.name, body})
		}
	}
	return cases
}

// malformed are the ways to break an ordinary body that no encoder would.
// spoil says no where a body is too short for the damage.
var malformed = []struct {
	name  string
	spoil func(base []byte) (body []byte, ok bool)
}{
	{"last byte missing", func(b []byte) ([]byte, bool) { return b[:max(len(b)-1, 0)], len(b) > 0 }},
	{"half", func(b []byte) ([]byte, bool) { return b[:len(b)/2], len(b) > 0 }},
	{"nothing", func(b []byte) ([]byte, bool) { return nil, len(b) > 0 }},
	{"garbage", func([]byte) ([]byte, bool) { return bytes.Repeat([]byte{0xfe}, 40), true }},
	{"one byte too many", func(b []byte) ([]byte, bool) { return append(b, 0), true }},
	{"eight bytes too many", func(b []byte) ([]byte, bool) { return append(b, 0, 0, 0, 0, 0, 0, 0, 0), true }},
	{"ones", func([]byte) ([]byte, bool) { return bytes.Repeat([]byte{0xff}, 8), true }},
	{"a text", func([]byte) ([]byte, bool) { return []byte("GET / HTTP/1.1\r\n\r\n"), true }},
	{"huge count near the end", func(b []byte) ([]byte, bool) {
		if len(b) <= 8 {
			return nil, false
		}
		binary.BigEndian.PutUint32(b[len(b)-8:], math.MaxInt32)
		return b, true
	}},
}

// path leads from a request to one of its fields, through first elements of
// arrays.
type path struct {
	name  string
	steps []int // field index, or -1 for the first element
	value reflect.Value
}

func (p path) find(v reflect.Value) reflect.Value {
	for _, s := range p.steps {
		if s < 0 {
			v = v.Index(0)
		} else {
			v = v.Field(s)
		}
	}
	return v
}

func fields(v reflect.Value, name string, steps ...int) []path {
	var out []path
	for i := range v.NumField() {
		f := v.Field(i)
		at := append(append([]int(nil), steps...), i)
		n := strings.TrimPrefix(name+"."+v.Type().Field(i).Name, ".")
		out = append(out, path{n, at, f})
		switch {
		case f.Kind() == reflect.Slice && f.Len() > 0 && f.Index(0).Kind() == reflect.Struct:
			out = append(out, fields(f.Index(0), n, append(at, -1)...)...)
		case f.Kind() == reflect.Slice && f.Len() > 0 && f.Index(0).Kind() != reflect.Uint8:
			out = append(out, path{n + "[0]", append(at, -1), f.Index(0)})
		case f.Kind() == reflect.Struct:
			out = append(out, fields(f, n, at...)...)
		}
	}
	return out
}

type mutation struct {
	name  string
	apply func(reflect.Value)
}

// mutations are the changes that make sense for a field's type. Waits are left
// alone but for "none": a broker that honours a long one is right.
func mutations(v reflect.Value, name string) []mutation {
	set := func(label string, x any) mutation {
		return mutation{label, func(f reflect.Value) { f.Set(reflect.ValueOf(x).Convert(f.Type())) }}
	}
	wait := strings.Contains(name, "Timeout") || strings.Contains(name, "MaxWait") || strings.HasSuffix(name, "MinBytes")
	switch {
	case v.Type() == reflect.TypeFor[kafka.UUID]():
		return []mutation{set("zero", kafka.UUID{}), set("unknown", kafka.UUID{9, 9, 9})}
	case v.Kind() == reflect.String:
		return append(oddIDs(name), set("empty", ""), set("unknown", "no-such-name"), set("illegal", "bad name!"), set("long", strings.Repeat("x", 300)), set("dot", "."), set("not ascii", "caf\u00e9"))
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.String:
		empty, unknown, illegal := "", "no-such-name", "bad name!"
		return append(oddIDs(name), mutation{"null", func(f reflect.Value) { f.SetZero() }}, set("empty", &empty), set("unknown", &unknown), set("illegal", &illegal))
	case v.Kind() == reflect.Slice:
		return sliceMutations(v)
	case v.Kind() == reflect.Bool:
		return []mutation{{"flipped", func(f reflect.Value) { f.SetBool(!f.Bool()) }}}
	case v.CanInt() && wait:
		return []mutation{set("none", 0)}
	case v.CanInt():
		return []mutation{set("zero", 0), set("one", 1), set("minus one", -1), set("minus nine", -9), set("nine", 9), set("large", 120),
			{"largest", func(f reflect.Value) { f.SetInt(1<<(f.Type().Bits()-1) - 1) }},
			{"smallest", func(f reflect.Value) { f.SetInt(-1 << (f.Type().Bits() - 1)) }}}
	}
	return nil
}

// longest is how long a string can be, less what a case's name may need.
const longest = math.MaxInt16 - 8

// oddIDs change the id of a group or of transactions, which unlike the name of a
// topic may be anything. What is changed begins as before, so that it is of its
// case alone.
func oddIDs(name string) []mutation {
	name = name[strings.LastIndex(name, ".")+1:]
	if !slices.Contains([]string{"GroupID", "GroupsNames[0]", "Groups[0]", "GroupIDs[0]", "TransactionalID", "TransactionalIDs[0]",
		"V3AndBelowTransactionalID", "Key", "CoordinatorKeys[0]"}, name) {
		return nil
	}
	end := func(label string, ending func(s string) string) mutation {
		return mutation{label, func(f reflect.Value) {
			if f.Kind() != reflect.Pointer {
				f.SetString(f.String() + ending(f.String()))
			} else if !f.IsNil() {
				s := f.Elem().String()
				s += ending(s)
				f.Set(reflect.ValueOf(&s))
			}
		}}
	}
	return []mutation{
		end("of 32 KiB", func(s string) string { return strings.Repeat("x", longest-len(s)) }),
		end("with a NUL", func(string) string { return "\x00id" }),
		end("of two lines", func(string) string { return "\nid" }),
		end("blank at its ends", func(s string) string { return " \t" }),
		end("not UTF-8", func(string) string { return "\xff\xfe" }),
	}
}

func sliceMutations(v reflect.Value) []mutation {
	out := []mutation{
		{"null", func(f reflect.Value) { f.SetZero() }},
		{"empty", func(f reflect.Value) { f.Set(reflect.MakeSlice(f.Type(), 0, 0)) }},
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return append(out, mutation{"cut", func(f reflect.Value) { f.SetLen(f.Len() / 2) }},
			mutation{"damaged", func(f reflect.Value) {
				b := bytes.Clone(f.Bytes())
				if len(b) > 0 {
					b[len(b)-1] ^= 0x55
				}
				f.SetBytes(b)
			}})
	}
	if v.Len() > 0 {
		out = append(out, mutation{"doubled", func(f reflect.Value) { f.Set(reflect.Append(f, f.Index(0))) }},
			mutation{"joined by an unknown", func(f reflect.Value) { f.Set(reflect.Append(f, unknown(f.Index(0)))) }})
	}
	return out
}

// unknown is a copy of an array's element under another name or number.
func unknown(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	id := out
	if out.Kind() == reflect.Struct {
		id = out.Field(0)
	}
	switch {
	case id.Kind() == reflect.String:
		id.SetString("no-such-name")
	case id.CanInt():
		id.SetInt(9)
	case id.Kind() == reflect.Pointer && id.Type().Elem().Kind() == reflect.String:
		name := "no-such-name"
		id.Set(reflect.ValueOf(&name))
	case id.Type() == reflect.TypeFor[kafka.UUID]():
		id.Set(reflect.ValueOf(kafka.UUID{9, 9, 9}))
	}
	return out
}
