package replica

import (
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// markersMost is how many control batches in a row TimeOf passes over.
const markersMost = 16

// TimeOf is the time in ms of the first committed record from an offset on, as
// the header of its batch tells: of a record within a batch, that of the batch's
// first. It is kafka.NoTimestamp where no record is left but markers of
// transactions. An offset before the log's start means its start.
//
// It is for the metrics: it reads headers, perhaps from the device, and counts as
// no fetch.
//
// Errors: NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
func (r *Replica) TimeOf(offset int64) (int64, error) {
	if err := r.check(kafka.NoEpoch, true); err != nil {
		return kafka.NoTimestamp, err
	}
	for {
		at := r.at.Load()
		ms, err := timeOf(at.log, offset, r.HW())
		if err == nil {
			return ms, nil
		}
		if r.at.Load() == at {
			return kafka.NoTimestamp, r.storage(err)
		}
	}
}

func timeOf(log *commitlog.Log, offset, limit int64) (int64, error) {
	var head [record.HeaderSize]byte
	for range markersMost {
		if offset = max(offset, log.Start()); offset >= limit {
			return kafka.NoTimestamp, nil
		}
		run, err := log.Read(offset, 1, limit, true)
		if err != nil {
			return kafka.NoTimestamp, err
		}
		if run.Len() == 0 {
			return kafka.NoTimestamp, nil
		}
		_, err = run.ReadAt(head[:], 0)
		run.Release()
		if err != nil {
			return kafka.NoTimestamp, err
		}
		h, err := record.ParseHeader(head[:])
		switch {
		case err != nil:
			return kafka.NoTimestamp, err
		case h.Attributes.Has(record.Control):
			offset = h.NextOffset()
		case h.Attributes.Has(record.AppendTime):
			return h.MaxTimestamp, nil
		default:
			return h.BaseTimestamp, nil
		}
	}
	return kafka.NoTimestamp, nil
}
