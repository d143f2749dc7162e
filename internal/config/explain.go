package config

import (
	"fmt"
	"strings"
)

// Explain tells all about a property of a broker or a topic: its value here and
// where that came from, its default, and what it does.
func (b *Broker) Explain(name string) (string, error) {
	var out []string
	for _, scope := range []Scope{BrokerScope, Topic, Group, ClientMetrics} {
		if d, ok := Lookup(scope, name); ok {
			out = append(out, explain(b, d, name))
		}
	}
	if out == nil {
		if list := beginning(name); list != "" {
			return list, nil
		}
		text := "unknown property " + name
		if near := Nearest(name, BrokerScope, Topic, Group, ClientMetrics); near != "" {
			text += "; did you mean " + near + "?"
		}
		return "", fmt.Errorf("%s", text)
	}
	return strings.Join(out, "\n"), nil
}

// beginning lists the properties whose names begin with a prefix: log.retention,
// log.retention. or log.reten*. It is "" if there are none.
func beginning(prefix string) string {
	prefix, open := strings.CutSuffix(prefix, "*")
	if !open && !strings.HasSuffix(prefix, ".") {
		prefix += "."
	}
	type row struct{ name, scope, doc string }
	var rows []row
	width := 0
	for _, scope := range []Scope{BrokerScope, Topic, Group, ClientMetrics} {
		for _, d := range table[scope] {
			if strings.HasPrefix(d.Name, prefix) {
				rows = append(rows, row{d.Name, d.scope.String(), d.Doc})
				width = max(width, len(d.Name))
			}
		}
	}
	var s strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&s, "%-*s  (%s) %s\n", width, r.name, r.scope, r.doc)
	}
	return s.String()
}

func explain(b *Broker, d *Def, name string) string {
	var s strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&s, "  %-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&s, "%s (%s)\n", name, d.scope)
	line("does", "%s", d.Doc)
	value, source := explained(b, d, name)
	line("value", "%s", value)
	line("source", "%s", source)
	line("default", "%s", d.DefaultText())
	if d.KafkaDefault != "" {
		line("in Kafka", "%s; differs because %s", d.KafkaDefault, d.Why)
	}
	if d.Own {
		line("in Kafka", "no such property")
	}
	line("type", "%s", strings.TrimSpace(strings.ToLower(d.Type.String())+" "+d.Permitted()))
	if d.scope == BrokerScope {
		line("changes", "%s", map[Dynamic]string{ReadOnly: "only at a restart", PerBroker: "at run time, on one broker",
			ClusterWide: "at run time, on one broker or on all"}[d.Dynamic])
	} else {
		line("changes", "at run time")
	}
	for _, syn := range d.Synonyms {
		line("if not set", "%s", syn.Name)
	}
	line("served by", "%s", d.Owner)
	if d.Status != Served {
		line("status", "%s: %s", d.Status, d.Reason)
	}
	return s.String()
}

func explained(b *Broker, d *Def, name string) (value, source string) {
	v, from := Value{}, FromDefault
	switch d.scope {
	case BrokerScope:
		if set, ok := b.static[name]; ok && d.Name != name {
			v = Value{Text: set.Value}
			from = FromStatic
		} else {
			v, from = b.Value(d.Name)
		}
	default:
		v, from = b.inherited(d.scope, d.Name, nil, FromTopic)
	}
	source = from.String()
	if from == FromStatic {
		for _, n := range append([]string{name}, synonymNames(d)...) {
			if set, ok := b.static[n]; ok {
				source += " (" + n + " at " + set.Origin + ")"
				break
			}
		}
	}
	if d.Sensitive() && !v.Null {
		return "(hidden)", source
	}
	return display(v.Pointer()), source
}

func synonymNames(d *Def) []string {
	var names []string
	for _, s := range d.Synonyms {
		names = append(names, s.Name)
	}
	return names
}
