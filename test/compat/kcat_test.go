//go:build compat

package compat

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// kcat is librdkafka in a shell: a round trip with every codec it has, keys,
// headers, metadata and lookups by time.
func TestKcat(t *testing.T) {
	b := target(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := "kcat-" + codec
			var in strings.Builder
			for i := range 1000 {
				fmt.Fprintf(&in, "key-%04d|value number %d of the %s run\n", i, i, codec)
			}
			run(t, 30*time.Second, in.String(), "kcat", "-b", b, "-P", "-t", topic, "-K", "|", "-z", codec, "-H", "h=1")
			got := run(t, 30*time.Second, "", "kcat", "-b", b, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-K", "|")
			if got.stdout != in.String() {
				t.Fatalf("read back %d bytes, wrote %d", len(got.stdout), in.Len())
			}
			headers := run(t, 30*time.Second, "", "kcat", "-b", b, "-C", "-t", topic, "-o", "999", "-c", "1", "-q", "-f", "%o %h")
			if headers.stdout != "999 h=1" {
				t.Fatalf("offset and headers: %q", headers.stdout)
			}
		})
	}
	t.Run("metadata", func(t *testing.T) {
		got := run(t, 30*time.Second, "", "kcat", "-b", b, "-L")
		if !strings.Contains(got.stdout, `topic "kcat-none" with 1 partitions`) {
			t.Fatalf("kcat -L:\n%s", got.stdout)
		}
	})
	t.Run("time", func(t *testing.T) {
		got := run(t, 30*time.Second, "", "kcat", "-b", b, "-Q", "-t", "kcat-none:0:0")
		if !strings.Contains(got.stdout, "kcat-none [0] offset 0") {
			t.Fatalf("kcat -Q: %q", got.stdout)
		}
	})
	t.Run("group", func(t *testing.T) {
		got := run(t, time.Minute, "", "kcat", "-b", b, "-G", "kcat-group", "-c", "1000", "-q",
			"-X", "auto.offset.reset=earliest", "kcat-none")
		if n := strings.Count(got.stdout, "\n"); n != 1000 {
			t.Fatalf("the group read %d records of 1000", n)
		}
	})
}
