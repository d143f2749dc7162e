package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// node is a broker in this process.
type node interface {
	Run(ctx context.Context) error // until ctx ends; then it drains
	Ready() <-chan struct{}
	Addr(listener string) string
	AdminAddr() string // "" without an admin listener
	Close() error
}

// nodeFlags are what dev and serve share.
type nodeFlags struct {
	settingFlags
	readyFile string
	insecure  bool
}

// runNode opens a broker, runs it until a signal or ctx ends it, and drains.
// A second signal ends the process at once.
func (a *app) runNode(ctx context.Context, b *config.Broker, f nodeFlags, banner func(node)) error {
	if err := exposed(b, f.insecure); err != nil {
		return err
	}
	if f.readyFile != "" {
		if err := os.Remove(f.readyFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("--ready-file: %w", err)
		}
	}
	log, level := logger(a, b)
	n, err := openNode(b, log, level)
	if err != nil {
		return nodeFault(b, err)
	}
	return keep(ctx, b, n, f.readyFile, banner)
}

// keep runs an open node until a signal or ctx ends it, or an error of its own.
func keep(ctx context.Context, b *config.Broker, n node, readyFile string, banner func(node)) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err, runErr error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runErr = n.Run(ctx)
	}()
	select {
	case <-n.Ready():
		if err = ready(b, n, readyFile); err == nil {
			banner(n)
			select {
			case <-ctx.Done():
			case <-ended: // by itself: nothing is served any more
			}
		}
		stop() // from here on a signal is not caught, and so ends the process
	case <-ended:
	}
	if <-ended; errors.Is(runErr, context.Canceled) {
		runErr = nil
	}
	if readyFile != "" {
		os.Remove(readyFile)
	}
	return errors.Join(err, nodeFault(b, runErr), n.Close())
}

// ready tells whoever waits on the ready file where the broker is. The file
// appears whole.
func ready(b *config.Broker, n node, file string) error {
	if file == "" {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".ready-")
	if err != nil {
		return fmt.Errorf("--ready-file: %w", err)
	}
	_, err = fmt.Fprintf(temp, "%s\n%s\n", bootstrap(b, n), n.AdminAddr())
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("--ready-file: %w", err)
	}
	return nil
}

// bootstrap is the address of the first client listener.
func bootstrap(b *config.Broker, n node) string {
	listeners, _ := b.Listeners()
	for _, l := range listeners {
		if !l.Controller {
			return n.Addr(l.Name)
		}
	}
	return ""
}

// exposed refuses to offer a broker without authentication to a network.
func exposed(b *config.Broker, insecure bool) error {
	listeners, err := b.Listeners()
	if err != nil {
		return usage("%s", err)
	}
	for _, l := range listeners {
		if !insecure && !l.Loopback() && strings.HasSuffix(l.Protocol, "PLAINTEXT") && !strings.HasPrefix(l.Protocol, "SASL") {
			return usage("listener %s://%s lets anyone who reaches it read, write and delete; listen on 127.0.0.1, or add --insecure if the network is yours", l.Name, l.Address())
		}
	}
	return nil
}

// logger is the process's log: text on a terminal and JSON elsewhere, unless
// log.format says otherwise. Its level may change while it runs, through the
// BROKER_LOGGER settings of the Kafka API.
func logger(a *app, b *config.Broker) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(b.String("log.level"))) // one of four words: config checked it
	opts := &slog.HandlerOptions{Level: level}
	format := b.String("log.format")
	if format == "json" || format == "auto" && !terminal(a.Err) {
		return slog.New(slog.NewJSONHandler(a.Err, opts)), level
	}
	return slog.New(slog.NewTextHandler(a.Err, opts)), level
}

// nodeFault says in one line why a broker did not start and what to do next.
func nodeFault(b *config.Broker, err error) error {
	dirs := strings.Join(b.DataDirs(), ", ")
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return &fault{exitFailed, oneLine(err) + "; is another broker running? see: myelin ping, or listen elsewhere: --port 0 with dev, --set listeners=... with serve"}
	case errors.Is(err, vfs.ErrLocked):
		return &fault{exitFailed, fmt.Sprintf("data directory %s is in use by another process; stop that one, or choose another directory with --data-dir or log.dirs", dirs)}
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		return &fault{exitDenied, oneLine(err) + "; make it writable for this user, or choose another directory with --data-dir or log.dirs"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &fault{exitFailed, oneLine(err) + "; free some space, or choose another directory with --data-dir or log.dirs"}
	}
	return err
}
