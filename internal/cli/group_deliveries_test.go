package cli

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Records that are given up do not come back, whether their letter is sent or not.
func TestDeliveryOf(t *testing.T) {
	var p kmsg.ReadShareGroupStateResponseTopicPartition
	for i, b := range []struct{ state, count int }{{deliverAvailable, 2}, {deliverDone, 3}, {deliverArchiving, 5}, {deliverArchived, 5}} {
		s := kmsg.NewReadShareGroupStateResponseTopicPartitionStateBatch()
		s.FirstOffset, s.LastOffset = int64(10*i), int64(10*i+i)
		s.DeliveryState, s.DeliveryCount = int8(b.state), int16(b.count)
		p.StateBatches = append(p.StateBatches, s)
	}
	if got, want := deliveryOf(p), (delivery{Waiting: 1, Accepted: 2, Archived: 7, Most: 2, First: 0}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
