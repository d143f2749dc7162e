package record

import "fmt"

// Codec is a way to compress the records of a batch; its number is that of the
// batch's attributes.
type Codec int8

// The codecs of Kafka 4.4.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Known says whether c is one of the codecs above.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String is the name in compression.type, "none" for [None].
func (c Codec) String() string {
	if c.Known() {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", int8(c))
}

// ParseCodec reads a codec's name; "uncompressed" is Kafka's other word for
// none.
func ParseCodec(name string) (Codec, error) {
	for i, n := range codecNames {
		if n == name {
			return Codec(i), nil
		}
	}
	if name == "uncompressed" {
		return None, nil
	}
	return None, fmt.Errorf("unknown compression codec %q", name)
}

// DefaultLevel asks for a codec's own level.
const DefaultLevel = 1<<31 - 1
