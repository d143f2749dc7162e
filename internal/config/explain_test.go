package config

import (
	"strings"
	"testing"
)

// TestExplainBeginning: what is no property but the begin of some lists them.
func TestExplainBeginning(t *testing.T) {
	b := NewBroker(nil)
	for _, name := range []string{"log.retention.", "log.retention", "log.reten*"} {
		got, err := b.Explain(name)
		if err != nil || !strings.Contains(got, "log.retention.ms") || !strings.Contains(got, "log.retention.bytes") || strings.Contains(got, "log.roll") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	if got, err := b.Explain("log.reten"); err == nil {
		t.Errorf("log.reten: %s", got)
	}
	if got, err := b.Explain("log.retention.ms"); err != nil || !strings.HasPrefix(got, "log.retention.ms (") {
		t.Errorf("%v: %s", err, got)
	}
}
