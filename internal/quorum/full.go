package quorum

import (
	"errors"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// What a full disk keeps from being durable keeps all of raft waiting: nothing may
// be sent or applied before it, and nothing of it may be left out. So the node
// waits where it is, tries again, and says so to who would propose something. A
// step that is tried again finds what it left: [store.append] replaces entries
// that are in the log, quorum-state goes to the same slot.

// retryFull is how long the node waits for room at first and at most.
const (
	retryFull    = 50 * time.Millisecond
	retryFullMax = 2 * time.Second
)

// errEnding says that Run's context ended while the disk was full.
var errEnding = errors.New("ended while the disk was full")

// Full is nil unless the disk keeps the metadata log from being written: then
// proposals wait, and their callers had better be refused with this error, which
// wraps KAFKA_STORAGE_ERROR.
func (n *Node) Full() error {
	if err := n.full.Load(); err != nil {
		return *err
	}
	return nil
}

// insist does a step until the disk has room for it. Any other error is final,
// also errEnding.
func (n *Node) insist(step func() error) error {
	pause := retryFull
	for {
		err := n.store.reopen()
		if err == nil {
			err = step()
		}
		if err == nil || !vfs.IsNoSpace(err) {
			if n.full.Swap(nil) != nil && err == nil {
				n.cfg.Logger.Info("the metadata log is written again: the disk has room")
			}
			return err
		}
		if n.cfg.Home.RelieveLast() {
			pause = 0
		} else {
			why := fmt.Errorf("the disk of the metadata log is full: %w: %w", kafka.KafkaStorageError, err)
			if n.full.Swap(&why) == nil {
				n.cfg.Logger.Error("the metadata log waits for room: the disk is full", "err", err)
			}
		}
		if err := n.await(pause); err != nil {
			return err
		}
		pause = min(max(2*pause, retryFull), retryFullMax)
	}
}

// await waits, or answers errEnding.
func (n *Node) await(pause time.Duration) error {
	if n.ending.Err() != nil {
		return errEnding
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	//house:select the loop tries once more or not at all, either is right
	select {
	case <-timer.C:
		return nil
	case <-n.ending.Done():
		return errEnding
	}
}
