package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ParseYAML reads a configuration in YAML: Kafka's names, nested or dotted as
// one likes, and lists as sequences or as Kafka's comma-separated text.
//
//	node.id: 1
//	log:
//	  dirs: [/data/a, /data/b]      # log.dirs
//	  retention.hours: 24           # log.retention.hours
//
// A key without a value is as if it were not there. file is for origins and
// errors, which give the line.
func ParseYAML(file string, text []byte) (Settings, error) {
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		var bad *yaml.SyntaxError
		if errors.As(err, &bad) && bad.Token != nil && bad.Token.Position != nil {
			return nil, fmt.Errorf("%s:%d: %s", file, bad.Token.Position.Line, bad.Message)
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f := flattener{file: file, set: Settings{}}
	for i, d := range doc.Docs {
		switch {
		case i > 0 && d.Body != nil:
			return nil, f.at(d.Body, "one document is enough")
		case d.Body == nil:
			continue
		}
		if err := f.mapping("", d.Body); err != nil {
			return nil, err
		}
	}
	return f.set, nil
}

type flattener struct {
	file string
	set  Settings
}

func (f *flattener) at(n ast.Node, format string, args ...any) error {
	line := 1
	if t := n.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	return fmt.Errorf("%s:%d: %s", f.file, line, fmt.Sprintf(format, args...))
}

func (f *flattener) mapping(prefix string, n ast.Node) error {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		return f.at(n, "want KEY: VALUE lines, found %s", strings.ToLower(n.Type().String()))
	}
	for _, p := range pairs {
		key, ok := scalar(p.Key)
		if !ok {
			return f.at(p.Key, "a key must be plain text")
		}
		if prefix != "" {
			key = prefix + "." + key
		}
		if err := f.value(key, p.Key, p.Value); err != nil {
			return err
		}
	}
	return nil
}

func (f *flattener) value(key string, at, n ast.Node) error {
	switch v := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.MappingNode, *ast.MappingValueNode:
		return f.mapping(key, n)
	case *ast.SequenceNode:
		var parts []string
		for _, item := range v.Values {
			text, ok := scalar(item)
			if !ok {
				return f.at(item, "%s: a list holds plain values only", key)
			}
			parts = append(parts, text)
		}
		return f.put(key, at, strings.Join(parts, ","))
	}
	text, ok := scalar(n)
	if !ok {
		return f.at(n, "%s: want a value, a list or nested keys, found %s", key, strings.ToLower(n.Type().String()))
	}
	return f.put(key, at, text)
}

func (f *flattener) put(key string, at ast.Node, text string) error {
	if before, ok := f.set[key]; ok {
		return f.at(at, "%s is already set at %s", key, before.Origin)
	}
	line := 1
	if t := at.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	f.set[key] = Setting{text, fmt.Sprintf("%s:%d", f.file, line)}
	return nil
}

// scalar is the text of a value as it stands in the file: 0x10 stays 0x10, so
// that the property's own type decides.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(v.Value.Value, "\n"), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.TagNode:
		return scalar(v.Value)
	}
	return "", false
}
