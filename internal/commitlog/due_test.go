package commitlog

import "testing"

// TestCheckpointDue pins that a directory asks for a checkpoint once so much was
// flushed, and that such a checkpoint writes down how far its logs are durable,
// also while a log is being written and flushed.
func TestCheckpointDue(t *testing.T) {
	r := newRig(t, Tunables{})
	written := func() int64 {
		points, err := readOffsetTable(r.fs, "/data/"+pointFile)
		r.must(err)
		return points[r.log.tp]
	}
	asked := 0
	for bytes := int64(0); bytes < 3*checkpointBytes; bytes += 1 << 20 {
		r.must(r.produce(batchSpec{size: 1 << 20}))
		r.must(r.log.Flush())
		select {
		case <-(Moved{Home: r.home}).Due():
			asked++
			if bytes+2<<20 < int64(asked)*checkpointBytes {
				t.Fatalf("asked %d times after %d bytes", asked, bytes)
			}
			r.log.turn.lock()
			r.log.flushing.lock()
			r.must((Moved{Home: r.home}).Checkpoint())
			r.log.flushing.unlock()
			r.log.turn.unlock()
			if got := written(); got != r.log.End() {
				t.Fatalf("the point on disk is %d, the log is durable to %d", got, r.log.End())
			}
		default:
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times for %d bytes", asked, 3*checkpointBytes)
	}
	r.stop()
}
