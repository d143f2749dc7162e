package streams

import "time"

// Config are the settings of a group as of now.
type Config struct {
	Session        time.Duration // streams.session.timeout.ms
	Heartbeat      time.Duration // streams.heartbeat.interval.ms
	InitialDelay   time.Duration // streams.initial.rebalance.delay.ms: how long an empty group waits for more
	Between        time.Duration // streams.assignment.interval.ms: the least time between two assignments
	TaskOffsets    time.Duration // streams.task.offset.interval.ms: how often members tell of their disks
	RecoveryLag    int64         // streams.acceptable.recovery.lag, records
	Standbys       int           // streams.num.standby.replicas
	RackTags       []string      // streams.rack.aware.assignment.tags: the tags that all members should have
	Assignor       string        // streams.assignor.name
	MaxSize        int           // group.streams.max.size, members
	KeepTopologies bool          // ask members for descriptions of their topology (KIP-1331)
}

// DefaultConfig has Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		Session: 45 * time.Second, Heartbeat: 5 * time.Second, InitialDelay: 3 * time.Second, Between: time.Second,
		TaskOffsets: time.Minute, RecoveryLag: 10000, Assignor: "sticky", MaxSize: 1<<31 - 1,
	}
}
