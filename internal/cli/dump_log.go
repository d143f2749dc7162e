package cli

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/record"
)

// maxBatch bounds what a damaged length field can make dump-log allocate.
const maxBatch = 1 << 30

type dumpedBatch struct {
	Position      int64          `json:"position"`
	Size          int            `json:"size"`
	BaseOffset    int64          `json:"base_offset"`
	LastOffset    int64          `json:"last_offset"`
	Count         int32          `json:"count"`
	LeaderEpoch   int32          `json:"leader_epoch"`
	BaseSequence  int32          `json:"base_sequence"`
	ProducerID    int64          `json:"producer_id"`
	ProducerEpoch int16          `json:"producer_epoch"`
	BaseTimestamp int64          `json:"base_timestamp"`
	MaxTimestamp  int64          `json:"max_timestamp"`
	Codec         string         `json:"compression"`
	Transactional bool           `json:"transactional"`
	Control       bool           `json:"control"`
	CRC           uint32         `json:"crc"`
	Error         string         `json:"error,omitempty"`
	Records       []dumpedRecord `json:"records,omitempty"`
}

type dumpedRecord struct {
	Offset    int64   `json:"offset"`
	Timestamp int64   `json:"timestamp"`
	Key       *string `json:"key"`
	Value     *string `json:"value"`
	KeyB64    string  `json:"key_base64,omitempty"`
	ValueB64  string  `json:"value_base64,omitempty"`
}

func dumpLogCmd(a *app) *cobra.Command {
	var records bool
	c := &cobra.Command{
		Use: "dump-log FILE...", Short: "Show the batches of segment files (.log), or the entries of .index and .timeindex", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			damaged := 0
			for _, file := range files {
				bad, err := dumpFile(a, file, records)
				if err != nil {
					return err
				}
				damaged += bad
			}
			if damaged > 0 {
				return &fault{exitFailed, fmt.Sprintf("%d places are damaged; a broker that opens this log cuts it there", damaged)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&records, "records", false, "the records too")
	return c
}

func dumpFile(a *app, file string, records bool) (damaged int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	switch ext := filepath.Ext(file); ext {
	case ".log":
		return dumpBatches(a, f, records)
	case ".index", ".timeindex":
		var base int64
		name := strings.TrimSuffix(filepath.Base(file), ext)
		if _, err := fmt.Sscanf(name, "%d", &base); err != nil {
			return 0, usage("%s: the name of an index is its base offset", file)
		}
		return 0, dumpIndex(a, f, ext, base)
	}
	return 0, usage("%s: want a .log, .index or .timeindex file", file)
}

// dumpBatches shows batch after batch and stops at the first that cannot be
// stepped over.
func dumpBatches(a *app, f io.ReaderAt, records bool) (damaged int, err error) {
	var reader record.Reader
	defer reader.Release()
	var at int64
	for {
		head := make([]byte, record.HeaderSize)
		n, err := f.ReadAt(head, at)
		if n == 0 {
			return damaged, nil
		}
		size := 0
		if n >= 12 {
			size = 12 + int(int32(binary.BigEndian.Uint32(head[8:12])))
		}
		if n < record.HeaderSize || size < record.HeaderSize || size > maxBatch {
			dumpLine(a, dumpedBatch{Position: at, Size: n, Error: fmt.Sprintf("no batch starts here (%d bytes, length field says %d)", n, size)})
			return damaged + 1, ignoreEOF(err)
		}
		batch := make([]byte, size)
		if n, err := f.ReadAt(batch, at); n < size {
			dumpLine(a, dumpedBatch{Position: at, Size: n, Error: fmt.Sprintf("cut off: %d of %d bytes are there", n, size)})
			return damaged + 1, ignoreEOF(err)
		}
		row, ok := dumpBatch(&reader, batch, at, records)
		if !ok {
			damaged++
		}
		dumpLine(a, row)
		at += int64(size)
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func dumpBatch(reader *record.Reader, batch []byte, at int64, records bool) (dumpedBatch, bool) {
	h, err := record.Check(batch)
	if err != nil {
		return dumpedBatch{Position: at, Size: len(batch), Error: err.Error()}, false
	}
	row := dumpedBatch{Position: at, Size: len(batch), BaseOffset: h.BaseOffset, LastOffset: h.BaseOffset + int64(h.LastOffsetDelta), Count: h.Count,
		LeaderEpoch: h.LeaderEpoch, BaseSequence: h.BaseSequence, ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch,
		BaseTimestamp: h.BaseTimestamp, MaxTimestamp: h.MaxTimestamp, Codec: h.Attributes.Codec().String(), CRC: h.CRC,
		Transactional: h.Attributes.Has(record.Transactional), Control: h.Attributes.Has(record.Control)}
	if !records {
		return row, true
	}
	for reader.Reset(batch, record.DefaultLimit); reader.Next(); {
		r := reader.Record()
		d := dumpedRecord{Offset: r.Offset, Timestamp: r.Timestamp}
		d.Key, d.KeyB64 = textOrBase64(r.Key)
		d.Value, d.ValueB64 = textOrBase64(r.Value)
		row.Records = append(row.Records, d)
	}
	if err := reader.Err(); err != nil {
		row.Error = err.Error()
		return row, false
	}
	return row, true
}

func dumpLine(a *app, b dumpedBatch) {
	if a.output == "json" || a.output == "jsonl" {
		line, _ := json.Marshal(b)
		fmt.Fprintf(a.Out, "%s\n", line)
		return
	}
	if b.Error != "" && b.Count == 0 {
		fmt.Fprintf(a.Out, "position %d size %d DAMAGED: %s\n", b.Position, b.Size, b.Error)
		return
	}
	fmt.Fprintf(a.Out, "offsets %d-%d count %d epoch %d position %d size %d time %d codec %s crc %d", b.BaseOffset, b.LastOffset, b.Count, b.LeaderEpoch,
		b.Position, b.Size, b.MaxTimestamp, b.Codec, b.CRC)
	if b.ProducerID >= 0 {
		fmt.Fprintf(a.Out, " producer %d/%d sequence %d", b.ProducerID, b.ProducerEpoch, b.BaseSequence)
	}
	for _, flag := range []struct {
		on   bool
		name string
	}{{b.Transactional, "transactional"}, {b.Control, "control"}} {
		if flag.on {
			fmt.Fprint(a.Out, " "+flag.name)
		}
	}
	fmt.Fprintln(a.Out)
	for _, r := range b.Records {
		fmt.Fprintf(a.Out, "  %d time %d key %s value %s\n", r.Offset, r.Timestamp, dumpText(r.Key, r.KeyB64), dumpText(r.Value, r.ValueB64))
	}
	if b.Error != "" {
		fmt.Fprintf(a.Out, "  DAMAGED: %s\n", b.Error)
	}
}

func dumpText(s *string, b64 string) string {
	switch {
	case s != nil:
		return fmt.Sprintf("%q", *s)
	case b64 != "":
		return "base64:" + b64
	}
	return "null"
}

// dumpIndex shows the entries of an index.
//
//	.index       4 offset less the base, 4 position in the .log
//	.timeindex   8 timestamp, 4 offset less the base
//
// The file may be larger than what is used: entries of zeros end it.
func dumpIndex(a *app, f io.Reader, ext string, base int64) error {
	all, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	size := 8
	if ext == ".timeindex" {
		size = 12
	}
	for i := 0; i+size <= len(all); i += size {
		e := all[i : i+size]
		if strings.Trim(string(e), "\x00") == "" && i > 0 {
			break
		}
		if size == 8 {
			fmt.Fprintf(a.Out, "offset %d position %d\n", base+int64(binary.BigEndian.Uint32(e)), binary.BigEndian.Uint32(e[4:]))
		} else {
			fmt.Fprintf(a.Out, "time %d offset %d\n", int64(binary.BigEndian.Uint64(e)), base+int64(binary.BigEndian.Uint32(e[8:])))
		}
	}
	return nil
}
