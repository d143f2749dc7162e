// Command steady prepares Go's runtime for the simulator, so that one seed is one
// history whatever else the machine does.
//
// On one processor, and without asynchronous preemption, the runtime still draws
// lots inside a synctest bubble: which of two timers due in the same instant fires
// first, which case a select takes of several that are ready, where the iteration
// of a map begins. It seeds them anew in each process. And it takes a goroutine off
// the processor that has run for 10 ms of wall-clock time, which on a busy machine
// is any goroutine. No program can switch these off, but a build can: "go build
// -overlay" reads some files of the standard library from elsewhere.
//
//	go run ./test/steady DIR     writes DIR/overlay.json and the files it names
//	go test -overlay DIR/overlay.json -tags steady ./internal/sim
//
// The files are those of the Go that runs this, with a line changed here and there:
// see edits. Where a line is not found, as in another version of Go may be, nothing
// is written and the error says so.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit replaces text that stands exactly once in a file of the runtime.
type edit struct{ file, old, new string }

var edits = [...]edit{
	// What differs between two processes begins alike.
	{"rand.go", "\tglobalRand.state.Init(*seed)\n", "\t*seed = [32]byte{1}\n\tglobalRand.state.Init(*seed)\n"},
	// In a bubble lots come from one row, whichever thread draws them.
	{"rand.go", "func rand() uint64 {\n", `func rand() uint64 {
	if getg().bubble != nil {
		return steady()
	}
`},
	{"rand.go", "//go:linkname maps_rand internal/runtime/maps.rand\n", `var steadyState uint64

// steady is splitmix64 over a counter.
func steady() uint64 {
	steadyState += 0x9e3779b97f4a7c15
	z := steadyState
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func steadyn(n uint32) uint32 {
	if getg().bubble == nil {
		return cheaprandn(n)
	}
	return uint32(steady()>>32) % n
}

//go:linkname maps_rand internal/runtime/maps.rand
`},
	{"select.go", "cheaprandn(uint32(norder + 1))", "steadyn(uint32(norder + 1))"},
	{"time.go", "t.rand = cheaprand()", "t.rand = uint32(steady())"},
	// A goroutine runs until it waits. After a minute it hangs, and may be stopped.
	{"proc.go", "const forcePreemptNS = 10 * 1000 * 1000", "const forcePreemptNS = 60 * 1000 * 1000 * 1000"},
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: go run ./test/steady DIR"))
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		fail(fmt.Errorf("asking go for its root: %w", err))
	}
	if err := write(os.Args[1], filepath.Join(strings.TrimSpace(string(root)), "src", "runtime")); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "steady:", err)
	os.Exit(1)
}

// write puts the changed files of the runtime, and the overlay that names them,
// into dir. What stands there already and is the same is left alone.
func write(dir, runtime string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	changed := map[string]string{} // by name
	for _, e := range edits {
		text, ok := changed[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(runtime, e.file))
			if err != nil {
				return err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return fmt.Errorf("runtime/%s has %q %d times, not once: is this another version of Go?", e.file, e.old, n)
		}
		changed[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range changed {
		to := filepath.Join(dir, name+".txt")
		overlay.Replace[filepath.Join(runtime, name)] = to
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(overlay, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o644)
}
