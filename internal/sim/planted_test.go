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
	{"replica/lso-step", "readers of committed data see the first record of an open transaction"},
	{"replica/zombie", "a producer that was fenced goes on writing"},
	{"replica/diverging", "a leader does not compare epochs: followers keep what it does not have"},
	{"commitlog/producers", "what is known of producers is not rebuilt when the log is cut"},
	{"follow/unflushed", "a follower fetches from an end that it has not flushed"},
	{"follow/far", "a follower whose log parts from its leader's begins at the start, whatever is committed"},
	{"follow/little", "a follower cuts off nothing"},
	{"partition/min-isr", "records are committed by fewer than min.insync.replicas"},
	{"partition/stranger", "the first follower counts for the high watermark, in sync or not, and no other"},
	{"partition/pending", "who was proposed for the ISR does not count before the leader hears of it"},
	{"partition/early", "who was proposed to leave the ISR does not count any more, before the controller agreed"},
	{"partition/joins", "a follower that lacks what is committed joins the ISR"},
	{"partition/cut", "what was cut off still counts as flushed"},
	{"controller/outside", "a replica leads that is not in sync, nor eligible"},
	{"controller/epoch", "a new leader has the epoch of the old one"},
	{"controller/stale", "what a leader wishes for the ISR is taken, though it leads no more or knows an older one"},
	{"quorum/vote", "votes and terms are not written down"},
	{"quorum/flush", "metadata is acknowledged before it is durable"},
	{"coordinator/early", "a coordinator serves before all that it has loaded is committed"},
	{"txn/zombie", "an older producer of a transactional id goes on with its transaction"},
	{"txn/twice", "markers are written twice"},
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
