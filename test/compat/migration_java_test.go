//go:build compat

package compat

import (
	"testing"
	"time"
)

// Apache Kafka's Java consumers change from the classic to the consumer protocol
// and back by rolling restarts under load, as dynamic and as static members.
// What holds meanwhile stands in java/Migration.java.
func TestJavaMigration(t *testing.T) {
	for name, args := range map[string][]string{"dynamic": nil, "static": {"instances"}} {
		t.Run(name, func(t *testing.T) {
			b := target(t, "--set", "group.initial.rebalance.delay.ms=0", "--set", "group.consumer.min.heartbeat.interval.ms=300",
				"--set", "group.consumer.heartbeat.interval.ms=300")
			argv := append([]string{b}, args...)
			out := run(t, 6*time.Minute, "", java(t, "broker", "java/Migration.java", argv...)...)
			t.Log(out.stdout)
			want(t, out.stdout, "all consumer:", "all classic:", "migrated:")
		})
	}
}
