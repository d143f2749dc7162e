package cli

import (
	"log/slog"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/metadata"
)

// openNode opens a broker on this machine's files and network. An empty
// directory is formatted as a cluster of its own where the configuration names no
// other node, and as a node that joins where it names only others and cluster.id is
// set. Where it makes this node one of several voters it may have lost its disk, and
// must not start over unnoticed.
func openNode(b *config.Broker, log *slog.Logger, level *slog.LevelVar) (node, error) {
	return broker.Open(broker.Config{Properties: b, Logger: log, Level: level, Format: formats(b), Version: build().Version})
}

func formats(b *config.Broker) bool {
	how, err := metadata.FormatConfig{NodeID: b.NodeID()}.For(b)
	return err != nil || len(how.Voters) == 0 && (!how.Join || b.String("cluster.id") != "")
}
