package main

import (
	"fmt"
	"sort"
	"strings"
)

// methods are the names of the Reader's methods, which are also parts of the
// names of functions such as Int32s and AppendInt32, by type.
var methods = map[string]string{
	"bool": "Bool", "int8": "Int8", "int16": "Int16", "uint16": "Uint16", "int32": "Int32", "uint32": "Uint32",
	"int64": "Int64", "float64": "Float64", "uuid": "UUID", "string": "String", "bytes": "Bytes", "records": "Bytes",
}

func emitDecode(p *printer, m *message, s *strukt) {
	var check, whole printer
	if s == m.root {
		check.f("if version < %d || version > %d {", m.valid.lo, m.valid.hi)
		check.f("r.Fail(%q, version)\nreturn\n}", "no version %d of "+m.name)
		p.f("// Decode reads a version from r, which keeps the error.")
	} else {
		p.f("// Decode reads the struct as a version of its message has it.")
	}
	decodeFields(&whole, s, s.fields)
	decodeTags(&whole, s)
	function(p, s, fmt.Sprintf("func (m *%s) Decode(r *wire.Reader, version int16)", s.goName), check.String()+whole.String())
	for i, f := range s.fields {
		if !f.split || !f.array {
			continue
		}
		var before, after printer
		decodeFields(&before, s, s.fields[:i])
		before.f("return r.Count(%s, %s, %s, 0)", f.flex(s), f.nullExpr(s), f.body.leastExpr())
		decodeFields(&after, s, s.fields[i+1:])
		decodeTags(&after, s)
		p.f("// DecodeBefore%s reads what stands before that array, and its count: see \"In pieces\".", f.goName)
		function(p, s, fmt.Sprintf("func (m *%s) DecodeBefore%s(r *wire.Reader, version int16) int", s.goName, f.goName),
			strings.ReplaceAll(check.String()+before.String(), "return\n", "return 0\n"))
		p.f("// DecodeAfter%s reads what stands after that array.", f.goName)
		function(p, s, fmt.Sprintf("func (m *%s) DecodeAfter%s(r *wire.Reader, version int16)", s.goName, f.goName), after.String())
	}
}

func decodeFields(p *printer, s *strukt, fields []*field) {
	for _, f := range fields {
		decodeField(p, s, f)
	}
}

// decodeField reads a field where it is not a tag and sets its default elsewhere.
func decodeField(p *printer, s *strukt, f *field) {
	inline := when(f.in, s.in)
	if f.tag >= 0 {
		plain := f.in.and(s.in)
		switch {
		case f.tagged.covers(plain):
			inline = "false"
		case f.tagged.hi >= plain.hi:
			inline = when(versions{plain.lo, f.tagged.lo - 1}, s.in)
		default:
			panic(s.goName + "." + f.name + ": tagged only in between")
		}
	}
	switch inline {
	case "true":
		p.WriteString(f.read(s))
	case "false":
		p.WriteString(f.reset())
	default:
		p.f("if %s {", inline)
		p.WriteString(f.read(s))
		p.f("} else {")
		p.WriteString(f.reset())
		p.f("}")
	}
}

// reset sets the default of a field and keeps the room of a slice.
func (f *field) reset() string {
	switch {
	case f.array && !f.nullable():
		return fmt.Sprintf("m.%s = m.%s[:0]\n", f.goName, f.goName)
	case f.byValue() && f.body.hasDefaults():
		return fmt.Sprintf("m.%s.SetDefaults()\n", f.goName)
	}
	return fmt.Sprintf("m.%s = %s\n", f.goName, f.zero())
}

// nullExpr is when the field may be null, given that it is there.
func (f *field) nullExpr(s *strukt) string {
	return when(f.null, f.in.and(s.in))
}

// read reads the field, wherever it stands.
func (f *field) read(s *strukt) string {
	var p printer
	flex, null := f.flex(s), f.nullExpr(s)
	switch {
	case f.array && f.body != nil:
		p.f("m.%s = wire.Array(r, m.%s, %s, %s, %s)", f.goName, f.goName, flex, null, f.body.leastExpr())
		p.f("for i := range m.%s {", f.goName)
		p.f("if m.%s[i].Decode(r, version); r.Failed() {\nreturn\n}\n}", f.goName)
	case f.array:
		p.f("m.%s = wire.%ss(r, m.%s, %s, %s)", f.goName, methods[f.typ], f.goName, flex, null)
	case f.body != nil && f.nullable():
		p.f("if r.Present(%t, %s) {", f.tag >= 0, null)
		p.f("if m.%s == nil {\nm.%s = wire.New[%s](r)\n}", f.goName, f.goName, f.body.goName)
		p.f("if m.%s.Decode(r, version); r.Failed() {\nreturn\n}", f.goName)
		p.f("} else {\nm.%s = nil\n}", f.goName)
	case f.body != nil:
		p.f("m.%s.Decode(r, version)", f.goName)
	case f.typ == "string" && f.nullable():
		p.f("m.%s = r.NullableString(m.%s, %s, %s)", f.goName, f.goName, flex, null)
	case f.typ == "string":
		p.f("m.%s = r.String(m.%s, %s)", f.goName, f.goName, flex)
	case f.typ == "bytes" || f.typ == "records":
		p.f("m.%s = r.Bytes(%s, %s)", f.goName, flex, null)
	default:
		p.f("m.%s = r.%s()", f.goName, methods[f.typ])
	}
	return p.String()
}

// tags are the fields that are tags in some version, in the order of the wire.
func (s *strukt) tags() []*field {
	var out []*field
	for _, f := range s.fields {
		if f.tag >= 0 && !f.tagged.and(s.in).empty() {
			out = append(out, f)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].tag < out[j].tag })
	return out
}

func decodeTags(p *printer, s *strukt) {
	if s.flexExpr() == "false" {
		return
	}
	if s.flexExpr() == "flex" {
		p.f("if flex {")
		defer p.f("}")
	}
	if len(s.tags()) == 0 {
		p.f("r.SkipTags()")
		return
	}
	p.f("for t := r.Tags(); t.Next(r); {\nswitch t.Tag {")
	for _, f := range s.tags() {
		p.f("case %d:", f.tag)
		if c := when(f.tagged, s.in.and(s.flexible)); c != "true" {
			p.f("if %s {\n%s} else {\nt.Skip(r)\n}", c, f.read(s))
		} else {
			p.WriteString(f.read(s))
		}
	}
	p.f("default:\nt.Skip(r)\n}\n}")
}
