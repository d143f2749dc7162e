//go:build steady

package sim

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// steady says that the runtime draws no lots of its own, see test/steady.
const steady = true

const lotsEnv = "SIM_LOTS"

// TestSteady draws the runtime's lots in several processes and wants the same
// each time: the tag without the overlay would promise what does not hold.
func TestSteady(t *testing.T) {
	if os.Getenv(lotsEnv) != "" {
		synctest.Test(t, func(*testing.T) { fmt.Println("lots:", lots()) })
		return
	}
	var first string
	for i := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSteady$", "-test.v")
		cmd.Env = append(os.Environ(), lotsEnv+"=1", calmRuntime, "GOMAXPROCS=1", "GOGC=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, drawn, _ := strings.Cut(string(out), "lots: ")
		drawn, _, _ = strings.Cut(drawn, "\n")
		switch {
		case len(drawn) < 120:
			t.Fatalf("a process printed %q", out)
		case i == 0:
			first = drawn
		case drawn != first:
			t.Fatalf("one process drew\n%s\nand another\n%s", first, drawn)
		}
	}
}

// lots lets twenty timers fire at once, has select choose, and goes over a map.
func lots() (drawn []int) {
	fired := make(chan int, 20)
	for i := range cap(fired) {
		time.AfterFunc(time.Second, func() { fired <- i })
	}
	time.Sleep(2 * time.Second)
	m := map[int]bool{}
	for range cap(fired) {
		v := <-fired
		drawn, m[v] = append(drawn, v), true
	}
	for v := range m {
		drawn = append(drawn, v)
	}
	a, b := make(chan int, 20), make(chan int, 20)
	for range 20 {
		a <- 1
		b <- 2
		select { //house:select the runtime's choice is what is looked at
		case v := <-a:
			drawn = append(drawn, v)
		case v := <-b:
			drawn = append(drawn, v)
		}
	}
	return drawn
}
