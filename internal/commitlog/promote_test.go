package commitlog

import (
	"errors"
	"testing"
)

// TestPromotedIsNotAtRest: a log that went to another directory and comes back is
// not taken for what the manifest said of it before it went.
func TestPromotedIsNotAtRest(t *testing.T) {
	r := newRig(t, Tunables{})
	r.must(r.produce(batchSpec{epoch: 1}))
	r.must(r.log.Flush())
	checkpoints(t, r.home, 3)
	id, tp := r.log.id, r.log.tp
	r.must(r.log.Close())
	r.must(r.home.RemoveLog(tp))
	r.kill()
	r.must(r.openHome())
	copied, _, err := Open(Config{Home: r.home, Topic: tp.Topic, Partition: tp.Partition, TopicID: id, Folder: FutureFolder(tp, id)})
	r.must(err)
	r.must(errors.Join(copied.Append([]Batch{makeBatch(batchSpec{epoch: 2, ts: epoch0.UnixMilli()})}), copied.Flush()))
	r.must(Futures{r.home}.Promote(copied))
	r.must(r.open())
	if got := r.log.LatestEpoch(); got != 2 {
		t.Errorf("epoch %d, the batch has 2", got)
	}
}
