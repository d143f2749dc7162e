//go:build planted

package sim

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// bugs are those that the simulator has to find: where each was planted, what is
// wrong, and a word of the violation that is expected of it.
var bugs = [...]struct{ name, what string }{
	{"disk/sync", "fsync of a log does nothing: acknowledged before it is durable"},
	{"disk/names", "folders are not synced: a new segment is lost with all in it"},
	{"replica/flush", "nothing has to be flushed before it is acknowledged"},
	{"replica/duplicates", "sequences of producers are not looked at: what is sent again is appended again"},
	{"replica/lso", "readers of committed data see open transactions"},
	{"replica/aborted", "readers are not told which transactions were aborted"},
	{"replica/guard", "a batch that comes after its transaction's marker is appended: nobody ends it"},
	{"group/generation", "offsets of members that were fenced are committed"},
	{"share/forget", "what share groups acknowledged is kept in memory only"},
}

// TestPlanted plays seeds with each bug until it is found, at most SIM_PLANTED of
// them (100 by default). SIM_BUG names one.
func TestPlanted(t *testing.T) {
	first, most := env("SIM_SEED", 1), env("SIM_PLANTED", 100)
	for _, b := range bugs {
		if only := os.Getenv("SIM_BUG"); only != "" && only != b.name {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			for seed := first; seed < first+most; seed++ {
				if got, _ := runFleet(seed, plantEnv+"="+b.name); len(got.Violations) > 0 {
					fmt.Printf("planted: %s: found by seed %d, the %d. that was played: %s\n", b.name, seed, seed-first+1, short(got.Violations[0]))
					return
				} else if got.Hash == "" {
					fmt.Printf("planted: %s: found by seed %d, the %d. that was played: the process ended\n", b.name, seed, seed-first+1)
					return
				}
			}
			t.Errorf("%s (%s) was not found by %d seeds", b.name, b.what, most)
		})
	}
}

func short(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 200)]
}
