package commitlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// tenancy is under which broker epoch a directory is used, and was.
//
// An owner that is killed leaves no mark of a clean end, and yet loses nothing
// while the machine runs on. So the epoch lies in a file of its own as long as it
// is used, and who comes next believes it if what memory held has survived: then
// the broker is as whole as after a clean end.
type tenancy struct {
	previous int64 // of the last owner, who lost nothing; -1 unknown
	epoch    int64 // ours, for the mark
	fresh    bool  // nobody has used the directory before
}

// PreviousEpoch is the broker epoch under which the last owner used the directory,
// if all that it wrote is there: it ended cleanly, or was killed while the machine
// ran on and no write had failed. -1 otherwise, or if it did not say.
func (t *tenancy) PreviousEpoch() int64 { return t.previous }

// Fresh tells whether nobody has used the directory before: it lost nothing.
func (t *tenancy) Fresh() bool { return t.fresh }

// SetEpoch says under which broker epoch this owner is registered; Close writes
// it down.
func (t *tenancy) SetEpoch(epoch int64) { t.epoch = epoch }

// KeepEpoch is SetEpoch that makes the epoch durable now, for a next owner who
// finds no mark of a clean end. It does nothing in a directory of which a write
// has failed.
func KeepEpoch(h *Home, epoch int64) error {
	h.SetEpoch(epoch)
	h.noting.lock()
	defer h.noting.unlock()
	h.mu.Lock()
	distrusted := h.mu.boot == distrusted
	h.mu.Unlock()
	if distrusted {
		return nil
	}
	err := h.relieved(func() error { return vfs.WriteAtomic(h.fs, h.join(tenantFile), encodeTenant(epoch)) })
	if err != nil {
		return h.fail(storageError(tenantFile, err))
	}
	return nil
}

// inherit finds out under which epoch the last owner used the directory; the file
// goes if that one may have lost something. It comes before anything says that
// this run of the machine has seen the logs: a second start would believe it. The
// sync of the folder that ends the opening makes it durable.
func (h *Home) inherit(whole bool) error {
	data, err := vfs.ReadFile(h.fs, h.join(tenantFile), 1<<10)
	there := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	switch kept, ok := parseTenant(data); {
	case !whole:
		h.previous = -1
		if there {
			err = h.fs.Remove(h.join(tenantFile))
		}
	case h.previous < 0 && ok:
		h.previous = kept
	}
	h.epoch = h.previous // while this owner is not registered, the last one's counts
	if !h.ours && !h.clean && err == nil {
		var logs []kafka.TopicPartition
		logs, err = h.Logs()
		h.fresh = len(logs) == 0
	}
	return err
}

// encodeTenant writes .myelin_epoch, under which broker epoch the directory is used.
//
//	version: 0
//	broker_epoch: ...
//	crc32c: ...        of the lines before, hexadecimal
func encodeTenant(epoch int64) []byte {
	b := fmt.Appendf(nil, "version: 0\nbroker_epoch: %d\n", epoch)
	return fmt.Appendf(b, "crc32c: %08x\n", crc32.Checksum(b, castagnoli))
}

// parseTenant reads it; a torn one says nothing.
func parseTenant(data []byte) (epoch int64, ok bool) {
	text, ok := strings.CutPrefix(string(data), "version: 0\nbroker_epoch: ")
	number, _, _ := strings.Cut(text, "\n")
	epoch, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || epoch < 0 || string(encodeTenant(epoch)) != string(data) {
		return -1, false
	}
	return epoch, true
}
