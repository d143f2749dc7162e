package main

import (
	"fmt"
	"strings"
)

func emitAppend(p *printer, m *message, s *strukt) {
	var whole printer
	appendFields(&whole, s, s.fields)
	appendTags(&whole, s)
	whole.f("return b")
	if s == m.root {
		p.f("// Append appends a version to b.")
	} else {
		p.f("// Append appends the struct as a version of its message has it.")
	}
	function(p, s, fmt.Sprintf("func (m *%s) Append(b []byte, version int16) []byte", s.goName), whole.String())
	for i, f := range s.fields {
		if !f.split {
			continue
		}
		var before, after printer
		appendFields(&before, s, s.fields[:i])
		before.f("return wire.AppendCount(b, n, n < 0, %s, %s)", f.flex(s), f.nullExpr(s))
		appendFields(&after, s, s.fields[i+1:])
		appendTags(&after, s)
		after.f("return b")
		p.f("// AppendBefore%s appends what stands before that field, and n as its count: see \"In pieces\".", f.goName)
		function(p, s, fmt.Sprintf("func (m *%s) AppendBefore%s(b []byte, version int16, n int) []byte", s.goName, f.goName), before.String())
		p.f("// AppendAfter%s appends what stands after that field.", f.goName)
		function(p, s, fmt.Sprintf("func (m *%s) AppendAfter%s(b []byte, version int16) []byte", s.goName, f.goName), after.String())
	}
}

func appendFields(p *printer, s *strukt, fields []*field) {
	for _, f := range fields {
		inline := f.in
		if f.tag >= 0 {
			if inline = none; !f.tagged.covers(f.in.and(s.in)) {
				inline = versions{f.in.lo, f.tagged.lo - 1}
			}
		}
		switch c := when(inline, s.in); c {
		case "true":
			p.WriteString(f.write(s))
		case "false":
		default:
			p.f("if %s {\n%s}", c, f.write(s))
		}
	}
}

// write appends the field, wherever it stands.
func (f *field) write(s *strukt) string {
	var p printer
	flex, null := f.flex(s), f.nullExpr(s)
	switch {
	case f.array && f.body != nil:
		p.f("b = wire.AppendCount(b, len(m.%s), m.%s == nil, %s, %s)", f.goName, f.goName, flex, null)
		p.f("for i := range m.%s {\nb = m.%s[i].Append(b, version)\n}", f.goName, f.goName)
	case f.array:
		p.f("b = wire.Append%ss(b, m.%s, %s, %s)", methods[f.typ], f.goName, flex, null)
	case f.body != nil && f.nullable():
		absent := "0xff"
		if f.tag >= 0 {
			absent = "0"
		}
		p.f("if m.%s == nil {\nb = append(b, %s)\n} else {", f.goName, absent)
		p.f("b = m.%s.Append(append(b, 1), version)\n}", f.goName)
	case f.body != nil:
		p.f("b = m.%s.Append(b, version)", f.goName)
	case f.typ == "string" && f.nullable():
		p.f("b = wire.AppendNullableString(b, m.%s, %s, %s)", f.goName, flex, null)
	case f.typ == "string":
		p.f("b = wire.AppendString(b, m.%s, %s)", f.goName, flex)
	case f.typ == "bytes" || f.typ == "records":
		p.f("b = wire.AppendBytes(b, m.%s, %s, %s)", f.goName, flex, null)
	default:
		p.f("b = wire.Append%s(b, m.%s)", methods[f.typ], f.goName)
	}
	return p.String()
}

// isSet is the condition under which the field is not at its default.
func (f *field) isSet() string {
	switch {
	case f.defaultVal == emptyVal && f.array:
		return fmt.Sprintf("(m.%s == nil || len(m.%s) > 0)", f.goName, f.goName)
	case f.defaultVal == emptyVal:
		return fmt.Sprintf("(m.%s == nil || !m.%s.isDefault())", f.goName, f.goName)
	case f.nullable():
		return fmt.Sprintf("m.%s != nil", f.goName)
	case f.array, f.typ == "bytes", f.typ == "records":
		return fmt.Sprintf("len(m.%s) > 0", f.goName)
	case f.body != nil:
		return fmt.Sprintf("!m.%s.isDefault()", f.goName)
	case f.typ == "bool" && f.defaultVal == "true":
		return fmt.Sprintf("!m.%s", f.goName)
	case f.typ == "bool":
		return fmt.Sprintf("m.%s", f.goName)
	case f.typ == "uuid":
		return fmt.Sprintf("m.%s != (kafka.UUID{})", f.goName)
	}
	return fmt.Sprintf("m.%s != %s", f.goName, f.zero())
}

func appendTags(p *printer, s *strukt) {
	if s.flexExpr() == "false" {
		return
	}
	if s.flexExpr() == "flex" {
		p.f("if flex {")
		defer p.f("}")
	}
	tags := s.tags()
	if len(tags) == 0 {
		p.f("b = append(b, 0)")
		return
	}
	condition := func(f *field) string {
		c := f.isSet()
		if v := when(f.tagged, s.in.and(s.flexible)); v != "true" {
			c = v + " && " + c
		}
		return c
	}
	p.f("tags := 0")
	for _, f := range tags {
		p.f("if %s {\ntags++\n}", condition(f))
	}
	p.f("b = append(b, byte(tags))")
	p.f("if tags > 0 {")
	for _, f := range tags {
		p.f("if %s {", condition(f))
		p.f("b = wire.AppendUvarint(b, %d)\nstart := len(b)", f.tag)
		p.WriteString(f.write(s))
		p.f("b = wire.CloseTag(b, start)\n}")
	}
	p.f("}")
}

// emitIsDefault writes the test whether a struct that is a tag need be written.
func emitIsDefault(p *printer, s *strukt) {
	if !s.asTag {
		return
	}
	var terms []string
	for _, f := range s.fields {
		terms = append(terms, f.isSet())
		if f.byValue() {
			panic(s.goName + "." + f.name + ": a struct in a tag")
		}
	}
	p.f("// isDefault says whether every field has its default.")
	p.f("func (m *%s) isDefault() bool { return !(%s) }\n", s.goName, strings.Join(terms, " || "))
}
