package slicelog

import (
	"fmt"
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
)

// What the leader hears of the append at which it dies, and what the log keeps.
func TestFates(t *testing.T) {
	for fate, want := range map[Fate]string{
		Lost:       "append NOT_LEADER_OR_FOLLOWER, log 1",
		Unheard:    "append NOT_LEADER_OR_FOLLOWER, log 2",
		Unanswered: "append ok, commit NOT_LEADER_OR_FOLLOWER, log 2",
		Cut:        "append ok, commit NOT_LEADER_OR_FOLLOWER, log 1",
		Last:       "append ok, commit ok, log 2",
	} {
		l := New(1)
		l.DieAt(2, fate)
		build := record.Builder{}
		build.Append(record.Record{Key: []byte("k")})
		if _, err := l.Append(1, build.Bytes()); err != nil || l.Died() {
			t.Fatal(err)
		}
		l.Committed(1, func(error) {})
		say := func(err error) string {
			if err != nil {
				return err.Error()
			}
			return "ok"
		}
		end, err := l.Append(1, build.Bytes())
		got := "append " + say(err)
		if err == nil {
			l.Committed(end, func(err error) { got += ", commit " + say(err) })
		}
		if got += fmt.Sprintf(", log %d", len(l.Records(t))); got != want {
			t.Errorf("%d: %s, want %s", fate, got, want)
		}
		if _, err := l.Append(1, build.Bytes()); err == nil || !l.Died() || l.Leads() != 2 {
			t.Errorf("%d: it goes on: %v", fate, err)
		}
		l.Committed(int64(len(l.Records(t))), func(err error) {
			if err != nil {
				t.Errorf("%d: the next leader hears %v", fate, err)
			}
		})
	}
	l := New(1)
	l.StumbleAt(1, Unheard)
	build := record.Builder{}
	build.Append(record.Record{Key: []byte("k")})
	if _, err := l.Append(1, build.Bytes()); err == nil || l.Died() || l.Leads() != 1 {
		t.Errorf("one that stumbles dies: %v", err)
	}
	if end, err := l.Append(1, build.Bytes()); err != nil || end != 2 || l.Led(0) != 1 {
		t.Error(end, err)
	}
	if len(Fates()) != 5 {
		t.Error(Fates())
	}
}
