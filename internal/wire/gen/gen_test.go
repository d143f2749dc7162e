package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What is committed is what the definitions say.
func TestUpToDate(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	out, err := generateAll(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range out {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its definition says: run go run ./internal/wire/gen", path)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range [][2]string{
		{"TopicId", "TopicID"}, {"NodeIds", "NodeIDs"}, {"IsrNodes", "ISRNodes"}, {"ApiKeys", "APIKeys"},
		{"MatchingAcls", "MatchingACLs"}, {"SaslMechanism", "SASLMechanism"}, {"Identity", "Identity"},
		{"LastKnownElr", "LastKnownELR"}, {"commitTimestamp", "CommitTimestamp"}, {"V3AndBelowTopics", "V3AndBelowTopics"},
	} {
		if got := goName(c[0]); got != c[1] {
			t.Errorf("goName(%s) = %s, want %s", c[0], got, c[1])
		}
	}
	for _, c := range [][2]string{
		{"Topics", "Topic"}, {"Entries", "Entry"}, {"StateBatches", "StateBatch"}, {"TopicData", "TopicData"},
		{"Responses", "Response"}, {"Status", "Status"}, {"Aliases", "Aliase"}, {"TaskIDs", "TaskID"},
	} {
		if got := singular(c[0]); got != c[1] {
			t.Errorf("singular(%s) = %s, want %s", c[0], got, c[1])
		}
	}
}

func TestWhen(t *testing.T) {
	v := func(s string) versions {
		v, err := parseVersions(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range [][3]string{
		{"0+", "3-13", "true"}, {"14+", "3-13", "false"}, {"9+", "3-13", "version >= 9"}, {"0-12", "3-13", "version <= 12"},
		{"5-7", "3-13", "version >= 5 && version <= 7"}, {"5", "3-13", "version == 5"}, {"none", "3-13", "false"},
	} {
		if got := when(v(c[0]), v(c[1])); got != c[2] {
			t.Errorf("when(%s, %s) = %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

// Each mistake in a definition is told with its place or its field.
func TestMistakes(t *testing.T) {
	const head = "api 9 Test\nlisteners broker\n\nrequest versions=0-3 flexible=2+\n"
	for _, c := range []struct{ lines, want string }{
		{"  A int9 0+", "no shared struct int9"},
		{"  A int32", "x.def:5: a field has a name"},
		{"  A int32 x+", `x.def:5: versions "x+"`},
		{"  A int32 0+ sometimes", `x.def:5: unknown word "sometimes"`},
		{"    A int32 0+", "x.def:5: nothing is open"},
		{"  A int32 0+ null", "A: cannot be null"},
		{"  A int32 0+ tag=0", "not flexible"},
		{"  A int32 2+ tag=0\n  B int32 2+ tag=0", "tag 0 is taken"},
		{"  A string 2+ null tag=0 default=x", "null as its default"},
		{"  A bytes 1+ split", "can be split"},
		{"  As []struct 0+\n    X int8 0+\n  A struct 0+\n    X int8 0+", "two structs have this name"},
		{"api 1", "api wants more words"},
		{"  shared X", "shared wants a name"},
		{"nonsense", `x.def:5: unknown word "nonsense"`},
	} {
		_, err := parse("x", []byte(head+c.lines+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.lines, err, c.want)
		}
	}
}

// Keys of our own, from 20000 up, work like Kafka's.
func TestPrivateKey(t *testing.T) {
	f, err := parse("20000_probe", []byte("api 20000 Probe\nlisteners controller\n"+
		"request versions=0 flexible=0+\n  NodeId int32 0+\nresponse versions=0 flexible=0+\n"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	if err := add(out, "probe", emitFile("msg", f)); err != nil {
		t.Fatal(err)
	}
	if err := add(out, "tables", tables([]*file{f})); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"probe": "type ProbeRequest struct {\n\tNodeID int32\n}", "tables": "{Key: 20000, Name: \"Probe\""} {
		if !strings.Contains(string(out[path]), want) {
			t.Errorf("no %s in\n%s", want, out[path])
		}
	}
}

// The smallest encodings, by hand.
func TestLeast(t *testing.T) {
	f, err := parse("x", []byte(`api 9 Test
request versions=0-3 flexible=2+
  A int32 0+
  B string 0+
  C []int64 1+
  D struct 1+ null
    X uuid 1+
  E struct 0+
    X uuid 0-2
  F int64 2+ tag=0
`))
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range []int{
		4 + 2 + 16,                   // A, B, E
		4 + 2 + 4 + 1 + 16,           // and C, D
		4 + 1 + 1 + 1 + (16 + 1) + 1, // flexible: short lengths, a count of tags per struct
		4 + 1 + 1 + 1 + (0 + 1) + 1,  // E is empty
	} {
		if got := f.messages[0].root.least(version); got != want {
			t.Errorf("version %d: %d bytes at least, want %d", version, got, want)
		}
	}
}
