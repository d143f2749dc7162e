package cli

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestStorageScripts runs the storage commands over directories with every kind
// of file, sound and damaged. Commands of the scripts:
//
//	make [killed]         a directory, closed in order or not
//	flip FILE BYTE        change a bit of a byte
//	write FILE TEXT       put a text in the place of a file
//	cut FILE BYTES        take bytes off the end
//	remove FILE
//	same FILE             tells whether a file is as make has left it
//	myelin ARGUMENTS...   the command: what it prints, and its exit code
func TestStorageScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/storage/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := &storageStand{t: t}
			script.Run(t, file, s.do)
		})
	}
}

// storageStand is the directory of one script.
type storageStand struct {
	t    *testing.T
	dir  string
	made map[string][]byte
}

func (s *storageStand) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *storageStand) do(c *script.Cmd) string {
	file := func() string { return filepath.Join(s.dir, c.Arg(0)) }
	switch c.Name {
	case "make":
		s.make(c.Key("end", "clean") == "clean")
		return ""
	case "flip":
		b, err := os.ReadFile(file())
		s.must(err)
		b[c.Int(1)] ^= 4
		s.must(os.WriteFile(file(), b, 0o644))
		return ""
	case "write":
		s.must(os.WriteFile(file(), []byte(c.Arg(1)), 0o644))
		return ""
	case "cut":
		info, err := os.Stat(file())
		s.must(err)
		s.must(os.Truncate(file(), info.Size()-c.Int(1)))
		return ""
	case "remove":
		s.must(os.Remove(file()))
		return ""
	case "same":
		b, err := os.ReadFile(file())
		return fmt.Sprint(err == nil && bytes.Equal(b, s.made[c.Arg(0)]))
	case "myelin":
		args := append([]string(nil), c.Args...)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "DIR", filepath.ToSlash(s.dir))
		}
		out, errs, code := run(s.t, "", nil, args...)
		said := strings.NewReplacer(filepath.ToSlash(s.dir), "DIR", vfs.OS().BootID(s.dir), "BOOT").Replace(out + errs)
		said = regexp.MustCompile(`"ms": \d+`).ReplaceAllString(said, `"ms": 0`)
		said = regexp.MustCompile(`goodBytes \d+`).ReplaceAllString(said, "goodBytes N")                // the boot id's length is the machine's
		said = regexp.MustCompile(`(/damage: created,) \d+ bytes`).ReplaceAllString(said, "$1 N bytes") // the time in it has up to nine digits behind the second
		return fmt.Sprintf("%sexit %d", said, code)
	}
	c.Fatalf("no such command")
	return ""
}

// at is the time of everything in these directories: the same in each run.
func at(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0).UTC() }

// make fills a directory with every kind of file, the same bytes each time.
func (s *storageStand) make(clean bool) {
	s.dir = s.t.TempDir()
	_, err := metadata.Format(metadata.FormatConfig{FS: vfs.OS(), LogDirs: []string{s.dir}, Metadata: s.dir, NodeID: 1, ClusterID: "a-cluster-id",
		Rand: rand.New(rand.NewPCG(1, 2))})
	s.must(err)
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: vfs.OS(), Path: s.dir, Now: func() time.Time { return at(0) }})
	s.must(err)
	logs := []*commitlog.Log{s.orders(home), s.offsets(home), s.transactions(home), s.entries(home)}
	s.must(home.Checkpoint())
	if clean {
		for _, l := range logs {
			s.must(l.Close())
		}
		s.must(home.Close(true))
	} else {
		s.append(logs[0], record.Builder{LeaderEpoch: 1}, 2, "not yet synced")
		s.must(home.Close(false)) // gives the lock back and writes no mark, as a killed process
	}
	s.snapshot()
	s.made = map[string][]byte{}
	s.must(filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(s.dir, name)
		if err == nil {
			s.made[filepath.ToSlash(rel)], err = os.ReadFile(name)
		}
		return err
	}))
}

func (s *storageStand) open(home *commitlog.Home, topic string, segmentBytes int64, begin int64) *commitlog.Log {
	l, _, err := commitlog.Open(commitlog.Config{Home: home, Topic: topic, TopicID: kafka.UUID{15: 9}, Begin: begin, Now: func() time.Time { return at(0) },
		Tunables: commitlog.Tunables{SegmentBytes: segmentBytes, IndexInterval: 100, KeepAll: true}})
	s.must(err)
	return l
}

// append adds a batch of n records at the log's end.
func (s *storageStand) append(l *commitlog.Log, b record.Builder, n int, text string) {
	b.BaseOffset = l.End()
	for i := range n {
		b.Append(record.Record{Key: fmt.Append(nil, "k", i), Value: fmt.Append(nil, text, " ", i), Timestamp: at(l.End()).UnixMilli()})
	}
	s.add(l, bytes.Clone(b.Bytes()))
}

func (s *storageStand) add(l *commitlog.Log, batch []byte) {
	h, err := record.Check(batch)
	s.must(err)
	s.must(l.Append([]commitlog.Batch{{Bytes: batch, Header: h}}))
}

// orders is a log of three segments, with two epochs, a producer, and a
// transaction that was rolled back.
func (s *storageStand) orders(home *commitlog.Home) *commitlog.Log {
	l := s.open(home, "orders", 700, 0)
	p := record.Producer{ID: 7}
	for i := range int32(8) {
		s.append(l, record.Builder{LeaderEpoch: i / 4, Producer: &record.Producer{ID: 7, Sequence: 2 * i}}, 2, "an order of some length, so that segments fill up")
	}
	s.append(l, record.Builder{LeaderEpoch: 1, Producer: &record.Producer{ID: 8}, Flags: record.Transactional}, 2, "rolled back")
	p.ID = 8
	abort := record.EndTxnMarker(p, record.Abort, 3, at(18).UnixMilli())
	record.Stamp(abort, l.End(), 1)
	s.add(l, abort)
	s.must(l.Flush())
	return l
}

func pair(key state.Key, value state.Message, version int16) record.Record {
	r := record.Record{Key: state.MarshalKey(key), Timestamp: at(0).UnixMilli()}
	if value != nil {
		r.Value = state.MarshalValue(value, version)
	}
	return r
}

// offsets is a log of __consumer_offsets.
func (s *storageStand) offsets(home *commitlog.Home) *commitlog.Log {
	l := s.open(home, "__consumer_offsets", 0, 0)
	b := record.Builder{}
	key, value := state.NewOffsetCommitKey(), state.NewOffsetCommitValue()
	key.Group, key.Topic, key.Partition = "billing", "orders", 0
	value.Offset, value.CommitTimestamp = 12, at(3).UnixMilli()
	b.Append(pair(&key, &value, 3))
	group := state.NewGroupMetadataKey()
	group.Group = "billing"
	b.Append(pair(&group, nil, 0))
	s.add(l, bytes.Clone(b.Bytes()))
	s.must(l.Flush())
	return l
}

// transactions is a log of __transaction_state.
func (s *storageStand) transactions(home *commitlog.Home) *commitlog.Log {
	l := s.open(home, "__transaction_state", 0, 0)
	key, value := state.NewTransactionLogKey(), state.NewTransactionLogValue()
	key.TransactionalID = "pay"
	value.ProducerID, value.TransactionStatus = 8, 5
	b := record.Builder{}
	b.Append(pair(&key, &value, 0))
	s.add(l, bytes.Clone(b.Bytes()))
	s.must(l.Flush())
	return l
}

// entries is the metadata log.
func (s *storageStand) entries(home *commitlog.Home) *commitlog.Log {
	l := s.open(home, quorum.Topic, 0, 2)
	topic := state.NewTopicRecord()
	topic.Name, topic.TopicID = "orders", kafka.UUID{15: 9}
	one := state.MarshalRecord(&topic, 0)
	for _, value := range [][]byte{{0}, append([]byte{0, byte(len(one))}, one...)} {
		b := record.Builder{BaseOffset: l.End(), LeaderEpoch: 1}
		b.Append(record.Record{Value: value, Timestamp: at(0).UnixMilli()})
		s.add(l, bytes.Clone(b.Bytes()))
	}
	s.must(l.Flush())
	return l
}

// snapshot writes a metadata snapshot that no state names, and a damage file.
func (s *storageStand) snapshot() {
	topic := state.NewTopicRecord()
	topic.Name, topic.TopicID = "orders", kafka.UUID{15: 9}
	var all []byte
	for i, r := range []record.Record{
		{Key: []byte{0, 0, 0, 3}, Value: make([]byte, 11)}, {Value: state.MarshalRecord(&topic, 0)}, {Key: []byte{0, 0, 0, 4}, Value: make([]byte, 3)},
	} {
		b := record.Builder{BaseOffset: int64(i), LeaderEpoch: 1}
		if r.Key != nil {
			b.Flags = record.Control
		}
		r.Timestamp = at(0).UnixMilli()
		b.Append(r)
		all = append(all, b.Bytes()...)
	}
	s.must(os.WriteFile(filepath.Join(quorum.Folder(s.dir), "00000000000000000003-0000000001.checkpoint"), all, 0o644))
	line := `{"segment":0,"position":100,"bytes":50,"from":3,"to":5,"reason":"a note of a test","found":"2023-11-14T22:13:20Z"}` + "\n"
	head := fmt.Sprintf("myelin damage 0 %08x\n", crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli)))
	s.must(os.Mkdir(filepath.Join(s.dir, "copy"), 0o755))
	s.must(os.WriteFile(filepath.Join(s.dir, "copy", "damage"), []byte(head+line), 0o644))
}
