package metrics

import (
	"maps"
	"slices"
)

type groupKind struct {
	name      string
	rebalance string // the middle of Kafka's name of the count of rebalances
	states    []string
}

// kinds are the kinds of group with the states that Kafka counts, in order.
var kinds = []groupKind{
	{"classic", "group_completed", []string{"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty"}},
	{"consumer", "consumer_group", []string{"Empty", "Assigning", "Reconciling", "Stable", "Dead"}},
	{"share", "share_group", []string{"Empty", "Stable", "Dead"}},
	{"streams", "streams_group", []string{"Empty", "Assigning", "Reconciling", "Stable", "Dead", "NotReady"}},
}

const groupPrefix = "kafka_server_group_coordinator_metrics_"

func (e *emitter) census(c *Census) {
	for _, k := range kinds {
		total := 0
		for s, n := range c.Count {
			if s.Kind == k.name {
				total += n
			}
		}
		e.gauge(groupPrefix+"group_count", "Groups.", float64(total), "protocol", k.name)
		for _, s := range k.states {
			e.gauge(groupPrefix+k.name+"_group_count", "Groups of the kind, by state.", float64(c.Count[KindState{k.name, s}]), "state", s)
		}
		e.gauge("myelin_group_members", "Members of all groups of a kind.", float64(c.Members[k.name]), "kind", k.name)
	}
	e.gauge(groupPrefix+"offset_count", "Offsets that are kept for classic, consumer and streams groups.", float64(c.Offsets))
	e.gauge("myelin_metrics_groups_left_out", "Groups without series of their own, see metrics.groups.include and metrics.groups.max.", float64(c.GroupsLeft))
	e.gauge("myelin_metrics_group_partitions_left_out", "Partitions of groups without series of their own, see metrics.group.partitions.max.",
		float64(c.PartitionLeft))
	for i := range c.Groups {
		e.group(&c.Groups[i], i < c.whole)
	}
}

func (e *emitter) group(g *Group, whole bool) {
	e.gauge("kafka_consumergroup_members", "Members of the group.", float64(g.Members), "consumergroup", g.Name)
	e.gauge("myelin_consumergroup_info", "A group's kind and state; always 1.", 1, "consumergroup", g.Name, "kind", g.Kind, "state", g.State)
	if whole {
		e.groupPartitions(g)
	}
	type sum struct{ committed, lag int64 }
	sums := map[string]*sum{}
	for i := range g.Offsets {
		o := &g.Offsets[i]
		s := sums[o.Topic]
		if s == nil {
			s = new(sum)
			sums[o.Topic] = s
		}
		s.committed += max(o.Committed, 0)
		s.lag += max(o.Lag, 0)
	}
	for _, t := range slices.Sorted(maps.Keys(sums)) {
		labels := []string{"consumergroup", g.Name, "topic", t}
		e.gauge("kafka_consumergroup_current_offset_sum", "Offsets committed, all partitions.", float64(sums[t].committed), labels...)
		e.gauge("kafka_consumergroup_lag_sum", "Records not yet consumed, all partitions.", float64(sums[t].lag), labels...)
	}
}

func (e *emitter) groupPartitions(g *Group) {
	oldest := -1.0
	for i := range g.Offsets {
		o := &g.Offsets[i]
		labels := []string{"consumergroup", g.Name, "topic", o.Topic, "partition", number(o.Partition)}
		e.gauge("kafka_consumergroup_current_offset", "Offset committed; of a share group the first that is not done.", float64(o.Committed), labels...)
		e.gauge("kafka_consumergroup_lag", "Records not yet consumed, -1 if unknown.", float64(o.Lag), labels...)
		if o.Seconds >= 0 {
			e.gauge("myelin_consumergroup_lag_seconds", "Age of the first record not yet consumed, 0 without any.", o.Seconds, labels...)
		}
		oldest = max(oldest, o.Seconds)
	}
	if oldest >= 0 {
		e.gauge("myelin_consumergroup_max_lag_seconds", "Age of the oldest record that the group has not yet consumed.", oldest, "consumergroup", g.Name)
	}
}

func (e *emitter) groupCoordinator(c GroupCoordinator) {
	for _, k := range c.Kinds {
		i := slices.IndexFunc(kinds, func(o groupKind) bool { return o.name == k.Kind })
		e.counter(groupPrefix+kinds[i].rebalance+"_rebalance_count", "Rebalances, see myelin_group_rebalances_total.", float64(k.Rebalances))
		e.counter("myelin_group_rebalances_total", "Generations that got their assignment (classic), or new group epochs.", float64(k.Rebalances), "kind", k.Kind)
		last := 0.0
		if !k.LastRebalance.IsZero() {
			last = float64(k.LastRebalance.UnixMilli()) / 1000
		}
		e.gauge("myelin_group_last_rebalance_timestamp_seconds", "When the last rebalance of a group of the kind was, Unix time; 0 if none was.", last, "kind", k.Kind)
		e.counter("myelin_group_sessions_expired_total", "Members that were removed because they ran out of time.", float64(k.Sessions), "kind", k.Kind)
	}
	e.counter(groupPrefix+"offset_commit_count", "Offsets committed.", float64(c.Commits))
	e.counter(groupPrefix+"offset_expiration_count", "Offsets that outlived offsets.retention.minutes.", float64(c.Expired))
	e.counter(groupPrefix+"offset_deletion_count", "Offsets that somebody deleted.", float64(c.Deleted))
}

func (e *emitter) coordinators(all []Coordinator) {
	for i := range all {
		c := &all[i]
		kafka := "kafka_server_" + c.Name + "_coordinator_metrics_"
		e.gauge(kafka+"num_partitions", "Partitions of the coordinator's topic, by state.", float64(c.Active), "state", "active")
		e.gauge(kafka+"num_partitions", "Partitions of the coordinator's topic, by state.", float64(c.Loading), "state", "loading")
		e.gauge(kafka+"event_queue_size", "Requests and timers that wait for their turn.", float64(c.Waiting))
		e.gauge(kafka+"partition_load_time_max", "The longest time that loading a partition took since the start, in ms.", float64(c.LongestLoad.Microseconds())/1000)
		own := func(name, help string, v float64) {
			e.counter("myelin_coordinator_"+name, help, v, "coordinator", c.Name)
		}
		own("loads_total", "Partitions of the coordinator's topic that were loaded.", float64(c.Loads))
		own("load_failures_total", "Tries to load a partition that failed.", float64(c.Failures))
		own("load_seconds_total", "Time that loading took in all.", c.LoadTime.Seconds())
		own("batches_total", "Batches appended to the coordinator's topic.", float64(c.Batches))
		own("records_total", "Records in them.", float64(c.Records))
		own("partitions_left_out_total", "Partitions that a scrape did not see, since they were loading or waited for a disk.", float64(c.LeftOut))
	}
}

func (e *emitter) transactions(t Transactions) {
	e.gauge("myelin_transactional_ids", "Transactional ids that are remembered.", float64(t.IDs))
	e.gauge("myelin_transactions_open", "Transactions that go on.", float64(t.Open))
	e.gauge("myelin_transactions_ending", "Transactions that are decided and whose markers are on their way.", float64(t.Ending))
	e.gauge("myelin_transactions_oldest_seconds", "Age of the oldest transaction that goes on or is ending, 0 without any.", t.Oldest.Seconds())
	e.counter("myelin_transactions_started_total", "Transactions that wrote something.", float64(t.Started))
	e.counter("myelin_transactions_committed_total", "Of those, decided to be committed.", float64(t.Committed))
	e.counter("myelin_transactions_aborted_total", "Of those, decided to be aborted.", float64(t.Aborted))
	e.counter("myelin_transactions_timed_out_total", "Of the aborted, those that were open for longer than their timeout.", float64(t.TimedOut))
	e.counter("myelin_transactional_ids_expired_total", "Transactional ids that were forgotten, see transactional.id.expiration.ms.", float64(t.Expired))
}

// ackTypes are by the number of the acknowledge type.
var ackTypes = [...]string{"gap", "accept", "release", "reject", "renew"}

func (e *emitter) share(s Share) {
	const cache = "kafka_server_sharesessioncache_"
	e.gauge(cache+"sharesessionscount", "Share sessions.", float64(s.Sessions))
	e.gauge(cache+"sharepartitionscount", "Partitions in share sessions.", float64(s.SessionPartitions))
	e.counter(cache+"sharesessionevictions_total", "Share sessions that ended with their connection.", float64(s.Evicted))
	for i, name := range ackTypes {
		e.counter("kafka_server_sharegroupmetrics_recordacknowledgements_total", "Records acknowledged, by type.", float64(s.Acks[i]), "acktype", name)
	}
	e.counter("kafka_server_sharepartitionmetrics_acquisitionlocktimeout_total", "Records whose lock ran out.", float64(s.Timeouts))
	e.gauge("kafka_server_sharepartitionmetrics_inflightmessagecount", "Records that are locked for a member.", float64(s.Held))
	e.counter("myelin_share_acknowledgement_requests_total", "Requests that acknowledged records.", float64(s.Requests))
	e.counter("myelin_share_partition_loads_total", "Share partitions that were loaded.", float64(s.Loads))
	e.counter("myelin_share_partition_load_seconds_total", "Time that took in all.", s.LoadTime.Seconds())
	e.counter("myelin_share_state_write_failures_total", "Writes of state that failed, as the leaders of share partitions see it.", float64(s.Failed))
	e.counter("myelin_share_letters_total", "Records that were to go to a dead-letter topic.", float64(s.Letters))
	e.counter("myelin_share_letters_lost_total", "Of those, records that could not be written there.", float64(s.LettersLost))
	e.gauge("myelin_share_states", "Share partitions whose state the coordinator keeps.", float64(s.States))
	e.counter("kafka_server_share_coordinator_metrics_write_total", "Writes of state that are committed.", float64(s.Writes))
	e.counter("myelin_share_state_write_seconds_total", "Time they took in all.", s.WriteTime.Seconds())
	e.counter("myelin_share_state_writes_refused_total", "Writes of state that the coordinator did not do.", float64(s.Refused))
}
