// Package metrics counts what a broker does and shows it under the names that
// existing Kafka dashboards query.
//
// Counting is a few atomic additions on the request's own goroutine; names,
// labels and quantiles are worked out when somebody scrapes.
//
//	kafka_<domain>_<type>_<name>   a Kafka MBean, as the JMX exporter prints it
//	kafka_consumergroup_...        kafka_exporter's names
//	myelin_...                     what neither has
package metrics
