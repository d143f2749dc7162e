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
		name: "images", partitions: 4, batch: 3, value: 120, keys: 12, keep: 7,
		log: commitlog.Tunables{
			SegmentBytes: 1500, IndexInterval: 300, RetentionBytes: 15000, RetentionAge: -1, ProducerRetention: 1000 * time.Hour,
		},
		codecs: []record.Codec{record.None, record.None, record.LZ4},
	}
}

// tell plays a story until the tape has ops operations.
func tell(opt options, seed uint64, ops int, wrap func(vfs.FS) vfs.FS) (*tape, *story, error) {
	tape := newTape()
	var fs vfs.FS = recorder{vfs.NewMem(vfs.MemConfig{}), tape}
	if wrap != nil {
		fs = wrap(fs)
	}
	s, err := begin(opt, seed, fs, tape)
	for err == nil && tape.ops() < ops {
		err = s.step(acts[:])
	}
	return tape, s, err
}

func TestCrashImages(t *testing.T) {
	seed := uint64(setting(t, "TORTURE_SEED", 1))
	im := images{opt: imageOptions(), seed: seed, cuts: 3, workers: 2, stride: setting(t, "TORTURE_STRIDE", 1)}
	if testing.Short() {
		im.stride = 173
	}
	var s *story
	var err error
	im.tape, s, err = tell(im.opt, seed, 2200, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.parts {
		if !p.filled || p.fewest < 6 {
			t.Errorf("%s had %d segments at times", p.tp, p.fewest)
		}
	}
	start := time.Now()
	got, err := im.run()
	t.Logf("%d operations, %+v in %v", im.tape.ops(), got, time.Since(start))
	if err != nil {
		t.Fatal(err)
	}
}
