package commitlog

import (
	"context"
	"errors"
	"log/slog"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// bootNote is what .myelin_boot says of this directory to the next owner.
//
//	thisRun      what memory holds is what was written: the page cache has survived
//	             if the machine runs on
//	unexamined   the machine restarted since the logs were written, and not all of
//	             them have been looked at since: as if it restarted again
//	distrusted   a write failed: as if the machine restarted
type bootNote int

const (
	thisRun bootNote = iota
	unexamined
	distrusted
)

// noteNewBoot says that the machine has restarted since the last owner. Its own
// run is not noted before every log has been examined: an owner that is killed
// before that leaves logs behind that a power cut has torn, though the machine
// then runs on.
func (h *Home) noteNewBoot() error {
	h.mu.Lock()
	h.mu.boot = unexamined
	h.mu.Unlock()
	if h.clean {
		return h.noteExamined()
	}
	return writeBoot(h, "none: not all logs were examined since the machine restarted")
}

// noteExamined notes this run of the machine once no log is left to examine.
func (h *Home) noteExamined() error {
	h.noting.lock()
	defer h.noting.unlock()
	h.mu.Lock()
	due := h.mu.boot == unexamined
	h.mu.Unlock()
	if !due {
		return nil
	}
	if all, err := h.examined(); err != nil || !all {
		return err
	}
	if err := writeBoot(h, bootID(h)); err != nil {
		return h.fail(storageError(bootFile, err))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.boot == unexamined { // not distrusted meanwhile; who distrusts waits to write
		h.mu.boot = thisRun
	}
	return nil
}

// examined tells whether no log is left as an owner that did not end cleanly has
// left it, because nobody opened it since.
func (h *Home) examined() (bool, error) {
	if h.clean {
		return true, nil
	}
	logs, err := h.Logs()
	if err != nil {
		return false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, tp := range logs {
		_, resting := h.mu.rest[tp]
		if l := h.mu.open[tp]; l != nil && l.segments.Load() == nil || !resting && l == nil && h.mu.trust[tp] == asHome {
			return false, nil // still opening, or nobody asked for it
		}
	}
	return true, nil
}

// distrust remembers that memory may show what the disk lacks: neither this
// process nor the next may take it for the disk's content.
func (h *Home) distrust(tp kafka.TopicPartition) {
	h.mu.Lock()
	h.mu.trust[tp] = untrusted
	delete(h.mu.rest, tp) // the file lost it when the log was stirred, or it is empty
	first := h.mu.boot != distrusted
	h.mu.boot, h.mu.failed = distrusted, true
	h.mu.Unlock()
	if !first {
		return
	}
	h.noting.lock()
	defer h.noting.unlock()
	// Without a word of the epoch the next owner counts as one that lost something,
	// even if the disk takes no more writes.
	_ = h.fs.Remove(h.join(tenantFile))
	if err := writeBoot(h, "none: a write failed"); err != nil {
		h.logger.Log(context.Background(), slog.LevelError, "cannot note the failed write", "dir", h.path, "error", err)
	}
}

// bootID names this run of the machine and the mount that the directory is in: one
// that was taken away and came back may have lost what memory held.
func bootID(h *Home) string { return h.fs.BootID(h.path) }

// writeBoot writes .myelin_boot. Where the disk is too full for a second file,
// it is written over: one that is torn says less, and nothing wrong.
func writeBoot(h *Home, id string) error {
	text := encodeBoot(id)
	err := h.relieved(func() error { return vfs.WriteAtomic(h.fs, h.join(bootFile), text) })
	if !vfs.IsNoSpace(err) {
		return err
	}
	f, openErr := h.fs.Open(h.join(bootFile), vfs.ReadWrite)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
