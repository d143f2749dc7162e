package wire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
	"github.com/myelin-stream/myelin/internal/wire/wiretest"
)

// TestJava sends random messages of every kind and version through Apache
// Kafka's own classes, which must write again what they read, and compares the
// defaults of all fields with Kafka's. It needs java and, in
// MYELIN_KAFKA_CLASSPATH, the jars of a Kafka 4.4 broker.

type codec interface {
	Versions() (first, last int16)
	SetDefaults()
	Decode(r *wire.Reader, version int16)
	Append(b []byte, version int16) []byte
}

type subject struct {
	class string
	fresh func() codec
}

var packages = map[state.Family]string{
	state.None:        "org.apache.kafka.common.message.",
	state.Control:     "org.apache.kafka.common.message.",
	state.Group:       "org.apache.kafka.coordinator.group.generated.",
	state.Transaction: "org.apache.kafka.coordinator.transaction.generated.",
	state.Share:       "org.apache.kafka.coordinator.share.generated.",
	state.Metadata:    "org.apache.kafka.common.metadata.",
	state.Remote:      "org.apache.kafka.server.log.remote.metadata.storage.generated.",
}

func subjects() []subject {
	all := []subject{
		{packages[state.None] + "RequestHeaderData", func() codec { return new(msg.RequestHeader) }},
		{packages[state.None] + "ResponseHeaderData", func() codec { return new(msg.ResponseHeader) }},
	}
	for _, api := range msg.APIs {
		if api.Key >= msg.FirstPrivateKey {
			continue
		}
		name := packages[state.None] + api.Name
		all = append(all,
			subject{name + "RequestData", func() codec { m, _ := msg.NewRequest(api.Key); return m }},
			subject{name + "ResponseData", func() codec { m, _ := msg.NewResponse(api.Key); return m }})
	}
	for _, t := range state.Types {
		all = append(all, subject{packages[t.Family] + t.Name, func() codec { m, _ := state.NewOf(t); return m }})
	}
	return all
}

func TestJava(t *testing.T) {
	classpath := os.Getenv("MYELIN_KAFKA_CLASSPATH")
	if classpath == "" {
		t.Skip("MYELIN_KAFKA_CLASSPATH is not set")
	}
	var input bytes.Buffer
	var checks []func(answer string) error
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range subjects() {
		for first, last := s.fresh().Versions(); first <= last; first++ {
			fmt.Fprintf(&input, "%s %d new\n", s.class, first)
			checks = append(checks, func(answer string) error { return sameDefaults(s, first, answer) })
			for i := range 20 {
				m := s.fresh()
				(&wiretest.Filler{Rand: rng, Keep: float64(i%3) * 0.4}).Fill(m)
				// What a version lacks must have its default in Java.
				sent := m.Append(nil, first)
				fmt.Fprintf(&input, "%s %d %x\n", s.class, first, sent)
				checks = append(checks, func(answer string) error { return same(s, first, answer, sent) })
			}
		}
	}
	cmd := exec.Command("java", "-cp", classpath, "testdata/Echo.java")
	cmd.Stdin, cmd.Stderr = &input, os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 16<<20)
	for i, check := range checks {
		if !lines.Scan() {
			t.Fatalf("%d answers for %d messages", i, len(checks))
		}
		if err := check(lines.Text()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d messages", len(checks))
}

func same(s subject, version int16, answer string, sent []byte) error {
	if answer != hex.EncodeToString(sent) {
		return fmt.Errorf("%s v%d: sent\n%x, got\n%s", s.class, version, sent, answer)
	}
	r := wire.NewReader(sent)
	m := s.fresh()
	m.Decode(r, version)
	if err := r.Done(); err != nil {
		return fmt.Errorf("%s v%d: %w", s.class, version, err)
	}
	if again := m.Append(nil, version); !bytes.Equal(again, sent) {
		return fmt.Errorf("%s v%d: sent\n%x, again\n%x", s.class, version, sent, again)
	}
	return nil
}

// sameDefaults compares a message that is new in Java with one that is new here.
// Kafka's default for what may be null, if none is given, is empty; ours is null.
func sameDefaults(s subject, version int16, answer string) error {
	b, err := hex.DecodeString(answer)
	if err != nil {
		return fmt.Errorf("%s v%d new: %s", s.class, version, answer)
	}
	m := s.fresh()
	r := wire.NewReader(b)
	m.Decode(r, version)
	if err := r.Done(); err != nil {
		return fmt.Errorf("%s v%d: %w", s.class, version, err)
	}
	got, want := loose(m), loose(s.fresh())
	if got != want {
		return fmt.Errorf("%s v%d: new in Java\n%s, here\n%s", s.class, version, got, want)
	}
	return nil
}

// loose prints a message so that null and empty are the same.
func loose(m codec) string {
	var out strings.Builder
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Pointer:
			if !f.IsNil() && !f.Elem().IsZero() {
				fmt.Fprintf(&out, " %s:%+v", v.Type().Field(i).Name, f.Elem())
			}
		case reflect.Slice:
			fmt.Fprintf(&out, " %s:%d", v.Type().Field(i).Name, f.Len())
		default:
			fmt.Fprintf(&out, " %s:%+v", v.Type().Field(i).Name, f)
		}
	}
	return out.String()
}
