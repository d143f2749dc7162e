package metadata

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestFormatVoters: voters that the quorum could not tell apart are refused. Three
// nodes of which each takes itself for all three would each decide alone.
func TestFormatVoters(t *testing.T) {
	const a, b, likeA, none = "4L6g3nShT-eMCtK--X86sw", "ysfV6Xe8RiiCaUnsmMsGWQ", "4L6g3nShT-eAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAQ"
	for _, tc := range []struct{ voters, err string }{
		{"1@a:1:" + a + ",2@b:2:" + b, ""},
		{"1@a:1,2@b:2,3@c:3", ""},
		{"1@a:1:" + a + ",2@b:2:" + a, "the same directory.id"},
		{"1@a:1:" + a + ",2@b:2:" + likeA, "draw another"},
		{"1@a:1:" + none + ",2@b:2:" + b, "draw another"},
	} {
		voters, err := ParseVoters(tc.voters)
		if err != nil {
			t.Fatal(tc.voters, err)
		}
		fs := vfs.NewMem(vfs.MemConfig{})
		info, err := Format(FormatConfig{FS: fs, LogDirs: []string{"/data"}, Metadata: "/data", NodeID: 1, ClusterID: "c", Voters: voters,
			Rand: rand.New(rand.NewPCG(1, 1))})
		if tc.err == "" {
			if err != nil || len(info.Voters) != len(voters) {
				t.Errorf("%s: %+v, %v", tc.voters, info, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want an error with %q", tc.voters, err, tc.err)
		}
		if again, err := ReadInfo(fs, "/data"); err != nil || again.Formatted {
			t.Errorf("%s: formatted though it was refused: %+v, %v", tc.voters, again, err)
		}
	}
}
