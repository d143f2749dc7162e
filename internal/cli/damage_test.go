package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFindDamage looks for damage in logs of one record a batch, of several, and
// with ranges of every kind.
func TestFindDamage(t *testing.T) {
	type span struct{ from, to int64 }
	for _, c := range []struct {
		bad         []span
		offset, end int64
		from, to    int64
	}{
		{nil, 0, 0, 0, 0},
		{nil, 5, 100, 100, 100},
		{[]span{{0, 1}}, 0, 100, 0, 1},
		{[]span{{40, 43}}, 0, 100, 40, 43},
		{[]span{{40, 43}, {44, 50}}, 0, 100, 40, 43},
		{[]span{{40, 43}, {44, 50}}, 43, 100, 44, 50},
		{[]span{{40, 100}}, 10, 100, 40, 100},
		{[]span{{99, 100}}, 10, 100, 99, 100},
		{[]span{{7, 1_000_003}}, 7, 5_000_000, 7, 1_000_003},
		{[]span{{7, 2007}, {2008, 2107}}, 0, 3000, 7, 2007},
		{[]span{{7, 4_999_999}}, 7, 5_000_000, 7, 4_999_999},
	} {
		asked := 0
		look := func(offset int64) (int64, bool, error) {
			asked++
			end := c.end
			for _, s := range c.bad {
				if s.from <= offset && offset < s.to {
					return 0, true, nil
				}
				if s.from > offset {
					end = min(end, s.from)
				}
			}
			return min(end, offset+10), false, nil
		}
		from, to, err := findDamage(look, c.offset, c.end)
		if err != nil || from != c.from || to != c.to || asked > 4000 {
			t.Errorf("%+v: %d to %d, %v, asked %d times", c, from, to, err, asked)
		}
	}
	broken := errors.New("broken")
	if _, _, err := findDamage(func(int64) (int64, bool, error) { return 0, false, broken }, 0, 1); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// within runs steps against a node in dir, which ends with them.
func within(t *testing.T, dir string, steps func(myelin func(input string, args ...string) (out, errs string, code int)), set ...string) {
	t.Helper()
	if !t.Run("node", func(t *testing.T) {
		address, _ := startDev(t, append([]string{"--data-dir", dir}, set...)...)
		steps(func(input string, args ...string) (string, string, int) {
			return run(t, input, []string{"MYELIN_BROKERS=" + address}, args...)
		})
	}) {
		t.FailNow()
	}
}

// TestConsumeDamage reads a partition of which a block is rotten: what lies before
// is written, the damage is told with the way on, and it can be left out.
func TestConsumeDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	line := func(i int) string { return fmt.Sprintf("v%d%s\n", i, strings.Repeat(".", 30<<10)) }
	within(t, dir, func(myelin func(string, ...string) (string, string, int)) {
		myelin("", "topic", "create", "d", "-p", "1")
		for i := range 20 {
			if _, errs, code := myelin(line(i), "produce", "d"); code != 0 {
				t.Fatal(errs)
			}
		}
	})
	name := filepath.Join(dir, "d-0", "00000000000000000000.log")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	within(t, dir, func(myelin func(string, ...string) (string, string, int)) {
		records := func(out string) (got []int) {
			for l := range strings.Lines(out) {
				var i int
				fmt.Sscanf(l, "v%d", &i)
				got = append(got, i)
			}
			return got
		}
		out, errs, code := myelin("", "consume", "d")
		before := records(out)
		from := len(before)
		var first, last, next int
		if _, err := fmt.Sscanf(errs, "myelin: topic d, partition 0: offsets %d to %d are damaged", &first, &last); err != nil || code != exitFailed || first != from || from == 0 || from > 10 {
			t.Fatal(err, code, errs, before)
		}
		if _, err := fmt.Sscanf(errs[max(strings.Index(errs, "--from"), 0):], "--from %d,", &next); err != nil || next != last+1 || last-first > 6 {
			t.Fatal(err, errs)
		}
		out, errs, code = myelin("", "consume", "d", "--partitions", "0", "--from", fmt.Sprint(next), "-e")
		behind := records(out)
		if code != 0 || len(behind) != 20-next || behind[0] != next {
			t.Fatal(code, errs, behind)
		}
		out, errs, code = myelin("", "consume", "d", "-e", "--skip-damaged")
		if got := records(out); code != exitPartial || !slices.Equal(got, append(slices.Clone(before), behind...)) ||
			!strings.Contains(errs, fmt.Sprintf("%d damaged offsets were left out", next-first)) {
			t.Fatal(code, errs, got)
		}
		if _, errs, code = myelin("", "consume", "d", "-g", "g"); code != exitFailed ||
			!strings.Contains(errs, fmt.Sprintf("myelin group seek g --topics d --partitions 0 --to %d --yes", next)) {
			t.Fatal(code, errs)
		}
		if _, errs, code = myelin("", "group", "seek", "g", "--topics", "d", "--partitions", "0", "--to", fmt.Sprint(next), "--yes"); code != 0 {
			t.Fatal(code, errs)
		}
		out, errs, code = myelin("", "consume", "d", "-g", "g", "-n", fmt.Sprint(20-next))
		if code != 0 || !slices.Equal(records(out), behind) {
			t.Fatal(code, errs)
		}
	})
}

// TestOfflinePartitions: with one of two log directories gone, what the other holds
// is shown, read, written and trimmed, and the rest is named.
func TestOfflinePartitions(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	both := []string{"--set", "log.dirs=" + a + "," + b}
	within(t, a, func(myelin func(string, ...string) (string, string, int)) {
		myelin("", "topic", "create", "t", "-p", "4")
		if _, errs, code := myelin("k1 a\nk2 b\nk3 c\nk4 d\nk5 e\nk6 f\nk7 g\n", "produce", "t", "-f", `%k %v\n`); code != 0 {
			t.Fatal(errs)
		}
		out, errs, code := myelin("", "topic", "describe", "t", "-p", "--dirs")
		if code != 0 || strings.Count(out, "1:"+a) != 2 || strings.Count(out, "1:"+b) != 2 {
			t.Fatal(code, out, errs)
		}
	}, both...)
	if err := errors.Join(os.RemoveAll(b), os.WriteFile(b, []byte("no directory"), 0o644)); err != nil {
		t.Fatal(err)
	}
	admin := deadAddress(t)
	within(t, a, func(myelin func(string, ...string) (string, string, int)) {
		for _, step := range []struct {
			input string
			args  string
			code  int
			out   string
			errs  string
		}{
			{"", "health --admin " + admin, 0, "ok\nlog directory offline: " + b, ""},
			{"", "topic describe t -p", 0, "offline", ""},
			{"", "consume t -e", exitPartial, "", "offline, no broker serves them now: t/"},
			{"more\n", "produce t", 0, "", "1 record to t"},
			{"k1=a\nk2=b\nk3=c\nk4=d\nk5=e\nk6=f\nk7=g\n", "produce t --timeout 2s -f %k=%v\\n", exitPartial, "", "records were not written; offline, no broker serves them now: t/"},
			{"", "topic trim t --before end --yes", exitPartial, "t ", "offline, no broker serves them now: t/"},
			{"", "topic describe t -p -o jsonl --dirs", 0, `"directory":"` + a, ""},
		} {
			out, errs, code := myelin(step.input, strings.Fields(step.args)...)
			if code != step.code || !strings.Contains(out, step.out) || !strings.Contains(errs, step.errs) {
				t.Errorf("myelin %s: exit %d\n%s%s\nwant %d, %q, %q", step.args, code, out, errs, step.code, step.out, step.errs)
			}
		}
		out, _, _ := myelin("", "topic", "describe", "t", "-p")
		if n := strings.Count(out, "  offline\n"); n != 2 || !strings.Contains(out, ": node 1 has lost ") {
			t.Errorf("%d partitions are offline, want 2:\n%s", n, out)
		}
	}, append(both, "--set", "admin.listener="+admin)...)
}

// TestProduceFull: the client would try again until its time is over; what it
// says then is what the broker said, and how full the disk is.
func TestProduceFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	within(t, dir, func(myelin func(string, ...string) (string, string, int)) {
		myelin("", "topic", "create", "t", "-p", "1")
		_, errs, code := myelin("x\n", "produce", "t", "--timeout", "2s")
		want := "topic t, partition 0: the broker cannot write to its disk (KAFKA_STORAGE_ERROR); the disk of " + dir + " on node 1"
		if code != exitFailed || !strings.Contains(errs, want) {
			t.Fatal(code, errs)
		}
	}, "--set", "log.dir.soft.free.bytes=4611686018427387904", "--set", "log.dir.soft.free.percent=100")
	for _, c := range []struct {
		free, total int64
		want        string
	}{{10 << 20, 1 << 30, "is full: 10 MiB of 1024 MiB are free"}, {900 << 20, 1 << 30, "takes no records now: 900 MiB of 1024 MiB"},
		{600 << 20, 1 << 40, "is full"}} {
		if got := diskText(replicaDir{Node: 1, Directory: "/d", free: c.free, total: c.total}); !strings.Contains(got, c.want) {
			t.Errorf("%d of %d: %s", c.free, c.total, got)
		}
	}
}

// TestRefusedPasses: errors that pass are waited out, others end the reading.
func TestRefusedPasses(t *testing.T) {
	r := &reader{app: &app{}, at: map[place]int64{}}
	of := func(err error) kgo.Fetches {
		return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t", Partitions: []kgo.FetchPartition{{Err: err}}}}}}
	}
	for _, err := range []error{nil, kerr.NotLeaderForPartition, kerr.KafkaStorageError, kerr.LeaderNotAvailable} {
		if got := r.refused(t.Context(), of(err)); got != nil {
			t.Error(err, got)
		}
	}
	for n := range 6 {
		if got := r.refused(t.Context(), of(kerr.UnknownTopicID)); (got != nil) != (n >= 5) {
			t.Error(n, got)
		}
	}
	if r.refused(t.Context(), of(kerr.TopicAuthorizationFailed)) == nil {
		t.Error("no right to read, and no error")
	}
}
