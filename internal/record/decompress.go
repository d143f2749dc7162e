package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxZstdWindow bounds how far back zstd may refer, and with that its memory.
// Frames of levels up to 19 need no more.
const maxZstdWindow = 8 << 20

// decoders holds one decompressor of each kind, made at first use.
type decoders struct {
	in     bytes.Reader
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
	lz4    *lz4.Reader
	snappy snappyReader
}

// open begins to expand body. What it returns streams; it holds at most the
// codec's own window and gives up, at the latest, past limit bytes.
func (d *decoders) open(codec Codec, body []byte, limit int64) (io.Reader, error) {
	d.in.Reset(body)
	var err error
	switch codec {
	case Gzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		return d.gzip, d.gzip.Reset(&d.in)
	case Snappy:
		return &d.snappy, d.snappy.reset(body, limit)
	case LZ4:
		if err := checkLZ4Frame(body); err != nil {
			return nil, err
		}
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(&d.in)
			return d.lz4, nil
		}
		d.lz4.Reset(&d.in)
		return d.lz4, nil
	case Zstd:
		if d.zstd == nil {
			d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxZstdWindow))
			if err != nil {
				return nil, err
			}
		}
		return d.zstd, d.zstd.Reset(&d.in)
	}
	return nil, fmt.Errorf("unknown compression codec %d: %w", int8(codec), errMalformed)
}

// release lets go of the batch.
func (d *decoders) release() {
	d.in.Reset(nil)
	d.snappy.release()
}

// checkLZ4Frame admits the frames that Kafka reads: format 1, blocks that do
// not depend on each other, no dictionary.
func checkLZ4Frame(b []byte) error {
	const magic = 0x184d2204
	if len(b) < 7 || binary.LittleEndian.Uint32(b) != magic {
		return fmt.Errorf("no lz4 frame: %w", errMalformed)
	}
	flags := b[4]
	switch {
	case flags>>6 != 1:
		return fmt.Errorf("lz4 frame of version %d: %w", flags>>6, errMalformed)
	case flags&0x20 == 0:
		return fmt.Errorf("lz4 blocks depend on each other: %w", errMalformed)
	case flags&0x03 != 0:
		return fmt.Errorf("lz4 frame with a dictionary: %w", errMalformed)
	}
	return nil
}

// snappyReader expands both shapes that clients send: one raw snappy block, and
// the chunks of the Java library xerial:
//
//	 0  8  82 'S' 'N' 'A' 'P' 'P' 'Y' 0
//	 8  4  version, 4 oldest version that can read it
//	16  …  chunks: size (4 bytes), raw snappy block
type snappyReader struct {
	in     []byte // not yet expanded
	chunks bool
	out    []byte // expanded, not yet read
	buf    []byte
	left   int64 // how much more may come
}

const (
	xerialMagic  = "\x82SNAPPY\x00"
	xerialHeader = 16
	// maxSnappyRatio is more than a snappy block can expand: its densest
	// element makes 64 bytes of 3. A length beyond it is a lie, found before
	// memory is taken for it.
	maxSnappyRatio = 22
)

func (s *snappyReader) reset(body []byte, limit int64) error {
	s.in, s.out, s.left = body, nil, limit
	s.chunks = len(body) >= xerialHeader && string(body[:len(xerialMagic)]) == xerialMagic
	if s.chunks {
		s.in = body[xerialHeader:]
		return nil
	}
	return s.expand(len(body))
}

func (s *snappyReader) release() {
	s.in, s.out = nil, nil
	if cap(s.buf) > keepSize {
		s.buf = nil
	}
}

// expand reads the first n bytes of in as one raw block.
func (s *snappyReader) expand(n int) error {
	if n > len(s.in) {
		return io.ErrUnexpectedEOF
	}
	block := s.in[:n]
	s.in = s.in[n:]
	size, err := snappy.DecodedLen(block)
	if err != nil {
		return err
	}
	if int64(size) > s.left {
		return errLimit
	}
	if size > maxSnappyRatio*len(block) {
		return fmt.Errorf("snappy block of %d bytes claims %d: %w", len(block), size, errMalformed)
	}
	s.left -= int64(size)
	if cap(s.buf) < size {
		s.buf = make([]byte, max(size, windowSize))
	}
	s.out, err = snappy.Decode(s.buf[:cap(s.buf)], block)
	return err
}

// Read gives what is expanded, then expands the next chunk.
func (s *snappyReader) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if len(s.in) == 0 {
			return 0, io.EOF
		}
		if len(s.in) < 4 {
			return 0, io.ErrUnexpectedEOF
		}
		n := binary.BigEndian.Uint32(s.in)
		s.in = s.in[4:]
		if int64(n) > int64(len(s.in)) {
			return 0, io.ErrUnexpectedEOF
		}
		if err := s.expand(int(n)); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}
