package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// parser reads one definition file. A struct's fields are indented by two more
// than the line that opens it; stack holds the structs that are open.
type parser struct {
	file  *file
	msg   *message
	stack []open
}

type open struct {
	indent int // of its fields
	s      *strukt
}

// parse reads a definition file. See doc.go for the language.
func parse(base string, text []byte) (*file, error) {
	p := &parser{file: &file{base: base, key: -1}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		trimmed := strings.TrimLeft(line, " ")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if err := p.line(len(line)-len(trimmed), strings.Fields(trimmed)); err != nil {
			return nil, fmt.Errorf("%s.def:%d: %w", base, n, err)
		}
	}
	for _, m := range p.file.messages {
		if err := m.resolve(); err != nil {
			return nil, fmt.Errorf("%s.def: %w", base, err)
		}
	}
	return p.file, lines.Err()
}

func (p *parser) line(indent int, words []string) error {
	if indent == 0 {
		return p.top(words)
	}
	for len(p.stack) > 0 && p.stack[len(p.stack)-1].indent > indent {
		p.stack = p.stack[:len(p.stack)-1]
	}
	if len(p.stack) == 0 || p.stack[len(p.stack)-1].indent != indent {
		return fmt.Errorf("nothing is open at this indentation")
	}
	if words[0] == "shared" {
		return p.shared(indent, words[1:])
	}
	f, err := parseField(words)
	if err != nil {
		return err
	}
	s := p.stack[len(p.stack)-1].s
	s.fields = append(s.fields, f)
	if f.body != nil {
		p.stack = append(p.stack, open{indent + 2, f.body})
	}
	return nil
}

// top reads a line that is not indented: about the file, or the start of a message.
func (p *parser) top(words []string) (err error) {
	// How many words each line has at least, itself among them.
	least := map[string]int{"api": 3, "family": 2, "header": 2, "data": 2, "key": 3, "value": 3, "record": 3}
	if len(words) < least[words[0]] {
		return fmt.Errorf("%s wants more words", words[0])
	}
	switch words[0] {
	case "api":
		p.file.key, err = strconv.Atoi(words[1])
		p.file.api = words[2]
		return err
	case "listeners":
		p.file.listeners = words[1:]
		return nil
	case "family":
		p.file.family = words[1]
		return nil
	}
	m := &message{kind: words[0], key: -1, file: p.file, sharedBy: map[string]*strukt{}}
	rest := words[1:]
	switch m.kind {
	case "request":
		m.key, m.name = p.file.key, p.file.api+"Request"
	case "response":
		m.key, m.name = p.file.key, p.file.api+"Response"
	case "header", "data":
		m.name, rest = rest[0], rest[1:]
	case "key", "value", "record":
		if m.key, err = strconv.Atoi(rest[0]); err != nil {
			return err
		}
		m.name, rest = rest[1], rest[2:]
	default:
		return fmt.Errorf("unknown word %q", m.kind)
	}
	for _, a := range rest {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "versions":
			m.valid, err = parseVersions(value)
		case "flexible":
			m.flexible, err = parseVersions(value)
		case "unstable":
			m.unstable = true
		default:
			err = fmt.Errorf("unknown word %q", a)
		}
		if err != nil {
			return err
		}
	}
	m.root = &strukt{goName: goName(m.name)}
	p.msg = m
	p.file.messages = append(p.file.messages, m)
	p.stack = []open{{2, m.root}}
	return nil
}

func (p *parser) shared(indent int, words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("shared wants a name and versions")
	}
	in, err := parseVersions(words[1])
	if err != nil {
		return err
	}
	s := &strukt{goName: goName(p.msg.name) + singular(goName(words[0])), where: goName(p.msg.name), in: in}
	p.msg.shared = append(p.msg.shared, s)
	p.msg.sharedBy[words[0]] = s
	p.stack = append(p.stack, open{indent + 2, s})
	return nil
}

func parseField(words []string) (*field, error) {
	if len(words) < 3 {
		return nil, fmt.Errorf("a field has a name, a type and versions")
	}
	f := &field{name: words[0], goName: goName(words[0]), tag: -1, null: none, tagged: none}
	f.typ, f.array = strings.CutPrefix(words[1], "[]")
	if f.typ == "struct" {
		f.typ, f.body = "", &strukt{}
	} else if primitives[f.typ] == 0 {
		f.typ, f.shared = "", f.typ
	}
	var err error
	if f.in, err = parseVersions(words[2]); err != nil {
		return nil, err
	}
	for _, w := range words[3:] {
		if err := f.attribute(w); err != nil {
			return nil, err
		}
	}
	if f.tag >= 0 && f.tagged.empty() {
		f.tagged = f.in
	}
	return f, nil
}

func (f *field) attribute(word string) (err error) {
	name, value, has := strings.Cut(word, "=")
	switch name {
	case "null":
		f.null = f.in
		if has {
			f.null, err = parseVersions(value)
		}
	case "tag":
		f.tag, err = strconv.Atoi(value)
	case "tagged":
		f.tagged, err = parseVersions(value)
	case "default":
		f.defaultVal = value
	case "go":
		f.goName = value
	case "is":
		f.is = value
	case "ignorable":
		f.ignorable = true
	case "key":
		f.key = true
	case "split":
		f.split = true
	case "inflexible":
		f.inflexible = true
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	return err
}
