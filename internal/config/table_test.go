package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestTableAgainstKafka holds the table against the facts of a real Kafka: no
// property is missing, and each has Kafka's type, default, range and mode.
func TestTableAgainstKafka(t *testing.T) {
	facts, err := os.ReadFile("testdata/kafka-4.4.tsv")
	if err != nil {
		t.Fatal(err)
	}
	scopes := map[string]Scope{"topic": Topic, "broker": BrokerScope, "group": Group, "client-metrics": ClientMetrics}
	seen := map[*Def]bool{}
	for line := range strings.Lines(string(facts)) {
		if line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		scope, name := scopes[f[0]], f[1]
		d, ok := Lookup(scope, name)
		if !ok || d.Name != name {
			t.Errorf("%s property %s is missing", scope, name)
			continue
		}
		seen[d] = true
		def := d.DefaultText()
		if d.KafkaDefault != "" {
			def = d.KafkaDefault
			if d.Why == "" || def == d.DefaultText() {
				t.Errorf("%s: say why %s differs from Kafka's %s", name, d.DefaultText(), def)
			}
		}
		permitted := d.Permitted()
		if permitted == "" {
			permitted = "-"
		}
		mode, public := "dynamic", "public"
		if scope == BrokerScope {
			mode = d.Dynamic.String()
		}
		if d.Internal {
			public = "internal"
		}
		if got := []string{f[0], name, d.Type.String(), def, permitted, mode, public}; !slices.Equal(got, f) {
			t.Errorf("have  %q\nKafka %q", got, f)
		}
	}
	for scope := range table {
		for _, d := range table[scope] {
			if seen[d] == d.Own {
				t.Errorf("%s: Own is %v, known to Kafka is %v", d.Name, d.Own, seen[d])
			}
		}
	}
}

// TestTableIsWhole checks what every row must have.
func TestTableIsWhole(t *testing.T) {
	for scope := range table {
		for i, d := range table[scope] {
			if i > 0 && table[scope][i-1].Name >= d.Name {
				t.Errorf("%s is declared twice", d.Name)
			}
			if d.Doc == "" || strings.Contains(d.Doc, "\n") || d.Owner == "" {
				t.Errorf("%s: wants an owner and one line of doc", d.Name)
			}
			if (d.Status == Served) != (d.Reason == "") || (d.Status == Served) != (d.Test != "") {
				t.Errorf("%s: served wants a test, anything else a reason", d.Name)
			}
			if d.Default != nil {
				if v, err := Parse(d, *d.Default); err != nil || v.Text != *d.Default {
					t.Errorf("%s: default %q reads as %q, %v", d.Name, *d.Default, v.Text, err)
				}
			}
			for _, s := range d.Synonyms {
				if syn, ok := Lookup(BrokerScope, s.Name); !ok || s.Mul > 1 && syn.Type == List {
					t.Errorf("%s: synonym %s", d.Name, s.Name)
				}
			}
		}
	}
	if rows := NewBroker(nil).DescribeTopic(nil, nil); len(rows) != 37 {
		t.Errorf("a topic shows %d properties, Kafka 37", len(rows))
	}
	if rows := NewBroker(nil).DescribeGroup(nil, nil); len(rows) != 21 {
		t.Errorf("a group shows %d properties, Kafka 21", len(rows))
	}
	if rows := NewBroker(nil).DescribeBroker(nil); len(rows) != 350 {
		t.Errorf("a broker shows %d properties, Kafka 350", len(rows))
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ typo, want string }{
		{"num.partition", "num.partitions"},
		{"log.retention.hour", "log.retention.hours"},
		{"auto.create.topic.enable", "auto.create.topics.enable"},
		{"nmu.partitions", "num.partitions"},
		{"advertised.listners", "advertised.listeners"},
		{"zookeeper.connect", ""},
		{"", ""},
	} {
		if got := Nearest(c.typo, BrokerScope); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.typo, got, c.want)
		}
	}
}
