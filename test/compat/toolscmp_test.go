//go:build compat

package compat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// Apache's tools for groups and transactions print the same on Myelin as on a
// real Kafka 4.4. The conversations are the files of testdata/tools, where lines
// that begin with "> " are commands and all else is prose:
//
//	> consumer-groups --list                a tool with its arguments
//	> until Stable consumer-groups ...      again and again until the pattern is met
//	> sorted consumer-groups ...            whose lines come in no order; records of a key do
//	> only PATTERN console-consumer ...     of which only some lines count
//	> masked PATTERN transactions ...       some of which differs by its nature
//	> produce TOPIC PARTITION N TIME        N records, the first of a time, in ms
//	> join NAME PROTOCOL GROUP TOPICS ...   a consumer; share and streams likewise
//	> begin NAME ID TOPIC:PARTITION,...     a transaction; commit NAME, abort NAME
//	> hang ID TOPIC PARTITION               one that no coordinator knows of
//	> leave NAME                            a client ends
//	> write FILE LINE..., cat FILE          for what tools export and import
//
// Single quotes hold words together; $DIR is a folder of the broker's own and
// $PRODUCER the id of the producer whose transaction hangs. What differs anyway, such as ids and times, is masked; what may differ stands in
// differences.txt there. With TOOLS_TRANSCRIPT=DIR what was said is kept in DIR.
func TestToolsComparison(t *testing.T) {
	files, err := filepath.Glob("testdata/tools/*.tools")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	properties := []string{"auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0",
		"group.streams.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1",
		"share.coordinator.state.topic.num.partitions=1"}
	for _, kind := range []string{"consumer", "share", "streams"} { // what a member learns with its heartbeats comes soon
		properties = append(properties, "group."+kind+".min.heartbeat.interval.ms=200", "group."+kind+".heartbeat.interval.ms=200")
	}
	args := []string{"--set", "node.id=1"}
	for _, p := range properties {
		args = append(args, "--set", p)
	}
	classes := t.TempDir()
	run(t, time.Minute, "", "javac", "-cp", classpath(t, "tools"), "-d", classes, "java/Tools.java")
	consoles := [2]*console{newConsole(t, "myelin", target(t, args...), classes), newConsole(t, "kafka", startKafka(t, properties...).bootstrap, classes)}
	list := toolDifferences(t)
	ran := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tools"), func(t *testing.T) {
			ran++
			converse(t, file, consoles, list)
		})
	}
	for _, d := range list {
		if ran == len(files) && d.used == 0 {
			t.Errorf("the listed difference %s | %s | %s was not seen: take it out", d.api, d.name, d.field)
		}
	}
}

// converse plays one file on both brokers at once and compares what they print.
func converse(t *testing.T, file string, consoles [2]*console, list []*difference) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".tools")
	compared := 0
	for n, line := range strings.Split(string(text), "\n") {
		line, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		cmd, err := parseTool(line)
		if err != nil {
			t.Fatalf("%s:%d: %v", file, n+1, err)
		}
		var printed [2]string
		var errs [2]error
		var both sync.WaitGroup
		for i, c := range consoles {
			both.Go(func() {
				printed[i], errs[i] = c.do(cmd)
				c.keep(t, name, line, printed[i])
			})
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatalf("%s:%d: %s: %v", file, n+1, line, err)
		}
		for _, of := range allBut(list, name, line, printed) {
			t.Errorf("%s:%d: %s\n  myelin: %s\n  kafka:  %s", file, n+1, line, of[0], of[1])
		}
		compared++
	}
	if compared < 5 {
		t.Errorf("%s: %d commands, at least 5 are wanted", file, compared)
	}
}

// allBut compares what the two brokers' tools printed and returns the lines that
// the other has not, in pairs, but those that are listed.
func allBut(list []*difference, name, line string, printed [2]string) [][2]string {
	pairs := linesApart(strings.Split(printed[0], "\n"), strings.Split(printed[1], "\n"))
	return slices.DeleteFunc(pairs, func(of [2]string) bool { return allowedTool(list, name, line, of) })
}

// linesApart pairs the lines that stand on one side only, between the longest run
// of lines that both have; one of a pair may be "".
func linesApart(a, b []string) [][2]string {
	common := make([][]int, len(a)+1) // of the lines from there on
	common[len(a)] = make([]int, len(b)+1)
	for i := len(a) - 1; i >= 0; i-- {
		common[i] = make([]int, len(b)+1)
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if a[i] == b[j] {
				common[i][j] = 1 + common[i+1][j+1]
			}
		}
	}
	var pairs [][2]string
	for i, j, open := 0, 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j, open = i+1, j+1, len(pairs)
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			pairs = append(pairs, [2]string{a[i], ""})
			i++
		default:
			if open < len(pairs) && pairs[open][1] == "" {
				pairs[open][1] = b[j]
				open++
			} else {
				pairs = append(pairs, [2]string{"", b[j]})
				open = len(pairs)
			}
			j++
		}
	}
	return pairs
}

// allowedTool says whether a difference in a line is listed: CONVERSATION |
// COMMAND | what Myelin prints | reason.
func allowedTool(list []*difference, name, line string, of [2]string) bool {
	for _, d := range list {
		okName, _ := path.Match(d.api, name)
		okLine, _ := path.Match(d.name, strings.ReplaceAll(line, "/", ""))
		okText, _ := path.Match(d.field, strings.ReplaceAll(of[0], "/", ""))
		if okName && okLine && okText {
			d.used++
			return true
		}
	}
	return false
}

func toolDifferences(t *testing.T) []*difference {
	t.Helper()
	return readDifferences(t, "testdata/tools/differences.txt")
}

// toolCommand is a line of a conversation.
type toolCommand struct {
	until, only, masked *regexp.Regexp // or nil
	sorted              bool
	words               []string
}

func parseTool(line string) (toolCommand, error) {
	words, err := splitWords(line)
	if err != nil {
		return toolCommand{}, err
	}
	var c toolCommand
	for len(words) > 1 {
		switch words[0] {
		case "sorted":
			c.sorted, words = true, words[1:]
			continue
		case "until":
			c.until, err = regexp.Compile(words[1])
			words = words[2:]
		case "only":
			c.only, err = regexp.Compile(words[1])
			words = words[2:]
		case "masked":
			c.masked, err = regexp.Compile(words[1])
			words = words[2:]
		default:
			c.words = words
			return c, nil
		}
		if err != nil {
			return c, err
		}
	}
	c.words = words
	if len(words) == 0 {
		return c, errors.New("no command")
	}
	return c, nil
}

// splitWords splits at blanks that do not stand in single quotes.
func splitWords(line string) ([]string, error) {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 0 {
			words = append(words, strings.Fields(part)...)
		} else {
			words = append(words, part)
		}
	}
	if strings.Count(line, "'")%2 != 0 {
		return nil, fmt.Errorf("a quote is open in %q", line)
	}
	return words, nil
}

// console is the process in which the tools run that talk to one broker.
type console struct {
	name, bootstrap, dir string
	in                   io.Writer
	out                  *bufio.Scanner
	peer                 *wirecmp.Peer
	hanging              int64 // the producer of the newest hanging transaction
}

func newConsole(t *testing.T, name, bootstrap, classes string) *console {
	t.Helper()
	argv := java(t, "tools", "Tools", bootstrap)
	dir := t.TempDir()
	argv = slices.Insert(argv, 1, "-Djava.io.tmpdir="+dir, "-Dfile.encoding=UTF-8")
	for i := range argv {
		if argv[i] == "-cp" {
			argv[i+1] = classes + string(filepath.ListSeparator) + argv[i+1]
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.CreateTemp(dir, "tools-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &console{name: name, bootstrap: bootstrap, dir: dir, in: in, out: bufio.NewScanner(out), peer: wirecmp.Dial(name, bootstrap)}
	c.out.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		c.peer.Close()
		in.Close() // it leaves, and so do its clients
		limit := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		limit.Stop()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("what the clients of %s logged:\n%s", name, tail(string(text)))
		}
	})
	return c
}

// do runs a command and returns what it printed, masked.
func (c *console) do(cmd toolCommand) (string, error) {
	limit := time.Now().Add(60 * time.Second)
	for {
		text, err := c.once(cmd)
		if err != nil || cmd.until == nil || cmd.until.MatchString(text) {
			return text, err
		}
		if time.Now().After(limit) {
			return "", fmt.Errorf("%s does not come to it:\n%s", c.name, text)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func (c *console) once(cmd toolCommand) (string, error) {
	words := slices.Clone(cmd.words)
	for i := range words {
		words[i] = strings.NewReplacer("$DIR", c.dir, "$PRODUCER", fmt.Sprint(c.hanging)).Replace(words[i])
	}
	if words[0] == "hang" {
		partition, err := strconv.Atoi(words[3])
		if err != nil {
			return "", err
		}
		c.hanging, err = c.peer.Hang(words[1], words[2], int32(partition))
		return "", err
	}
	if class := tools[words[0]]; class != "" {
		words[0] = class
	}
	if _, err := io.WriteString(c.in, strings.Join(words, "\t")+"\n"); err != nil {
		return "", err
	}
	var status, n int
	if !c.out.Scan() {
		return "", fmt.Errorf("%s's console is gone: %v", c.name, c.out.Err())
	}
	if _, err := fmt.Sscan(c.out.Text(), &status, &n); err != nil {
		return "", err
	}
	var lines []string
	usage := false // what a tool tells of its options does not count
	for range n {
		if !c.out.Scan() {
			return "", fmt.Errorf("%s's console is gone: %v", c.name, c.out.Err())
		}
		for line := range strings.SplitSeq(glued.ReplaceAllString(c.out.Text(), "}\n$1"), "\n") {
			line = c.mask(line)
			if cmd.masked != nil {
				line = cmd.masked.ReplaceAllString(line, "...")
			}
			usage = usage || strings.HasPrefix(line, "Option ") && strings.HasSuffix(line, " Description")
			if line != "" && !usage && (cmd.only == nil || cmd.only.MatchString(line)) {
				lines = append(lines, line)
			}
		}
	}
	if cmd.sorted {
		slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(keyOf(a), keyOf(b)) })
	}
	return strings.Join(append(lines, fmt.Sprint("exit ", status)), "\n"), nil
}

// glued is where the formatters of internal topics begin a record without a new
// line.
var glued = regexp.MustCompile(`\}(\{"key"|Processed a total)`)

// keyOf is what a line is sorted by: records with the same key stay in order.
func keyOf(line string) string {
	key, _, _ := strings.Cut(line, `,"value":`)
	return key
}

// masks are what differs between two brokers by its nature.
var masks = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`console-consumer-\d+`), "console-consumer-N"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`(^|[^\w-])[\w-]{22}($|[^\w-])`), "${1}ID${2}"}, // a UUID in base64
	{regexp.MustCompile(`\b1[5-9]\d{11}\b`), "TIME"},
	{regexp.MustCompile(`^\s+at .*`), ""}, // of a stack trace, which comes from the tool
	{regexp.MustCompile(`^\s+\.\.\. \d+ more`), ""},
	{regexp.MustCompile(`^\d{4}-[-: \d]+, [-: \d]+, ([\d.]+), [\d.]+, [\d.]+, (\d+), \d+$`), "from, to, $1 MB, MB/s, n/s, $2 records, ms"}, // performance
	{regexp.MustCompile(`((Valid \w+ are|following scenarios): ).*`), "${1}..."},                                                           // in the order of a hash table of the JVM's
	{regexp.MustCompile(`"metadataHash":-?\d+`), `"metadataHash":HASH`},                                                                    // topic ids go into it
	{regexp.MustCompile(`total of \d+ messages`), "total of N messages"},                                                                   // the lines are compared
	{regexp.MustCompile(`\s+`), " "},                                                                                                       // the width of a column depends on what was masked
}

func (c *console) mask(line string) string {
	line = strings.ReplaceAll(line, c.bootstrap, "BOOTSTRAP")
	line = strings.ReplaceAll(line, c.dir, "DIR")
	for _, m := range masks {
		line = m.pattern.ReplaceAllString(line, m.with)
	}
	return strings.TrimRight(line, " ")
}

// keep appends a command and what it printed to the broker's transcript.
func (c *console) keep(t *testing.T, name, line, printed string) {
	dir := os.Getenv("TOOLS_TRANSCRIPT")
	if dir == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, name+"."+c.name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "> %s\n  %s\n", line, strings.ReplaceAll(printed, "\n", "\n  "))
	fmt.Fprintf(f, "%s\n", time.Now().Format("05.000"))
}

// The comparison finds what is on one side only, wherever it stands, and lets
// pass what is listed.
func TestToolsDiffer(t *testing.T) {
	list := []*difference{{api: "*", name: "groups*", field: "b [12]"}}
	for _, c := range []struct {
		ours, theirs string
		want         [][2]string
	}{
		{"a\nb\nc", "a\nb\nc", nil},
		{"a\nb\nc", "a\nx\nc", [][2]string{{"b", "x"}}},
		{"a\nc", "a\nx\ny\nc", [][2]string{{"", "x"}, {"", "y"}}},
		{"a\nb\nc\nd", "a\nx\nd", [][2]string{{"b", "x"}, {"c", ""}}},
		{"a\nb 1\nc", "a\nb 3\nc", nil},
		{"b 1\nb 3", "b 2\nb 4", [][2]string{{"b 3", "b 4"}}},
		{"exit 0", "exit 1", [][2]string{{"exit 0", "exit 1"}}},
	} {
		if got := allBut(list, "any", "groups --list", [2]string{c.ours, c.theirs}); !slices.Equal(got, c.want) {
			t.Errorf("%q and %q: %q, want %q", c.ours, c.theirs, got, c.want)
		}
	}
}
