package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// letter is what the test looks at of a dead letter.
type letter struct {
	partition  int32
	key, value string // "<nil>" where there is none
	headers    string
}

// lettersIn reads the letters of a topic, n at least.
func lettersIn(s *stand, topic string, n int) (out []letter) {
	s.Helper()
	cl := s.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	text := func(b []byte) string {
		if b == nil {
			return "<nil>"
		}
		return string(b)
	}
	for len(out) < n {
		cl.PollFetches(s.Context()).EachRecord(func(r *kgo.Record) {
			l := letter{partition: r.Partition, key: text(r.Key), value: text(r.Value)}
			for _, h := range r.Headers {
				l.headers += h.Key + "=" + string(h.Value) + " "
			}
			out = append(out, l)
		})
	}
	return out
}

// headersOf are those of the letter of a record of t-0 and group g.
func headersOf(offset, deliveries int, why string) string {
	return fmt.Sprintf("__dlq.errors.topic=t __dlq.errors.partition=0 __dlq.errors.offset=%d __dlq.errors.group=g "+
		"__dlq.errors.delivery.count=%d __dlq.errors.message=%s ", offset, deliveries, why)
}

const (
	saidNo  = "Offset rejected by client."
	tooMany = "Offset delivery count exceeded the threshold."
)

// TestDeadLetterProperties shows what becomes of records that a share group gave
// up.
func TestDeadLetterProperties(t *testing.T) {
	showAll(t, []nodeEffect{
		{"errors.deadletterqueue.auto.create.topics.enable=true num.partitions=1", func(s *stand) {
			m := sharers(s, 2, "errors.deadletterqueue.topic.name=dlq.g share.delivery.count.limit=2", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 2)
			m.fetch(1, 3)
			m.fetch(0, 2)
			m.fetch(0, 2)
			got := lettersIn(s, "dlq.g", 2)
			s.want("rejected", got[0], letter{0, "<nil>", "<nil>", headersOf(1, 1, saidNo)})
			s.want("too often", got[1], letter{0, "<nil>", "<nil>", headersOf(0, 2, tooMany)})
			configs, err := s.adm.DescribeTopicConfigs(s.Context(), "dlq.g")
			s.wantErr("configs", err, nil)
			for _, c := range configs[0].Configs {
				if c.Key == "errors.deadletterqueue.group.enable" {
					s.want(c.Key, c.MaybeValue(), "true")
				}
			}
		}},
		{"errors.deadletterqueue.auto.create.topics.enable=false", func(s *stand) {
			m := sharers(s, 1, "errors.deadletterqueue.topic.name=dlq.g", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 1)
			s.want("rejected", ackCode(m.fetch(0, 3)), int16(0))
			s.pass(time.Second)
			details, err := s.adm.ListTopics(s.Context())
			s.wantErr("list", err, nil)
			s.want("made", details.Has("dlq.g"), false)
			s.mustWrite("t", "next")
			m.wantRecords("the group goes on", m.fetch(0, -1), 1)
		}},
		{"num.partitions=1", func(s *stand) {
			s.create("dlq.g", "errors.deadletterqueue.group.enable=true")
			m := sharers(s, 1, "errors.deadletterqueue.topic.name=dlq.g errors.deadletterqueue.copy.record.enable=true", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 1)
			m.fetch(0, 3)
			s.want("letter", lettersIn(s, "dlq.g", 1)[0], letter{0, "<nil>", "0", headersOf(0, 1, saidNo)})
		}},
		{"num.partitions=2", func(s *stand) {
			s.create("dlq.g", "")
			s.create("dlq.h", "errors.deadletterqueue.group.enable=true")
			m := sharers(s, 2, "errors.deadletterqueue.topic.name=dlq.g", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 2)
			m.fetch(0, 3)
			s.pass(time.Second)
			s.wantErr("elsewhere", s.alterGroup("errors.deadletterqueue.topic.name=dlq.h"), nil)
			m.fetch(1, 3)
			s.want("letter", lettersIn(s, "dlq.h", 1)[0], letter{0, "<nil>", "<nil>", headersOf(1, 1, saidNo)})
			s.want("written where that is not allowed", s.end("dlq.g"), int64(0))
		}},
		{"errors.deadletterqueue.topic.name.prefix=dead-", func(s *stand) {
			s.create("dlq.g", "errors.deadletterqueue.group.enable=true")
			s.create("dead-g", "errors.deadletterqueue.group.enable=true")
			m := sharers(s, 2, "errors.deadletterqueue.topic.name=dlq.g", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 2)
			m.fetch(0, 3)
			s.pass(time.Second)
			s.wantErr("elsewhere", s.alterGroup("errors.deadletterqueue.topic.name=dead-g"), nil)
			m.fetch(1, 3)
			s.want("letter", lettersIn(s, "dead-g", 1)[0], letter{0, "<nil>", "<nil>", headersOf(1, 1, saidNo)})
			s.want("written under a wrong name", s.end("dlq.g"), int64(0))
		}},
		{"num.partitions=3", func(s *stand) {
			s.wantErr("internal", s.alterGroup("errors.deadletterqueue.topic.name=__dlq"), kerr.InvalidConfig)
		}},
	})
}

func ackCode(r *kmsg.ShareFetchResponse) int16 { return r.Topics[0].Partitions[0].AcknowledgeErrorCode }

// end is the end offset of partition 0 of a topic.
func (s *stand) end(topic string) int64 {
	s.Helper()
	ends, err := s.adm.ListEndOffsets(s.Context(), topic)
	s.wantErr("end of "+topic, err, nil)
	o, _ := ends.Lookup(topic, 0)
	return o.Offset
}

// A node loses power after it has answered who rejected a record: before the
// letter is on the disk, after it is, or once that is stored too. There is a
// letter then, and the record is given to nobody.
func TestLettersAfterPowerLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disks []*vfs.Mem
		onDisk(t, nil, "", func(s *stand) {
			s.create("dlq.g", "errors.deadletterqueue.group.enable=true")
			m := sharers(s, 2, "errors.deadletterqueue.topic.name=dlq.g", "a")[0]
			m.wantRecords("first", m.fetch(0, -1), 2)
			slow := func(topic string) {
				s.fs.SetHook(func(op vfs.Op) vfs.Verdict {
					if op.Kind == vfs.OpSync && strings.Contains(op.Name, topic) {
						return vfs.Verdict{Delay: 10 * time.Second}
					}
					return vfs.Verdict{}
				})
			}
			slow("/dlq.g-0/")
			s.want("rejected", ackCode(m.fetch(0, 3)), int16(0))
			disks = append(disks, s.fs.Crash(vfs.DropAll, nil))
			slow("/__share_group_state-")
			s.pass(10 * time.Second)
			disks = append(disks, s.fs.Crash(vfs.DropAll, nil))
			s.fs.SetHook(nil)
			s.pass(30 * time.Second)
			disks = append(disks, s.fs.Crash(vfs.DropAll, nil))
		})
		for i, disk := range disks {
			onDisk(t, disk, "", func(s *stand) {
				letters := s.end("dlq.g")
				s.want(fmt.Sprint("letters found on disk ", i), letters, min(int64(i), 1))
				m := &sharer{stand: s, id: "b", topic: s.topicID("t")}
				m.join()
				m.wantRecords(fmt.Sprint("left on disk ", i), m.fetch(0, -1), 1)
				got := lettersIn(s, "dlq.g", 1)
				s.want("letter", got[0].headers, headersOf(0, 1, saidNo))
			})
		}
	})
}
