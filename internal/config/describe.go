package config

import (
	"maps"
	"slices"
	"strings"
)

// Row is one property in an answer to DescribeConfigs.
type Row struct {
	Name      string
	Value     *string // nil: null, or sensitive
	Source    Source
	ReadOnly  bool
	Sensitive bool
	Type      Type
	Doc       string
	Synonyms  []Named // where values came from, the effective one first
}

// Named is one step of a synonym chain.
type Named struct {
	Name   string
	Value  *string // nil: null, or sensitive
	Source Source
}

// DescribeTopic lists the properties of a topic by name: those asked for, or
// with nil names all that Kafka has and those of our own that are set.
func (b *Broker) DescribeTopic(overrides map[string]string, names []string) []Row {
	var rows []Row
	for _, d := range wanted(Topic, names, overrides) {
		v, _ := b.TopicValue(d.Name, overrides)
		chain := named(overrides, d, FromTopic)
		if len(d.Synonyms) > 0 {
			chain = append(chain, b.chain(d.Synonyms[0].Name)...)
		}
		rows = append(rows, row(d, v, chain))
	}
	return rows
}

// DescribeGroup lists the properties of a group by name.
func (b *Broker) DescribeGroup(overrides map[string]string, names []string) []Row {
	var rows []Row
	for _, d := range wanted(Group, names, overrides) {
		v, _ := b.GroupValue(d.Name, overrides)
		chain := named(overrides, d, FromGroup)
		if len(d.Synonyms) > 0 {
			chain = append(chain, b.chain(d.Synonyms[0].Name)...)
		} else if d.Default != nil {
			chain = append(chain, Named{d.Name, d.Default, FromDefault})
		}
		rows = append(rows, row(d, v, chain))
	}
	return rows
}

// DescribeClientMetrics lists the properties of a subscription by name.
func (b *Broker) DescribeClientMetrics(overrides map[string]string, names []string) []Row {
	var rows []Row
	for _, d := range wanted(ClientMetrics, names, overrides) {
		v, _ := b.inherited(ClientMetrics, d.Name, overrides, FromClientMetrics)
		rows = append(rows, row(d, v, named(overrides, d, FromClientMetrics)))
	}
	return rows
}

// DescribeBroker lists the properties of this broker by name. A name that the
// table does not hold may be secret, so its value is not told.
func (b *Broker) DescribeBroker(names []string) []Row {
	var rows []Row
	for _, name := range b.brokerNames(names) {
		d, known := Lookup(BrokerScope, name)
		chain := b.chain(name)
		switch {
		case !known:
			rows = append(rows, Row{Name: name, Source: sourceOf(chain), ReadOnly: true, Sensitive: true, Synonyms: chain})
		case d.Name != name: // listener.name.<listener>.<property>
			r := row(d, Value{Null: true}, chain)
			r.Name, r.ReadOnly = name, true
			if len(chain) > 0 {
				r.Value = chain[0].Value
			}
			rows = append(rows, r)
		default:
			e, _ := b.entry(name)
			r := row(d, e.value, chain)
			r.ReadOnly = d.Dynamic == ReadOnly
			rows = append(rows, r)
		}
	}
	return rows
}

// DescribeClusterDefault lists the overrides that hold for all brokers.
func (b *Broker) DescribeClusterDefault(names []string) []Row {
	var rows []Row
	for _, name := range slices.Sorted(maps.Keys(b.cluster)) {
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		text := b.cluster[name]
		r := Row{Name: name, Value: &text, Source: FromClusterDefault}
		if d, ok := Lookup(BrokerScope, name); ok {
			r.Type, r.Doc, r.Sensitive = d.Type, d.Doc, d.Sensitive()
		} else {
			r.ReadOnly, r.Sensitive = true, true
		}
		if r.Sensitive {
			r.Value = nil
		}
		r.Synonyms = []Named{{name, r.Value, FromClusterDefault}}
		rows = append(rows, r)
	}
	return rows
}

// brokerNames are the names to describe: of the table without internal ones and
// without our own that are not set, and whatever else a layer holds.
func (b *Broker) brokerNames(names []string) []string {
	set := func(name string) bool {
		_, own := b.own[name]
		_, cluster := b.cluster[name]
		_, static := b.static[name]
		return own || cluster || static
	}
	var all []string
	for _, d := range table[BrokerScope] {
		asked := names != nil && slices.Contains(names, d.Name)
		if set(d.Name) || !d.Internal && (!d.Own || asked) && !onlyDynamic(d.Name) {
			all = append(all, d.Name)
		}
	}
	for _, layer := range []map[string]string{b.own, b.cluster, b.static.texts()} {
		for name := range layer {
			if d, ok := Lookup(BrokerScope, name); !ok || d.Name != name {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if names == nil {
		return all
	}
	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(names, name) })
}

// required stands for the default of what Kafka cannot do without. It shows in
// no chain: clients know that such a property has none.
const required = "(required)"

// onlyDynamic names what Kafka knows as overrides but not as static settings.
func onlyDynamic(name string) bool {
	return name == "leader.replication.throttled.rate" || name == "follower.replication.throttled.rate" ||
		name == "replica.alter.log.dirs.io.max.bytes.per.second"
}

// chain lists what stands for a broker property: in each layer, from the
// strongest to the default, the property and then its synonyms. What comes
// before the property's own first value is dropped, as in Kafka: a synonym
// alone does not show.
func (b *Broker) chain(name string) []Named {
	names := []string{name}
	d, known := Lookup(BrokerScope, name)
	if known && d.Name != name {
		names = append(names, d.Name)
	}
	if known {
		for _, s := range d.Synonyms {
			names = append(names, s.Name)
		}
	}
	var all []Named
	add := func(name, text string, from Source) {
		v := &text
		if !known || d.Sensitive() {
			v = nil
		}
		all = append(all, Named{name, v, from})
	}
	for _, layer := range []struct {
		set  map[string]string
		from Source
	}{{b.own, FromBroker}, {b.cluster, FromClusterDefault}, {b.static.texts(), FromStatic}} {
		for _, n := range names {
			if text, ok := layer.set[n]; ok {
				add(n, text, layer.from)
			}
		}
	}
	for _, n := range names {
		if s, ok := Lookup(BrokerScope, n); ok && s.Name == n && s.Default != nil && s.KafkaDefault != required && !onlyDynamic(n) {
			add(n, *s.Default, FromDefault)
		}
	}
	first := slices.IndexFunc(all, func(s Named) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return all[first:]
}

// wanted are the properties of a scope to describe.
func wanted(scope Scope, names []string, overrides map[string]string) []*Def {
	var all []*Def
	for _, d := range table[scope] {
		_, set := overrides[d.Name]
		asked := slices.Contains(names, d.Name)
		if names != nil && !asked || d.Internal && !set || d.Own && !set && !asked {
			continue
		}
		all = append(all, d)
	}
	return all
}

func named(overrides map[string]string, d *Def, from Source) []Named {
	text, ok := overrides[d.Name]
	if !ok {
		return nil
	}
	if v, err := Parse(d, text); err == nil {
		text = v.Text
	}
	return []Named{{d.Name, &text, from}}
}

func row(d *Def, v Value, chain []Named) Row {
	r := Row{Name: d.Name, Source: sourceOf(chain), Type: d.Type, Doc: d.Doc, Sensitive: d.Sensitive(), Synonyms: chain}
	if !r.Sensitive {
		r.Value = v.Pointer()
	}
	return r
}

func sourceOf(chain []Named) Source {
	if len(chain) == 0 {
		return FromDefault
	}
	return chain[0].Source
}

// Texts are settings as plain text, for those who do not ask where they stood.
func (s Settings) texts() map[string]string {
	m := make(map[string]string, len(s))
	for name, setting := range s {
		m[strings.TrimSpace(name)] = setting.Value
	}
	return m
}
