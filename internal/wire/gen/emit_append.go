package main

import (
	"fmt"
	"strings"
)

func emitAppend(p *printer, m *message, s *strukt) {
	var body printer
	for _, f := range s.fields {
		inline := f.in
		if f.tag >= 0 {
			if inline = none; !f.tagged.covers(f.in.and(s.in)) {
				inline = versions{f.in.lo, f.tagged.lo - 1}
			}
		}
		switch c := when(inline, s.in); c {
		case "true":
			body.WriteString(f.write(s))
		case "false":
		default:
			body.f("if %s {\n%s}", c, f.write(s))
		}
	}
	appendTags(&body, s)
	body.f("return b")
	signature := fmt.Sprintf("func (m *%s) appendTo(b []byte, version int16) []byte", s.goName)
	if s == m.root {
		p.f("// Append appends a version to b.")
		signature = fmt.Sprintf("func (m *%s) Append(b []byte, version int16) []byte", s.goName)
	}
	if !strings.Contains(body.String(), "version") && s.flexExpr() != "flex" {
		signature = strings.Replace(signature, "version int16", "_ int16", 1)
	}
	function(p, s, signature, body.String())
}

// write appends the field, wherever it stands.
func (f *field) write(s *strukt) string {
	var p printer
	flex, null := f.flex(s), f.nullExpr(s)
	switch {
	case f.array && f.body != nil:
		p.f("b = wire.AppendCount(b, len(m.%s), m.%s == nil, %s, %s)", f.goName, f.goName, flex, null)
		p.f("for i := range m.%s {\nb = m.%s[i].appendTo(b, version)\n}", f.goName, f.goName)
	case f.array:
		p.f("b = wire.Append%ss(b, m.%s, %s, %s)", methods[f.typ], f.goName, flex, null)
	case f.body != nil && f.nullable():
		absent := "0xff"
		if f.tag >= 0 {
			absent = "0"
		}
		p.f("if m.%s == nil {\nb = append(b, %s)\n} else {", f.goName, absent)
		p.f("b = m.%s.appendTo(append(b, 1), version)\n}", f.goName)
	case f.body != nil:
		p.f("b = m.%s.appendTo(b, version)", f.goName)
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
