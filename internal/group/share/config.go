package share

import (
	"time"

	"github.com/myelin-stream/myelin/internal/group/kind"
)

// Config is what share groups have in common.
type Config struct {
	// Topics is the picture of the cluster's topics.
	Topics func() kind.Topics

	// Settings are those of a group; nil: Kafka's defaults.
	Settings func(group string) Settings

	// MaxSize is group.share.max.size: members of one group.
	MaxSize int

	// Retry is group.share.initialize.retry.interval.ms: how long the share
	// coordinator may take to initialize a partition before it is asked again.
	Retry time.Duration
}

// Settings may differ from group to group.
type Settings struct {
	Session   time.Duration // share.session.timeout.ms
	Heartbeat time.Duration // share.heartbeat.interval.ms

	// Assignment is share.assignment.interval.ms: the shortest time between two
	// assignments.
	Assignment time.Duration
}

// DefaultConfig has Kafka's defaults for all that has one.
func DefaultConfig() Config { return Config{MaxSize: 200, Retry: 30 * time.Second} }

func (c *Config) settings(group string) Settings {
	if c.Settings != nil {
		return c.Settings(group)
	}
	return Settings{Session: 45 * time.Second, Heartbeat: 5 * time.Second, Assignment: time.Second}
}
