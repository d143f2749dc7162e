// Package script runs tests that are written as text: commands with the output
// they must have, between prose that says what they pin.
//
//	A log that was cut keeps the epochs below the cut.
//
//	> append epoch=1 count=3
//	  base 0, end 3
//	> append epoch=2 count=1
//	  base 3, end 4
//
//	The second epoch began at 3, so cutting there removes it.
//
//	> truncate 3
//	  end 3, latest epoch 1
//
// A line that begins with "> " is a command; lines that begin with "< " right
// below it are its input; lines that begin with two spaces are what it must
// print. All else is prose. Arguments are separated by spaces; one that holds
// spaces is written as a Go string, "so". Empty lines and spaces at the end of a
// line of output do not count.
//
// "go test -update" writes what the commands print into the files, to be read
// and committed. The package registers that flag for all tests of a binary; see
// [Update].
package script

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite expected outputs instead of comparing with them")

// Update tells whether the test runs with -update. A test with generated files
// of another kind follows it too.
func Update() bool { return *update }

// Cmd is one command of a script.
type Cmd struct {
	Name  string
	Args  []string
	Input []string // the lines after "< "

	t   testing.TB
	pos string
}

// Fatalf ends the test and names the command's place in the script.
func (c *Cmd) Fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s: %s: %s", c.pos, c.Name, fmt.Sprintf(format, args...))
}

// Arg gives the argument at position i, or ends the test if there is none.
func (c *Cmd) Arg(i int) string {
	c.t.Helper()
	if i >= len(c.Args) {
		c.Fatalf("needs %d arguments, has %d", i+1, len(c.Args))
	}
	return c.Args[i]
}

// Int gives the argument at position i as a number.
func (c *Cmd) Int(i int) int64 {
	c.t.Helper()
	n, err := strconv.ParseInt(c.Arg(i), 0, 64)
	if err != nil {
		c.Fatalf("argument %d: %v", i, err)
	}
	return n
}

// Key gives the value of an argument key=value, or def if there is none.
func (c *Cmd) Key(key, def string) string {
	for _, a := range c.Args {
		if v, ok := strings.CutPrefix(a, key+"="); ok {
			return v
		}
	}
	return def
}

// IntKey gives the value of an argument key=number, or def if there is none.
func (c *Cmd) IntKey(key string, def int64) int64 {
	c.t.Helper()
	text := c.Key(key, "")
	if text == "" {
		return def
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		c.Fatalf("%s: %v", key, err)
	}
	return n
}

// Run reads the script at path, hands each command to do in turn and compares
// what it returns with what the script says. With -update it writes the script
// anew instead.
//
// It compares every command even after one differs, so that one run shows all.
func Run(t *testing.T, path string, do func(cmd *Cmd) string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, commands := play(t, path, string(data), do)
	if commands == 0 {
		t.Fatalf("%s: no line begins with \"> \"", path)
	}
	if Update() && got != string(data) {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// play runs a script and gives its text with the outputs that came.
func play(t testing.TB, path, text string, do func(*Cmd) string) (got string, commands int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var b strings.Builder
	for i := 0; i < len(lines); {
		b.WriteString(lines[i] + "\n")
		call, isCommand := strings.CutPrefix(lines[i], "> ")
		i++
		if !isCommand {
			continue
		}
		commands++
		cmd := &Cmd{t: t, pos: fmt.Sprintf("%s:%d", path, i)}
		words, err := split(call)
		if err != nil || len(words) == 0 {
			t.Fatalf("%s: cannot read the command %q: %v", cmd.pos, call, err)
		}
		cmd.Name, cmd.Args = words[0], words[1:]
		for ; i < len(lines) && strings.HasPrefix(lines[i], "< "); i++ {
			cmd.Input = append(cmd.Input, lines[i][2:])
			b.WriteString(lines[i] + "\n")
		}
		var want strings.Builder
		for ; i < len(lines) && strings.HasPrefix(lines[i], "  "); i++ {
			want.WriteString(lines[i] + "\n")
		}
		out := indent(do(cmd))
		if out != indent(strings.ReplaceAll("\n"+want.String(), "\n  ", "\n")) && !Update() {
			t.Errorf("%s: %s\nprinted:\n%swant:\n%s", cmd.pos, call, out, want.String())
		}
		b.WriteString(out)
	}
	return b.String(), commands
}

// indent puts two spaces before each line, and leaves out what does not count.
func indent(out string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(out, "\n") {
		if line = strings.TrimRight(line, " \t\r"); line != "" {
			b.WriteString("  " + line + "\n")
		}
	}
	return b.String()
}

// split cuts a command into words; a quoted word is a Go string literal.
func split(s string) ([]string, error) {
	var words []string
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		if s[0] == '"' || s[0] == '`' {
			quoted, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, err
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			words, s = append(words, word), s[len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(s, " ")
		words, s = append(words, word), rest
	}
	return words, nil
}
