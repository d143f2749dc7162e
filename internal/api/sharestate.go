package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/share/persist"
)

// ShareStateHandlers answer what brokers ask the share coordinator.
type ShareStateHandlers struct {
	State *persist.Service
}

func (h *ShareStateHandlers) rows() []Row {
	action := Access{auth.ClusterAction, auth.Cluster}
	return []Row{
		row(kafka.KeyInitializeShareGroupState, cold(h.initialize), action),
		row(kafka.KeyReadShareGroupState, cold(h.read), action),
		row(kafka.KeyWriteShareGroupState, cold(h.write), action),
		row(kafka.KeyDeleteShareGroupState, cold(h.remove), action),
		row(kafka.KeyReadShareGroupStateSummary, cold(h.summary), action),
	}
}

// asked is a request about the share partitions of one group.
type asked[T any] struct {
	group  string
	topics []T
	at     func(t *T) (topic kafka.UUID, partitions int)
}

// each calls topic for each topic of a request, with the number of its partitions,
// and then do for all share partitions, by topic and place, with the error that is
// known already: for some at once, since each may wait for a commit. It does nothing
// for a request that names no group, no topics, or a topic without partitions: Kafka
// answers that with nothing.
func (a asked[T]) each(c *Call, topic func(id kafka.UUID, n int), do func(key share.Key, topic, i int, denied error)) {
	if a.group == "" {
		return
	}
	for i := range a.topics {
		if _, n := a.at(&a.topics[i]); n == 0 {
			return
		}
	}
	var denied error
	if !c.AllowedCluster(auth.ClusterAction) {
		denied = kafka.ClusterAuthorizationFailed
	}
	type place struct{ topic, i int }
	var places []place
	for t := range a.topics {
		id, n := a.at(&a.topics[t])
		topic(id, n)
		for i := range n {
			places = append(places, place{t, i})
		}
	}
	together(len(places), func(n int) {
		at := places[n]
		id, _ := a.at(&a.topics[at.topic])
		do(share.Key{Group: a.group, TopicID: id}, at.topic, at.i, denied)
	})
}

// answered is an error as the answers have it.
func answered(err error) (int16, *string) {
	if err == kafka.ClusterAuthorizationFailed {
		return int16(kafka.ClusterAuthorizationFailed), new("Cluster authorization failed.")
	}
	code, text := persist.Answer(err)
	return int16(code), text
}
