package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// run runs one command line and returns what it wrote and its exit code.
func run(t *testing.T, input string, env []string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), Process{Args: args, In: strings.NewReader(input), Out: &o, Err: &e, Env: env})
	return o.String(), e.String(), code
}

// deadAddress is an address where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestUsage(t *testing.T) {
	dead := deadAddress(t)
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	os.WriteFile(broken, []byte("log:\n  dirs: [\n"), 0o666)
	for _, c := range []struct {
		args string
		code int
		errs string
	}{
		{"topci", exitUsage, `myelin: unknown command "topci" for myelin; did you mean topic?`},
		{"topic nonsense", exitUsage, `myelin: unknown command "nonsense" for myelin topic; see: myelin topic --help`},
		{"topic create", exitUsage, "myelin: requires at least 1 arg(s), only received 0; see: myelin topic create --help"},
		{"topic list --bogus", exitUsage, "myelin: unknown flag: --bogus; see: myelin topic list --help"},
		{"topic create t -c x", exitUsage, "myelin: x: want KEY=VALUE"},
		{"topic list -X nonsense=1", exitUsage, "myelin: -X nonsense=1: want KEY=VALUE with one of " + strings.Join(clientKeys, ", ")},
		{"topic list -X security.protocol=TLS", exitUsage, "myelin: -X security.protocol=TLS: want PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"},
		{"topic list -b " + dead, exitUnreachable, "myelin: cannot reach " + dead + ": connection refused; is a broker running? start one with: myelin dev"},
		{"ping -b " + dead, exitUnreachable, "myelin: cannot reach " + dead + ": connection refused; is a broker running? start one with: myelin dev"},
		{"health --admin " + dead, exitUnreachable, "myelin: cannot reach " + dead + ": connection refused; is a broker running? start one with: myelin dev"},
		{"consume t -f %q", exitUsage, "myelin: -f: unknown escape sequence %q"},
		{"produce t -z brotli", exitUsage, "myelin: -z brotli: want none, gzip, snappy, lz4 or zstd"},
		{"produce t --tombstone", exitUsage, "myelin: --tombstone: say whose, with -k KEY"},
		{"topic trim t", exitUsage, "myelin: --before: say which records: an offset, @TIME or end"},
		{"group seek g", exitUsage, "myelin: --to: say where: start, end, N, +N, -N, @TIME, group:OTHER or file:FILE"},
		{"dev --set num.partition=1", exitUsage, "myelin: --set num.partition=1: unknown property num.partition; did you mean num.partitions?"},
		{"dev --set num.partitions=x", exitUsage, "myelin: --set: Invalid value x for configuration num.partitions: Not a number of type INT"},
		{"dev --listen nonsense", exitUsage, "myelin: --listen nonsense: want HOST:PORT"},
		{"dev --port 70000", exitUsage, "myelin: --port 70000: want 0 to 65535"},
		{"dev --ephemeral --data-dir x", exitUsage, "myelin: --ephemeral and --data-dir: one of them"},
		{"serve --config " + broken, exitUsage, "myelin: " + broken + ":2: sequence end token ']' not found"},
		{"serve --config " + dir + "/none", exitNotFound, "myelin: --config: open " + dir + "/none: no such file or directory"},
		{"serve --set listeners=PLAINTEXT://0.0.0.0:9092", exitUsage, "myelin: listener PLAINTEXT://0.0.0.0:9092 lets anyone who reaches it read, write and delete; listen on 127.0.0.1, or add --insecure if the network is yours"},
		{"serve --set advertised.listeners=auto", exitUsage, "myelin: advertised.listeners=auto is for dev only: it makes what clients are told depend on where they are; name the addresses"},
		{"config explain num.partition", exitNotFound, "myelin: unknown property num.partition; did you mean num.partitions?"},
		{"config explain log.retentoin.", exitNotFound, "myelin: unknown property log.retentoin.; did you mean log.retention.ms?"},
		{"storage info " + dir + "/none", exitNotFound, "myelin: stat " + dir + "/none: no such file or directory"},
		{"storage dump-log x.txt", exitNotFound, "myelin: open x.txt: no such file or directory"},
	} {
		_, errs, code := run(t, "", nil, append([]string{"-q"}, strings.Fields(c.args)...)...)
		if code != c.code || strings.TrimSpace(errs) != c.errs {
			t.Errorf("myelin %s: exit %d, %s\nwant %d, %s", c.args, code, errs, c.code, c.errs)
		}
	}
}

func TestPosition(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000)
	for _, c := range []struct {
		text string
		want position
	}{
		{"start", position{'s', 0}}, {"latest", position{'e', 0}}, {"7", position{'n', 7}}, {"+7", position{'+', 7}}, {"-7", position{'-', 7}},
		{"@1234", position{'@', 1234}}, {"@90s", position{'@', 999_999_910_000}}, {"@2d", position{'@', 999_827_200_000}},
		{"@2001-09-09", position{'@', 999_993_600_000}}, {"@2001-09-09T01:46:40Z", position{'@', 1_000_000_000_000}},
		{"@2001-09-09T01:46", position{'@', 999_999_960_000}},
		{"", position{}}, {"x", position{}}, {"@x", position{}}, {"1.5", position{}},
	} {
		got, err := parsePosition(c.text, now)
		if (err != nil) != (c.want == position{}) || err == nil && got != c.want {
			t.Errorf("%q: %v, %v; want %v", c.text, got, err, c.want)
		}
		if err != nil && classify(err).code != exitUsage {
			t.Errorf("%q: exit %d", c.text, classify(err).code)
		}
	}
}

func TestResolvePosition(t *testing.T) {
	p := place{"t", 0}
	b := bounds{start: map[place]int64{p: 10}, end: map[place]int64{p: 20}}
	for text, want := range map[string]int64{"start": 10, "end": 20, "15": 15, "3": 10, "99": 20, "+4": 14, "+40": 20, "-4": 16, "-40": 10} {
		at, err := parsePosition(text, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.resolve(t.Context(), nil, at); err != nil || got[p] != want {
			t.Errorf("%s: %d, %v; want %d", text, got[p], err, want)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{fmt.Errorf("x: %w", kerr.TopicAuthorizationFailed), exitDenied, "(TOPIC_AUTHORIZATION_FAILED); say who you are"},
		{context.DeadlineExceeded, exitUnreachable, "no answer in time"},
		{context.Canceled, exitFailed, "interrupted"},
		{refusal("topic t", kerr.UnknownTopicOrPartition, ""), exitNotFound, "topic t does not exist; list topics with: myelin topic list"},
		{refusal("group g", kerr.GroupIDNotFound, ""), exitNotFound, "group g does not exist; list groups with: myelin group list"},
		{refusal("topic t", kerr.InvalidPartitions, "too many."), exitFailed, "topic t: too many"},
		{&kgo.ErrFirstReadEOF{}, exitUnreachable, "the broker closed the connection at once"},
		{partial(1, []error{refusal("topic t", kerr.UnknownTopicOrPartition, "")}), exitPartial, "does not exist"},
		{partial(0, []error{refusal("topic t", kerr.UnknownTopicOrPartition, "")}), exitNotFound, "does not exist"},
		{errors.New("a\n  b"), exitFailed, "a; b"},
		{os.ErrPermission, exitDenied, "permission"},
	} {
		f := classify(c.err)
		if f.code != c.code || !strings.Contains(f.text, c.text) || strings.Contains(f.text, "\n") {
			t.Errorf("%v: exit %d, %q; want %d, %q", c.err, f.code, f.text, c.code, c.text)
		}
	}
	if partial(3, nil) != nil {
		t.Error("nothing failed, and yet an error")
	}
}

func TestNodeFault(t *testing.T) {
	b := config.NewBroker(config.Settings{"log.dirs": {Value: "/data"}})
	for _, c := range []struct {
		err  error
		text string
	}{
		{fmt.Errorf("listen tcp 127.0.0.1:9092: bind: %w", syscall.EADDRINUSE), "listen tcp 127.0.0.1:9092: bind: address already in use; is another broker running?"},
		{fmt.Errorf("lock: %w", vfs.ErrLocked), "data directory /data is in use by another process; stop that one"},
		{fmt.Errorf("create: %w", syscall.EROFS), "read-only file system; make it writable"},
		{fmt.Errorf("write: %w", syscall.ENOSPC), "no space left on device; free some space"},
	} {
		if f := classify(nodeFault(b, c.err)); !strings.Contains(f.text, c.text) {
			t.Errorf("%v: %q, want %q", c.err, f.text, c.text)
		}
	}
}

func TestOutput(t *testing.T) {
	type row struct {
		Name string `json:"name"`
		N    int    `json:"num"`
	}
	cols := []column[row]{{"NAME", false, func(r row) string { return r.Name }}, {"N", true, func(r row) string { return fmt.Sprint(r.N) }}}
	rows := []row{{"a", 1}, {"bb", 2}}
	for form, want := range map[string]string{
		"table":                     "NAME\na\nbb\n",
		"wide":                      "NAME  N\na     1\nbb    2\n",
		"jsonl":                     "{\"name\":\"a\",\"num\":1}\n{\"name\":\"bb\",\"num\":2}\n",
		"json":                      "[\n  {\n    \"name\": \"a\",\n    \"num\": 1\n  },\n  {\n    \"name\": \"bb\",\n    \"num\": 2\n  }\n]\n",
		"yaml":                      "- name: a\n  num: 1\n- name: bb\n  num: 2\n",
		"csv":                       "name,n\na,1\nbb,2\n",
		"name":                      "a\nbb\n",
		"template={{.Name}}={{.N}}": "a=1\nbb=2\n",
		"help":                      "name: string\nnum: int\n",
	} {
		var out bytes.Buffer
		a := &app{Process: Process{Out: &out, Err: io.Discard}, output: form}
		if err := show(a, rows, cols...); err != nil || out.String() != want {
			t.Errorf("-o %s: %v\n%s\nwant\n%s", form, err, out.String(), want)
		}
	}
	var out bytes.Buffer
	if err := show(&app{Process: Process{Out: &out}, output: "json"}, []row(nil), cols...); err != nil || out.String() != "[]\n" {
		t.Errorf("no rows: %q, %v", out.String(), err)
	}
	for _, form := range []string{"xml", "template={{.Nope}}", "template={{"} {
		err := show(&app{Process: Process{Out: io.Discard}, output: form}, rows, cols...)
		if err == nil || classify(err).code != exitUsage {
			t.Errorf("-o %s: %v", form, err)
		}
	}
}

func TestRecordReader(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for _, c := range []struct{ layout, in, want string }{
		{`%v\n`, "a\nb\n", "=a =b"},
		{`%v\n`, "a\n\nb", "=a = =b"},
		{`%v\n`, long, "=" + long},
		{`%k:%v\n`, "k:v\nl:w\n", "k=v l=w"},
	} {
		read, err := recordReader(strings.NewReader(c.in), c.layout)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			r, err := read()
			if err != nil {
				break
			}
			got = append(got, string(r.Key)+"="+string(r.Value))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s of %.20q: %.60q", c.layout, c.in, got)
		}
	}
}

func TestRecordJSON(t *testing.T) {
	r := &kgo.Record{Topic: "t", Partition: 1, Offset: 2, Timestamp: time.UnixMilli(3), Key: []byte{0xff}, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}}
	var out bytes.Buffer
	a := &app{Process: Process{Out: &out}, output: "jsonl"}
	write, err := a.recordWriter("")
	if err != nil {
		t.Fatal(err)
	}
	write(r)
	want := `{"topic":"t","partition":1,"offset":2,"timestamp":3,"key":null,"value":null,"key_base64":"/w==","headers":[{"key":"h","value":"v"}]}` + "\n"
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		yes, dry, want bool
		code           int
	}{{yes: true, want: true}, {dry: true}, {yes: true, dry: true}, {code: exitUsage}} {
		a := &app{Process: Process{In: strings.NewReader("y\n"), Err: io.Discard}, yes: c.yes, dryRun: c.dry}
		ok, err := a.confirm("this goes:", "x")
		if ok != c.want || (err == nil) != (c.code == 0) {
			t.Errorf("%+v: %v, %v", c, ok, err)
		}
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	props, yml := filepath.Join(dir, "a.properties"), filepath.Join(dir, "b.yaml")
	os.WriteFile(props, []byte("num.partitions=2\nlog.dirs=/p\nnode.id=9\n"), 0o666)
	os.WriteFile(yml, []byte("log: {dirs: /y}\n"), 0o666)
	a := &app{Process: Process{Env: []string{"KAFKA_NODE_ID=5"}, Err: io.Discard}}
	set, err := a.settings(settingFlags{files: []string{props, yml}, set: []string{"num.partitions=7"}}, config.Settings{"log.level": {Value: "warn", Origin: "dev"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.resolve(set, false)
	if err != nil {
		t.Fatal(err)
	}
	if b.Int("num.partitions") != 7 || b.String("log.dirs") != "/y" || b.NodeID() != 5 || b.String("log.level") != "warn" {
		t.Errorf("partitions %d, dirs %s, node %d, level %s", b.Int("num.partitions"), b.String("log.dirs"), b.NodeID(), b.String("log.level"))
	}
	if _, err := a.resolve(config.Settings{"no.such": {Value: "1", Origin: "f:1"}}, true); err == nil {
		t.Error("--strict takes an unknown property")
	}
}

func TestDumpLog(t *testing.T) {
	b := record.Builder{}
	b.Append(record.Record{Key: []byte("k"), Value: []byte("v"), Timestamp: 5})
	batch := bytes.Clone(b.Bytes())
	record.Stamp(batch, 7, 1)
	file := filepath.Join(t.TempDir(), "00000000000000000007.log")
	damaged := bytes.Clone(batch)
	damaged[len(damaged)-1] ^= 1
	os.WriteFile(file, bytes.Join([][]byte{batch, damaged, batch[:20]}, nil), 0o666)
	out, errs, code := run(t, "", nil, "storage", "dump-log", "--records", file)
	for _, want := range []string{"offsets 7-7 count 1 epoch 1 position 0", `7 time 5 key "k" value "v"`, "DAMAGED", "no batch starts here"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nwant %q", out, want)
		}
	}
	if code != exitFailed || !strings.Contains(errs, "damaged places: 2") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestVersionAndHelp(t *testing.T) {
	if out, _, code := run(t, "", nil, "version"); code != 0 || !strings.Contains(out, "Kafka 4.4") {
		t.Errorf("version: %d %s", code, out)
	}
	if out, _, code := run(t, "", nil); code != 0 || !strings.Contains(out, "myelin dev") {
		t.Errorf("no arguments: %d %s", code, out)
	}
	if out, _, code := run(t, "", nil, "completion", "bash"); code != 0 || !strings.Contains(out, "complete") {
		t.Errorf("completion: %d", code)
	}
	out, _, code := run(t, "", nil, "config", "explain", "log.retention.hours", "--set", "log.retention.hours=5")
	if code != 0 || !strings.Contains(out, "value      5") || !strings.Contains(out, "at --set") {
		t.Errorf("explain: %d\n%s", code, out)
	}
}

// TestLogLevel shows the effect of log.level.
func TestLogLevel(t *testing.T) {
	var errs bytes.Buffer
	a := &app{Process: Process{Err: &errs}}
	l, _ := logger(a, config.NewBroker(config.Settings{"log.level": {Value: "warn"}}))
	l.Info("quiet")
	l.Warn("loud")
	if strings.Contains(errs.String(), "quiet") || !strings.Contains(errs.String(), "loud") {
		t.Error(errs.String())
	}
}

// TestLogFormat shows the effect of log.format; a buffer is no terminal.
func TestLogFormat(t *testing.T) {
	for format, want := range map[string]string{"auto": "{\"time\"", "json": "{\"time\"", "text": "time="} {
		var errs bytes.Buffer
		l, _ := logger(&app{Process: Process{Err: &errs}}, config.NewBroker(config.Settings{"log.format": {Value: format}}))
		l.Warn("x")
		if !strings.HasPrefix(errs.String(), want) {
			t.Errorf("%s: %s", format, errs.String())
		}
	}
}
