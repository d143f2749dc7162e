package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

func judgeClientMetrics(next map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(next)) {
		d, ok := Lookup(ClientMetrics, name)
		if !ok {
			return badRequest("Unknown client metrics configuration: " + name)
		}
		v, err := Parse(d, next[name])
		if err != nil {
			return err
		}
		if name == "interval.ms" && (v.Int64() < 100 || v.Int64() > 3600000) {
			return badRequest(fmt.Sprintf("Invalid value %s for interval.ms, interval must be between 100 and 3600000 (1 hour)", next[name]))
		}
		if name != "match" {
			continue
		}
		for _, pattern := range v.List() {
			key, expr, ok := strings.Cut(pattern, "=")
			_, err := regexp.Compile(strings.TrimSpace(expr))
			if !ok || err != nil || !slices.Contains(matchers, strings.TrimSpace(key)) {
				return badConfig("Illegal client matching pattern: " + pattern)
			}
		}
	}
	return nil
}

// judgeBroker says whether the overrides of a broker, or of all where id is "",
// may change so. Names the table does not hold are taken, as in Kafka: they
// may be meant for a plug-in.
func judgeBroker(b *Broker, id string, next map[string]string, names []string) error {
	var fixed, single, bare []string
	for _, name := range names {
		d, ok := Lookup(BrokerScope, name)
		if _, kept := next[name]; !ok || !kept && d.Dynamic != ReadOnly {
			continue
		}
		prefixed := d.Name != name
		switch {
		case d.Dynamic == ReadOnly:
			fixed = append(fixed, name)
		case id == "" && (d.Dynamic == PerBroker || prefixed):
			single = append(single, name)
		case !prefixed && (strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.")):
			bare = append(bare, name)
		}
	}
	switch {
	case bare != nil:
		return badRequest("These security configs can be dynamically updated only per-listener using the listener prefix: " + bracket(bare))
	case fixed != nil:
		return badRequest("Cannot update these configs dynamically: " + bracket(fixed))
	case single != nil:
		return badRequest("Cannot update these configs at default cluster level, broker id must be specified: " + bracket(single))
	}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		d, ok := Lookup(BrokerScope, name)
		if !ok {
			continue
		}
		v, err := Parse(d, next[name])
		if err != nil {
			return badRequest(err.Error())
		}
		if err := limits(d, v); err != nil {
			return badRequest("requirement failed: " + err.Error())
		}
		if name == "cordoned.log.dirs" {
			if err := checkCordoned(b, v.List()); err != nil {
				return badRequest("requirement failed: " + err.Error())
			}
		}
		if name == "max.connections" && v.Int64() == 0 {
			return badDynamic("Invalid max.connections 0")
		}
		if e, ok := b.entry(name); ok && slices.Contains(names, name) && slices.Contains(threadCounts, name) {
			if err := resize(name, v.Int64(), e.value.Int64()); err != nil {
				return err
			}
		}
	}
	return judgeMinISR(id, next, names)
}

func bracket(names []string) string {
	slices.Sort(names)
	return "[" + strings.Join(names, ", ") + "]"
}

// limits are rules of a value that its type and range do not state.
func limits(d *Def, v Value) error {
	n := v.Int64()
	switch d.Name {
	case "log.retention.ms", "log.retention.minutes", "log.retention.hours":
		if n == 0 || n < -1 && d.Name == "log.retention.ms" {
			return fmt.Errorf("%s must be unlimited (-1) or, greater than or equal to 1", d.Name)
		}
	case "max.connections.per.ip.overrides":
		for _, pair := range splitList(v.Text) {
			host, count, ok := strings.Cut(pair, ":")
			if !ok || host == "" || !digits(count) {
				return fmt.Errorf("%s: %s is no host:count pair", d.Name, pair)
			}
		}
	case "log.roll.ms":
		if n < 1 {
			return fmt.Errorf("%s must be greater than or equal to 1", d.Name)
		}
	case "log.roll.jitter.ms":
		if n < 0 {
			return fmt.Errorf("%s must be greater than or equal to 0", d.Name)
		}
	}
	return nil
}

// threadCounts may at most double or halve in one change. Nothing here has such
// threads, but administrators and tools see the same answer.
var threadCounts = []string{"background.threads", "log.cleaner.threads", "num.io.threads", "num.network.threads",
	"num.recovery.threads.per.data.dir", "num.replica.fetchers"}

func resize(name string, to, from int64) error {
	text := ""
	switch {
	case to > from*2 && name == "log.cleaner.threads":
		return badDynamic(fmt.Sprintf("Log cleaner threads cannot be increased to more than double the current value %d", from))
	case to > from*2:
		text = fmt.Sprintf("value should not be greater than double the current value %d", from)
	case to < from/2 && name != "log.cleaner.threads":
		text = fmt.Sprintf("value should be at least half the current value %d", from)
	default:
		return nil
	}
	return badDynamic(fmt.Sprintf("Dynamic thread count update validation failed for %s=%d, %s", name, to, text))
}

// badDynamic is Kafka's text for a value that only the running broker refuses.
func badDynamic(text string) error {
	return badRequest("Invalid value org.apache.kafka.common.config.ConfigException: " + text + " for configuration Invalid dynamic configuration")
}

// judgeMinISR keeps the cluster-wide min.insync.replicas that eligible leader
// replicas (KIP-966) rely on.
func judgeMinISR(id string, next map[string]string, names []string) error {
	const name = "min.insync.replicas"
	if !slices.Contains(names, name) {
		return nil
	}
	if id != "" {
		return badConfig("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
	}
	if _, kept := next[name]; !kept {
		return badConfig("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	}
	return nil
}
