package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A share group has no offsets of the kind that members commit: who reads them
// finds none, as of a group that nobody knows, and who deletes some hears that it
// is no such group.
func TestShareGroupWithoutOffsets(t *testing.T) {
	onNode(t, "", func(s *stand) {
		s.create("t", "")
		s.want("joined", shareBeat(s, "a", 0).ErrorCode, int16(0))

		fetch := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}
		fetch.Groups = []kmsg.OffsetFetchRequestGroup{g}
		got := ask[*kmsg.OffsetFetchResponse](s, fetch).Groups[0]
		s.want("fetch", got.ErrorCode, int16(0))
		s.want("offset", got.Topics[0].Partitions[0].Offset, int64(-1))

		remove := kmsg.NewPtrOffsetDeleteRequest()
		remove.Group = "g"
		for _, topic := range []string{"t", "nobody reads it"} {
			remove.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
			s.want("delete", ask[*kmsg.OffsetDeleteResponse](s, remove).ErrorCode, kerr.GroupIDNotFound.Code)
		}
	})
}
