package api

import (
	"log/slog"
	"slices"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// rootLogger is the one logger that a broker has; Kafka's tools know it by this
// name.
const rootLogger = "root"

// levels are the names of log levels that tools use, by how much they tell. slog
// has four; the outer two names stand for its outer levels.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo},
	{"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"FATAL", slog.LevelError},
}

func (h *AdminHandlers) describeLoggers(names []string) []config.Row {
	if h.Level == nil || names != nil && !slices.Contains(names, rootLogger) {
		return nil
	}
	name := "ERROR"
	for _, l := range levels[1:] {
		if h.Level.Level() <= l.level {
			name = l.name
			break
		}
	}
	return []config.Row{{Name: rootLogger, Value: &name, Source: config.FromLogger}}
}

// alterLoggers changes log levels until the process ends (KIP-412).
func (h *AdminHandlers) alterLoggers(r *msg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	if err := h.isSelf(r.ResourceName, "Unexpected node id. Expected %d, but received %s"); err != nil {
		if kafka.CodeOf(err) == kafka.InvalidRequest && r.ResourceName == "" {
			return refuse(kafka.InvalidRequest, "Node id must be an integer, but it is: ")
		}
		return err
	}
	for _, c := range r.Configs {
		if err := h.checkLogger(&c); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	for _, c := range r.Configs {
		for _, l := range levels {
			if l.name == *c.Value {
				h.Level.Set(l.level)
			}
		}
	}
	return nil
}

func (h *AdminHandlers) checkLogger(c *msg.IncrementalAlterConfigsRequestResourceConfig) error {
	switch op := config.Op(c.ConfigOperation); {
	case op == config.Append || op == config.Subtract:
		return refuse(kafka.InvalidRequest, "%s operation is not allowed for the BROKER_LOGGER resource", op)
	case op != config.Set && op != config.Delete:
		return refuse(kafka.InvalidRequest, "Unknown operation type %d", c.ConfigOperation)
	case c.Name != rootLogger || h.Level == nil:
		return refuse(kafka.InvalidConfig, "Logger %s does not exist!", c.Name)
	case op == config.Delete:
		return refuse(kafka.InvalidRequest, "Removing the log level of the root logger is not allowed")
	case c.Value == nil:
		return refuse(kafka.InvalidRequest, "Null value not supported for : %s", c.Name)
	}
	for _, l := range levels {
		if l.name == *c.Value {
			return nil
		}
	}
	return refuse(kafka.InvalidConfig, "Cannot set the log level of %s to %s as it is not a supported log level. "+
		"Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN", c.Name, *c.Value)
}
