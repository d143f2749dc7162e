package api

import (
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share"
)

// shareRow is one partition of a ShareFetch.
type shareRow struct {
	share.TopicPartition
	named bool // by the session
	owed  bool // the session says that it is to be told of

	log *replica.Replica
	at  *share.Partition

	code  kafka.Code
	early bool // the error came before the share partition was asked
	res   replica.Result
	rows  []share.AcquiredRecords
	ack   *sharePartition // what came along

	from     int64 // to read from
	maxBytes int
	reads    bool // there was room: more in the log is worth a look

	freed share.Watcher
	grown replica.FetchWaiter
}

func (p *shareRow) fail(code kafka.Code, early bool) { p.code, p.early = code, early }

// rank orders rows: refused, fetched, only acknowledged.
func (p *shareRow) rank() int {
	switch {
	case p.early:
		return 0
	case p.named:
		return 1
	}
	return 2
}

// take gives the range of records away.
func (p *shareRow) take() commitlog.Range {
	r := p.res.Range
	p.res.Range = commitlog.Range{}
	return r
}

// enough says whether there is as much to acquire as makes an answer worth it.
func (h *ShareHandlers) enough(f *sharing) bool {
	total := 0
	for _, p := range f.rows {
		if p.code != kafka.None {
			continue
		}
		from, seen, ok := p.at.Begin(&f.set)
		p.freed.Seen, p.reads = seen, ok
		if ok {
			if found, err := p.log.Read(f.reading(from, f.max)); err == nil {
				p.sawEnd(f, &found)
				total += found.Range.Len()
				found.Range.Release()
			}
		}
		p.at.End()
	}
	return total >= f.min
}

func (f *sharing) reading(from int64, maxBytes int) replica.Read {
	return replica.Read{Offset: from, MaxBytes: maxBytes, MinOne: true, Isolation: f.isolation(),
		CurrentEpoch: kafka.NoEpoch, LastFetchedEpoch: kafka.NoEpoch, FromLeader: true}
}

// sawEnd notes up to where the log was looked at.
func (p *shareRow) sawEnd(f *sharing, found *replica.Result) {
	p.grown.Seen = found.HW
	if f.set.Committed {
		p.grown.Seen = found.LSO
	}
}

// shareTries bounds how often a look goes on at once because what was read
// turned out to be nobody's to have.
const shareTries = 64

// acquire reads the partition and acquires what is in it for the member.
func (h *ShareHandlers) acquire(c *Call, f *sharing, p *shareRow) {
	p.reads = false
	if f.left() <= 0 || f.max <= 0 {
		return
	}
	for range shareTries {
		again := false
		p.from, p.freed.Seen, p.reads = p.at.Begin(&f.set)
		if p.reads {
			again = h.acquireOnce(c, f, p)
		}
		p.at.End()
		if !again {
			return
		}
	}
}

// left is how many records the answer may have beside those it has.
func (f *sharing) left() int { return int(f.req.MaxRecords) - f.got }

// acquireOnce is one try of acquire. True asks for another one.
func (h *ShareHandlers) acquireOnce(c *Call, f *sharing, p *shareRow) (again bool) {
	found, err := p.log.Read(f.reading(p.from, p.maxBytes))
	if code := kafka.CodeOf(err); code == kafka.OffsetOutOfRange {
		start := p.log.LogStart()
		p.at.LogStart(start)
		return start > p.from
	} else if err != nil {
		p.fail(code, false)
		return false
	}
	p.sawEnd(f, &found)
	if found.Range.Len() == 0 {
		return false
	}
	got, err := f.headers(&found, p.from, f.left())
	if err != nil {
		found.Range.Release()
		c.t.cfg.Logger.Error("ShareFetch cannot read", "partition", p.log.TopicPartition(), "err", err)
		p.fail(kafka.KafkaStorageError, false)
		return false
	}
	rows := p.at.Acquire(&share.Taking{Member: f.member.ID, Mode: share.AcquireMode(f.req.ShareAcquireMode),
		BatchSize: int(f.req.BatchSize), Max: f.left(), From: p.from, Read: got.read, Aborted: got.aborted}, c.Now())
	if len(rows) == 0 {
		found.Range.Release()
		return true
	}
	for _, r := range rows {
		f.got += int(r.Last - r.First + 1)
	}
	p.rows, p.res = rows, found
	p.res.Range = found.Range.Cut(got.end(rows[len(rows)-1].Last))
	return false
}

// batches are what headers found in a range.
type batches struct {
	read, aborted [][2]int64
	ends          []int // of each batch, in bytes
}

// end is up to where the range is needed for records up to an offset.
func (b *batches) end(last int64) int {
	n := len(b.read)
	for n > 1 && b.read[n-1][0] > last {
		n--
	}
	return b.ends[n-1]
}

// headers looks at the batches of a range, up to those that hold so many records
// behind an offset.
func (f *sharing) headers(found *replica.Result, from int64, records int) (out batches, err error) {
	n := found.Range.Len()
	buf, at := f.buf[:0], 0 // of what is in buf, and where that begins
	for pos := 0; pos+record.HeaderSize <= n; {
		if pos < at || pos+record.HeaderSize > at+len(buf) {
			buf, at = f.buf[:min(len(f.buf), n-pos)], pos
			if k, err := found.Range.ReadAt(buf, int64(pos)); k < len(buf) {
				return out, err
			}
		}
		h, err := record.ParseHeader(buf[pos-at:])
		if err != nil {
			return out, err
		}
		if pos += h.Size(); pos > n {
			break
		}
		s := [2]int64{h.BaseOffset, h.LastOffset()}
		out.read, out.ends = append(out.read, s), append(out.ends, pos)
		if aborted(found.Aborted, &h) {
			out.aborted = append(out.aborted, s)
		}
		if s[1]-from+1 >= int64(records) {
			break
		}
	}
	if len(out.read) == 0 {
		return out, kafka.CorruptMessage
	}
	return out, nil
}

// aborted says whether a batch is one of a transaction that was aborted.
func aborted(txns []commitlog.AbortedTxn, h *record.Header) bool {
	if !h.Attributes.Has(record.Transactional) || h.Attributes.Has(record.Control) {
		return false
	}
	for i := range txns {
		t := &txns[i]
		if t.ProducerID == h.ProducerID && t.First <= h.BaseOffset && h.LastOffset() <= t.Last {
			return true
		}
	}
	return false
}
