package group

import (
	"github.com/myelin-stream/myelin/internal/coordinator"
)

// pending are the offsets that producers committed in transactions which are
// still open, by producer and group.
type pending map[int64]*openTxn

// openTxn is what one producer's transaction has committed in this partition.
type openTxn struct {
	epoch   int16
	records []coordinator.Record // in the order of the log
}

var _ coordinator.Observer = (*shard)(nil)

// ReplayTxn keeps an offset until its transaction ends.
func (sh *shard) ReplayTxn(p coordinator.Producer, r coordinator.Record) error {
	o := sh.open[p.ID]
	if o == nil {
		o = &openTxn{epoch: p.Epoch}
		sh.open[p.ID] = o
	}
	o.records = append(o.records, r)
	return nil
}

// Marker lets the offsets of a transaction count, or forgets them.
func (sh *shard) Marker(m coordinator.Marker) error {
	o := sh.open[m.ProducerID]
	delete(sh.open, m.ProducerID)
	if o == nil || !m.Commit {
		return nil
	}
	for _, r := range o.records {
		if err := sh.Replay(r); err != nil {
			return err
		}
	}
	return nil
}
