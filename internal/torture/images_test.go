package torture

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// setting reads a number from the environment.
func setting(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// imageOptions make a directory in which a trace of 2,000 operations rolls,
// retains and compacts all the time.
func imageOptions() options {
	return options{
		name: "images", partitions: 5, batch: 3, value: 120, keys: 120, keep: 8, spare: 4,
		log: commitlog.Tunables{
			SegmentBytes: 1500, IndexInterval: 300, RetentionBytes: 18000, RetentionAge: -1, ProducerRetention: 1000 * time.Hour,
		},
		codecs: []record.Codec{record.None, record.None, record.LZ4},
	}
}

// tell plays a story until the tape has ops operations, counted from when each
// log that is spared has six segments or more, and gives how many of them came
// while that held.
func tell(opt options, seed uint64, ops int, wrap func(vfs.FS) vfs.FS) (*tape, int, error) {
	tape := newTape()
	var fs vfs.FS = recorder{vfs.NewMem(vfs.MemConfig{}), tape}
	if wrap != nil {
		fs = wrap(fs)
	}
	s, err := begin(opt, seed, fs, tape)
	first, full, last := 0, 0, 0
	for err == nil && (first == 0 || tape.ops() < first+ops) {
		err = s.step(acts[:])
		now := tape.ops()
		if enough(s) {
			if first == 0 {
				first = now
			}
			full += now - last
		}
		last = now
	}
	return tape, full, err
}

func enough(s *story) bool {
	for _, p := range s.parts[:s.opt.spare] {
		if len(p.log.Segments()) < 6 {
			return false
		}
	}
	return true
}

// TestCrashImages looks at every prefix of a story's operations under every
// ending. TORTURE_SEED and TORTURE_STORIES choose stories, TORTURE_STRIDE leaves
// out all but every so many images.
func TestCrashImages(t *testing.T) {
	first := uint64(setting(t, "TORTURE_SEED", 1))
	for seed := first; seed < first+uint64(setting(t, "TORTURE_STORIES", 1)); seed++ {
		crashImages(t, seed)
	}
}

func crashImages(t *testing.T, seed uint64) {
	im := images{opt: imageOptions(), seed: seed, cuts: 3, workers: 2, stride: setting(t, "TORTURE_STRIDE", 1)}
	ops := 2000
	if testing.Short() {
		im.stride, ops = 311, 1000
	}
	var full int
	var err error
	if im.tape, full, err = tell(im.opt, seed, ops, nil); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if full < ops*3/4 {
		t.Errorf("seed %d: six segments in each of %d logs during %d operations only", seed, im.opt.spare, full)
	}
	start := time.Now()
	got, err := im.run()
	t.Logf("seed %d: %d operations, %d of them with 6 segments or more in each of %d logs; %+v in %v",
		seed, im.tape.ops(), full, im.opt.spare, got, time.Since(start))
	if err != nil {
		t.Fatal(err)
	}
}
