package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// check decides whether a parsed value is permitted. A refusal is Kafka's reason
// alone; the caller adds the value and the property.
type check interface {
	check(v Value) (reason string)
	// shown is the value as Kafka's error text shows it: one element of a
	// list, or all of it in brackets.
	shown(v Value) string
	String() string
}

// invalid is the text Kafka's ConfigException has for a value.
func invalid(shown, name, reason string) string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", shown, name, reason)
}

// span permits numbers from min to max; a nil bound is open.
type span struct{ min, max *float64 }

func atLeast(n float64) check    { return span{min: &n} }
func between(a, b float64) check { return span{&a, &b} }

func (s span) check(v Value) string {
	n := v.number()
	if s.min != nil && n < *s.min {
		return fmt.Sprintf("Value must be at least %s", plain(*s.min))
	}
	if s.max != nil && n > *s.max {
		return fmt.Sprintf("Value must be no more than %s", plain(*s.max))
	}
	return ""
}

func (s span) shown(v Value) string { return v.Text }

func (s span) String() string {
	if s.max == nil {
		return "[" + plain(*s.min) + ",...]"
	}
	return "[" + plain(*s.min) + ",...," + plain(*s.max) + "]"
}

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// gzipLevel permits the levels of gzip and -1 for its default.
type gzipLevel struct{}

func (gzipLevel) check(v Value) string {
	if n := v.Int64(); n != -1 && (n < 1 || n > 9) {
		return "Value must be between 1 and 9 or equal to -1"
	}
	return ""
}
func (gzipLevel) shown(v Value) string { return v.Text }
func (gzipLevel) String() string       { return "[1,...,9] or -1" }

// words permits one of some words; in a list, each element must be one.
type words struct {
	list []string
	fold bool // ignore case
}

func oneOf(list ...string) check     { return words{list: list} }
func oneOfFold(list ...string) check { return words{list: list, fold: true} }

func (w words) bad(v Value) (string, bool) {
	each := []string{v.Text}
	if v.Def.Type == List {
		each = v.List()
	}
	for _, s := range each {
		if !slices.ContainsFunc(w.list, func(x string) bool { return x == s || w.fold && strings.EqualFold(x, s) }) {
			return s, true
		}
	}
	return "", false
}

func (w words) check(v Value) string {
	s, bad := w.bad(v)
	switch {
	case !bad:
		return ""
	case s == "" && v.Def.Type == List:
		return "Configuration '" + v.Def.Name + "' values must not be empty."
	}
	if w.fold {
		return fmt.Sprintf("String must be one of (case insensitive): %s", strings.Join(w.list, ", "))
	}
	return fmt.Sprintf("String must be one of: %s", strings.Join(w.list, ", "))
}

func (w words) shown(v Value) string { s, _ := w.bad(v); return s }

func (w words) String() string {
	s := "[" + strings.Join(w.list, ", ") + "]"
	if w.fold {
		return "(case insensitive) " + s
	}
	return s
}

// filled permits any string but the empty one.
type filled struct{}

func (filled) check(v Value) string {
	if v.Null || v.Text != "" {
		return ""
	}
	return "String must be non-empty"
}
func (filled) shown(v Value) string { return v.Text }
func (filled) String() string       { return "non-empty string" }

// throttled permits "*" or a list of partition:broker pairs (KIP-73).
type throttled struct{}

func (throttled) check(v Value) string {
	each := v.List()
	if len(each) == 1 && each[0] == "*" {
		return ""
	}
	for _, pair := range each {
		p, b, ok := strings.Cut(pair, ":")
		if !ok || !digits(p) || !digits(b) {
			return fmt.Sprintf("%s must be the literal '*' or a list of replicas in the following format: %s", v.Def.Name, throttled{})
		}
	}
	return ""
}
func (throttled) shown(v Value) string { return "[" + strings.Join(v.List(), ", ") + "]" }
func (throttled) String() string       { return "[partitionId]:[brokerId],[partitionId]:[brokerId],..." }

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// resetRule permits where a share group starts (KIP-932, KIP-1106).
type resetRule struct{}

func (resetRule) check(v Value) string {
	if v.Text == "earliest" || v.Text == "latest" {
		return ""
	}
	if d, ok := strings.CutPrefix(v.Text, "by_duration:"); ok && isoDuration(d) {
		return ""
	}
	return fmt.Sprintf("Invalid value `%s` for configuration %s. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.", v.Text, v.Def.Name)
}
func (resetRule) shown(v Value) string { return v.Text }
func (resetRule) String() string       { return "[latest, earliest, by_duration:PnDTnHnMn.nS]" }

// isoDuration says whether s is a non-negative ISO 8601 duration of days and
// smaller units, such as P1DT2H3M4.5S.
func isoDuration(s string) bool {
	s, ok := strings.CutPrefix(strings.ToUpper(s), "P")
	if !ok || s == "" {
		return false
	}
	days, rest, timed := strings.Cut(s, "T")
	if days != "" && !isoUnits(days, "D") {
		return false
	}
	return !timed || isoUnits(rest, "HMS")
}

// isoUnits says whether s is one or more numbers, each with the next of units.
func isoUnits(s, units string) bool {
	if s == "" {
		return false
	}
	for s != "" {
		i := strings.IndexAny(s, "DHMS")
		if i <= 0 {
			return false
		}
		at := strings.IndexByte(units, s[i])
		if at < 0 {
			return false
		}
		whole, frac, dotted := strings.Cut(s[:i], ".")
		if !digits(whole) || dotted && (s[i] != 'S' || !digits(frac)) {
			return false
		}
		units, s = units[at+1:], s[i+1:]
	}
	return true
}
