package sim

import (
	"testing"
	"time"
)

// TestSkewed: a clock that is off by an hour shows another time, and what passes
// between two of its times, before and after a jump, is what passed.
func TestSkewed(t *testing.T) {
	now := time.Unix(1_700_000_000, 123).In(time.Local)
	a := skewed(now, 0)
	b := skewed(now.Add(5*time.Second), -time.Hour)
	if d := b.Sub(a); d != 5*time.Second {
		t.Errorf("%v passed, want 5s", d)
	}
	if !a.Round(0).Equal(now) {
		t.Errorf("a clock that is right shows %v, want %v", a, now)
	}
	if got, want := b.UnixMilli(), now.Add(5*time.Second-time.Hour).UnixMilli(); got != want {
		t.Errorf("the wall clock shows %d, want %d", got, want)
	}
	if d := b.Add(time.Second).Sub(a); d != 6*time.Second {
		t.Errorf("after Add, %v passed, want 6s", d)
	}
}
