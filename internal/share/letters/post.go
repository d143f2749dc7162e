package letters

import (
	"bytes"
	"strconv"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/share"
)

// post is a row of letters on their way, of which batches are made one after the
// other.
type post struct {
	key    share.Key
	source string // name of the topic that the records are of
	all    []share.Letter
	errs   []error // for each letter

	at     int   // the letter to go on with
	offset int64 // and the record of it
	next   place // what comes after the batch that was filled

	copies map[int64]copied // by offset; nil if there are to be none
	known  place            // how far was looked for copies
	plain  bool             // the next record goes without a copy
	single bool             // and alone: the batch that it began was refused
	failed int              // tries in a row
	build  record.Builder
	open   record.Reader
}

// place is a record of a letter.
type place struct {
	at     int
	offset int64
}

func (x place) before(o place) bool { return x.at < o.at || x.at == o.at && x.offset < o.offset }

// copied is a record's key and value.
type copied struct{ key, value []byte }

func newPost(source string, key share.Key, all []share.Letter) *post {
	p := &post{key: key, source: source, all: all, errs: make([]error, len(all))}
	if len(all) > 0 {
		p.offset = all[0].First
	}
	return p
}

func (p *post) done() bool { return p.at >= len(p.all) }

// giveUp ends all that is left with an error.
func (p *post) giveUp(err error) {
	for ; p.at < len(p.all); p.at++ {
		p.errs[p.at] = err
	}
}

// written goes on behind the batch that was filled.
func (p *post) written() {
	p.at, p.offset, p.plain, p.single = p.next.at, p.next.offset, false, false
}

// skip goes on behind the first record, which is not taken, alone as it was.
func (p *post) skip(err error) {
	p.errs[p.at] = err
	n := p.after(place{p.at, p.offset})
	p.at, p.offset, p.plain, p.single = n.at, n.offset, false, false
}

// after is the record that comes after one.
func (p *post) after(x place) place {
	if x.offset++; x.offset > p.all[x.at].Last {
		if x.at++; x.at < len(p.all) {
			x.offset = p.all[x.at].First
		}
	}
	return x
}

// fill makes a batch that begins with the next record: as many records as the
// topic takes, one at least. Where there are copies it ends before the first
// record that was not looked for.
func (p *post) fill(maxBytes int, now int64) []byte {
	p.build.Reset()
	x := place{p.at, p.offset}
	for x.at < len(p.all) {
		r := p.letter(x, now)
		if p.build.Count() > 0 && (p.build.SizeWith(&r) > maxBytes || p.plain || p.single) {
			break
		}
		if p.build.Count() > 0 && p.copies != nil && !x.before(p.known) {
			break // another round reads on
		}
		p.build.Append(r)
		x = p.after(x)
	}
	p.next = x
	return p.build.Bytes()
}

// letter makes the letter of a record.
func (p *post) letter(x place, now int64) record.Record {
	l := &p.all[x.at]
	c := p.copies[x.offset]
	text := func(key, value string) record.RecordHeader {
		return record.RecordHeader{Key: key, Value: []byte(value)}
	}
	return record.Record{Timestamp: now, Key: c.key, Value: c.value, Headers: []record.RecordHeader{
		text("__dlq.errors.topic", p.source),
		text("__dlq.errors.partition", strconv.Itoa(int(p.key.Partition))),
		text("__dlq.errors.offset", strconv.FormatInt(x.offset, 10)),
		text("__dlq.errors.group", p.key.Group),
		text("__dlq.errors.delivery.count", strconv.Itoa(int(l.Count))),
		text("__dlq.errors.message", l.Cause.String()),
	}}
}

// readBytes is how much of the log is read for one batch of letters.
const readBytes = 1 << 20

// read looks for the records of the next letters, up to so many bytes of keys and
// values. What cannot be read goes without a copy: the letter tells where it was.
func (p *post) read(w World, maxBytes int) {
	p.copies = map[int64]copied{}
	p.known = place{at: len(p.all)}
	batches, err := w.Read(p.key.TopicID, p.key.Partition, p.offset, readBytes)
	if err != nil || len(batches) == 0 {
		return
	}
	defer p.open.Release()
	left := maxBytes
	x := place{p.at, p.offset}
	for len(batches) > 0 && x.at < len(p.all) && left > 0 {
		h, err := record.ParseHeader(batches)
		if err != nil || h.Size() > len(batches) {
			return
		}
		p.open.Reset(batches[:h.Size()], record.DefaultLimit)
		x, left = p.look(x, left, maxBytes)
		if left > 0 {
			x = p.reach(x, h.NextOffset()) // of the others there are none
		}
		batches = batches[h.Size():]
	}
	p.known = x
}

// look copies records of the open batch, from a place on, and returns how far it
// came; nothing is left where there was no room for more.
func (p *post) look(x place, left, maxBytes int) (place, int) {
	for p.open.Next() {
		r := p.open.Record()
		if x = p.reach(x, r.Offset); x.at == len(p.all) {
			break
		}
		n := len(r.Key) + len(r.Value)
		switch {
		case x.offset != r.Offset || n > maxBytes:
			continue
		case n > left:
			return x, 0
		}
		p.copies[r.Offset] = copied{bytes.Clone(r.Key), bytes.Clone(r.Value)}
		left -= n
	}
	return x, left
}

// reach is the first record from a place on whose offset is not below one.
func (p *post) reach(x place, offset int64) place {
	for x.at < len(p.all) && x.offset < offset {
		x.offset = min(offset, p.all[x.at].Last+1) - 1
		x = p.after(x)
	}
	return x
}
