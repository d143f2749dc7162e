package script

import (
	"fmt"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	total := int64(0)
	Run(t, "testdata/sums.txt", func(cmd *Cmd) string {
		switch cmd.Name {
		case "add":
			for i := range cmd.Args {
				total += cmd.Int(i)
			}
			return fmt.Sprintf("total %d", total)
		case "say":
			return strings.Join(append(cmd.Args, cmd.Input...), "\n")
		case "times":
			return strings.Repeat(cmd.Key("what", "-")+"\n\n", int(cmd.IntKey("n", 1)))
		}
		cmd.Fatalf("unknown command")
		return ""
	})
}

// recorder is a test that keeps what is reported.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestDifferenceIsReported(t *testing.T) {
	r := &recorder{TB: t}
	text := "Prose.\n\n> one\n  1\n> two\n  1\n  1\n\nMore prose.\n\n> three\n"
	got, n := play(r, "x.txt", text, func(cmd *Cmd) string {
		return map[string]string{"one": "1", "two": "2\n", "three": "3"}[cmd.Name]
	})
	if n != 3 || len(r.errors) != 2 {
		t.Fatalf("%d commands and %d differences, want 3 and 2: %q", n, len(r.errors), r.errors)
	}
	if !strings.HasPrefix(r.errors[0], "x.txt:5: two\nprinted:\n  2\nwant:\n  1\n  1\n") {
		t.Errorf("the difference reads %q", r.errors[0])
	}
	want := "Prose.\n\n> one\n  1\n> two\n  2\n\nMore prose.\n\n> three\n  3\n"
	if got != want {
		t.Errorf("the script with what came:\n%s\nwant:\n%s", got, want)
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{`a b=c  d`, []string{"a", "b=c", "d"}},
		{`say "two words" x`, []string{"say", "two words", "x"}},
		{"say `raw \"` \"\\n\"", []string{"say", `raw "`, "\n"}},
	} {
		got, err := split(c.in)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("split(%s) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	if _, err := split(`say "open`); err == nil {
		t.Error("an open quote passed")
	}
}
