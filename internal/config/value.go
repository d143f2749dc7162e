package config

import (
	"math"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Error is a refusal in the protocol's terms: the code a response carries and
// Kafka's text.
type Error struct {
	Code    kafka.Code // INVALID_CONFIG or INVALID_REQUEST
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the code to kafka.CodeOf.
func (e *Error) Unwrap() error { return e.Code }

func badConfig(text string) error  { return &Error{kafka.InvalidConfig, text} }
func badRequest(text string) error { return &Error{kafka.InvalidRequest, text} }

// Value is a parsed value of a property.
type Value struct {
	Def  *Def
	Null bool
	Text string // Kafka's canonical form: trimmed, "true", "0.5", "a,b"

	n    int64
	f    float64
	list []string
}

// Bool is the value of a BOOLEAN.
func (v Value) Bool() bool { return v.n != 0 }

// Int64 is the value of an INT, SHORT or LONG; 0 when null.
func (v Value) Int64() int64 { return v.n }

// Float is the value of a DOUBLE.
func (v Value) Float() float64 { return v.f }

// List is the value of a LIST; the caller must not change it.
func (v Value) List() []string { return v.list }

// Pointer is the value as responses carry it: null or the canonical text.
func (v Value) Pointer() *string {
	if v.Null {
		return nil
	}
	return &v.Text
}

func (v Value) number() float64 {
	if v.Def.Type == Double {
		return v.f
	}
	return float64(v.n)
}

// Parse reads a value of a property and checks that it is permitted.
//
// An error is an [*Error] with INVALID_CONFIG and the text of Kafka's
// ConfigException; it names d.Name, and so the topic property or the broker
// property that the caller looked up.
func Parse(d *Def, text string) (Value, error) {
	v, reason := parseType(d, text)
	if reason != "" {
		return Value{}, badConfig(invalid(text, d.Name, reason))
	}
	if d.Valid != nil {
		if reason := d.Valid.check(v); reason != "" {
			if strings.HasPrefix(reason, "Configuration '") { // Kafka's one whole sentence
				return Value{}, badConfig(reason)
			}
			return Value{}, badConfig(invalid(d.Valid.shown(v), d.Name, reason))
		}
	}
	return v, nil
}

// DefaultValue is the property's default as a value.
func (d *Def) DefaultValue() Value {
	if d.Default == nil {
		return Value{Def: d, Null: true}
	}
	v, _ := parseType(d, *d.Default)
	return v
}

func parseType(d *Def, text string) (v Value, reason string) {
	s := strings.TrimSpace(text)
	v = Value{Def: d, Text: s}
	switch d.Type {
	case Boolean:
		switch {
		case strings.EqualFold(s, "true"):
			v.Text, v.n = "true", 1
		case strings.EqualFold(s, "false"):
			v.Text = "false"
		default:
			return v, "Expected value to be either true or false"
		}
	case Int, Short, Long:
		n, err := strconv.ParseInt(s, 10, d.Type.bits())
		if err != nil {
			return v, "Not a number of type " + d.Type.String()
		}
		v.n, v.Text = n, strconv.FormatInt(n, 10)
	case Double:
		f, ok := parseJavaDouble(s)
		if !ok {
			return v, "Not a number of type DOUBLE"
		}
		v.f, v.Text = f, javaDouble(f)
	case List:
		v.list = splitList(s)
		v.Text = strings.Join(v.list, ",")
	}
	return v, ""
}

func (t Type) bits() int {
	switch t {
	case Short:
		return 16
	case Int:
		return 32
	}
	return 64
}

// splitList cuts at commas and drops the blanks around them and what repeats.
func splitList(s string) []string {
	if s == "" {
		return nil
	}
	list := make([]string, 0, 4)
	seen := map[string]bool{} // strangers set lists of any length
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); !seen[part] {
			seen[part] = true
			list = append(list, part)
		}
	}
	return list
}

// parseJavaDouble reads what Java's Double.parseDouble takes: a suffix of d or
// f, and NaN and Infinity in that spelling only.
func parseJavaDouble(s string) (float64, bool) {
	switch strings.TrimLeft(s, "+-") {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1 - 2*strings.Count(s[:1], "-")), true
	}
	if n := len(s); n > 1 && strings.IndexByte("dDfF", s[n-1]) >= 0 {
		s = s[:n-1]
	}
	if strings.ContainsAny(s, "_nN") { // not Go's digit groups, inf and nan
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0) // Java overflows to infinity without an error
}

// javaDouble prints f as Java's Double.toString does, since clients compare
// the text: a point always, and an exponent outside 10^-3 to 10^7.
func javaDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); f == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exp)
	return mantissa + "E" + strconv.Itoa(n)
}
