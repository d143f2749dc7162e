package consumer

import (
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
)

// Config is what all consumer groups of a coordinator share.
type Config struct {
	// Topics is the newest picture of the topics.
	Topics func() kind.Topics

	// Settings are what may be set for each group. It is asked for every heartbeat.
	Settings func(group string) Settings

	// Assignors is group.consumer.assignors; the first is what a group uses whose
	// members do not ask for one. Empty: uniform, range.
	Assignors []string

	// MaxSize is group.consumer.max.size, members. 0: no bound.
	MaxSize int

	// RegexRefresh is group.consumer.regex.refresh.interval.ms: how often patterns
	// are matched again though no topic was made. 0: ten minutes.
	RegexRefresh time.Duration

	// NoClassic refuses classic members: group.consumer.migration.policy=disabled.
	NoClassic bool

	// Downgrade makes the records of a classic group of these members, into which
	// the group turns because all that remain are classic. Nil, or false: it stays
	// what it is.
	Downgrade func(now time.Time, c Converted) ([]coordinator.Record, bool)
}

// Settings are those of one group: its own, or the broker's.
type Settings struct {
	Session    time.Duration // consumer.session.timeout.ms
	Heartbeat  time.Duration // consumer.heartbeat.interval.ms
	Assignment time.Duration // consumer.assignment.interval.ms: pause between two assignments (KIP-1263)
}

// DefaultSettings are Kafka's.
func DefaultSettings() Settings {
	return Settings{Session: 45 * time.Second, Heartbeat: 5 * time.Second, Assignment: time.Second}
}

const (
	regexRefresh = 10 * time.Minute // default of RegexRefresh
	regexPause   = 10 * time.Second // between two matchings of a group's patterns
)

func (c *Config) assignors() []string {
	if len(c.Assignors) == 0 {
		return []string{assign.UniformName, assign.RangeName}
	}
	return c.Assignors
}

func (c *Config) settings(group string) Settings {
	if c.Settings == nil {
		return DefaultSettings()
	}
	return c.Settings(group)
}

func (c *Config) regexRefresh() time.Duration {
	if c.RegexRefresh == 0 {
		return regexRefresh
	}
	return c.RegexRefresh
}

// Who is the client that a request came from.
type Who struct {
	ClientID string
	Host     string // "/127.0.0.1"
	Version  int16  // of the request
	NewID    string // an id for a member that brings none: version 0, and JoinGroup

	// Describer gives what says whether the client may know of a topic that its
	// pattern matches; that is kept until the pattern has been matched. nil: it may
	// know of every topic.
	Describer func() func(topic string) bool
}
