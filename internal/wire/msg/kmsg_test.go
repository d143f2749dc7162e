package msg

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/wiretest"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// These tests compare this package with kmsg, an independent implementation,
// on random messages of every API and version, in both directions.

// early lists tags that kmsg writes in every flexible version although Kafka
// has them from the given one on only. They stay at their default before it.
var early = map[string]int16{
	"ProduceResponseTopicPartition.CurrentLeader":           10,
	"ProduceResponse.Brokers":                               10,
	"FetchRequest.ReplicaState":                             15,
	"FetchRequestTopicPartition.ReplicaDirectoryID":         17,
	"FetchRequestTopicPartition.HighWatermark":              18,
	"FetchResponse.Brokers":                                 16,
	"VoteResponse.NodeEndpoints":                            1,
	"FetchSnapshotRequestTopicPartition.ReplicaDirectoryID": 1,
	"FetchSnapshotResponse.NodeEndpoints":                   1,
	"BrokerHeartbeatRequest.OfflineLogDirs":                 1,
	"BrokerHeartbeatRequest.CordonedLogDirs":                2,
}

// strict lists bytes that kmsg writes as null although Kafka allows none. They
// are filled with something.
var strict = map[string]bool{"ShareFetchResponseTopicPartition.Records": true}

type foreign interface {
	SetVersion(int16)
	ReadFrom([]byte) error
	AppendTo([]byte) []byte
	MaxVersion() int16
}

// eachVersion calls check for each version of each request and response.
func eachVersion(t *testing.T, check func(t *testing.T, name string, ours func() Message, theirs func() foreign, version int16)) {
	for _, api := range APIs {
		for version := api.Min; version <= api.Max; version++ {
			request := func() Message { m, _ := NewRequest(api.Key); return m }
			response := func() Message { m, _ := NewResponse(api.Key); return m }
			theirRequest := func() foreign {
				if m := kmsg.RequestForKey(api.Key); m != nil {
					return m
				}
				return nil
			}
			theirResponse := func() foreign {
				if m := kmsg.ResponseForKey(api.Key); m != nil {
					return m
				}
				return nil
			}
			check(t, fmt.Sprintf("%sRequest v%d", api.Name, version), request, theirRequest, version)
			check(t, fmt.Sprintf("%sResponse v%d", api.Name, version), response, theirResponse, version)
		}
	}
}

func skipped(theirs foreign, version int16) string {
	switch {
	case theirs == nil:
		return "kmsg lacks the key"
	case theirs.MaxVersion() < version:
		return "kmsg lacks the version"
	}
	return ""
}

const rounds = 30

func TestOursReadByKmsg(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	eachVersion(t, func(t *testing.T, name string, ours func() Message, theirs func() foreign, version int16) {
		if skipped(theirs(), version) != "" {
			return
		}
		for i := range rounds {
			m := ours()
			(&wiretest.Filler{Rand: rng, Keep: float64(i%3) * 0.4}).Fill(m)
			want := m.Append(nil, version)
			k := theirs()
			k.SetVersion(version)
			if err := k.ReadFrom(want); err != nil {
				t.Errorf("%s: kmsg cannot read it: %v\n%+v\n%x", name, err, m, want)
				return
			}
			if got := k.AppendTo(nil); !bytes.Equal(got, want) {
				t.Errorf("%s: kmsg writes\n%x, we wrote\n%x\n%+v", name, got, want, m)
				return
			}
			if err := again(ours(), want, version); err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
		}
	})
}

func TestKmsgReadByUs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	compared, left := 0, 0
	eachVersion(t, func(t *testing.T, name string, ours func() Message, theirs func() foreign, version int16) {
		if why := skipped(theirs(), version); why != "" {
			t.Logf("%s: not compared: %s", name, why)
			left++
			return
		}
		compared++
		for i := range rounds {
			k := theirs()
			if d, ok := k.(interface{ Default() }); ok {
				d.Default()
			}
			leave := func(structName, field string) bool { return version < early[structName+"."+field] }
			notNull := func(structName, field string) bool { return strict[structName+"."+field] }
			(&wiretest.Filler{Rand: rng, Keep: float64(i%3) * 0.4, Leave: leave, NotNull: notNull}).Fill(k)
			k.SetVersion(version)
			if err := again(ours(), k.AppendTo(nil), version); err != nil {
				t.Errorf("%s: %v\n%+v", name, err, k)
				return
			}
		}
	})
	t.Logf("%d messages compared, %d not", compared, left)
}

// again decodes what was sent and appends it again, which must not change it.
func again(m Message, sent []byte, version int16) error {
	r := wire.NewReader(sent)
	m.Decode(r, version)
	if err := r.Done(); err != nil {
		return fmt.Errorf("we cannot read %x: %w", sent, err)
	}
	if got := m.Append(nil, version); !bytes.Equal(got, sent) {
		return fmt.Errorf("we write\n%x after reading\n%x\n%+v", got, sent, m)
	}
	return nil
}
