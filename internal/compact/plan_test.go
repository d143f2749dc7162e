package compact

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
)

// TestPlan: closed segments of 10 offsets and 100 bytes each, from 0 to 50; the
// active one holds 50 to 55. Segment n has its youngest record at n minutes, its
// first batch half a minute before; it is 10 minutes after the hour.
func TestPlan(t *testing.T) {
	const minute = int64(time.Minute / time.Millisecond)
	for _, c := range []struct {
		name            string
		cleaned, stable int64
		start           int64
		rules           commitlog.Compaction
		want            string
	}{
		{"never cleaned", -1, 55, 0, commitlog.Compaction{}, "dirty 0 bound 50 clean 0 cleanable 500"},
		{"cleaned to 30", 30, 55, 0, commitlog.Compaction{}, "dirty 30 bound 50 clean 300 cleanable 200"},
		{"cleaned within a segment", 35, 55, 0, commitlog.Compaction{}, "dirty 35 bound 50 clean 400 cleanable 200"},
		{"all clean", 50, 55, 0, commitlog.Compaction{}, "dirty 50 bound 50 clean 500 cleanable 0"},
		{"never cleaned, begins later", -1, 55, 12, commitlog.Compaction{}, "dirty 12 bound 50 clean 200 cleanable 400"},
		{"start moved over the clean point", 30, 55, 41, commitlog.Compaction{}, "dirty 41 bound 50 clean 500 cleanable 100 reset"},
		{"clean point behind the end", 60, 55, 0, commitlog.Compaction{}, "dirty 0 bound 50 clean 0 cleanable 500 reset"},
		{"open transaction", -1, 35, 0, commitlog.Compaction{}, "dirty 0 bound 30 clean 0 cleanable 300"},
		{"open transaction at the begin of a segment", -1, 30, 0, commitlog.Compaction{}, "dirty 0 bound 30 clean 0 cleanable 300"},
		{"open transaction in what was cleaned", 30, 15, 0, commitlog.Compaction{}, "dirty 30 bound 30 clean 300 cleanable 0"},
		{"min lag", -1, 55, 0, commitlog.Compaction{MinLag: 7 * time.Minute}, "dirty 0 bound 40 clean 0 cleanable 400"},
		{"min lag, all is too young", -1, 55, 0, commitlog.Compaction{MinLag: time.Hour}, "dirty 0 bound 0 clean 0 cleanable 0"},
		{"min lag and open transaction", -1, 15, 0, commitlog.Compaction{MinLag: 7 * time.Minute}, "dirty 0 bound 10 clean 0 cleanable 100"},
		{"max lag passed", 30, 55, 0, commitlog.Compaction{MaxLag: 5 * time.Minute}, "dirty 30 bound 50 clean 300 cleanable 200 delay 2.5m"},
		{"max lag not passed", 30, 55, 0, commitlog.Compaction{MaxLag: 8 * time.Minute}, "dirty 30 bound 50 clean 300 cleanable 200"},
	} {
		f := facts{start: c.start, end: 55, cleaned: c.cleaned, stable: c.stable, active: 50, now: 10 * minute, rules: c.rules,
			youngest: func(base int64) (int64, error) { return base / 10 * minute, nil },
			first:    func(base int64) (int64, error) { return base/10*minute - minute/2, nil },
		}
		for base := int64(0); base < 50; base += 10 {
			f.closed = append(f.closed, commitlog.ClosedSegment{Base: base, Next: base + 10, Bytes: 100})
		}
		p, err := makePlan(&f)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("dirty %d bound %d clean %d cleanable %d", p.dirty, p.bound, p.cleanBytes, p.cleanableBytes)
		if p.reset {
			got += " reset"
		}
		if p.delay > 0 {
			got += fmt.Sprintf(" delay %gm", float64(p.delay)/float64(minute))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		clean, cleanable, delay int64
		ratio                   float64
		want                    bool
	}{
		{100, 100, 0, 0.5, false}, // must be passed
		{100, 101, 0, 0.5, true},
		{0, 100, 0, 1, false},
		{0, 1, 0, 0, true},
		{100, 0, 0, 0, false},
		{100, 1, 1, 0.9, true},
		{100, 0, 1, 0.9, false},
		{0, 0, 0, 0, false},
	} {
		p := plan{cleanBytes: c.clean, cleanableBytes: c.cleanable, delay: c.delay}
		if got := p.due(&commitlog.Compaction{DirtyRatio: c.ratio}); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
	dirty, clean := plan{cleanableBytes: 1}, plan{cleanBytes: 1, cleanableBytes: 100}
	if dirty.before(&clean) >= 0 || clean.before(&dirty) <= 0 {
		t.Error("the dirtiest comes first")
	}
}

// TestGroup: segments are joined while bytes (of 100), each index (of 10) and
// the span of offsets allow. A segment is "bytes/offset index/time index", and
// begins 10 offsets after the one before, or where @ says.
func TestGroup(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"40/1/1 60/1/1 1/1/1":                 "0,10 20",
		"150/1/1 10/1/1":                      "0 10",
		"10/6/1 10/4/1 10/1/1":                "0,10 20",
		"10/1/6 10/1/5 10/1/1":                "0 10,20",
		"10/1/1 0/0/0 10/1/1":                 "0,10,20",
		"10/1/1 10/1/1@2147483647":            "0 2147483647",
		"10/1/1 10/1/1@2147483637":            "0,2147483637",
		"10/1/1 10/1/1@2147483638":            "0,2147483638",
		"10/1/1 10/1/1@2147483639":            "0 2147483639",
		"10/1/1 10/1/1@3000000000":            "0 3000000000",
		"10/1/1@3000000000 10/1/1@3000000010": "3000000000,3000000010",
	} {
		var segs []sized
		next := int64(0)
		for w := range strings.FieldsSeq(in) {
			s := sized{ClosedSegment: commitlog.ClosedSegment{Base: next}}
			w, at, ok := strings.Cut(w, "@")
			if ok {
				if _, err := fmt.Sscan(at, &s.Base); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := fmt.Sscanf(w, "%d/%d/%d", &s.Bytes, &s.offsets, &s.times); err != nil {
				t.Fatal(err)
			}
			s.Next = s.Base + 10
			next = s.Next
			segs = append(segs, s)
		}
		var got []string
		for _, g := range group(segs, 100, 10) {
			var bases []string
			for _, s := range g {
				bases = append(bases, fmt.Sprint(s.Base))
			}
			got = append(got, strings.Join(bases, ","))
		}
		if have := strings.Join(got, " "); have != want {
			t.Errorf("%s: %s, want %s", in, have, want)
		}
	}
}
