package record

import (
	"encoding/binary"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// snappyChunk is how much each chunk of the xerial framing holds.
const snappyChunk = 32 << 10

// lz4FastLevel is the level that Kafka's lz4 takes as "not high compression".
const lz4FastLevel = 9

// encoders holds one compressor of each kind, made at first use.
type encoders struct {
	gzip      *gzip.Writer
	gzipLevel int
	lz4       *lz4.Writer
	zstd      *zstd.Encoder
	zstdLevel zstd.EncoderLevel
}

// sink appends what is written to it.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

// append adds src to dst in the codec's form. Writing to memory cannot fail,
// and levels out of range are brought into it.
func (e *encoders) append(dst []byte, codec Codec, level int, src []byte) []byte {
	switch codec {
	case Gzip:
		return e.appendGzip(dst, level, src)
	case Snappy:
		return appendSnappy(dst, src)
	case LZ4:
		return e.appendLZ4(dst, level, src)
	case Zstd:
		return e.appendZstd(dst, level, src)
	}
	return append(dst, src...)
}

// appendGzip takes levels 1 to 9; anything else is the library's own.
func (e *encoders) appendGzip(dst []byte, level int, src []byte) []byte {
	if level < gzip.BestSpeed || level > gzip.BestCompression {
		level = gzip.DefaultCompression
	}
	out := &sink{dst}
	if e.gzip == nil || e.gzipLevel != level {
		e.gzip, _ = gzip.NewWriterLevel(out, level) // the level is one of gzip's
		e.gzipLevel = level
	} else {
		e.gzip.Reset(out)
	}
	_, _ = e.gzip.Write(src) // a sink takes everything
	_ = e.gzip.Close()
	return out.b
}

func appendSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	for len(src) > 0 {
		n := min(len(src), snappyChunk)
		at := len(dst)
		room := snappy.MaxEncodedLen(n)
		dst = append(dst, make([]byte, 4+room)...)
		block := snappy.Encode(dst[at+4:], src[:n])
		binary.BigEndian.PutUint32(dst[at:], uint32(len(block)))
		dst = dst[:at+4+len(block)]
		src = src[n:]
	}
	return dst
}

// appendLZ4 takes levels 1 to 17: 9, Kafka's default, is the fast compressor,
// the others search longer as they rise.
func (e *encoders) appendLZ4(dst []byte, level int, src []byte) []byte {
	out := &sink{dst}
	if e.lz4 == nil {
		e.lz4 = lz4.NewWriter(out)
	} else {
		e.lz4.Reset(out)
	}
	speed := lz4.Fast
	if level >= 1 && level <= 17 && level != lz4FastLevel {
		speed = lz4.CompressionLevel(1 << (8 + min(level, 9)))
	}
	// The options are constants of the library, so Apply cannot refuse them.
	_ = e.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
		lz4.CompressionLevelOption(speed), lz4.ConcurrencyOption(1))
	_, _ = e.lz4.Write(src)
	_ = e.lz4.Close()
	return out.b
}

// appendZstd takes zstd's own levels and uses the nearest that the library has.
func (e *encoders) appendZstd(dst []byte, level int, src []byte) []byte {
	speed := zstd.SpeedDefault
	if level != 0 && level != DefaultLevel {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	if e.zstd == nil || e.zstdLevel != speed {
		e.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		e.zstdLevel = speed
	}
	return e.zstd.EncodeAll(src, dst)
}
