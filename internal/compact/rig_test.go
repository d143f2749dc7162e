package compact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// rig is a log directory with one log, on a disk in memory, and a cleaner.
type rig struct {
	t    testing.TB
	disk *vfs.Mem
	home *commitlog.Home
	log  *commitlog.Log
	rec  commitlog.Recovered
	now  time.Time
	jump time.Duration // of the wall clock
	tun  commitlog.Tunables
	set  Settings
	rng  *rand.Rand
}

func newRig(t testing.TB, tun commitlog.Tunables) *rig {
	t.Helper()
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{}), now: time.UnixMilli(1_700_000_000_000), tun: tun,
		rng: rand.New(rand.NewPCG(1, 2))}
	r.must(r.start())
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) start() error {
	now := func() time.Time { return r.now.Add(r.jump) }
	ran := func() time.Duration { return time.Duration(r.now.UnixNano()) }
	var err error
	if r.home, err = commitlog.OpenHome(commitlog.HomeConfig{FS: r.disk, Path: "/data", Now: now, Elapsed: ran}); err != nil {
		return err
	}
	r.log, r.rec, err = commitlog.Open(commitlog.Config{Home: r.home, Topic: "t", TopicID: kafka.UUID{1}, Tunables: r.tun})
	return err
}

func (r *rig) restart() {
	r.t.Helper()
	r.must(r.log.Close())
	r.must(r.home.Close(true))
	r.must(r.start())
}

func (r *rig) cleaner() *Cleaner {
	return &Cleaner{Settings: r.set, Now: func() time.Time { return r.now.Add(r.jump) }, Rand: r.rng}
}

// stable is the last stable offset if everything is committed.
func (r *rig) stable() int64 {
	if first, ok := r.log.Producers().FirstUnstable(r.log.End()); ok {
		return first
	}
	return r.log.End()
}

func (r *rig) tryClean() (Stats, bool, error) {
	return r.cleaner().Clean(context.Background(), Target{Log: r.log, Stable: r.stable(), HW: r.log.End()})
}

func (r *rig) clean() Stats {
	r.t.Helper()
	s, _, err := r.tryClean()
	r.must(err)
	return s
}

// append writes a batch that is built at the log's end.
func (r *rig) append(b *record.Builder, records ...record.Record) error {
	b.BaseOffset = r.log.End()
	for _, rec := range records {
		if rec.Timestamp == 0 {
			rec.Timestamp = r.now.UnixMilli()
		}
		b.Append(rec)
	}
	return r.raw(bytes.Clone(b.Bytes()))
}

func (r *rig) raw(batch []byte) error {
	h, err := record.Check(batch)
	if err != nil {
		return err
	}
	return r.log.Append([]commitlog.Batch{{Bytes: batch, Header: h}})
}

func (r *rig) marker(id int64, epoch int16, kind record.ControlType) error {
	b := record.EndTxnMarker(record.Producer{ID: id, Epoch: epoch}, kind, 1, r.now.UnixMilli())
	record.Stamp(b, r.log.End(), 0)
	return r.raw(b)
}

// kv is a record as the tests compare it.
type kv struct {
	offset, ts int64
	key, value string
	hasKey     bool
	tombstone  bool
	headers    string
	pid        int64
	control    bool
	aborted    bool // seen by a read_committed reader as rolled back
}

func (k kv) String() string {
	if k.control {
		return fmt.Sprintf("%d:marker(%d)", k.offset, k.pid)
	}
	v := k.value
	if k.tombstone {
		v = "∅"
	}
	return fmt.Sprintf("%d:%s=%s", k.offset, k.key, v)
}

// batches reads every batch that is in the log, and checks that reads go over
// gaps: one that begins at any offset of a batch finds it.
func (r *rig) batches() [][]byte {
	r.t.Helper()
	var out [][]byte
	for off := r.log.Start(); off < r.log.End(); {
		rng, err := r.log.Read(off, 1<<20, r.log.End(), true)
		r.must(err)
		if rng.Len() == 0 {
			break
		}
		data := make([]byte, rng.Len())
		if _, err := rng.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
			r.t.Fatal(err)
		}
		rng.Release()
		for len(data) > 0 {
			h, err := record.Check(data[:record.Size(data)])
			r.must(err)
			if h.LastOffset() < off {
				r.t.Fatalf("read at %d gives a batch of %d to %d", off, h.BaseOffset, h.LastOffset())
			}
			out = append(out, data[:h.Size()])
			off, data = h.NextOffset(), data[h.Size():]
		}
	}
	return out
}

// records reads all records as a read_committed consumer of everything would.
func (r *rig) records() []kv {
	r.t.Helper()
	aborted, err := r.log.Aborted(r.log.Start(), r.log.End())
	r.must(err)
	var out []kv
	open := map[int64]bool{}
	last := int64(-1)
	var rd record.Reader
	for _, b := range r.batches() {
		for rd.Reset(b, 1<<24); rd.Next(); {
			h, rec := rd.Header(), rd.Record()
			for len(aborted) > 0 && aborted[0].First <= h.LastOffset() {
				open[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			if rec.Offset <= last {
				r.t.Fatalf("offset %d after %d", rec.Offset, last)
			}
			last = rec.Offset
			k := kv{offset: rec.Offset, ts: rec.Timestamp, key: string(rec.Key), hasKey: rec.Key != nil, value: string(rec.Value),
				tombstone: rec.Value == nil, headers: fmt.Sprint(rec.Headers), pid: h.ProducerID, control: h.Attributes.Has(record.Control)}
			if k.control {
				delete(open, k.pid)
			} else {
				k.aborted = h.Attributes.Has(record.Transactional) && open[k.pid]
			}
			out = append(out, k)
		}
		r.must(rd.Err())
	}
	return out
}

// text lists what a consumer of committed data reads.
func text(list []kv) string {
	var b bytes.Buffer
	for _, k := range list {
		if !k.control && !k.aborted {
			fmt.Fprintf(&b, "%s ", k)
		}
	}
	return b.String()
}

func offsets(list []kv) []int64 {
	var out []int64
	for _, k := range list {
		out = append(out, k.offset)
	}
	return out
}

// str is a value that is not nil.
func str(s string) []byte { return append([]byte{}, s...) }

func sameOffsets(a, b []kv) bool { return slices.Equal(offsets(a), offsets(b)) }

// tryCleanAt cleans at another time than the rig's.
func (r *rig) tryCleanAt(now time.Time) (Stats, bool, error) {
	c := Cleaner{Now: func() time.Time { return now }, Rand: rand.New(rand.NewPCG(5, 6))}
	return c.Clean(context.Background(), Target{Log: r.log, Stable: r.stable(), HW: r.log.End()})
}

// overtaken takes it that others came first.
func (r *rig) overtaken(s Stats, did bool, err error) (Stats, error) {
	if errors.Is(err, commitlog.ErrOvertaken) || !did {
		return s, errors.Join(ignore(err, commitlog.ErrOvertaken))
	}
	return s, err
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// readThrough reads the log from its start to its end, whose batches rise and
// hold what is asked for.
func (r *rig) readThrough() error {
	for off, end := r.log.Start(), r.log.End(); off < end; {
		rng, err := r.log.Read(off, 3000, end, true)
		if errors.Is(err, kafka.OffsetOutOfRange) {
			off = r.log.Start()
			continue
		}
		if err != nil || rng.Len() == 0 {
			return err
		}
		data := make([]byte, rng.Len())
		_, err = rng.ReadAt(data, 0)
		rng.Release()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := r.log.Aborted(off, end); err != nil {
			return err
		}
		if _, _, err := r.log.OffsetForTime(r.now.UnixMilli()); err != nil {
			return err
		}
		for len(data) > 0 {
			h, err := record.Check(data[:record.Size(data)])
			if err != nil || h.LastOffset() < off {
				return fmt.Errorf("read at %d gives %d to %d: %w", off, h.BaseOffset, h.LastOffset(), err)
			}
			off, data = h.NextOffset(), data[h.Size():]
		}
	}
	return nil
}
