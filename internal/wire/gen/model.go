package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// versions is a closed range of versions; it is empty if hi < lo.
type versions struct{ lo, hi int }

var none = versions{0, -1}

const forever = math.MaxInt16

// parseVersions reads "3", "3+", "3-7" or "none".
func parseVersions(s string) (versions, error) {
	if s == "none" {
		return none, nil
	}
	lo, hi, ranged := strings.Cut(s, "-")
	v := versions{hi: forever}
	open := strings.HasSuffix(s, "+")
	var err error
	if v.lo, err = strconv.Atoi(strings.TrimSuffix(lo, "+")); err != nil {
		return v, fmt.Errorf("versions %q", s)
	}
	switch {
	case ranged:
		v.hi, err = strconv.Atoi(hi)
	case !open:
		v.hi = v.lo
	}
	return v, err
}

func (v versions) and(w versions) versions { return versions{max(v.lo, w.lo), min(v.hi, w.hi)} }
func (v versions) empty() bool             { return v.hi < v.lo }
func (v versions) has(n int) bool          { return v.lo <= n && n <= v.hi }
func (v versions) covers(w versions) bool  { return w.empty() || v.lo <= w.lo && w.hi <= v.hi }

// String is the form for comments.
func (v versions) String() string {
	switch {
	case v.hi == forever:
		return fmt.Sprintf("%d+", v.lo)
	case v.lo == v.hi:
		return strconv.Itoa(v.lo)
	}
	return fmt.Sprintf("%d-%d", v.lo, v.hi)
}

// field is one field of a struct.
type field struct {
	name       string // Kafka's
	goName     string
	typ        string // a primitive, or empty for a struct
	body       *strukt
	shared     string // the name of a shared struct, until it is resolved
	array      bool
	in         versions
	null       versions
	tag        int // -1: none
	tagged     versions
	defaultVal string // empty: the zero of the type
	ignorable  bool
	key        bool
	is         string
	inflexible bool
	split      bool
}

// strukt is a message or a struct within one.
type strukt struct {
	goName   string
	where    string // for the comment: what it is part of
	fields   []*field
	in       versions // those of its message in which it can appear
	flexible versions
	asTag    bool // is, by value, a field that is a tag
	asElem   bool // is the element of an array
}

// message is one thing with versions of its own.
type message struct {
	kind     string // request, response, header, key, value, record, data
	key      int    // of the API, or the type of a record; -1: none
	name     string // Kafka's
	valid    versions
	flexible versions
	unstable bool
	root     *strukt
	shared   []*strukt
	sharedBy map[string]*strukt
	structs  []*strukt // root first, in order of appearance
	file     *file
}

// file is one definition file.
type file struct {
	base      string // its name without .def
	api       string
	key       int
	listeners []string
	family    string
	messages  []*message
}

// primitives and the bytes they take at least: fixed, or -1 for those with a
// length in front.
var primitives = map[string]int{
	"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
	"int64": 8, "float64": 8, "uuid": 16, "string": -1, "bytes": -1, "records": -1,
}

// resolve names the structs, finds the shared ones and checks the whole.
func (m *message) resolve() error {
	used := map[string]bool{}
	for _, s := range m.shared {
		if err := m.resolveStruct(s, s.in, used, 0); err != nil {
			return err
		}
	}
	return m.resolveStruct(m.root, m.valid, used, 0)
}

const maxDepth = 8

// emptyVal is the default of what may be null but is empty by default.
const emptyVal = "empty"

func (m *message) resolveStruct(s *strukt, in versions, used map[string]bool, depth int) error {
	if used[s.goName] {
		return fmt.Errorf("%s: two structs have this name", s.goName)
	}
	if depth > maxDepth {
		return fmt.Errorf("%s: nested too deep", s.goName)
	}
	used[s.goName] = true
	s.in, s.flexible = in.and(m.valid), m.flexible
	m.structs = append(m.structs, s)
	tags := map[int]bool{}
	for _, f := range s.fields {
		if f.tag >= 0 && tags[f.tag] {
			return fmt.Errorf("%s.%s: tag %d is taken", s.goName, f.name, f.tag)
		}
		tags[f.tag] = true
		switch {
		case f.shared != "":
			if f.body = m.sharedBy[f.shared]; f.body == nil {
				return fmt.Errorf("%s.%s: no shared struct %s", s.goName, f.name, f.shared)
			}
		case f.body != nil:
			f.body.goName = s.goName + f.goName
			if f.array {
				f.body.goName = s.goName + singular(f.goName)
			}
			f.body.where = s.goName + "." + f.goName
			if err := m.resolveStruct(f.body, in.and(f.in), used, depth+1); err != nil {
				return err
			}
		}
		if f.body != nil && f.array {
			f.body.asElem = true
		}
		if err := f.check(s, m); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) check(s *strukt, m *message) error {
	fail := func(why string) error { return fmt.Errorf("%s.%s: %s", s.goName, f.name, why) }
	if f.tag >= 0 {
		if !m.flexible.covers(f.tagged.and(m.valid)) {
			return fail("a tag in a version that is not flexible")
		}
		if f.body != nil && !f.array && (!f.nullable() || f.defaultVal != "") {
			f.body.asTag = true
		}
	}
	if f.nullable() && f.defaultVal != "" && (f.defaultVal != emptyVal || !f.array && f.body == nil) {
		return fail("what may be null has null as its default, or an array or struct empty")
	}
	if f.tag >= 0 && f.body != nil && f.nullable() && !f.tagged.covers(f.in.and(m.valid)) {
		return fail("null is written differently in a tag")
	}
	if f.defaultVal == emptyVal && f.body != nil && f.body.hasDefaults() {
		return fail("an empty struct must be a zero one")
	}
	if f.split && (!f.in.covers(s.in) || f.tag >= 0 || f.body == nil && primitives[f.typ] > 0) {
		return fail("only a count or length that is always there can be split")
	}
	if f.body == nil && primitives[f.typ] == 0 {
		return fail("unknown type " + f.typ)
	}
	if f.nullable() && f.body == nil && !f.array && f.typ != "string" && f.typ != "bytes" && f.typ != "records" {
		return fail("cannot be null")
	}
	return nil
}

func (f *field) nullable() bool { return !f.null.empty() }

// least is the smallest encoding of s at a version, in bytes.
func (s *strukt) least(version int) int {
	flex := s.flexible.has(version)
	n := 0
	if flex {
		n++ // the number of tags
	}
	for _, f := range s.fields {
		if !f.in.has(version) || f.tag >= 0 && f.tagged.has(version) {
			continue
		}
		n += f.least(version, flex && !f.inflexible)
	}
	return n
}

func (f *field) least(version int, flex bool) int {
	switch {
	case f.array:
		return lengthSize(flex, 4)
	case f.body != nil && f.nullable():
		return 1
	case f.body != nil:
		return f.body.least(version)
	case f.typ == "string":
		return lengthSize(flex, 2)
	case primitives[f.typ] < 0:
		return lengthSize(flex, 4)
	}
	return primitives[f.typ]
}

func lengthSize(flex bool, plain int) int {
	if flex {
		return 1
	}
	return plain
}

// hasDefaults says whether the zero value of s is not its default.
func (s *strukt) hasDefaults() bool {
	for _, f := range s.fields {
		if f.defaultVal != "" || f.byValue() && f.body.hasDefaults() {
			return true
		}
	}
	return false
}

// byValue says whether f is a struct that is neither an array nor nullable.
func (f *field) byValue() bool { return f.body != nil && !f.array && !f.nullable() }
