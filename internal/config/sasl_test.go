package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestJAAS(t *testing.T) {
	for text, want := range map[string]string{
		`a.B required;`:                                   "a.B map[]",
		` a.B  REQUIRED x=1 y = "2 3" ; `:                 "a.B map[x:1 y:2 3]",
		`a.B required x="a \"b\" =;\\" z='q';`:            `a.B map[x:a "b" =;\ z:q]`,
		"a.B /* x=1 */ required // y=2\n user_a=\"\\n\";": "a.B map[user_a:\n]",
		`a.B required user_my-name.x$="p//w";`:            "a.B map[user_my-name.x$:p//w]",
		`a.B required`:                                    "error: want MODULE",
		`a.B ;`:                                           "error: want MODULE",
		`a.B always;`:                                     "error: the word after",
		`a.B required x;`:                                 "error: option 1",
		`a.B required x=1 y=;`:                            "error: option 2",
		`a.B required x="1;`:                              "error: a quote does not end",
		`a.B required x=1; a.C required;`:                 "error: option 2",
		``:                                                "error: want MODULE",
		"a.B required x=\"secret\n\";":                    "error: a quote does not end",
	} {
		module, options, err := parseJAAS(text)
		got := fmt.Sprint(module, " ", options)
		if err != nil {
			got = "error: " + err.Error()
		}
		if !strings.HasPrefix(got, want) || err != nil && strings.Contains(got, "secret") {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// What a listener says for a mechanism comes before what it says for all, and
// that before what the broker says.
func TestForMechanism(t *testing.T) {
	b := NewBroker(Settings{
		"connections.max.reauth.ms":                                   {Value: "1000"},
		"listener.name.in.connections.max.reauth.ms":                  {Value: "2000"},
		"listener.name.in.plain.connections.max.reauth.ms":            {Value: "3000"},
		"listener.name.neg.connections.max.reauth.ms":                 {Value: "-5"},
		"listener.name.in.sasl.enabled.mechanisms":                    {Value: "PLAIN"},
		"sasl.enabled.mechanisms":                                     {Value: "SCRAM-SHA-256"},
		"listener.name.other.scram-sha-256.connections.max.reauth.ms": {Value: "x"},
	})
	for _, c := range []struct {
		listener, mechanism string
		want                int64
	}{{"IN", "PLAIN", 3000}, {"IN", "SCRAM-SHA-256", 2000}, {"OUT", "PLAIN", 1000}, {"NEG", "PLAIN", 0}, {"OTHER", "SCRAM-SHA-256", 1000}} {
		if got := SASLOf(b, c.listener).MaxReauth(c.mechanism).Milliseconds(); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.listener, c.mechanism, got, c.want)
		}
	}
	if in, out := SASLOf(b, "IN").Mechanisms(), SASLOf(b, "OUT").Mechanisms(); in[0] != "PLAIN" || out[0] != "SCRAM-SHA-256" {
		t.Errorf("mechanisms %v and %v", in, out)
	}
	d := b.With(map[string]string{"listener.name.in.sasl.enabled.mechanisms": "SCRAM-SHA-512"}, nil)
	if in := SASLOf(d, "IN").Mechanisms(); in[0] != "SCRAM-SHA-512" {
		t.Errorf("after a change at run time: %v", in)
	}
}
