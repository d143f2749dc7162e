package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// myelin is a running broker of ours.
type myelin struct {
	target
	cmd  *exec.Cmd
	dir  string
	gone chan error // gets the result of the process, once
}

// startMyelin starts the binary on an empty directory and a free port, and
// waits until it says that it is ready.
func startMyelin(ctx context.Context, binary, dir string) (*myelin, error) {
	dir, err := os.MkdirTemp(dir, "myelin-")
	if err != nil {
		return nil, err
	}
	return serve(ctx, binary, dir)
}

// serve starts the binary on what is in dir and waits until it says that it is
// ready.
func serve(ctx context.Context, binary, dir string, args ...string) (*myelin, error) {
	ready := filepath.Join(dir, "ready")
	if err := os.RemoveAll(ready); err != nil { // of the run before
		return nil, err
	}
	m, err := spawn(binary, dir, append([]string{"--port", "0", "--ready-file", ready}, args...)...)
	if err != nil {
		return nil, err
	}
	for {
		if data, err := os.ReadFile(ready); err == nil && strings.Contains(string(data), "\n") {
			m.addr, _, _ = strings.Cut(string(data), "\n")
			return m, nil
		}
		select {
		case err := <-m.gone:
			m.gone <- err
			return nil, errors.Join(fmt.Errorf("%s ended before it was ready: %w; its log:\n%s", binary, err, m.log()), m.stop())
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), m.stop())
		}
	}
}

// spawn starts "myelin dev" with its data and its log in dir.
func spawn(binary, dir string, args ...string) (*myelin, error) {
	return launch(binary, dir, append([]string{"dev", "--data-dir", filepath.Join(dir, "data")}, args...)...)
}

// launch starts the binary with a command, and its log in dir.
func launch(binary, dir string, args ...string) (*myelin, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m := &myelin{target: target{name: "myelin", pid: cmd.Process.Pid}, cmd: cmd, dir: dir, gone: make(chan error, 1)}
	go func() { m.gone <- cmd.Wait() }()
	return m, nil
}

// stop ends the broker and removes what it wrote.
func (m *myelin) stop() error {
	defer os.RemoveAll(m.dir)
	return m.end(20 * time.Second)
}

// end ends the broker in order and leaves what it wrote.
func (m *myelin) end(within time.Duration) error {
	m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-m.gone:
		return err
	case <-time.After(within):
		m.kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed", m.cmd.Path, within)
	}
}

// kill ends the broker as kill -9 does.
func (m *myelin) kill() {
	m.cmd.Process.Kill()
	<-m.gone
}

func (m *myelin) log() string {
	data, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

// parsePeer reads "host:port,pid", or with the pids of a whole cluster.
func parsePeer(s string) (target, error) {
	addr, list, _ := strings.Cut(s, ",")
	var pids []int
	for _, pid := range strings.Split(list, ",") {
		n, err := strconv.Atoi(pid)
		if err != nil {
			return target{}, fmt.Errorf("PEER=%s: want host:port,pid of the broker's process, or ,pid,pid,pid of a cluster's", s)
		}
		pids = append(pids, n)
	}
	t := target{name: "kafka", addr: addr, pid: pids[0], peers: pids[1:]}
	if _, err := t.cpu(); err != nil {
		return target{}, fmt.Errorf("PEER=%s: %w", s, err)
	}
	return t, nil
}

// firstAck starts a broker on an empty directory and measures the time from
// before its start until a record on a topic created in the run is acknowledged
// with acks=all. The client never waits longer than it takes to ask again.
func firstAck(ctx context.Context, binary, dir string) (took time.Duration, err error) {
	addr, err := freePort()
	if err != nil {
		return 0, err
	}
	if dir, err = os.MkdirTemp(dir, "first-"); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return 0, err
	}
	frame := produceFrame("first", 0, -1, b)
	begin := time.Now()
	m, err := spawn(binary, dir, "--listen", addr)
	if err != nil {
		return 0, err
	}
	err = firstProduce(ctx, addr, frame)
	took = time.Since(begin)
	if err != nil {
		err = fmt.Errorf("first record: %w; the broker's log:\n%s", err, m.log())
	}
	return took, errors.Join(err, m.stop())
}

func firstProduce(ctx context.Context, addr string, frame []byte) error {
	c, err := dialUntil(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	for {
		err := c.create(topicSpec{name: "first", partitions: 1})
		if err == nil {
			break
		}
		var r *refusal
		if !errors.As(err, &r) || ctx.Err() != nil { // it refuses until it leads its own quorum
			return err
		}
	}
	return c.produceUntil(ctx, frame)
}

// dialUntil connects as soon as somebody listens.
func dialUntil(ctx context.Context, addr string) (*conn, error) {
	for {
		if c, err := dial(ctx, addr); err == nil {
			return c, nil
		}
		if err := pause(ctx, 200*time.Microsecond); err != nil {
			return nil, err
		}
	}
}

// produceUntil sends a Produce request until it is answered without an error.
func (c *conn) produceUntil(ctx context.Context, frame []byte) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	for {
		body, err := c.exchange(frame)
		if err != nil {
			return err
		}
		code, _, err := answerError(body, false)
		if code == 0 || err != nil {
			return err
		}
		if err := pause(ctx, 200*time.Microsecond); err != nil {
			return fmt.Errorf("still error code %d: %w", code, err)
		}
	}
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
