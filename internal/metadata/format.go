package metadata

import (
	"errors"
	"math/rand/v2"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// FormatConfig says how to format.
type FormatConfig struct {
	FS        vfs.FS
	LogDirs   []string // all log directories, metadata.log.dir too if it is one of its own
	Metadata  string   // which of them holds the metadata log
	NodeID    int32
	ClusterID string     // "" draws one
	Rand      *rand.Rand // for the ids that are drawn
}

// Info is what a formatted directory says of itself.
type Info struct {
	Formatted   bool
	Version     int // of meta.properties
	NodeID      int32
	ClusterID   string
	DirectoryID kafka.UUID
}

// ErrFormatted says that a directory is formatted already.
var ErrFormatted = errors.New("already formatted")

// Format makes empty directories those of a node: each gets a directory.id,
// and the one for metadata the state of a quorum in which this node is the only
// voter. Directories that are formatted for the same node and cluster are left
// alone (so that one can be added); if all are, the error is [ErrFormatted].
func Format(cfg FormatConfig) (Info, error) { return Info{}, errors.ErrUnsupported }

// ReadInfo reads a log directory; Formatted is false for one that is not.
func ReadInfo(fs vfs.FS, dir string) (Info, error) { return Info{}, errors.ErrUnsupported }
