package config

// clientMetricsDefs: a subscription to client telemetry (KIP-714).
var clientMetricsDefs = []Def{
	{Name: "interval.ms", Type: Int, Default: val("300000"),
		Owner: "api", Reason: yetTelemetry,
		Doc: "how often the matching clients push their metrics"},
	{Name: "match", Type: List, Default: val(""),
		Owner: "api", Reason: yetTelemetry,
		Doc: "which clients: name=pattern pairs, all of which must match"},
	{Name: "metrics", Type: List, Default: val(""),
		Owner: "api", Reason: yetTelemetry,
		Doc: "prefixes of the metrics that are wanted; * is all, empty is none"},
}
