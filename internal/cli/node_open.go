package cli

import (
	"errors"
	"log/slog"

	"github.com/myelin-stream/myelin/internal/config"
)

// openNode opens a broker on this machine's files and network.
func openNode(_ *config.Broker, _ *slog.Logger) (node, error) {
	return nil, errors.New("this build has no broker yet")
}
