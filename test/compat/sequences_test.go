//go:build compat

package compat

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// sequences are conversations of several requests, in which an answer depends
// on what was said before.
var sequences = map[string]func(*dialogue){
	"streams group":          streamsGroup,
	"streams statics":        streamsGroupOfStatics,
	"streams in turn":        streamsInTurn,
	"streams grow":           streamsGrow,
	"streams troubles":       streamsTroubles,
	"fetch session by name":  func(d *dialogue) { fetchSession(d, 12) },
	"fetch session by id":    func(d *dialogue) { fetchSession(d, 17) },
	"fetch session mixed":    fetchSessionMixed,
	"fetch out of range":     fetchOutOfRange,
	"fetch limits":           fetchLimits,
	"epochs":                 epochs,
	"offsets by time":        offsetsByTime,
	"idempotent":             idempotent,
	"idempotent restart":     idempotentRestart,
	"bad batches":            badBatches,
	"auto creation":          autoCreation,
	"life of a topic":        lifeOfATopic,
	"configs":                configsInTurn,
	"group of one":           everyVersion,
	"group of two":           groupOfTwo,
	"group of statics":       groupOfStatics,
	"group votes":            groupVotes,
	"group expiry":           groupExpiry,
	"offsets in newer txns":  newerOffsets,
	"offsets in older txns":  olderOffsets,
	"simple group":           simpleGroup,
	"versions":               outsideTheRange,
	"frames":                 frames,
	"odd topics":             oddTopics,
	"odd commits":            oddCommits,
	"compression":            compression,
	"timestamps":             timestamps,
	"properties":             properties,
	"pages":                  pages,
	"no acks":                noAcks,
	"by id":                  byID,
	"share group":            shareGroup,
	"share window":           shareWindow,
	"share state":            shareState,
	"share records v1":       func(d *dialogue) { shareRecords(d, 1) },
	"share records v2":       func(d *dialogue) { shareRecords(d, 2) },
	"share again":            shareAgain,
	"share committed":        shareCommitted,
	"share letters":          shareLetters,
	"share sessions":         shareSessions,
	"share limits":           shareLimits,
	"newer transactions":     newerTransactions,
	"older transactions":     olderTransactions,
	"recovering producers":   recoveringProducers,
	"consumer group":         consumerGroup,
	"consumer statics":       consumerStatics,
	"consumer patterns":      consumerPatterns,
	"consumer topics":        consumerTopics,
	"consumer votes":         consumerVotes,
	"consumer late":          consumerLate,
	"consumer names":         consumerNames,
	"commits of consumers":   commitsOfConsumers,
	"commits of others":      commitsOfOthers,
	"group settings":         groupSettings,
	"migration up and down":  migrationUpAndDown,
	"migration of statics":   migrationOfStatics,
	"migration refused":      migrationRefused,
	"migration midway":       migrationMidway,
	"migration with a pause": migrationWithPause,
	"migration of newcomers": migrationOfNewcomers,
	"migration of the empty": migrationOfTheEmpty,
}

// The same conversations with Myelin and with a real Kafka 4.4 go alike, field
// by field in every answer.
//
// WIRE_TRACE=1 shows what Kafka answers to each step.
func TestWireSequences(t *testing.T) {
	peers := startBoth(t, "group.min.session.timeout.ms=100", "group.share.min.record.lock.duration.ms=1000", "group.streams.initial.rebalance.delay.ms=0", "group.streams.assignment.interval.ms=0")
	c := &comparison{peers: peers, listed: listed(t)}
	total, ran := 0, 0
	for name, talk := range sequences {
		t.Run(name, func(t *testing.T) {
			ran++
			d := &dialogue{t: t, name: name, c: c, answers: new(int)}
			d.connect()
			talk(d)
			t.Logf("%d answers compared", *d.answers)
			total += *d.answers
		})
	}
	t.Logf("%d answers compared in all", total)
	if ran == len(sequences) {
		unseen(t, c.listed, ofSequences)
	}
}

// dialogue is one client's conversation with both brokers.
type dialogue struct {
	t       *testing.T
	name    string
	c       *comparison
	peers   [2]*wirecmp.Peer
	answers *int
}

func (d *dialogue) connect() {
	for i, p := range d.c.peers {
		d.peers[i] = p.Again()
		d.t.Cleanup(d.peers[i].Close)
	}
}

// another is a second client in the same conversation, on its own connections.
func (d *dialogue) another() *dialogue {
	e := *d
	e.connect()
	return &e
}

// ask sends a request to both brokers, compares what they answer, and returns
// it. Build gets the broker's index, since ids differ.
func ask[R any, P interface {
	*R
	msg.Response
}](d *dialogue, step string, version int16, build func(i int) msg.Request) [2]P {
	d.t.Helper()
	return begin[R, P](d, step, version, build)()
}

// begin is ask for a request that a broker holds back: the returned function
// waits for the answers.
func begin[R any, P interface {
	*R
	msg.Response
}](d *dialogue, step string, version int16, build func(i int) msg.Request) func() [2]P {
	d.t.Helper()
	var bodies [2][]byte
	var key int16
	for i := range bodies {
		r := build(i)
		key, bodies[i] = r.Key(), r.Append(nil, version)
	}
	type result struct {
		outcomes [2]string
		answers  [2][]byte
		err      error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.outcomes, r.answers, r.err = exchange(d.peers, key, version, bodies)
		done <- r
	}()
	return func() [2]P {
		d.t.Helper()
		r := <-done
		api := kafka.KeyName(key)
		if r.err != nil {
			d.t.Fatalf("%s: %v", step, r.err)
		}
		for _, line := range wirecmp.Differences(key, version, r.outcomes, r.answers) {
			if !allowed(d.c.listed, api, d.name+": "+step, line) {
				d.t.Errorf("%s v%d [%s: %s] %.300s", api, version, d.name, step, line)
			}
		}
		*d.answers++
		out := [2]P{new(R), new(R)}
		for i := range out {
			if r.outcomes[i] != wirecmp.Answered {
				d.t.Fatalf("%s: %s %s", step, d.peers[i].Name, r.outcomes[i])
			}
			out[i].Decode(wire.NewReader(r.answers[i]), version)
		}
		if os.Getenv("WIRE_TRACE") != "" {
			told, _ := json.Marshal(out[1])
			d.t.Logf("%s v%d [%s] %.600s", api, version, step, told)
		}
		return out
	}
}

// await repeats a request on each broker until its answer is as wanted: for
// what takes a moment, such as a new topic's first leader. It compares nothing.
func await[R any, P interface {
	*R
	msg.Response
}](d *dialogue, version int16, build func(i int) msg.Request, wanted func(P) bool) [2]P {
	d.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var out [2]P
	for i, p := range d.peers {
		for {
			out[i] = P(new(R))
			if err := p.Do(build(i), version, out[i]); err != nil {
				d.t.Fatal(err)
			}
			if wanted(out[i]) {
				break
			}
			select {
			case <-tick.C:
			case <-limit.C:
				d.t.Fatalf("%s does not come to what is awaited: %+v", p.Name, out[i])
			}
		}
	}
	return out
}

// same is a request that goes to both brokers alike.
func same(r msg.Request) func(int) msg.Request {
	return func(int) msg.Request { return r }
}

func ptr[T any](v T) *T { return &v }

// newTopic makes a topic on both brokers, waits until partition 0 is led, and
// returns its ids. Records of any age stay in it.
func (d *dialogue) newTopic(name string, partitions int32, configs ...string) [2]kafka.UUID {
	d.t.Helper()
	create := msg.NewCreateTopicsRequest()
	create.TimeoutMs = 10000
	topic := msg.CreateTopicsRequestTopic{Name: name, NumPartitions: partitions, ReplicationFactor: 1,
		Configs: []msg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("-1")}}}
	for i := 0; i < len(configs); i += 2 {
		topic.Configs = append(topic.Configs, msg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	create.Topics = []msg.CreateTopicsRequestTopic{topic}
	made := ask[msg.CreateTopicsResponse](d, "create "+name, 7, same(&create))
	d.awaitLed(name, partitions)
	return [2]kafka.UUID{made[0].Topics[0].TopicID, made[1].Topics[0].TopicID}
}

// awaitLed returns once every partition of the topic answers ListOffsets.
func (d *dialogue) awaitLed(name string, partitions int32) {
	d.t.Helper()
	for p := range max(partitions, 1) {
		await(d, 6, same(listOffsets(name, p, -1)), func(r *msg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	}
}

func listOffsets(topic string, partition int32, timestamp int64) *msg.ListOffsetsRequest {
	r := msg.NewListOffsetsRequest()
	r.ReplicaID = -1
	p := msg.NewListOffsetsRequestTopicPartition()
	p.PartitionIndex, p.Timestamp = partition, timestamp
	r.Topics = []msg.ListOffsetsRequestTopic{{Name: topic, Partitions: []msg.ListOffsetsRequestTopicPartition{p}}}
	return &r
}

func produce(topic string, batch []byte) *msg.ProduceRequest {
	r := msg.NewProduceRequest()
	r.Acks, r.TimeoutMs = -1, 5000
	r.TopicData = []msg.ProduceRequestTopicData{{Name: topic, PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Records: batch}}}}
	return &r
}
