// Command bench measures a myelin broker against a running Apache Kafka and
// against the least that the machine allows, and says which limits hold.
//
// It sends prebuilt raw frames, the same bytes to both, in alternation, and
// reads the CPU time, the memory and the stolen time from /proc. So it judges a
// broker by what the broker itself uses: on two cores the rate that a client
// reaches says more about the client.
//
//	make bench PEER=127.0.0.1:9092,12345 ROWS=P1,P3 QUICK=1
//
// Rows that measure CPU count always. Rows that measure latency count only when
// a probe of the floor before and after agrees and the host steals little time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// longest is the time that a whole run may take.
const longest = 45 * time.Minute

type options struct {
	binary, peer, rows, dir, sink string
	quick, noFill, kafkaOnly      bool
	times                         int
}

func main() {
	var o options
	flag.StringVar(&o.binary, "myelin", "bin/myelin", "path of the myelin `binary`")
	flag.StringVar(&o.peer, "peer", "", "a running Kafka to compare with, `host:port,pid`; for row P5 one of three nodes, host:port,pid,pid,pid")
	flag.StringVar(&o.rows, "rows", "", "rows to measure, such as `P1,P3`; all when empty")
	flag.StringVar(&o.dir, "dir", "", "`folder` for the brokers' data; the machine's temporary one when empty")
	flag.BoolVar(&o.quick, "quick", false, "one short measurement of each")
	flag.IntVar(&o.times, "times", 3, "measurements of each row and side")
	flag.BoolVar(&o.noFill, "no-fill", false, "do not fill the page cache first")
	flag.BoolVar(&o.kafkaOnly, "peer-only", false, "measure the peer alone, for working on this program")
	flag.StringVar(&o.sink, "sink", "", "be a floor of this `kind` (used by this program itself)")
	flag.Parse()
	if o.sink != "" {
		run := func() error { return runSink(o.sink, o.dir) }
		switch o.sink {
		case "consume":
			run = func() error { return consume(o.dir) }
		case "files":
			run = func() error { return readFiles(o.dir) }
		}
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: sink:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := bench(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// bench runs the chosen rows and prints them.
func bench(ctx context.Context, o options) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	chosen, err := choose(o.rows)
	if err != nil {
		return false, err
	}
	dir, err := workDir(o.dir)
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	s := &session{binary: o.binary, dir: dir, quick: o.quick, times: o.times, cache: newWarmCache(dir, o.noFill),
		crowds: map[int]*crowd{}, transacted: map[string]bool{},
		tag: fmt.Sprintf("%04x", rand.IntN(1<<16)), log: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
		}}
	if o.quick {
		s.times = 1
	}
	if err := s.open(ctx, o); err != nil {
		return false, err
	}
	preface(os.Stdout, s, chosen)
	s.log("filling the page cache: %d MB are unused", memFree()/1e6)
	if err := s.cache.fill(ctx); err != nil {
		return false, err
	}
	results, err := s.runAll(ctx, chosen)
	ok = report(os.Stdout, results)
	if s.own.cmd != nil {
		err = errors.Join(err, s.own.stop())
	}
	return ok, err
}

func (s *session) runAll(ctx context.Context, chosen []*row) ([]*result, error) {
	if err := s.warm(ctx); err != nil {
		return nil, fmt.Errorf("warming: %w", err)
	}
	var results []*result
	for _, r := range chosen {
		results = append(results, s.run(ctx, r))
	}
	return results, nil
}

// open starts our broker and looks at the peer.
func (s *session) open(ctx context.Context, o options) error {
	if o.peer != "" {
		peer, err := parsePeer(o.peer)
		if err != nil {
			return err
		}
		if o.kafkaOnly {
			peer.name = "myelin" // it stands in for ours in the table
			s.own = &myelin{target: peer}
			return nil
		}
		s.peer = &peer
	}
	own, err := startMyelin(ctx, o.binary, s.dir)
	s.own = own
	return err
}

// choose finds rows by their ids; an id stands for all that begin with it and a
// hyphen too.
func choose(list string) ([]*row, error) {
	all := rows()
	if list == "" {
		return all, nil
	}
	var out []*row
	for _, id := range strings.Split(list, ",") {
		id = strings.ToUpper(strings.TrimSpace(id))
		found := slices.DeleteFunc(slices.Clone(all), func(r *row) bool {
			of := strings.ToUpper(r.id)
			return of != id && !strings.HasPrefix(of, id+"-")
		})
		if len(found) == 0 {
			var ids []string
			for _, r := range all {
				ids = append(ids, r.id)
			}
			return nil, fmt.Errorf("there is no row %q; there are %s", id, strings.Join(slices.Compact(ids), " "))
		}
		out = append(out, found...)
	}
	return out, nil
}
