package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// The manifest of a log directory, .myelin_manifest, tells of each log that is
// at rest what a start would otherwise have to find out from its files. It is
// frames, one after the other; docs/format/manifest.md draws them:
//
//	offset size  field
//	     0    4  length n of the body
//	     4    4  CRC-32C of the CRC before, of the length and of the body
//	     8    n  operations: a kind (1) and what belongs to it
//
// Whoever reads it stops at the first frame that is not right; what counts is
// what the frames before it say.
const (
	manifestFile  = ".myelin_manifest"
	manifestHead  = 8
	manifestFrame = 1 << 20 // a frame of a manifest written whole has about so many bytes
	maxManifest   = 1 << 30
)

// The kinds of operations.
const (
	opVersion byte = 'V' // format version, uvarint
	opBoot    byte = 'B' // the machine's run in which the file was begun: length, text
	opTopic   byte = 'T' // the next number stands for this name and topic id
	opRest    byte = 'R' // a log came to rest: topic number, partition, length, what is known of it
	opStir    byte = 'S' // a log is going to change: topic number, partition
	opPoints  byte = 'P' // CRC-32C of both checkpoint files as they are going to be

	manifestVersion = 2 // 1 is read too
)

// topicKey is what a number in the manifest stands for.
type topicKey struct {
	name string
	id   kafka.UUID
}

// manifestWriter makes the operations of one file.
type manifestWriter struct {
	numbers map[topicKey]int
	body    []byte // operations that are in no frame yet
}

func newManifestWriter(boot string) manifestWriter {
	w := manifestWriter{numbers: map[topicKey]int{}}
	w.body = binary.AppendUvarint([]byte{opVersion}, manifestVersion)
	w.body = binary.AppendUvarint(append(w.body, opBoot), uint64(len(boot)))
	w.body = append(w.body, boot...)
	return w
}

func (w *manifestWriter) log(kind byte, tp kafka.TopicPartition, id kafka.UUID) {
	key := topicKey{tp.Topic, id}
	n, ok := w.numbers[key]
	if !ok {
		n = len(w.numbers)
		w.numbers[key] = n
		w.body = binary.AppendUvarint(append(w.body, opTopic), uint64(len(tp.Topic)))
		w.body = append(append(w.body, tp.Topic...), id[:]...)
	}
	w.body = binary.AppendUvarint(append(w.body, kind), uint64(n))
	w.body = binary.AppendUvarint(w.body, uint64(uint32(tp.Partition)))
}

func (w *manifestWriter) rest(tp kafka.TopicPartition, r resting) {
	w.log(opRest, tp, r.id)
	w.body = binary.AppendUvarint(w.body, uint64(len(r.facts)))
	w.body = append(w.body, r.facts...)
}

func (w *manifestWriter) stir(tp kafka.TopicPartition, id kafka.UUID) { w.log(opStir, tp, id) }

func (w *manifestWriter) points(points, starts uint32) {
	w.body = binary.BigEndian.AppendUint32(append(w.body, opPoints), points)
	w.body = binary.BigEndian.AppendUint32(w.body, starts)
}

// appendFrame puts a body behind out as one frame, and gives its CRC, which the
// next frame needs.
func appendFrame(out []byte, before uint32, body []byte) ([]byte, uint32) {
	crc := frameCRC(before, body)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = binary.BigEndian.AppendUint32(out, crc)
	return append(out, body...), crc
}

// frameCRC chains a frame to the one before: a frame that is missing or of
// another file does not fit.
func frameCRC(before uint32, body []byte) uint32 {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:], before)
	binary.BigEndian.PutUint32(head[4:], uint32(len(body)))
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, body)
}

// manifest is the content of a manifest.
type manifest struct {
	logs    map[kafka.TopicPartition]resting
	points  [2][2]uint32 // what the last two opPoints say, the newest first
	pointed bool
	version uint64
	topics  []topicKey
	boot    string // the machine's run in which the file was begun
	crc     uint32 // of the last frame
	good    int64  // bytes of whole frames
}

// parseManifest reads as many frames as are right. Nothing of a file without a
// right first frame counts, nor of one in a version that this program does not
// know.
func parseManifest(b []byte) (*manifest, error) {
	m := &manifest{logs: map[kafka.TopicPartition]resting{}}
	for len(b) >= manifestHead {
		n := int64(binary.BigEndian.Uint32(b))
		if n == 0 || n > int64(len(b)-manifestHead) {
			break
		}
		body := b[manifestHead : manifestHead+n]
		crc := frameCRC(m.crc, body)
		if crc != binary.BigEndian.Uint32(b[4:]) {
			break
		}
		if err := m.take(body, m.good == 0); err != nil {
			return nil, err
		}
		m.crc = crc
		m.good += manifestHead + n
		b = b[manifestHead+n:]
	}
	if !m.pointed {
		return nil, fmt.Errorf("%s: its begin is not whole: %w", manifestFile, errMalformed)
	}
	return m, nil
}

// take lets the operations of a frame act.
func (m *manifest) take(body []byte, first bool) error {
	c := varints{b: body}
	if first {
		kind := c.byte()
		if m.version = c.uint(); kind != opVersion || m.version < 1 || m.version > manifestVersion {
			return fmt.Errorf("%s: unknown version: %w", manifestFile, errMalformed)
		}
	}
	for len(c.b) > 0 && !c.bad {
		switch kind := c.byte(); kind {
		case opBoot:
			m.boot = string(c.bytes(c.uint()))
		case opTopic:
			key := topicKey{name: string(c.bytes(c.uint()))}
			copy(key.id[:], c.bytes(uint64(len(key.id))))
			m.topics = append(m.topics, key)
		case opRest, opStir:
			n, p := c.uint(), c.uint()
			if n >= uint64(len(m.topics)) || p > 1<<31-1 {
				c.bad = true
				break
			}
			tp := kafka.TopicPartition{Topic: m.topics[n].name, Partition: int32(p)}
			if kind == opStir {
				delete(m.logs, tp)
				break
			}
			m.logs[tp] = resting{id: m.topics[n].id, facts: string(c.bytes(c.uint()))}
		case opPoints:
			now := [2]uint32{c.uint32(), c.uint32()}
			if !m.pointed {
				m.points[0], m.pointed = now, true
			}
			m.points = [2][2]uint32{now, m.points[0]}
		default:
			c.bad = true
		}
	}
	if c.bad {
		return fmt.Errorf("%s: a frame cannot be read: %w", manifestFile, errMalformed)
	}
	return nil
}

// writer goes on where the manifest ends.
func (m *manifest) writer() manifestWriter {
	w := manifestWriter{numbers: make(map[topicKey]int, len(m.topics))}
	for n, key := range m.topics {
		w.numbers[key] = n
	}
	return w
}

// varints reads fields; after the first lack of bytes it gives zeros and is bad.
type varints struct {
	b   []byte
	bad bool
}

func (c *varints) byte() byte {
	if b := c.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (c *varints) bytes(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.b, c.bad = nil, true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *varints) uint32() uint32 {
	if b := c.bytes(4); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *varints) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *varints) int() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count reads a number of things of at least size bytes each.
func (c *varints) count(size int) int {
	n := c.uint()
	if n > uint64(len(c.b)/size) {
		c.b, c.bad = nil, true
		return 0
	}
	return int(n)
}
