//go:build compat

package compat

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
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

// output is what a command printed.
type output struct {
	stdout, stderr string
}

// run runs a command to its end and fails the test if it exits non-zero or
// takes longer than limit. stdin may be "".
func run(t testing.TB, limit time.Duration, stdin string, argv ...string) output {
	t.Helper()
	out, err := tryRun(t, limit, stdin, argv...)
	if err != nil {
		t.Fatalf("%s: %v\nstdout:\n%s\nstderr:\n%s", strings.Join(argv, " "), err, tail(out.stdout), tail(out.stderr))
	}
	return out
}

// tryRun is run for commands that may fail.
func tryRun(t testing.TB, limit time.Duration, stdin string, argv ...string) (output, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return output{stdout.String(), stderr.String()}, err
}

// tail keeps the end of a long text, where the cause usually stands.
func tail(s string) string {
	const keep = 4000
	if len(s) > keep {
		return "…" + s[len(s)-keep:]
	}
	return s
}

// classpath resolves the jars that jars/name.xml lists, by Maven artifact
// name, once per machine.
func classpath(t testing.TB, name string) string {
	t.Helper()
	cp, err := classpaths[name]()
	if err != nil {
		t.Fatalf("Maven cannot resolve jars/%s.xml (Java 17 and mvn are needed): %v", name, err)
	}
	return cp
}

var classpaths = map[string]func() (string, error){
	"broker": sync.OnceValues(func() (string, error) { return resolve("broker") }),
	"tools":  sync.OnceValues(func() (string, error) { return resolve("tools") }),
	"mirror": sync.OnceValues(func() (string, error) { return resolve("mirror") }),
}

func resolve(name string) (string, error) {
	pom, err := filepath.Abs(filepath.Join("jars", name+".xml"))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "myelin-compat-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "classpath")
	cmd := exec.Command("mvn", "-q", "-B", "-f", pom,
		"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath", "-Dmdep.outputFile="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(tail(string(out))))
	}
	cp, err := os.ReadFile(file)
	return strings.TrimSpace(string(cp)), err
}

// java is the command line that runs a class of the named classpath with a
// small heap and a JIT that is quick to start.
func java(t testing.TB, cp, class string, args ...string) []string {
	t.Helper()
	log4j, err := filepath.Abs("jars/log4j2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{"java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + log4j, "-cp", classpath(t, cp), class}
	return append(argv, args...)
}

// server is a broker process under test.
type server struct {
	bootstrap string
	dir       string
	cmd       *exec.Cmd
	log       *os.File
}

// kill ends the process with SIGKILL and waits for it.
func (s *server) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// stop asks the process to drain and waits for it.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the broker's exit after SIGTERM: %v\n%s", err, s.logTail())
	}
	s.cmd = nil
}

func (s *server) logTail() string {
	b, _ := os.ReadFile(s.log.Name())
	return tail(string(b))
}

// myelinBinary builds the binary under test once, unless COMPAT_BINARY names
// one that is there already.
var myelinBinary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("COMPAT_BINARY"); bin != "" {
		return bin, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	tree := fnv.New64a() // one binary for each working tree: several may test at once
	tree.Write([]byte(dir))
	bin := filepath.Join(os.TempDir(), "myelin-compat-bin", strconv.FormatUint(tree.Sum64(), 36), "myelin")
	cmd := exec.Command("go", "build", "-o", bin, "../../cmd/myelin")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return bin, nil
})

// startMyelin starts `myelin dev` on dir and returns when it is ready. The
// address is 127.0.0.1:0 at first, or the given one on a restart.
func startMyelin(t testing.TB, dir, listen string, args ...string) *server {
	t.Helper()
	bin, err := myelinBinary()
	if err != nil {
		t.Fatalf("building myelin: %v", err)
	}
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	ready := filepath.Join(t.TempDir(), "ready")
	log, err := os.CreateTemp(t.TempDir(), "myelin-*.log")
	if err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"dev", "--data-dir", dir, "--listen", listen, "--ready-file", ready}, args...)
	cmd := exec.Command(bin, argv...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir, cmd: cmd, log: log}
	t.Cleanup(s.kill)
	s.bootstrap = awaitFile(t, ready, s)
	return s
}

// awaitFile polls for the ready file; a process in another address space has
// no other way to tell.
func awaitFile(t testing.TB, path string, s *server) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		if b, err := os.ReadFile(path); err == nil && bytes.IndexByte(b, '\n') > 0 {
			return string(b[:bytes.IndexByte(b, '\n')])
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("the broker was not ready within 20 s:\n%s", s.logTail())
		}
	}
}

// target is the broker the client tests talk to: a fresh myelin, or whatever
// COMPAT_BOOTSTRAP names.
func target(t testing.TB, args ...string) string {
	t.Helper()
	if addr := os.Getenv("COMPAT_BOOTSTRAP"); addr != "" {
		return addr
	}
	return startMyelin(t, t.TempDir(), "", args...).bootstrap
}
