// Package config declares every property of a broker, a topic, a group and a
// client-metrics subscription once.
//
// A property has a name, type, default, permitted values, a scope, an owner
// (the package that gives it its effect) and a status. From that one table
// come parsing, DescribeConfigs, AlterConfigs, the typed views that [Broker]
// and [TopicConfig] offer, `config explain` and the reference page.
//
// # Words
//
//	property   one name of the table: see [Def]
//	setting    a property given a static value, with where it was given: see [Settings]
//	override   a value set at run time through AlterConfigs: on a topic, a group,
//	           one broker, or the cluster default of all brokers
//	layer      where a broker looks for a value, in this order: the broker's own
//	           override, the cluster default, the static setting, the default
//	synonym    a broker property that stands in for a topic or group property
//	           that has no override, or a broker property that stands in for
//	           another in coarser units (hours for minutes for milliseconds)
//
// Names, types, defaults and error texts are Apache Kafka 4.4's. Where a default
// differs, the table holds both and the reason.
//
// The package does no I/O: a loader takes the bytes of a file or the strings of
// an environment, and the caller reads them.
package config
