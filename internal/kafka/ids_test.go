package kafka

import (
	"errors"
	"fmt"
	"testing"
)

func TestJavaHash(t *testing.T) {
	for s, want := range map[string]int32{
		"": 0, "a": 97, "my-group": -1906497762, "console-consumer-1": 35782224, "日本": 835047, "😀": 1772899,
	} {
		if got := JavaHash(s); got != want {
			t.Errorf("JavaHash(%q) = %d, want %d", s, got, want)
		}
	}
}

// Where a real Kafka 4.4 with 50 partitions of __consumer_offsets kept groups.
func TestCoordinatorPartition(t *testing.T) {
	for id, want := range map[string]int32{
		"alpha": 18, "beta": 22, "epsilon": 10, "zeta-9": 28, "omega3": 14, "polygenelubricants": 0,
	} {
		if got := CoordinatorPartition(id, 50); got != want {
			t.Errorf("CoordinatorPartition(%q) = %d, want %d", id, got, want)
		}
	}
}

func TestCodeOf(t *testing.T) {
	err := fmt.Errorf("partition t-0: %w", NotLeaderOrFollower)
	if CodeOf(err) != NotLeaderOrFollower || CodeOf(nil) != None || CodeOf(errors.New("x")) != UnknownServerError {
		t.Fatal("CodeOf does not unwrap")
	}
	if NotLeaderOrFollower != 6 || NotLeaderOrFollower.Name() != "NOT_LEADER_OR_FOLLOWER" || !NotLeaderOrFollower.Retriable() {
		t.Fatal("the code table is off")
	}
}

func TestCheckTopicName(t *testing.T) {
	for _, ok := range []string{"a", "A.b_c-9"} {
		if why := CheckTopicName(ok); why != "" {
			t.Errorf("%q refused: %s", ok, why)
		}
	}
	for _, bad := range []string{"", ".", "..", "a b", "ü", string(make([]byte, 250))} {
		if CheckTopicName(bad) == "" {
			t.Errorf("%q accepted", bad)
		}
	}
}
