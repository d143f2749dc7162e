package cli

import (
	"log/slog"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
)

// openNode opens a broker on this machine's files and network. An empty
// directory is formatted unless the configuration names other nodes: then this
// may be a node that lost its disk, which must not start over unnoticed.
func openNode(b *config.Broker, log *slog.Logger, level *slog.LevelVar) (node, error) {
	return broker.Open(broker.Config{Properties: b, Logger: log, Level: level, Format: alone(b), Version: build().Version})
}

func alone(b *config.Broker) bool {
	return len(b.List("controller.quorum.voters")) <= 1 && len(b.List("controller.quorum.bootstrap.servers")) == 0
}
