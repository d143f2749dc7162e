package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Broker is everything one broker is configured with, resolved over all layers.
//
// It is immutable and safe for concurrent use: an override at run time makes a
// new Broker through [Broker.With]. Accessors take names of the table and panic
// on any other, which is a mistake in the program.
type Broker struct {
	static  Settings
	own     map[string]string // overrides on this broker
	cluster map[string]string // overrides for all brokers
	found   []entry           // in the order of table[BrokerScope]
}

// entry is the value of one property and the layer it came from.
type entry struct {
	value  Value
	source Source
}

// NewBroker resolves static settings. It does not judge them: see [Check]. Of
// node.id and broker.id the one that is set counts for the other, as in Kafka.
func NewBroker(static Settings) *Broker {
	n, known := static["node.id"]
	o, older := static["broker.id"]
	if known != older {
		static = maps.Clone(static)
		if known {
			static["broker.id"] = n
		} else {
			static["node.id"] = o
		}
	}
	return (&Broker{static: static}).With(nil, nil)
}

// With returns the same static settings under other overrides: own are those
// of this broker, cluster those of all. An override that does not parse, or of
// a property that cannot change at run time, is passed over as Kafka does.
//
// The maps must not be changed afterwards.
func (b *Broker) With(own, cluster map[string]string) *Broker {
	n := &Broker{static: b.static, own: own, cluster: cluster, found: make([]entry, len(table[BrokerScope]))}
	for i, d := range table[BrokerScope] {
		n.found[i] = n.resolve(d)
	}
	return n
}

// WithDefaults is [Broker.With] that keeps the broker's own overrides.
func (b *Broker) WithDefaults(cluster map[string]string) *Broker { return b.With(b.own, cluster) }

// Set returns a Broker with one more static setting, for what the process
// learns while it starts, such as the port it was given.
func (b *Broker) Set(name, value, origin string) *Broker {
	static := maps.Clone(b.static)
	if static == nil {
		static = Settings{}
	}
	static[name] = Setting{value, origin}
	return (&Broker{static: static}).With(b.own, b.cluster)
}

func (b *Broker) resolve(d *Def) entry {
	try := func(text string, ok bool, from Source) (entry, bool) {
		if !ok {
			return entry{}, false
		}
		v, err := Parse(d, text)
		return entry{v, from}, err == nil
	}
	if d.Dynamic != ReadOnly {
		text, ok := b.own[d.Name]
		if e, ok := try(text, ok, FromBroker); ok {
			return e
		}
	}
	if d.Dynamic == ClusterWide {
		text, ok := b.cluster[d.Name]
		if e, ok := try(text, ok, FromClusterDefault); ok {
			return e
		}
	}
	s, ok := b.static[d.Name]
	if e, ok := try(s.Value, ok, FromStatic); ok {
		return e
	}
	return entry{d.DefaultValue(), FromDefault}
}

func (b *Broker) entry(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(table[BrokerScope], name, func(d *Def, name string) int { return strings.Compare(d.Name, name) })
	if !ok {
		return entry{}, false
	}
	return b.found[i], true
}

// Value is the value of a property and the layer it came from. Where it is null
// and has synonyms, the first that is set stands in, in the property's unit.
func (b *Broker) Value(name string) (Value, Source) {
	e, ok := b.entry(name)
	if !ok {
		panic(fmt.Sprintf("config: no broker property is called %q", name))
	}
	if e.value.Null {
		if v, from, ok := b.standIn(e.value.Def); ok {
			return v, from
		}
	}
	return e.value, e.source
}

// standIn finds the first synonym of d that has a value.
func (b *Broker) standIn(d *Def) (Value, Source, bool) {
	for _, s := range d.Synonyms {
		e, ok := b.entry(s.Name)
		if !ok || e.value.Null {
			continue
		}
		text := e.value.Text
		if s.Mul > 1 {
			text = strconv.FormatInt(scale(e.value.n, s.Mul), 10)
		}
		if d.Type != List && e.value.Def.Type == List { // group.streams.assignors: the first is the default
			text, _, _ = strings.Cut(text, ",")
		}
		if v, reason := parseType(d, text); reason == "" {
			return v, e.source, true
		}
	}
	return Value{}, 0, false
}

// scale turns n into a finer unit. Any negative number stands for no limit.
func scale(n, mul int64) int64 {
	switch {
	case n < 0:
		return -1
	case n > (1<<63-1)/mul:
		return 1<<63 - 1
	}
	return n * mul
}

// IsSet says whether any layer but the default gives the property a value.
func (b *Broker) IsSet(name string) bool {
	_, from := b.Value(name)
	return from != FromDefault
}

// Bool is the value of a BOOLEAN.
func (b *Broker) Bool(name string) bool { v, _ := b.Value(name); return v.Bool() }

// Int is the value of an INT, SHORT or LONG that counts things.
func (b *Broker) Int(name string) int { return int(b.Int64(name)) }

// Int64 is the value of an INT, SHORT or LONG; 0 where it is null.
func (b *Broker) Int64(name string) int64 { v, _ := b.Value(name); return v.Int64() }

// Float is the value of a DOUBLE.
func (b *Broker) Float(name string) float64 { v, _ := b.Value(name); return v.Float() }

// String is the text of any value; "" where it is null.
func (b *Broker) String(name string) string { v, _ := b.Value(name); return v.Text }

// List is the value of a LIST; the caller must not change it.
func (b *Broker) List(name string) []string { v, _ := b.Value(name); return v.List() }

// Millis is the value of a property in milliseconds. What does not fit in a
// Duration (292 years) is the longest one.
func (b *Broker) Millis(name string) time.Duration { return millis(b.Int64(name)) }

func millis(n int64) time.Duration {
	if n > int64(1<<63-1)/int64(time.Millisecond) {
		return 1<<63 - 1
	}
	return time.Duration(n) * time.Millisecond
}

// DataDirs are the log directories: log.dirs, or log.dir where that is not set.
func (b *Broker) DataDirs() []string {
	if dirs := b.List("log.dirs"); len(dirs) > 0 {
		return dirs
	}
	return b.List("log.dir")
}

// CordonedDirs are those of the log directories that take no new replicas.
func (b *Broker) CordonedDirs() []string {
	list := b.List("cordoned.log.dirs")
	if len(list) == 1 && list[0] == "*" {
		return b.DataDirs()
	}
	return list
}

// NodeID is node.id.
func (b *Broker) NodeID() int32 { return int32(b.Int64("node.id")) }
