package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

func TestAddScramArguments(t *testing.T) {
	for arg, want := range map[string]string{
		`SCRAM-SHA-256=[name=alice,password=x=y]`:                                 "alice 1 4096",
		` SCRAM-SHA-512=[name="a b",password="p",iterations=16384]`:               "a b 2 16384",
		`SCRAM-SHA-256=[name=a,salt=c2FsdA==,saltedpassword="cGFzcw=="]`:          "a 1 4096 salt",
		`SCRAM-SHA-256=[name=a,salt=c2FsdA==,password=p]`:                         "a 1 4096 salt",
		`SCRAM-SHA-1=[name=alice,password=x]`:                                     "wants SCRAM",
		`SCRAM-SHA-256`:                                                           "wants SCRAM",
		`SCRAM-SHA-256=name=alice,password=x`:                                     "in brackets",
		`SCRAM-SHA-256=[name=alice,password=x`:                                    "in brackets",
		`SCRAM-SHA-256=[name]`:                                                    "NAME=VALUE",
		`SCRAM-SHA-256=[password=x]`:                                              "name is missing",
		`SCRAM-SHA-256=[name=a]`:                                                  "one of password",
		`SCRAM-SHA-256=[name=a,password=]`:                                        "empty password",
		`SCRAM-SHA-256=[name=a,password=x,saltedpassword=cGFzcw==,salt=c2FsdA==]`: "one of password",
		`SCRAM-SHA-256=[name=a,saltedpassword=cGFzcw==]`:                          "wants its salt",
		`SCRAM-SHA-256=[name=a,saltedpassword=?,salt=c2FsdA==]`:                   "not base64",
		`SCRAM-SHA-256=[name=a,password=x,iterations=4095]`:                       "between 4096 and 16384",
		`SCRAM-SHA-256=[name=a,password=x,iterations=16385]`:                      "between 4096 and 16384",
		`SCRAM-SHA-256=[name=a,password=x,iterations=many]`:                       "between 4096 and 16384",
		`SCRAM-SHA-256=[name=a,password=x,owner=b]`:                               "unknown property owner",
	} {
		rec, err := scramRecord(arg)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", arg, err, want)
			}
			continue
		}
		r := rec.(*state.UserScramCredentialRecord)
		got := fmt.Sprint(r.Name, " ", r.Mechanism, " ", r.Iterations)
		if strings.HasSuffix(want, "salt") {
			got += " " + string(r.Salt)
		} else if len(r.Salt) < 16 {
			t.Errorf("%s: a salt of %d bytes", arg, len(r.Salt))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", arg, got, want)
		}
	}
}

// A user whom the formatting made is there when the cluster begins, and is not
// made anew when it starts again.
func TestAddScramUser(t *testing.T) {
	dir := t.TempDir()
	if _, out, code := run(t, "", nil, "storage", "format", "--set", "log.dirs="+dir, "--add-scram", "SCRAM-SHA-512=[name=alice,password=first]"); code != 0 {
		t.Fatalf("format: %d %s", code, out)
	}
	set, err := config.ParseSet([]string{"log.dirs=" + dir, "admin.listener=", "listeners=IN://node1:9092", "listener.security.protocol.map=IN:SASL_PLAINTEXT",
		"sasl.enabled.mechanisms=SCRAM-SHA-512"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		net := memnet.New()
		b, err := broker.Open(broker.Config{Properties: config.NewBroker(set), Listen: net.Host("node1").Listen})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		<-b.Ready()
		cl, err := kgo.NewClient(kgo.SeedBrokers("node1:9092"), kgo.Dialer(net.Host("client").Dial),
			kgo.SASL(scram.Auth{User: "alice", Pass: "first"}.AsSha512Mechanism()))
		if err != nil {
			t.Fatal(err)
		}
		err = cl.Ping(ctx)
		cl.Close()
		cancel()
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
	}
}
