package broker

import (
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestScrubProperties shows what the node's properties of checksums and scrubbing
// do.
func TestScrubProperties(t *testing.T) {
	fill := func(s *stand) {
		s.create("t", "segment.bytes=1048576")
		for range 12 {
			s.mustWrite("t", string(make([]byte, 200_000)))
		}
		s.pass(2 * time.Minute)
	}
	scrubbed := func(s *stand) bool {
		_, err := s.fs.Stat("/data/.myelin_scrub")
		return err == nil
	}
	for _, e := range []struct {
		node string
		show func(s *stand)
	}{
		{"", func(s *stand) {
			fill(s)
			n, _ := s.files(s.fs, "t", ".sums")
			s.want("segments with sums", n > 1, true)
			s.pass(10 * time.Minute)
			s.want("a pass ended", scrubbed(s), true)
		}},
		{"log.block.checksums=false", func(s *stand) {
			fill(s)
			n, _ := s.files(s.fs, "t", ".sums")
			s.want("files of sums", n, 0)
		}},
		{"log.scrub.bytes.per.second=0", func(s *stand) {
			fill(s)
			s.pass(10 * time.Minute)
			s.want("a pass ended", scrubbed(s), false)
		}},
		{"log.scrub.bytes.per.second=1000", func(s *stand) {
			fill(s)
			s.pass(10 * time.Minute)
			data, err := vfs.ReadFile(s.fs, "/data/.myelin_scrub", 1000)
			s.want("a pass is under way", err == nil && len(data) > 0, true)
		}},
	} {
		t.Run(e.node, func(t *testing.T) { onNode(t, e.node, e.show) })
	}
}
