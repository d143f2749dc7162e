//go:build system

package system

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program builds the program under test once, unless SYSTEM_BINARY names one.
var program = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("SYSTEM_BINARY"); bin != "" {
		return bin, nil
	}
	bin := filepath.Join(os.TempDir(), "myelin-system-"+strconv.Itoa(os.Getpid()), "myelin")
	cmd := exec.Command("go", "build", "-o", bin, "../../cmd/myelin")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(filepath.Join(os.TempDir(), "myelin-system-"+strconv.Itoa(os.Getpid())))
	os.Exit(code)
}

// broker is a node that is started and ended many times, always at the same
// address and on the same directories.
type broker struct {
	addr string
	dirs []string
	args []string // further arguments of `myelin dev`
	bin  string
	work string // where its log and the ready file are

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended; then err is its verdict
	err    error
	starts int
}

// newBroker prepares a node; nothing runs yet. It is killed when the test ends.
func newBroker(t testing.TB, dirs []string, settings ...string) *broker {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatalf("building myelin: %v", err)
	}
	b := &broker{addr: freeAddress(t), dirs: dirs, bin: bin, work: t.TempDir()}
	for _, s := range settings {
		b.args = append(b.args, "--set", s)
	}
	t.Cleanup(b.kill)
	return b
}

// freeAddress finds a port below those that the system gives to connections: a
// client that dials a port of those while nobody listens there may be connected
// to itself, and then holds it.
func freeAddress(t testing.TB) string {
	t.Helper()
	return freeAddresses(t, "127.0.0.1", 1)[0]
}

// freeAddresses finds several such ports of a host, all different.
func freeAddresses(t testing.TB, host string, n int) (out []string) {
	t.Helper()
	for range 100 + n {
		l, err := net.Listen("tcp", host+":"+strconv.Itoa(20000+rand.IntN(10000)))
		if err != nil {
			continue
		}
		defer l.Close() // when all are found
		if out = append(out, l.Addr().String()); len(out) == n {
			return out
		}
	}
	t.Fatal("no free port")
	return nil
}

func (b *broker) readyFile() string { return filepath.Join(b.work, "ready") }
func (b *broker) logFile() string   { return filepath.Join(b.work, "log") }

// launch starts the process and returns at once.
func (b *broker) launch(t testing.TB) {
	t.Helper()
	os.Remove(b.readyFile())
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	argv := append([]string{"dev", "--set", "log.dirs=" + strings.Join(b.dirs, ","), "--listen", b.addr, "--ready-file", b.readyFile()}, b.args...)
	cmd := exec.Command(b.bin, argv...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.cmd, b.exited = cmd, make(chan struct{})
	b.starts++
	go func(done chan struct{}) {
		b.err = cmd.Wait()
		close(done)
	}(b.exited)
}

// start starts the process and returns when it is ready.
func (b *broker) start(t testing.TB) {
	t.Helper()
	b.launch(t)
	if err := b.await(60 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, b.tail())
	}
}

// await polls for the ready file; a process in another address space has no
// other way to tell.
func (b *broker) await(limit time.Duration) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		if text, err := os.ReadFile(b.readyFile()); err == nil && bytes.IndexByte(text, '\n') > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-b.exited:
			return errors.Join(errors.New("the broker ended before it was ready"), b.err)
		case <-end.C:
			return errors.New("the broker was not ready within " + limit.String())
		}
	}
}

// running tells whether the process has not ended by itself.
func (b *broker) running() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// kill ends the process with SIGKILL and waits for it.
func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	b.cmd.Process.Kill()
	<-b.exited
	b.cmd = nil
}

// stop asks the process to drain and waits for it.
func (b *broker) stop(t testing.TB) {
	t.Helper()
	if b.cmd == nil {
		return
	}
	b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.exited
	if b.cmd = nil; b.err != nil {
		t.Errorf("the broker's exit after SIGTERM: %v\n%s", b.err, b.tail())
	}
}

// tail is the end of what the process printed, of all its lives.
func (b *broker) tail() string {
	const keep = 6000
	text, _ := os.ReadFile(b.logFile())
	if len(text) > keep {
		return "…" + string(text[len(text)-keep:])
	}
	return string(text)
}

// myelin runs a command of the binary to its end.
func (b *broker) myelin(args ...string) (output string, code int) {
	out, err := exec.Command(b.bin, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		return err.Error(), -1
	}
	return string(out), 0
}

// sound lets `storage check` look at the directories of a node that was stopped,
// or killed: then what it would do at the next start is rehearsed, too.
func (b *broker) sound(t testing.TB, killed bool) {
	t.Helper()
	if out, code := b.myelin(append([]string{"storage", "check"}, b.dirs...)...); code != 0 {
		t.Errorf("storage check, killed %v: exit %d\n%s%s", killed, code, out, evidence(out))
	}
	if !killed {
		return
	}
	if out, code := b.myelin(append([]string{"storage", "recover", "--dry-run"}, b.dirs...)...); code != 0 {
		t.Errorf("storage recover --dry-run: exit %d\n%s", code, out)
	}
}

// evidence is what the small files hold that a check names: they go with the test.
func evidence(report string) string {
	var out strings.Builder
	for _, word := range strings.Fields(report) {
		if data, err := os.ReadFile(word); err == nil && len(data) < 8<<10 {
			fmt.Fprintf(&out, "%s:\n%s", word, hex.Dump(data))
		}
	}
	return out.String()
}

// number reads a count from the environment.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s: want a number", name, text)
	}
	return n
}

// needRoot skips a test that mounts file systems where that is not allowed.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: this test mounts a file system, which needs root")
	}
}
