package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Setting is a static value and where it was given: "broker.yaml:12",
// "environment KAFKA_NODE_ID", "--set".
type Setting struct {
	Value, Origin string
}

// Settings are static values by property name.
type Settings map[string]Setting

// Merge lays settings over each other: a later one wins. Give them in the order
// default of the command, file, environment, flag.
func Merge(layers ...Settings) Settings {
	all := Settings{}
	for _, layer := range layers {
		maps.Copy(all, layer)
	}
	return all
}

// ParseSet reads the arguments of --set, each KEY=VALUE. A key that the table
// does not hold is an error, since whoever types one wants its effect.
func ParseSet(args []string) (Settings, error) {
	set := Settings{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, fmt.Errorf("--set %s: want KEY=VALUE", arg)
		}
		if _, ok := Lookup(BrokerScope, key); !ok {
			return nil, fmt.Errorf("--set %s: %s", arg, unknown(key))
		}
		set[key] = Setting{value, "--set"}
	}
	return set, nil
}

// unknown says that no property has this name, and which one may be meant.
func unknown(name string) string {
	text := "unknown property " + name
	if _, ok := Lookup(Topic, name); ok {
		if d, _ := Lookup(Topic, name); len(d.Synonyms) > 0 {
			return fmt.Sprintf("%s is a property of topics; for all topics of a broker it is called %s", name, d.Synonyms[0].Name)
		}
		return name + " is a property of topics: set it on a topic"
	}
	if near := Nearest(name, BrokerScope); near != "" {
		text += "; did you mean " + near + "?"
	}
	return text
}

// FromEnv reads the environment: KAFKA_* as Apache's container image does and
// MYELIN_* alike, which wins. In a name, _ stands for a dot, __ for an
// underscore and ___ for a dash. CLUSTER_ID is cluster.id. A name that ends in
// _FILE gives the file that holds the value; read fetches it.
func FromEnv(env []string, read func(path string) ([]byte, error)) (Settings, error) {
	set := Settings{}
	for _, prefix := range []string{"KAFKA_", "MYELIN_"} {
		for _, kv := range slices.Sorted(slices.Values(env)) {
			name, value, _ := strings.Cut(kv, "=")
			if name == "CLUSTER_ID" {
				set["cluster.id"] = Setting{value, "environment CLUSTER_ID"}
			}
			rest, ok := strings.CutPrefix(name, prefix)
			if !ok || rest == "" || slices.ContainsFunc(notProperties, func(p string) bool { return strings.HasPrefix(name, p) }) {
				continue
			}
			key := envKey(rest)
			if file, ok := strings.CutSuffix(key, ".file"); ok {
				_, direct := Lookup(BrokerScope, key)
				if _, known := Lookup(BrokerScope, file); known && !direct {
					text, err := read(value)
					if err != nil {
						return nil, fmt.Errorf("environment %s: %w", name, err)
					}
					key, value = file, strings.TrimRight(string(text), "\r\n")
				}
			}
			set[key] = Setting{value, "environment " + name}
		}
	}
	return set, nil
}

// notProperties are variables that Kafka's scripts or our own commands read for
// themselves.
var notProperties = []string{
	"KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J", "KAFKA_JMX",
	"KAFKA_HOME", "KAFKA_VERSION", "KAFKA_MODE", "KAFKA_DEBUG", "KAFKA_CLUSTER_ID",
	"MYELIN_BROKERS", "MYELIN_PROFILE", "MYELIN_CONFIG", "MYELIN_PUBLISHED_PORT", "MYELIN_OUTPUT", "MYELIN_TIMEOUT",
}

func envKey(s string) string {
	s = strings.ReplaceAll(strings.ToLower(s), "___", "-")
	s = strings.ReplaceAll(s, "__", "\x00")
	s = strings.ReplaceAll(s, "_", ".")
	return strings.ReplaceAll(s, "\x00", "_")
}
