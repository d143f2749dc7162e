package commitlog

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// dumpSmall dumps the files that have a name of their own.
func dumpSmall(f vfs.FS, name string, visit func(DumpLine) error) error {
	dump := map[string]func([]byte) ([]DumpLine, error){
		epochFile: dumpEpochs, metadataFile: dumpTopicID,
		pointFile: dumpOffsets, startFile: dumpOffsets, cleanPointFile: dumpOffsets,
		cleanFile: dumpClean, bootFile: dumpBoot, tenantFile: dumpTenant, manifestFile: dumpManifest, damageFile: nil, ballastFile: nil, lockFile: nil,
	}
	read, known := dump[path.Base(name)]
	var lines []DumpLine
	var err error
	switch {
	case !known:
		return fmt.Errorf("%s: %w", name, ErrUnknownFile)
	case path.Base(name) == damageFile:
		lines, err = dumpDamage(f, path.Dir(name))
	case read == nil: // what counts is that it is there, and its size
		var info vfs.Info
		info, err = f.Stat(name)
		lines = []DumpLine{{"file", []DumpField{{"bytes", info.Size}}}}
	default:
		var data []byte
		if data, err = vfs.ReadFile(f, name, maxManifest); err == nil {
			lines, err = read(data)
		}
	}
	for _, l := range lines {
		if err := visit(l); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func dumpEpochs(data []byte) (out []DumpLine, err error) {
	entries, err := parseEpochs(data)
	for _, e := range entries {
		out = append(out, DumpLine{"epoch", []DumpField{{"leaderEpoch", e.Epoch}, {"startOffset", e.Start}}})
	}
	return out, err
}

func dumpTopicID(data []byte) ([]DumpLine, error) {
	id, err := parseTopicID(data)
	if err != nil {
		return nil, err
	}
	return []DumpLine{{"topic", []DumpField{{"version", int16(0)}, {"topicId", id.String()}}}}, nil
}

func dumpOffsets(data []byte) (out []DumpLine, err error) {
	t, err := parseOffsetTable(data)
	for tp, offset := range t {
		out = append(out, DumpLine{"offset", []DumpField{{"topic", tp.Topic}, {"partition", tp.Partition}, {"offset", offset}}})
	}
	slices.SortFunc(out, func(a, b DumpLine) int { return dumpedLog(a).Compare(dumpedLog(b)) })
	return out, err
}

func dumpedLog(l DumpLine) kafka.TopicPartition {
	topic, _ := l.Fields[0].Value.(string)
	partition, _ := l.Fields[1].Value.(int32)
	return kafka.TopicPartition{Topic: topic, Partition: partition}
}

func dumpClean(data []byte) ([]DumpLine, error) {
	var mark cleanMark
	if err := json.Unmarshal(data, &mark); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return []DumpLine{{"clean", []DumpField{{"version", int32(mark.Version)}, {"brokerEpoch", mark.BrokerEpoch}}}}, nil
}

func dumpBoot(data []byte) ([]DumpLine, error) {
	id := parseBoot(data)
	if id == "" {
		return nil, errMalformed
	}
	return []DumpLine{{"boot", []DumpField{{"version", int16(0)}, {"bootId", id}}}}, nil
}

func dumpTenant(data []byte) ([]DumpLine, error) {
	epoch, ok := parseTenant(data)
	if !ok {
		return nil, errMalformed
	}
	return []DumpLine{{"tenant", []DumpField{{"version", int16(0)}, {"brokerEpoch", epoch}}}}, nil
}

func dumpDamage(f vfs.FS, dir string) (out []DumpLine, err error) {
	all, err := ReadDamage(f, dir)
	for _, d := range all {
		out = append(out, DumpLine{"damage", []DumpField{{"segment", d.Segment}, {"position", d.Position}, {"bytes", d.Bytes},
			{"from", d.From}, {"to", d.To}, {"reason", d.Reason}, {"found", d.Found.UTC().Format("2006-01-02T15:04:05Z")}}})
	}
	return out, err
}

// dumpManifest tells of the logs at rest, as the whole of the file has them.
func dumpManifest(data []byte) (out []DumpLine, err error) {
	m, err := parseManifest(data)
	if err != nil {
		return nil, err
	}
	out = append(out, DumpLine{"manifest", []DumpField{{"bootId", m.boot}, {"goodBytes", m.good}, {"logs", len(m.logs)}}})
	if m.pointed {
		out = append(out, DumpLine{"checkpoints", []DumpField{{"points", int64(m.points[0][0])}, {"starts", int64(m.points[0][1])}}})
	}
	logs := make([]kafka.TopicPartition, 0, len(m.logs))
	for tp := range m.logs {
		logs = append(logs, tp)
	}
	slices.SortFunc(logs, kafka.TopicPartition.Compare)
	for _, tp := range logs {
		r := m.logs[tp]
		rest, err := r.decode()
		if err != nil {
			return out, fmt.Errorf("log %s: %w", tp, err)
		}
		out = append(out, DumpLine{"rest", []DumpField{{"log", tp.String()}, {"topicId", r.id.String()}, {"start", rest.Start}, {"end", rest.End},
			{"loose", rest.loose}, {"unnamed", rest.unnamed}, {"suspect", rest.suspect}, {"snapshot", rest.snapshot}, {"producerBytes", len(rest.producers)}}})
		for _, s := range rest.Segments {
			out = append(out, DumpLine{"segment", []DumpField{{"base", s.Base}, {"bytes", s.Bytes}, {"maxTimestamp", s.MaxTimestamp}}})
		}
		for _, e := range rest.Epochs {
			out = append(out, DumpLine{"epoch", []DumpField{{"leaderEpoch", e.Epoch}, {"startOffset", e.Start}}})
		}
	}
	if m.good < int64(len(data)) {
		err = fmt.Errorf("%d bytes at %d are no whole frame: %w", int64(len(data))-m.good, m.good, errMalformed)
	}
	return out, err
}

// dumpSums tells of the blocks, and of the seal. It needs the size of the .log
// file beside it; without one every block counts.
func dumpSums(f vfs.FS, name string, base int64, visit func(DumpLine) error) error {
	at := strings.LastIndex(name, segment.SumsSuffix)
	size, there, err := fileSize(f, name[:at]+segment.LogSuffix+name[at+len(segment.SumsSuffix):])
	if err != nil {
		return err
	}
	if !there {
		size = math.MaxInt64
	}
	sums, err := segment.ReadSums(f, name, base, size)
	if err != nil {
		return err
	}
	for _, b := range sums.Blocks {
		if err := visit(DumpLine{"block", []DumpField{{"position", b.Begin}, {"bytes", b.End - b.Begin}, {"lastOffset", b.Last}, {"crc", int64(b.CRC)}}}); err != nil {
			return err
		}
	}
	if sums.Sealed {
		line := DumpLine{"seal", []DumpField{{"next", sums.Next}}}
		for _, suffix := range []string{segment.IdxSuffix, segment.TimeSuffix, segment.TxnSuffix} {
			line.Fields = append(line.Fields, DumpField{suffix[1:] + "Bytes", sums.Bytes[suffix]}, DumpField{suffix[1:] + "Crc", int64(sums.Files[suffix])})
		}
		if err := visit(line); err != nil {
			return err
		}
	}
	if sums.Bad > 0 {
		return fmt.Errorf("%s: %d bytes are no piece of it: %w", name, sums.Bad, errMalformed)
	}
	return nil
}
