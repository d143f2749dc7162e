package commitlog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Names of the files of a log directory that are Kafka's, and of those that
// are ours. Layouts: docs/format.
const (
	pointFile  = "recovery-point-offset-checkpoint"
	startFile  = "log-start-offset-checkpoint"
	cleanFile  = ".kafka_cleanshutdown"
	lockFile   = ".lock"
	bootFile   = ".myelin_boot"
	tenantFile = ".myelin_epoch"

	maxCheckpoint = 256 << 20 // bytes: some million partitions
)

// errMalformed is the class of checkpoint files that do not parse.
var errMalformed = errors.New("malformed file")

// offsetTable is the content of an offset checkpoint: a text of a version, a
// count, and a line of topic, partition and offset each.
type offsetTable map[kafka.TopicPartition]int64

func (t offsetTable) encode() []byte { return t.encodeIn(t.keys()) }

// keys gives the logs in their order.
func (t offsetTable) keys() []kafka.TopicPartition {
	keys := make([]kafka.TopicPartition, 0, len(t))
	for tp := range t {
		keys = append(keys, tp)
	}
	slices.SortFunc(keys, kafka.TopicPartition.Compare)
	return keys
}

// encodeIn is encode for who has the keys in their order.
func (t offsetTable) encodeIn(keys []kafka.TopicPartition) []byte {
	b := fmt.Appendf(make([]byte, 0, 32+40*len(keys)), "0\n%d\n", len(keys))
	for _, tp := range keys {
		b = append(append(b, tp.Topic...), ' ')
		b = append(strconv.AppendInt(b, int64(tp.Partition), 10), ' ')
		b = append(strconv.AppendInt(b, t[tp], 10), '\n')
	}
	return b
}

func parseOffsetTable(data []byte) (offsetTable, error) {
	lines, err := checkpointLines(data)
	if err != nil {
		return nil, err
	}
	t := make(offsetTable, len(lines))
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) != 3 {
			return nil, fmt.Errorf("line %q: %w", line, errMalformed)
		}
		p, err1 := strconv.ParseInt(words[1], 10, 32)
		off, err2 := strconv.ParseInt(words[2], 10, 64)
		if err1 != nil || err2 != nil || off < 0 {
			return nil, fmt.Errorf("line %q: %w", line, errMalformed)
		}
		t[kafka.TopicPartition{Topic: words[0], Partition: int32(p)}] = off
	}
	return t, nil
}

// readOffsetTable reads a checkpoint file; a missing or empty one is an empty
// table, which is always safe.
func readOffsetTable(f vfs.FS, name string) (offsetTable, error) {
	data, err := vfs.ReadFile(f, name, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return offsetTable{}, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := parseOffsetTable(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// checkpointLines splits the frame that Kafka's checkpoint files share.
//
//	version 0
//	number of lines
//	lines
func checkpointLines(data []byte) ([]string, error) {
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) < 2 || lines[0] != "0" {
		return nil, fmt.Errorf("version %q: %w", lines[0], errMalformed)
	}
	n, err := strconv.Atoi(lines[1])
	if err != nil || n != len(lines)-2 {
		return nil, fmt.Errorf("%d lines, the count says %q: %w", len(lines)-2, lines[1], errMalformed)
	}
	return lines[2:], nil
}

// encodeEpochs writes leader-epoch-checkpoint: a line of epoch and start offset
// for each epoch.
func encodeEpochs(epochs []EpochStart) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "0\n%d\n", len(epochs))
	for _, e := range epochs {
		fmt.Fprintf(&b, "%d %d\n", e.Epoch, e.Start)
	}
	return b.Bytes()
}

func parseEpochs(data []byte) ([]EpochStart, error) {
	lines, err := checkpointLines(data)
	if err != nil {
		return nil, err
	}
	out := make([]EpochStart, 0, len(lines))
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) != 2 {
			return nil, fmt.Errorf("line %q: %w", line, errMalformed)
		}
		e, err1 := strconv.ParseInt(words[0], 10, 32)
		start, err2 := strconv.ParseInt(words[1], 10, 64)
		if err1 != nil || err2 != nil || e < 0 || start < 0 {
			return nil, fmt.Errorf("line %q: %w", line, errMalformed)
		}
		out = append(out, EpochStart{int32(e), start})
	}
	if !slices.IsSortedFunc(out, func(a, b EpochStart) int { return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Start, b.Start)) }) {
		return nil, fmt.Errorf("epochs out of order: %w", errMalformed)
	}
	return out, nil
}

const (
	metadataFile = "partition.metadata"
	epochFile    = "leader-epoch-checkpoint"
)

func encodeTopicID(id kafka.UUID) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", id)
}

func parseTopicID(data []byte) (kafka.UUID, error) {
	version, id := "", ""
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "version":
			version = strings.TrimSpace(value)
		case "topic_id":
			id = strings.TrimSpace(value)
		}
	}
	if version != "0" {
		return kafka.UUID{}, fmt.Errorf("%s: version %q: %w", metadataFile, version, errMalformed)
	}
	u, err := kafka.ParseUUID(id)
	if err != nil {
		return kafka.UUID{}, fmt.Errorf("%s: %w: %w", metadataFile, err, errMalformed)
	}
	return u, nil
}

// encodeBoot writes .myelin_boot, which says in which run of the machine the
// directory was last opened.
//
//	version: 0
//	boot_id: ...
func encodeBoot(id string) []byte { return fmt.Appendf(nil, "version: 0\nboot_id: %s\n", id) }

func parseBoot(data []byte) string {
	text, ok := strings.CutPrefix(string(data), "version: 0\nboot_id: ")
	id, whole := strings.CutSuffix(text, "\n")
	if !ok || !whole {
		return ""
	}
	return id
}

// parseFolder reads "topic-partition"; folders that Kafka has set aside
// (-delete, -future, -stray) are not logs.
func parseFolder(name string) (kafka.TopicPartition, bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return kafka.TopicPartition{}, false
	}
	p, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || p < 0 || strconv.FormatInt(p, 10) != name[i+1:] {
		return kafka.TopicPartition{}, false
	}
	return kafka.TopicPartition{Topic: name[:i], Partition: int32(p)}, true
}
