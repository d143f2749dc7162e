//go:build compat

package compat

import (
	"testing"
	"time"
)

// Apache Kafka's Java clients of the broker's own version: transactions, groups
// of both protocols with every assignor, share groups. What each part checks
// stands in java/Clients.java.
func TestJavaClients(t *testing.T) {
	for part, says := range map[string][]string{
		"transactions": {"commit and abort:", "fencing:", "timeout:", "tools:"},
		"consumer":     {"consumer uniform:", "consumer range:", "consumer pattern:"},
		"classic":      {"classic RangeAssignor:", "classic RoundRobinAssignor:", "classic StickyAssignor:", "classic CooperativeStickyAssignor:"},
		"share":        {"share implicit:", "share explicit:"},
	} {
		t.Run(part, func(t *testing.T) {
			b := target(t, "--set", "transaction.abort.timed.out.transaction.cleanup.interval.ms=500")
			out := run(t, 3*time.Minute, "", java(t, "broker", "java/Clients.java", b, part)...)
			t.Log(out.stdout)
			want(t, out.stdout, append(says, "done "+part)...)
		})
	}
}
