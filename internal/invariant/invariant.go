// Package invariant states what cannot happen, and stops the program when it
// does, in tests and in builds with -tags invariants; in a release it says
// nothing and costs a branch.
//
// It also marks what must happen sometimes: see [Sometimes].
//
// It is for conditions that only a bug in this program can break. What a
// client, a disk or another broker can cause is an error, not an invariant.
package invariant

import (
	"fmt"
	"testing"
)

// On tells whether invariants are checked. A check whose condition or arguments
// cost something, an allocation for instance, stands under it:
//
//	if invariant.On {
//		invariant.Check(l.sorted(), "segments of %s out of order", l.dir)
//	}
var On = tagged || testing.Testing()

// Check panics with the formatted message when invariants are on and ok is
// false. Arguments beyond constants may be allocated even when it is off.
func Check(ok bool, format string, args ...any) {
	if On && !ok {
		panic("invariant broken: " + fmt.Sprintf(format, args...))
	}
}

// Sometimes marks a branch that is rarely taken and must be taken now and then
// under the simulator, or its test is worth nothing. Builds with -tags invariants
// count it, see [Marks]; in all others it is nothing at all. Names are paths such
// as "replica/truncate".
func Sometimes(name string) {
	if tagged {
		mark(name)
	}
}

// Marks are the branches that were taken so far in this process, and how often.
func Marks() map[string]int { return marks() }

// Planted tells whether the bug of that name was planted, to see whether the
// simulator finds it. It is always false except in builds with -tags planted,
// which never ship: what stands behind it is compiled away.
//
//	if epoch < known && !invariant.Planted("replica/stale-epoch") {
func Planted(name string) bool { return plantable && isPlanted(name) }

// Plant plants a bug for the rest of this process. It does nothing in builds
// without -tags planted, and tells whether it did.
func Plant(name string) bool {
	plant(name)
	return plantable
}

// Mangle overwrites b when invariants are on. A pool calls it on a buffer that
// is given back, so that whoever kept a reference reads nonsense at once.
func Mangle(b []byte) {
	if On {
		for i := range b {
			b[i] = 0xdb
		}
	}
}
