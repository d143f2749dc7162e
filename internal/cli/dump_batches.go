package cli

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

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
	// Decoded is what the record says, of an internal topic or the metadata log.
	Decoded []decoded `json:"decoded,omitempty"`
}

// batchDump shows a file of record batches.
type batchDump struct {
	app    *app
	flags  dumpFlags
	reader record.Reader
	told   teller
}

func dumpBatchFile(a *app, file string, f dumpFlags) (damaged int, err error) {
	in, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	d := &batchDump{app: a, flags: f, told: tellerOf(path.Base(path.Dir(file)), file)}
	return d.run(in)
}

// dumpBatches shows batch after batch and stops at the first that cannot be
// stepped over.
func (d *batchDump) run(f io.ReaderAt) (damaged int, err error) {
	defer d.reader.Release()
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
			dumpLine(d.app, dumpedBatch{Position: at, Size: n, Error: fmt.Sprintf("no batch starts here (%d bytes, length field says %d)", n, size)})
			return damaged + 1, ignoreEOF(err)
		}
		batch := make([]byte, size)
		if n, err := f.ReadAt(batch, at); n < size {
			dumpLine(d.app, dumpedBatch{Position: at, Size: n, Error: fmt.Sprintf("cut off: %d of %d bytes are there", n, size)})
			return damaged + 1, ignoreEOF(err)
		}
		row, ok := d.batch(batch, at)
		if !ok {
			damaged++
		}
		dumpLine(d.app, row)
		at += int64(size)
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (d *batchDump) batch(batch []byte, at int64) (dumpedBatch, bool) {
	h, err := record.Check(batch)
	if err != nil {
		return dumpedBatch{Position: at, Size: len(batch), Error: err.Error()}, false
	}
	row := dumpedBatch{Position: at, Size: len(batch), BaseOffset: h.BaseOffset, LastOffset: h.BaseOffset + int64(h.LastOffsetDelta), Count: h.Count,
		LeaderEpoch: h.LeaderEpoch, BaseSequence: h.BaseSequence, ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch,
		BaseTimestamp: h.BaseTimestamp, MaxTimestamp: h.MaxTimestamp, Codec: h.Attributes.Codec().String(), CRC: h.CRC,
		Transactional: h.Attributes.Has(record.Transactional), Control: h.Attributes.Has(record.Control)}
	if !d.flags.records && !d.flags.decode {
		return row, true
	}
	for d.reader.Reset(batch, record.DefaultLimit); d.reader.Next(); {
		r := d.reader.Record()
		out := dumpedRecord{Offset: r.Offset, Timestamp: r.Timestamp}
		out.Key, out.KeyB64 = textOrBase64(r.Key)
		out.Value, out.ValueB64 = textOrBase64(r.Value)
		if d.flags.decode {
			out.Decoded = d.told(r, row.Control)
		}
		row.Records = append(row.Records, out)
	}
	if err := d.reader.Err(); err != nil {
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
		if len(r.Decoded) == 0 {
			fmt.Fprintf(a.Out, "  %d time %d key %s value %s\n", r.Offset, r.Timestamp, dumpText(r.Key, r.KeyB64), dumpText(r.Value, r.ValueB64))
			continue
		}
		fmt.Fprintf(a.Out, "  %d time %d\n", r.Offset, r.Timestamp)
		for _, d := range r.Decoded {
			fmt.Fprintf(a.Out, "    %s\n", d)
		}
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
