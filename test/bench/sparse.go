package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A log of 100 GB that takes little of the disk: batches of 1 MiB whose record
// is zeros, so that all but their first bytes are holes in the segment files.
// The checksums hold, since base offset and epoch lie outside of them.

const (
	sparseBatch   = mib
	sparseSegment = 1000 // batches
)

// sparseTemplate is a batch of sparseBatch bytes.
func sparseTemplate() []byte {
	n := sparseBatch - 100
	for {
		b := sealBatch(appendRecord(nil, 0, make([]byte, n)), 1, 0)
		if len(b) == sparseBatch {
			return b
		}
		n += sparseBatch - len(b)
	}
}

// writeSparse fills the folder of a partition with batches from offset 0 on, in
// the place of what is there.
func writeSparse(folder string, batches int) error {
	old, err := filepath.Glob(filepath.Join(folder, "0*"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	head := sparseTemplate()[:256] // behind it are zeros
	for base := 0; base < batches; base += sparseSegment {
		if err := writeSparseSegment(folder, base, min(sparseSegment, batches-base), head); err != nil {
			return err
		}
	}
	// No producer has a state at the end: version 1, checksum, no entries.
	state := binary.BigEndian.AppendUint16(nil, 1)
	state = binary.BigEndian.AppendUint32(state, crc32.Checksum(make([]byte, 4), crc32.MakeTable(crc32.Castagnoli)))
	state = binary.BigEndian.AppendUint32(state, 0)
	if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%020d.snapshot", batches)), state, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "leader-epoch-checkpoint"), []byte("0\n1\n0 0\n"), 0o644)
}

func writeSparseSegment(folder string, base, n int, head []byte) (err error) {
	name := filepath.Join(folder, fmt.Sprintf("%020d", base))
	f, err := os.Create(name + ".log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var index []byte
	for i := range n {
		binary.BigEndian.PutUint64(head, uint64(base+i))
		if _, err := f.WriteAt(head, int64(i)*sparseBatch); err != nil {
			return err
		}
		if i > 0 {
			index = binary.BigEndian.AppendUint32(index, uint32(i))
			index = binary.BigEndian.AppendUint32(index, uint32(i*sparseBatch))
		}
	}
	if err := f.Truncate(int64(n) * sparseBatch); err != nil {
		return err
	}
	if err := os.WriteFile(name+".index", index, 0o644); err != nil {
		return err
	}
	stamp := append([]byte(nil), head[35:43]...) // the largest timestamp, which all batches have
	return os.WriteFile(name+".timeindex", binary.BigEndian.AppendUint32(stamp, uint32(n-1)), 0o644)
}

// settleSparse lets the broker find what was put into its directory: what it
// wrote down of the folder is gone, and the log counts as durable.
func settleSparse(data, topic string, batches int) error {
	for _, name := range []string{".myelin_manifest", ".myelin_points"} {
		if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
			return err
		}
	}
	name := filepath.Join(data, "recovery-point-offset-checkpoint")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, topic+" 0 ") {
			lines[i] = fmt.Sprintf("%s 0 %d", topic, batches)
		}
	}
	return os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o644)
}

// sparseRow is P16.
func sparseRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	dir, err := os.MkdirTemp(s.dir, "sparse-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	sizes := map[string]int{"small": 1_000_000_000 / sparseBatch, "large": 100_000_000_000 / sparseBatch}
	err = s.with(ctx, dir, nil, func(to target) error {
		return errors.Join(createTopic(ctx, to.addr, topicSpec{"small", 1, topicConfigs(nil)}),
			createTopic(ctx, to.addr, topicSpec{"large", 1, topicConfigs(nil)}))
	})
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	for topic, n := range sizes {
		if err := errors.Join(writeSparse(filepath.Join(data, topic+"-0"), n), settleSparse(data, topic, n)); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	err = s.with(ctx, dir, nil, func(to target) error {
		r.note = fmt.Sprintf("(started on both logs in %.2f s)", time.Since(begin).Seconds())
		before, _, err := to.memory()
		if err != nil {
			return err
		}
		if err := fetchAnywhere(ctx, to, "large", sizes["large"], 1000); err != nil {
			return err
		}
		_, peak, err := to.memory()
		if err != nil {
			return err
		}
		for i := range s.times + 1 {
			small, err := s.fetchHead(ctx, to, "small", sizes["small"])
			if err != nil {
				return err
			}
			large, err := s.fetchHead(ctx, to, "large", sizes["large"])
			if err != nil {
				return err
			}
			if i > 0 { // the first warms both
				r.add("plain", []float64{small})
				r.add("myelin", []float64{large, float64(peak-before) / 1e6})
			}
		}
		return nil
	})
	return r, err
}

// fetchAnywhere fetches n batches of a log, each somewhere else.
func fetchAnywhere(ctx context.Context, to target, topic string, batches, n int) error {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	dice := rand.New(rand.NewPCG(16, 16))
	frame, at := fetchAsk{topic: topic, maxBytes: sparseBatch, minBytes: 1, maxWait: 500}.frame()
	for range n {
		offset := dice.IntN(batches)
		binary.BigEndian.PutUint64(frame[at:], uint64(offset))
		body, err := c.exchange(frame)
		if err != nil {
			return err
		}
		records, err := fetchedRecords(body)
		if err != nil {
			return err
		}
		if len(records) != sparseBatch || binary.BigEndian.Uint64(records) != uint64(offset) {
			return fmt.Errorf("a fetch at %d of %s gave %d bytes", offset, topic, len(records))
		}
	}
	return nil
}

// fetchHead fetches the last batches of a log again and again.
func (s *session) fetchHead(ctx context.Context, to target, topic string, batches int) (cpuPerGB float64, err error) {
	const conns, last = 4, 64
	each := int(s.scaled(load{bytes: 4e9}).bytes / sparseBatch / conns)
	lanes := make([]*lane, conns)
	for i := range lanes {
		c, err := dial(ctx, to.addr)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		frame, at := fetchAsk{topic: topic, maxBytes: sparseBatch, minBytes: 1, maxWait: 500}.frame()
		next := i * last / conns
		lanes[i] = &lane{c: c, window: 1, frame: frame, isFetch: true, answered: sparseBatch, advance: func(frame []byte) {
			binary.BigEndian.PutUint64(frame[at:], uint64(batches-last+next%last))
			next++
		}}
	}
	if err := drive(ctx, lanes, last); err != nil {
		return 0, err
	}
	before, err := to.cpu()
	if err != nil {
		return 0, err
	}
	if err := drive(ctx, lanes, each); err != nil {
		return 0, err
	}
	after, err := to.cpu()
	return (after - before).Seconds() / (float64(each*conns*sparseBatch) / 1e9), err
}
