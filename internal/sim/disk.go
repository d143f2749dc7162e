package sim

import (
	"hash/fnv"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// slowly gives every operation of the disk a time of its own, so that two that
// begin together do not end together: what goes on next is then decided by
// time, which the bubble keeps, and not by which goroutine the runtime happens
// to take up first. The time depends on the file and on how often it was
// touched, not on the order among files.
func slowly(inner vfs.Hook) vfs.Hook {
	touched := map[string]uint64{}
	return func(op vfs.Op) vfs.Verdict {
		var v vfs.Verdict
		if inner != nil {
			v = inner(op)
		}
		if !op.Kind.Changes() || v.Delay > 0 {
			return v
		}
		touched[op.Name]++
		h := fnv.New64a()
		h.Write([]byte(op.Name))
		n := touched[op.Name]
		h.Write([]byte{byte(op.Kind), byte(n), byte(n >> 8), byte(n >> 16)})
		v.Delay = 5*time.Microsecond + time.Duration(h.Sum64()%100_000)
		if op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncDir {
			v.Delay *= 8
		}
		return v
	}
}

// isPartition says whether a path is a partition's folder or lies in one: those
// of topics, not the metadata log's.
func isPartition(name string) bool {
	rest, ok := strings.CutPrefix(name, "/data")
	_, rest, below := strings.Cut(rest, "/")
	return ok && below && !strings.HasPrefix(rest, "__cluster_metadata") && strings.Contains(rest, "-")
}

// isLog says whether a path is a partition's data file.
func isLog(name string) bool { return isPartition(name) && strings.HasSuffix(name, ".log") }
