package metrics

import "strconv"

// Names: see the package comment. Counters with a topic label come once more
// without it, added up, as from the JMX exporter.

func (e *emitter) topics(all []Topic) {
	const prefix = "kafka_server_brokertopicmetrics_"
	for _, m := range []struct {
		name, help string
		of         func(*Topic) int64
	}{
		{"messagesin_total", "Records produced.", func(t *Topic) int64 { return t.MessagesIn }},
		{"bytesin_total", "Bytes produced.", func(t *Topic) int64 { return t.BytesIn }},
		{"bytesout_total", "Bytes fetched by consumers.", func(t *Topic) int64 { return t.BytesOut }},
		{"replicationbytesout_total", "Bytes fetched by followers.", func(t *Topic) int64 { return t.ReplicationBytesOut }},
		{"totalproducerequests_total", "Produce requests, once for each partition.", func(t *Topic) int64 { return t.TotalProduce }},
		{"totalfetchrequests_total", "Fetch requests, once for each partition.", func(t *Topic) int64 { return t.TotalFetch }},
		{"failedproducerequests_total", "Produce requests refused.", func(t *Topic) int64 { return t.FailedProduce }},
		{"failedfetchrequests_total", "Fetch requests refused.", func(t *Topic) int64 { return t.FailedFetch }},
	} {
		var sum int64
		for i := range all {
			n := m.of(&all[i])
			sum += n
			e.counter(prefix+m.name, m.help, float64(n), "topic", all[i].Name)
		}
		e.counter(prefix+m.name, m.help, float64(sum))
	}
}

func (e *emitter) partitions(all []Partition) {
	var leads, under, underMin, atMin, offline int
	counts := map[string]int{}
	var topics []string
	for i := range all {
		p := &all[i]
		if counts[p.Topic]++; counts[p.Topic] == 1 {
			topics = append(topics, p.Topic)
		}
		offline += int(truth(p.Offline))
		if p.Leads {
			leads++
			under += int(truth(p.InSync < p.Replicas))
			underMin += int(truth(p.InSync < p.MinISR))
			atMin += int(truth(p.InSync == p.MinISR))
			e.led(p)
		}
		labels := []string{"topic", p.Topic, "partition", number(p.Partition)}
		e.gauge("kafka_log_log_size", "Bytes on disk.", float64(p.Size), labels...)
		e.gauge("kafka_log_log_numlogsegments", "Segments.", float64(p.Segments), labels...)
		e.gauge("kafka_log_log_logstartoffset", "First offset.", float64(p.Start), labels...)
		e.gauge("kafka_log_log_logendoffset", "Offset after the last record.", float64(p.End), labels...)
		if c := p.Copy; c != nil {
			labels = append(labels, "is_future", "true")
			e.gauge("kafka_log_log_size", "Bytes on disk.", float64(c.Size), labels...)
			e.gauge("kafka_log_log_logstartoffset", "First offset.", float64(c.Start), labels...)
			e.gauge("kafka_log_log_logendoffset", "Offset after the last record.", float64(c.End), labels...)
		}
	}
	for _, t := range topics {
		e.gauge("kafka_topic_partitions", "Partitions of the topic on this broker.", float64(counts[t]), "topic", t)
	}
	const prefix = "kafka_server_replicamanager_"
	e.gauge(prefix+"partitioncount", "Partitions that this broker holds.", float64(len(all)))
	e.gauge(prefix+"leadercount", "Partitions that this broker leads.", float64(leads))
	e.gauge(prefix+"underreplicatedpartitions", "Led partitions with replicas out of sync.", float64(under))
	e.gauge(prefix+"underminisrpartitioncount", "Led partitions below min.insync.replicas.", float64(underMin))
	e.gauge(prefix+"atminisrpartitioncount", "Led partitions at min.insync.replicas.", float64(atMin))
	e.gauge(prefix+"offlinereplicacount", "Replicas whose directory failed.", float64(offline))
}

// led sends what the leader of a partition knows.
func (e *emitter) led(p *Partition) {
	labels := []string{"topic", p.Topic, "partition", number(p.Partition)}
	const cluster = "kafka_cluster_partition_"
	e.gauge(cluster+"replicascount", "Replicas.", float64(p.Replicas), labels...)
	e.gauge(cluster+"insyncreplicascount", "Replicas in sync.", float64(p.InSync), labels...)
	e.gauge(cluster+"underreplicated", "1 if replicas are out of sync.", truth(p.InSync < p.Replicas), labels...)
	e.gauge(cluster+"underminisr", "1 if below min.insync.replicas.", truth(p.InSync < p.MinISR), labels...)
	e.gauge(cluster+"atminisr", "1 if at min.insync.replicas.", truth(p.InSync == p.MinISR), labels...)
	const topic = "kafka_topic_partition_"
	e.gauge(topic+"current_offset", "High watermark.", float64(p.HW), labels...)
	e.gauge(topic+"oldest_offset", "First offset.", float64(p.Start), labels...)
	e.gauge(topic+"in_sync_replica", "Replicas in sync.", float64(p.InSync), labels...)
	e.gauge(topic+"replicas", "Replicas.", float64(p.Replicas), labels...)
	e.gauge(topic+"leader", "The broker that leads.", float64(p.Leader), labels...)
	e.gauge(topic+"leader_is_preferred", "1 if the preferred broker leads.", truth(p.Leader == p.Preferred), labels...)
	e.gauge(topic+"under_replicated_partition", "1 if replicas are out of sync.", truth(p.InSync < p.Replicas), labels...)
}

func (e *emitter) controller(c Controller) {
	const prefix = "kafka_controller_kafkacontroller_"
	e.gauge(prefix+"activecontrollercount", "1 if this node decides.", truth(c.Active))
	e.gauge(prefix+"activebrokercount", "Brokers in service.", float64(c.ActiveBrokers))
	e.gauge(prefix+"fencedbrokercount", "Brokers registered, but not in service.", float64(c.FencedBrokers))
	e.gauge(prefix+"globaltopiccount", "Topics.", float64(c.Topics))
	e.gauge(prefix+"globalpartitioncount", "Partitions.", float64(c.Partitions))
	e.gauge(prefix+"offlinepartitionscount", "Partitions without a leader.", float64(c.OfflinePartitions))
	e.gauge(prefix+"preferredreplicaimbalancecount", "Partitions that another broker than the preferred leads.", float64(c.PreferredImbalance))
	e.gauge(prefix+"lastappliedrecordoffset", "Metadata applied up to here.", float64(c.LastAppliedRecordOffset))
	e.gauge(prefix+"lastappliedrecordlagms", "How far the applied metadata is behind.", c.LastAppliedRecordLagSecs*1000)
	e.counter("kafka_controller_controllerstats_uncleanleaderelections_total", "Leaders that may lack records.", float64(c.UncleanElections))
}

func (e *emitter) raft(r Raft) {
	const prefix = "kafka_server_raftmetrics_"
	e.gauge(prefix+"current_state", "This node's role; always 1.", 1, "state", r.State)
	e.gauge(prefix+"current_leader", "The node that leads, -1 if none is known.", float64(r.Leader))
	e.gauge(prefix+"current_epoch", "Epoch of the quorum.", float64(r.Epoch))
	e.gauge(prefix+"high_watermark", "Metadata decided up to here.", float64(r.HighWatermark))
	e.gauge(prefix+"log_end_offset", "End of this node's metadata log.", float64(r.LogEnd))
	e.gauge(prefix+"commit_latency_avg", "Time to decide, in ms.", r.CommitLatencyAvg)
	e.counter(prefix+"append_records_total", "Metadata records appended.", float64(r.AppendedRecordsTotal))
}

func (e *emitter) brokers(all []Broker) {
	e.gauge("kafka_brokers", "Brokers in the cluster.", float64(len(all)))
	for _, b := range all {
		e.gauge("kafka_broker_info", "A broker; always 1.", 1, "id", number(b.ID), "address", b.Address)
	}
}

func (e *emitter) sessions(sessions, partitions int, evicted uint64) {
	const prefix = "kafka_server_fetchsessioncache_"
	e.gauge(prefix+"numincrementalfetchsessions", "Fetch sessions.", float64(sessions))
	e.gauge(prefix+"numincrementalfetchpartitionscached", "Partitions in fetch sessions.", float64(partitions))
	e.counter(prefix+"incrementalfetchsessionevictions_total", "Fetch sessions that had to make room.", float64(evicted))
}

func (e *emitter) cleaner(c Cleaner) {
	const prefix, manager = "kafka_log_logcleaner_", "kafka_log_logcleanermanager_"
	e.gauge(prefix+"cleaner_recopy_percent", "Share of what the last compaction read that it wrote again.", float64(c.RecopyPercent))
	e.gauge(prefix+"max_buffer_utilization_percent", "Share of the table of keys that the last compaction used.", float64(c.MaxBufferUtilization))
	e.gauge(prefix+"max_clean_time_secs", "How long the last compaction took.", c.MaxCleanTime)
	e.gauge(prefix+"max_compaction_delay_secs", "By how much max.compaction.lag.ms is passed.", c.MaxCompactionDelay)
	e.gauge(prefix+"deadthreadcount", "Threads that compact no more; always 0.", 0)
	e.gauge(manager+"max_dirty_percent", "Dirty share of the dirtiest log.", float64(c.MaxDirtyPercent))
	e.gauge(manager+"time_since_last_run_ms", "Since the logs were last looked at, -1 if never.", float64(c.SinceLastRunMs))
	for _, d := range c.Dirs {
		e.gauge(manager+"uncleanable_partitions_count", "Logs that cannot be compacted.", float64(d.Partitions), "logDirectory", d.Dir)
		e.gauge(manager+"uncleanable_bytes", "Bytes of them that wait for it.", float64(d.Bytes), "logDirectory", d.Dir)
	}
}

func (e *emitter) scrubber(s Scrubber) {
	const prefix = "myelin_log_"
	e.counter(prefix+"scrubbed_bytes_total", "Bytes that were read to verify them.", float64(s.Bytes), "logDirectory", s.Dir)
	e.counter(prefix+"scrub_mended_total", "Indexes, checksums and snapshots that were wrong and made anew.", float64(s.Mended), "logDirectory", s.Dir)
	e.counter(prefix+"scrub_damaged_total", "Damaged ranges that verifying found.", float64(s.Damaged), "logDirectory", s.Dir)
	e.gauge(prefix+"damaged_ranges", "Damaged ranges that are known; reads of them answer CORRUPT_MESSAGE.", float64(s.Ranges), "logDirectory", s.Dir)
	e.gauge(prefix+"scrub_last_pass_seconds", "When everything had been verified, Unix time; 0 if never.", s.LastPass, "logDirectory", s.Dir)
}

func number(n int32) string { return strconv.Itoa(int(n)) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e *emitter) logDirs(list []LogDir) {
	cordoned := 0.0
	for _, d := range list {
		cordoned += truth(d.Cordoned)
		own := func(name, help string, v float64) { e.gauge("myelin_log_dir_"+name, help, v, "logDirectory", d.Dir) }
		e.gauge("kafka_log_logmanager_logdirectoryoffline", "1 if the log directory failed.", truth(d.Offline), "logDirectory", d.Dir)
		e.gauge("kafka_log_logmanager_logdirectorycordoned", "1 if the log directory takes no new replicas.", truth(d.Cordoned), "logDirectory", d.Dir)
		own("room", "Room on the volume: 0 plenty, 1 clients' records are refused, 2 the ballast is given up.", float64(d.Room))
		own("free_bytes", "Free bytes of the volume.", float64(d.Free))
		own("total_bytes", "Size of the volume.", float64(d.Total))
		own("ballast_bytes", "Bytes kept for when the volume is full.", float64(d.Ballast))
		own("full_writes", "Writes that found the volume full since the start.", float64(d.Full))
		own("failed_reads", "Reads that the device answered with an error since the start.", float64(d.FailedReads))
		own("slowest_call_seconds", "Age of the oldest call to the device that is under way, 0 below one second.", d.Slowest)
		own("clock_doubted", "1 while the wall clock has jumped and retention does not go by it.", truth(d.ClockDoubted))
		own("waiting_calls", "Calls that wait for others to end, see log.dir.io.tokens.", float64(d.Waiting))
	}
	e.gauge("kafka_log_logmanager_cordonedlogdirectorycount", "Log directories that take no new replicas.", cordoned)
}
