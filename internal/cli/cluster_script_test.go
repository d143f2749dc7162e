package cli

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/myelintest"
)

// TestClusterScripts runs the commands over clusters in this process, of as many
// nodes as the number that a script's name begins with. What differs from run to
// run is masked, and gaps between columns are two spaces. Commands of the
// scripts:
//
//	myelin ARGUMENTS...           the command: what it prints, and its exit code
//	until TEXT myelin ARGUMENTS   the same, again and again until its output matches TEXT, a regular expression
//	kill, restart, stop NODE
func TestClusterScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/cluster/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			number, _, _ := strings.Cut(name, "-")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			s := &clusterStand{t: t, c: myelintest.Start(t, myelintest.Nodes(n)), dir: t.TempDir()}
			script.Run(t, file, s.do)
		})
	}
}

type clusterStand struct {
	t   *testing.T
	c   *myelintest.Cluster
	dir string
}

func (s *clusterStand) do(c *script.Cmd) string {
	switch c.Name {
	case "myelin":
		return s.myelin(c.Args)
	case "until":
		return s.until(c)
	case "kill":
		s.c.Kill(int(c.Int(0)))
		return ""
	case "stop":
		s.c.Stop(int(c.Int(0)))
		return ""
	case "restart":
		s.c.Restart(int(c.Int(0)))
		return ""
	}
	c.Fatalf("no such command")
	return ""
}

// until repeats a command for a minute at most.
func (s *clusterStand) until(c *script.Cmd) string {
	want, err := regexp.Compile(c.Arg(0))
	if err != nil {
		c.Fatalf("%v", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		got := s.myelin(c.Args[2:])
		if want.MatchString(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.Fatalf("after a minute still:\n%s", got)
		}
	}
}

var clusterMasks = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?(ms|s|µs)\b`), "SPAN"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b[A-Za-z0-9_-]{22}(\s)`), "ID$1"},
	{regexp.MustCompile(`high watermark \d+`), "high watermark N"},
	{regexp.MustCompile(`epoch \d+`), "epoch N"},
	{regexp.MustCompile(`\b10995\d{8}\b`), "FREE"}, // of a disk in memory
	{regexp.MustCompile(`(?m) {2,}`), "  "},
}

func (s *clusterStand) myelin(args []string) string {
	args = append([]string(nil), args...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", s.dir+"/FILE")
	}
	var out, errs bytes.Buffer
	code := Run(s.t.Context(), Process{Args: append(args, "-b", strings.Join(s.c.Addrs(), ",")), In: strings.NewReader(""), Out: &out, Err: &errs})
	text := out.String() + errs.String()
	if code != exitOK {
		text += fmt.Sprintf("exit %d\n", code)
	}
	for _, m := range clusterMasks {
		text = m.find.ReplaceAllString(text, m.put)
	}
	return strings.ReplaceAll(text, s.dir+"/", "")
}
