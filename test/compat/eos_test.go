//go:build compat

package compat

import (
	"bufio"
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestConfluentExactlyOnce runs librdkafka's transactional loop, kills the client
// once and the broker once, and counts: every record went through once, in order.
func TestConfluentExactlyOnce(t *testing.T) {
	const records, partitions = 6000, 3
	dir := t.TempDir()
	b := startMyelin(t, dir, "")
	addr := b.bootstrap
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreateTopics(ctx, partitions, 1, nil, "eos-in", "eos-out"); err != nil {
		t.Fatal(err)
	}
	var batch []*kgo.Record
	for i := range records {
		batch = append(batch, &kgo.Record{Topic: "eos-in", Partition: int32(i % partitions), Value: []byte(strconv.Itoa(i))})
	}
	if err := cl.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	loop := startLoop(t, addr, records)
	loop.await(t, "committed", 3)
	loop.cmd.Process.Kill()
	loop.cmd.Wait()
	loop = startLoop(t, addr, records)
	loop.await(t, "committed", 3)
	b.kill()
	startMyelin(t, dir, addr)
	loop.await(t, "done", 1)
	if err := loop.cmd.Wait(); err != nil {
		t.Fatal(err, loop.stderr.String())
	}
	counted(ctx, t, addr, records, partitions)
}

// counted reads eos-out and compares it with what was put into eos-in.
func counted(ctx context.Context, t *testing.T, addr string, records, partitions int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("eos-out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, "eos-out")
	if err != nil {
		t.Fatal(err)
	}
	next := make([]int, partitions) // by partition: the number to come
	for i := range next {
		next[i] = i
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition] = o.Offset })
	for n := 0; n < records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", n, records, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			if got, want := string(r.Value), strconv.Itoa(2*next[r.Partition]); got != want && !t.Failed() {
				t.Errorf("partition %d offset %d: %s, not %s", r.Partition, r.Offset, got, want)
			}
			next[r.Partition] += partitions
			left[r.Partition] = ends["eos-out"][r.Partition].Offset - r.Offset
		})
	}
	for p, l := range left { // the last record and its marker
		if l > 2 {
			t.Errorf("partition %d has %d offsets behind its last record", p, l)
		}
	}
}

// transactionLoop is python/eos.py at work.
type transactionLoop struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr strings.Builder
}

func startLoop(t testing.TB, addr string, records int) *transactionLoop {
	t.Helper()
	bin, err := python()
	if err != nil {
		t.Fatalf("a Python with confluent-kafka is needed: %v", err)
	}
	l := &transactionLoop{cmd: exec.Command(bin, "python/eos.py", addr, strconv.Itoa(records))}
	l.cmd.Stderr = &l.stderr
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.cmd.Process.Kill() })
	l.lines = bufio.NewScanner(out)
	return l
}

// await reads until a line that begins so came n times. The program ends itself
// when nothing moves.
func (l *transactionLoop) await(t testing.TB, begin string, n int) {
	t.Helper()
	for l.lines.Scan() {
		if strings.HasPrefix(l.lines.Text(), begin) {
			if n--; n == 0 {
				return
			}
		} else {
			t.Log(l.lines.Text())
		}
	}
	l.cmd.Wait()
	t.Fatalf("the loop ended before %q:\n%s", begin, l.stderr.String())
}
