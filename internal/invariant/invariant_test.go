package invariant

import (
	"bytes"
	"testing"
)

func TestCheckPanicsInTests(t *testing.T) {
	Check(true, "never said")
	defer func() {
		if got, want := recover(), "invariant broken: end 3 before start 7"; got != want {
			t.Errorf("Check panicked with %v, want %q", got, want)
		}
	}()
	Check(false, "end %d before start %d", 3, 7)
	t.Error("Check let a false condition pass")
}

func TestMangle(t *testing.T) {
	b := []byte("kept too long")
	Mangle(b)
	if bytes.Contains(b, []byte("long")) {
		t.Errorf("Mangle left %q readable", b)
	}
}

func TestCheckIsFree(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Check(true, "constant message") }); n != 0 {
		t.Errorf("a check that holds allocates %v times", n)
	}
}

func TestSometimesCountsWithTheTagOnly(t *testing.T) {
	before := Marks()["invariant/test"]
	Sometimes("invariant/test")
	Sometimes("invariant/test")
	want := 0
	if tagged {
		want = 2
	}
	if got := Marks()["invariant/test"] - before; got != want {
		t.Errorf("two marks were counted as %d, want %d", got, want)
	}
}
