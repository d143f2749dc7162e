package config

import (
	"fmt"
	"strings"
)

//go:generate go test -run ^TestPageIsFresh$ -update .

// Page writes the reference page: every property of the table, in Markdown.
func Page() string {
	var s strings.Builder
	s.WriteString(`# Configuration

Every property that Myelin knows. This page is generated from the table in
` + "`internal/config`" + ` by ` + "`make gen`" + `; edit the table.

Names, types and values are Apache Kafka 4.4's, so a ` + "`server.properties`" + ` works as it is, and so does the
same in YAML, nested or dotted. ` + "`myelin config explain KEY`" + ` tells what a property is set to and where.

- A setting is taken from a flag, else the environment (` + "`MYELIN_*`, `KAFKA_*`" + `), else the file, else the default.
- Over that, a broker obeys what was set at run time: on itself, else for all brokers.
- *served*: has its effect. *noted*: kept and reported, without effect, for the reason given. *refused*: a value
  other than the default keeps the broker from starting, for the reason given.

`)
	differences(&s, "## Where our defaults differ from Kafka's")
	for _, scope := range []Scope{Topic, BrokerScope, Group, ClientMetrics} {
		title := strings.ToUpper(scope.String()[:1]) + scope.String()[1:]
		fmt.Fprintf(&s, "\n## %s properties\n\n| Property | Type | Default | Permitted | Changes | Status | What it does |\n|---|---|---|---|---|---|---|\n", title)
		for _, d := range table[scope] {
			if d.Internal {
				continue
			}
			fmt.Fprintf(&s, "| `%s` | %s | %s | %s | %s | %s | %s |\n", d.Name, strings.ToLower(d.Type.String()),
				cell(d.DefaultText()), cell(d.Permitted()), d.changes(), cell(d.status()), cell(d.Doc))
		}
	}
	return s.String()
}

func differences(s *strings.Builder, title string) {
	fmt.Fprintf(s, "%s\n\n| Property | Here | In Kafka | Because |\n|---|---|---|---|\n", title)
	for _, scope := range []Scope{Topic, BrokerScope, Group} {
		for _, d := range table[scope] {
			if d.KafkaDefault != "" {
				fmt.Fprintf(s, "| `%s` | %s | %s | %s |\n", d.Name, cell(d.DefaultText()), cell(d.KafkaDefault), d.Why)
			}
			if d.Own {
				fmt.Fprintf(s, "| `%s` (%s) | %s | no such property | %s |\n", d.Name, d.scope, cell(d.DefaultText()), cell(d.Doc))
			}
		}
	}
}

func (d *Def) changes() string {
	if d.scope != BrokerScope {
		return "at run time"
	}
	return d.Dynamic.String()
}

func (d *Def) status() string {
	if d.Status == Served {
		return "served"
	}
	return d.Status.String() + ": " + d.Reason
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
