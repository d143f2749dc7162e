package config

// topicOwnDefs: what Kafka's topics do not have.
var topicOwnDefs = []Def{
	{Name: "validate.records", Type: Boolean, Default: val("false"), Own: true,
		Owner: "replica", Status: Served, Test: "broker.TestTopicProperties",
		Doc: "opens every produced batch and checks each record, as Kafka does; otherwise header, CRC and count are checked"},
	{Name: "write.caching", Type: Boolean, Default: val("false"), Own: true,
		Owner: "commitlog", Status: Served, Test: "broker.TestTopicProperties",
		Doc: "acks=all is answered from the page cache, as in Kafka, not after a flush; internal topics refuse it"},
}

// brokerOwnDefs: what Kafka's brokers do not have.Status: Served, Test: "broker.TestTopicProperties"Status: Served, Test: "broker.TestTopicProperties"
var brokerOwnDefs = []Def{
	{Name: "admin.listener", Type: String, Default: val("127.0.0.1:9644"), Own: true,
		Owner: "broker", Status: Served, Test: "broker.TestNodeProperties",
		Doc: "address of the HTTP listener for /metrics, /livez and /readyz; empty is none"},
	{Name: "cluster.id", Type: String, Own: true,
		Owner: "broker", Status: Served, Test: "broker.TestNodeProperties",
		Doc: "id a new cluster is formatted with; drawn at random if not set"},
	{Name: "index.cache.bytes", Type: Long, Default: val("67108864"), Valid: atLeast(0), Own: true,
		Owner: "segment", Status: Served, Test: "segment.TestCache",
		Doc: "memory for indexes of closed segments"},
	{Name: "log.dir.ballast.bytes", Type: Long, Default: val("67108864"), Valid: atLeast(0), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestBallast",
		Doc: "a file that is given up once a log directory's volume is full, so that metadata, offsets and retention go on; " +
			"at most 2 % of the volume, made when the volume begins to fill; 0 is none"},
	{Name: "log.dir.cold.cache.bytes", Type: Long, Default: val("268435456"), Valid: atLeast(1), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestColdReadsAreDropped",
		Doc: "of a log directory's data that was read from the device, how much stays in memory behind its readers"},
	{Name: "log.dir.cold.reads", Type: Int, Default: val("4"), Valid: atLeast(1), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestColdReadsAreFew",
		Doc: "reads of a log directory's data that is not in memory that go on at once; the rest wait without a thread"},
	{Name: "log.dir.io.tokens", Type: Int, Default: val("64"), Valid: atLeast(1), Own: true,
		Owner: "commitlog", Status: Served, Test: "vfs.TestStalledDisk",
		Doc: "file calls of a log directory that may block at once; the rest wait without a thread"},
	{Name: "log.dir.soft.free.bytes", Type: Long, Default: val("536870912"), Valid: atLeast(0), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestRoom",
		Doc: "below so much free room on a log directory's volume clients' records are refused with KAFKA_STORAGE_ERROR " +
			"and all else goes on; 0 never refuses"},
	{Name: "log.dir.soft.free.percent", Type: Double, Default: val("5.0"), Valid: between(0, 100), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestRoom",
		Doc: "log.dir.soft.free.bytes is never more than this part of the volume; 0 is no such bound"},
	{Name: "log.flush.lazy.bytes", Type: Long, Default: val("67108864"), Valid: atLeast(1), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestLazyFlush",
		Doc: "what acks=0 and acks=1 wrote is flushed once a log has so many such bytes, or all logs of a directory twice as many"},
	{Name: "log.flush.lazy.ms", Type: Long, Default: val("5000"), Valid: atLeast(1), Own: true,
		Owner: "commitlog", Status: Served, Test: "commitlog.TestLazyFlush",
		Doc: "what acks=0 and acks=1 wrote is flushed after so long at the latest"},
	{Name: "log.format", Type: String, Default: val("auto"), Valid: oneOf("auto", "text", "json"), Own: true,
		Owner: "cli", Status: Served, Test: "cli.TestLogFormat",
		Doc: "form of the process's log; auto is text on a terminal and JSON elsewhere"},
	{Name: "log.level", Type: String, Default: val("info"), Valid: oneOf("debug", "info", "warn", "error"), Own: true,
		Owner: "cli", Status: Served, Test: "cli.TestLogLevel",
		Doc: "least severe line of the process's log"},
	{Name: "max.open.files", Type: Int, Default: val("0"), Valid: atLeast(0), Own: true,
		Owner: "commitlog", Reason: yetCore,
		Doc: "segment files open at once; 0 is three quarters of the process's limit"},
}
