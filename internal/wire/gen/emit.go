package main

import (
	"fmt"
	"strings"
)

// printer collects Go source; go/format puts it in shape.
type printer struct{ strings.Builder }

func (p *printer) f(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// emitFile writes the Go file of a definition file.
func emitFile(pkg string, f *file) string {
	var body printer
	for _, m := range f.messages {
		for _, s := range m.structs {
			emitType(&body, m, s)
			emitDefaults(&body, m, s)
			if s == m.root {
				emitMessage(&body, m)
			}
			emitDecode(&body, m, s)
			emitAppend(&body, m, s)
			emitIsDefault(&body, s)
			emitLeast(&body, s)
		}
	}
	var head printer
	head.f("package %s", pkg)
	head.f("import (")
	if strings.Contains(body.String(), "kafka.") {
		head.f("%q", "github.com/myelin-stream/myelin/internal/kafka")
	}
	head.f("%q", "github.com/myelin-stream/myelin/internal/wire")
	head.f(")")
	return head.String() + body.String()
}

// goType is the type of the field in Go.
func (f *field) goType() string {
	t := f.typ
	switch {
	case f.body != nil:
		t = f.body.goName
	case f.typ == "uuid":
		t = "kafka.UUID"
	case f.typ == "bytes" || f.typ == "records":
		return "[]byte"
	}
	switch {
	case f.array:
		return "[]" + t
	case f.nullable() && (f.body != nil || f.typ == "string"):
		return "*" + t
	}
	return t
}

// comment tells what the Go type of a field does not.
func (f *field) comment(s *strukt) string {
	var notes []string
	if !f.in.covers(s.in) {
		notes = append(notes, "versions "+f.in.String())
	}
	if f.tag >= 0 {
		note := fmt.Sprintf("tag %d", f.tag)
		if !f.tagged.covers(f.in.and(s.in)) {
			note += " in versions " + f.tagged.String()
		}
		notes = append(notes, note)
	}
	if f.nullable() {
		note := "may be null"
		if !f.null.covers(f.in.and(s.in)) {
			note += " in versions " + f.null.String()
		}
		notes = append(notes, note)
	}
	if f.defaultVal != "" {
		notes = append(notes, "default "+f.defaultVal)
	}
	if f.typ == "bytes" || f.typ == "records" {
		notes = append(notes, f.typ+", aliases the frame")
	}
	if f.is != "" {
		notes = append(notes, f.is)
	}
	if len(notes) == 0 {
		return ""
	}
	return " // " + strings.Join(notes, "; ")
}

func emitType(p *printer, m *message, s *strukt) {
	switch {
	case s == m.root:
		p.f("// %s is %s, versions %s%s.", s.goName, m.describe(), m.valid, flexibleNote(m))
	case strings.Contains(s.where, "."):
		p.f("// %s is what [%s] holds.", s.goName, s.where)
	default:
		p.f("// %s is a struct that [%s] uses in several places.", s.goName, s.where)
	}
	p.f("type %s struct {", s.goName)
	for _, f := range s.fields {
		p.f("%s %s%s", f.goName, f.goType(), f.comment(s))
	}
	p.f("}\n")
}

func flexibleNote(m *message) string {
	if m.flexible.empty() {
		return ", none flexible"
	}
	if m.flexible.covers(m.valid) {
		return ", all flexible"
	}
	return fmt.Sprintf(", flexible from %d", m.flexible.lo)
}

func (m *message) describe() string {
	switch m.kind {
	case "request":
		return fmt.Sprintf("the request of %s (key %d)", m.file.api, m.key)
	case "response":
		return fmt.Sprintf("the response of %s (key %d)", m.file.api, m.key)
	case "header":
		return "a header"
	case "key":
		return fmt.Sprintf("the key of a %s record of type %d", m.file.family, m.key)
	case "value":
		return fmt.Sprintf("the value of a %s record of type %d", m.file.family, m.key)
	case "record":
		return fmt.Sprintf("the %s record of type %d", m.file.family, m.key)
	}
	return "a message of its own"
}

// zero is the default of a field as an expression.
func (f *field) zero() string {
	switch {
	case f.defaultVal == emptyVal && f.array:
		return f.goType() + "{}"
	case f.defaultVal == emptyVal:
		return "&" + f.body.goName + "{}"
	case f.defaultVal != "" && f.typ == "string":
		return fmt.Sprintf("%q", f.defaultVal)
	case f.defaultVal != "":
		return f.defaultVal
	case f.array, f.typ == "bytes", f.typ == "records", f.nullable():
		return "nil"
	case f.body != nil:
		return f.body.goName + "{}"
	case f.typ == "string":
		return `""`
	case f.typ == "bool":
		return "false"
	case f.typ == "uuid":
		return "kafka.UUID{}"
	}
	return "0"
}

func emitDefaults(p *printer, m *message, s *strukt) {
	if s != m.root && !s.hasDefaults() {
		return
	}
	p.f("// New%s returns a %s with every field at its default.", s.goName, s.goName)
	p.f("func New%s() %s {\nvar m %s", s.goName, s.goName, s.goName)
	if s.hasDefaults() {
		p.f("m.SetDefaults()")
	}
	p.f("return m\n}\n")
	p.f("// SetDefaults sets every field to its default.")
	p.f("func (m *%s) SetDefaults() {", s.goName)
	p.f("*m = %s{", s.goName)
	for _, f := range s.fields {
		if f.defaultVal != "" {
			p.f("%s: %s,", f.goName, f.zero())
		}
	}
	p.f("}")
	for _, f := range s.fields {
		if f.byValue() && f.body.hasDefaults() {
			p.f("m.%s.SetDefaults()", f.goName)
		}
	}
	p.f("}\n")
}

// emitMessage writes the methods that only whole messages have.
func emitMessage(p *printer, m *message) {
	name := m.root.goName
	if m.key >= 0 {
		switch m.kind {
		case "request", "response":
			p.f("// Key is %d.", m.key)
			p.f("func (*%s) Key() int16 { return %d }\n", name, m.key)
		default:
			p.f("// Type is %d.", m.key)
			p.f("func (*%s) Type() int16 { return %d }\n", name, m.key)
		}
	}
	p.f("// Versions are the first and the last version.")
	p.f("func (*%s) Versions() (first, last int16) { return %d, %d }\n", name, m.valid.lo, m.valid.hi)
	p.f("// IsFlexible says whether a version is flexible.")
	switch {
	case m.flexible.empty():
		p.f("func (*%s) IsFlexible(int16) bool { return false }\n", name)
	case m.flexible.covers(m.valid):
		p.f("func (*%s) IsFlexible(int16) bool { return true }\n", name)
	default:
		p.f("func (*%s) IsFlexible(version int16) bool { return version >= %d }\n", name, m.flexible.lo)
	}
	if m.kind == "response" && m.root.fields != nil {
		for _, f := range m.root.fields {
			if f.goName == "ThrottleTimeMs" {
				p.f("// SetThrottleTimeMs sets the field of that name: see [Throttled].")
				p.f("func (m *%s) SetThrottleTimeMs(ms int32) { m.ThrottleTimeMs = ms }\n", name)
			}
		}
	}
}

// when is the condition under which version lies in want, given that it lies in
// have: "true", "false" or an expression.
func when(want, have versions) string {
	switch both := want.and(have); {
	case both.empty():
		return "false"
	case want.covers(have):
		return "true"
	case want.lo <= have.lo:
		return fmt.Sprintf("version <= %d", want.hi)
	case want.hi >= have.hi:
		return fmt.Sprintf("version >= %d", want.lo)
	case want.lo == want.hi:
		return fmt.Sprintf("version == %d", want.lo)
	}
	return fmt.Sprintf("version >= %d && version <= %d", want.lo, want.hi)
}

// flexExpr is when s is flexible: "true", "false" or the variable flex.
func (s *strukt) flexExpr() string {
	if e := when(s.flexible, s.in); e == "true" || e == "false" {
		return e
	}
	return "flex"
}

func (f *field) flex(s *strukt) string {
	if f.inflexible {
		return "false"
	}
	return s.flexExpr()
}

// function writes a function whose body may use the variable flex, which is
// declared only then.
func function(p *printer, s *strukt, signature, body string) {
	usesVersion := strings.Contains(body, "version") || s.flexExpr() == "flex" && strings.Contains(body, "flex")
	if !usesVersion {
		signature = strings.Replace(signature, "version int16", "_ int16", 1)
	}
	p.f("%s {", signature)
	if s.flexExpr() == "flex" && strings.Contains(body, "flex") {
		p.f("flex := %s", when(s.flexible, s.in))
	}
	p.WriteString(body)
	p.f("}\n")
}

// emitLeast writes the function that gives the smallest encoding of s, if it
// depends on the version and s is the element of an array.
func emitLeast(p *printer, s *strukt) {
	if !s.asElem || !s.leastVaries() {
		return
	}
	p.f("// least%s is the smallest encoding of the struct, in bytes.", s.goName)
	p.f("func least%s(version int16) int {\nswitch {", s.goName)
	for v := s.in.hi; v >= s.in.lo; v-- {
		if n := s.least(v); v == s.in.lo {
			p.f("}\nreturn %d\n}\n", n)
		} else if n != s.least(v-1) {
			p.f("case version >= %d:\nreturn %d", v, n)
		}
	}
}

func (s *strukt) leastVaries() bool {
	for v := s.in.lo; v < s.in.hi; v++ {
		if s.least(v) != s.least(v+1) {
			return true
		}
	}
	return false
}

func (s *strukt) leastExpr() string {
	if s.leastVaries() {
		return "least" + s.goName + "(version)"
	}
	return fmt.Sprint(max(s.least(s.in.lo), 1))
}
