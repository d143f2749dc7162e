//go:build system

package system

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// threeNodes are three processes that form a cluster, each on a folder of its
// own, and ready.
func threeNodes(t testing.TB) []*broker {
	t.Helper()
	var all []*broker
	var voters, controllers []string
	for i := range 3 {
		b := newBroker(t, folders(t, 1))
		all, controllers = append(all, b), append(controllers, freeAddress(t))
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, controllers[i]))
	}
	for i, b := range all {
		settings := []string{fmt.Sprintf("node.id=%d", i+1), "cluster.id=AAAAAAAAAAAAAAAAAAAAAQ", "controller.quorum.voters=" + strings.Join(voters, ","),
			"listeners=PLAINTEXT://" + b.addr + ",CONTROLLER://" + controllers[i], "min.insync.replicas=2", "log.dirs=" + b.dirs[0]}
		var set []string
		for _, s := range settings {
			set = append(set, "--set", s)
		}
		if out, err := exec.Command(b.bin, append([]string{"storage", "format"}, set...)...).CombinedOutput(); err != nil {
			t.Fatalf("formatting: %v\n%s", err, out)
		}
		b.args = set
		b.launch(t)
	}
	for _, b := range all {
		if err := b.await(60 * time.Second); err != nil {
			t.Fatalf("%v\n%s", err, b.tail())
		}
	}
	var addrs []string
	for _, b := range all {
		addrs = append(addrs, b.addr)
	}
	// A node is ready a moment before the controller counts it in.
	for end := time.Now().Add(time.Minute); ; pause(50 * time.Millisecond) {
		out, code := all[0].myelin("topic", "create", "first", "-p", "1", "-r", "3", "-b", strings.Join(addrs, ","))
		if code == 0 {
			return all
		}
		if time.Now().After(end) {
			t.Fatal(out)
		}
	}
}

// TestNodes ends nodes of three under load, one after the other and all at once:
// nothing that was acknowledged is lost, doubled or out of order. How long
// nothing was acknowledged each time is printed. SYSTEM_NODES is how many rounds
// are played, SYSTEM_SEED which.
func TestNodes(t *testing.T) {
	rounds, dice := number(t, "SYSTEM_NODES", 6), dice(t)
	nodes := threeNodes(t)
	var addrs []string
	for _, b := range nodes {
		addrs = append(addrs, b.addr)
	}
	l := startLoad(t, strings.Join(addrs, ","), loadConfig{producers: 3, partitions: 6, largest: 2000, replicas: 3})
	logs := func() (text string) {
		for i, b := range nodes {
			text += fmt.Sprintf("--- node %d\n%s", i+1, b.tail())
		}
		return text
	}
	acked := func(what string) {
		t.Helper()
		if err := l.awaitAcked(200, 60*time.Second); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, logs())
		}
	}
	acked("at first")
	gaps := map[string][]time.Duration{}
	for i := range rounds {
		b := nodes[dice.IntN(3)]
		what, since := "kill", time.Now()
		switch {
		case i == rounds-1:
			what = "kill all"
			for _, b := range nodes {
				b.cmd.Process.Kill()
			}
			for _, b := range nodes {
				b.kill()
				b.launch(t)
			}
		case i%3 == 1:
			what = "stop and go on"
			b.cmd.Process.Signal(syscall.SIGSTOP)
		case i%3 == 2:
			what = "restart"
			b.stop(t)
		default:
			b.kill()
		}
		acked(what)
		gaps[what] = append(gaps[what], time.Since(since))
		switch what {
		case "stop and go on":
			b.cmd.Process.Signal(syscall.SIGCONT)
		case "kill", "restart":
			b.launch(t)
			if err := b.await(60 * time.Second); err != nil {
				t.Fatalf("%v\n%s", err, logs())
			}
		}
		whole(t, nodes[0], addrs)
	}
	l.finish(t)
	if t.Failed() {
		t.Log(logs())
	}
	for what, list := range gaps {
		slices.Sort(list)
		t.Logf("%s, %d times: 200 records acknowledged after %v at the median, %v at most", what, len(list), list[len(list)/2].Round(time.Millisecond), list[len(list)-1].Round(time.Millisecond))
	}
	for _, b := range nodes {
		b.kill()
	}
}

// whole waits until every replica of the load's topic is in sync again.
func whole(t testing.TB, b *broker, addrs []string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	for {
		out, code := b.myelin("topic", "describe", topic, "-p", "-b", strings.Join(addrs, ","), "-o", "template={{range .Partitions}}{{len .ISR}}{{end}}")
		if text := strings.TrimSpace(out); code == 0 && text == strings.Repeat("3", len(text)) {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			out, _ := b.myelin("topic", "describe", topic, "-p", "-b", strings.Join(addrs, ","))
			t.Fatalf("not all replicas are in sync after a minute:\n%s", out)
		}
	}
}
