package kind

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// TestXXH3 checks a hash of each length at which the algorithm changes its ways.
// The values are those of hash4j 0.22, which Kafka 4.4 uses.
func TestXXH3(t *testing.T) {
	for _, c := range []struct {
		n    int
		want uint64
	}{
		{0, 0x2d06800538d394c2},
		{1, 0x13e608bc156defed},
		{2, 0x83e76fedea937056},
		{3, 0xb7391e018153d37a},
		{4, 0xfdf480d413c14ab0},
		{5, 0x93d4f86e4fece20e},
		{8, 0xec39ab64bbdd3e16},
		{9, 0xb72b2752390382d5},
		{15, 0x65af3ee0431257ce},
		{16, 0x2866d96771d12b4e},
		{17, 0x385c21b59bf6407d},
		{31, 0x20f4bb9198afc6b8},
		{32, 0x517f9edce3f15ef7},
		{33, 0x2c72ff70c3862d20},
		{64, 0x1143068e609ba129},
		{65, 0xb85378dccfb4cf02},
		{96, 0x5093e5d8ce622d6a},
		{97, 0xcf5f8dd810961012},
		{127, 0x89c4fc3fcefc88cc},
		{128, 0xa4b9dca2ee00ce72},
		{129, 0xfb9e35f274249234},
		{143, 0x9ed8e17b41395a2c},
		{144, 0x71fab1794f190359},
		{200, 0x2e03f552d39f9c10},
		{239, 0xc454d7e06b41c9d8},
		{240, 0x4ed2e5c562eae4c1},
		{241, 0x6819923e2201397d},
		{255, 0x5932dc95a82941a5},
		{256, 0xa86aedfd039ef473},
		{512, 0x55b45c73118a2983},
		{1023, 0xdacdd1a09be419ec},
		{1024, 0xefbb20e87adc204c},
		{1025, 0x99244ee55b2fae5d},
		{1088, 0x881e7cebf08e9a58},
		{1089, 0x1b9a6372e87b5d15},
		{2048, 0xf03407c0f4011c1d},
		{2049, 0xb8f157ed07380eff},
		{5000, 0x0265b9a41a2b07e1},
		{10240, 0x9d959f255fc45985},
	} {
		b := make([]byte, c.n)
		for i := range b {
			b[i] = byte(i*i*31 + i*7 + 3)
		}
		if got := xxh3(b); got != c.want {
			t.Errorf("%d bytes: %#x, want %#x", c.n, got, c.want)
		}
	}
}

type fewTopics map[string]Topic

func (f fewTopics) Version() int64                  { return 0 }
func (f fewTopics) ByID(kafka.UUID) (Topic, bool)   { return Topic{}, false }
func (f fewTopics) Names() []string                 { return nil }
func (f fewTopics) Named(name string) (Topic, bool) { t, ok := f[name]; return t, ok }

// TestMetadataHash compares with what hash4j makes of the same fields. Racks
// count in order, and topics that are not there do not count.
func TestMetadataHash(t *testing.T) {
	topics := fewTopics{"bestellungen-ä": {
		Name: "bestellungen-ä", ID: kafka.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Partitions: 3,
		Racks: func(int32) []string { return []string{"rack-2", "r1"} },
	}}
	if got := MetadataHash([]string{"none", "bestellungen-ä", "bestellungen-ä"}, topics); got != 1692447548007011748 {
		t.Errorf("got %d", got)
	}
	if got := MetadataHash([]string{"none"}, topics); got != 0 {
		t.Errorf("no topic: got %d", got)
	}
}
