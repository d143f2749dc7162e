package replica

import "github.com/myelin-stream/myelin/internal/commitlog"

// Cleanable gives the log of a replica whose topic is compacted, the offset from
// which on nothing may be compacted, the last stable one, and the high watermark.
// False: it is not compacted, or offline.
func (r *Replica) Cleanable() (log *commitlog.Log, stable, hw int64, ok bool) {
	if !r.Config().Compacted || r.Offline() != nil {
		return nil, 0, 0, false
	}
	return r.log(), r.LSO(), r.HW(), true
}
