package commitlog

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Room is how much room a log directory's volume has left.
//
//	          soft watermark                      hard watermark
//	Plenty          |            Soft                   |          Hard
//	all goes on     |  clients' records are refused,    |  the ballast is given up,
//	                |  all else goes on                 |  a step at a time, for what goes on
//
// A volume that gets room again comes back by itself, a little above the
// watermark, so that it does not go to and fro.
type Room int32

// The states, from the best.
const (
	Plenty Room = iota
	Soft
	Hard
)

func (r Room) String() string { return [...]string{"plenty", "soft", "hard"}[r] }

// RoomConfig says when a log directory counts as full. The zero value never
// does, and has no ballast.
type RoomConfig struct {
	// SoftBytes of free room are the soft watermark (log.dir.soft.free.bytes),
	// but never more than SoftPercent of the volume (log.dir.soft.free.percent),
	// so that a small volume is not full from the start. SoftPercent 0 is no
	// such bound; SoftBytes 0 turns the watermarks off.
	SoftBytes   int64
	SoftPercent float64
	// Ballast is the size of the file that is given up when the volume is full
	// (log.dir.ballast.bytes), but never more than 2 % of the volume. 0: none.
	Ballast int64
}

const (
	ballastFile  = ".myelin_ballast"
	ballastSteps = 4       // in which it is given up
	ballastShare = 50      // at most this part of the volume
	ballastLeast = 1 << 20 // a smaller one is not worth the file
	smallVolume  = 4 << 30 // fills up faster than anybody looks
)

// marks are a RoomConfig for a volume of a known size, in bytes.
type marks struct{ total, soft, hard, ballast int64 }

func (c RoomConfig) marks(total int64) marks {
	m := marks{total: total, soft: c.SoftBytes}
	if c.SoftPercent > 0 {
		m.soft = min(m.soft, int64(float64(total)*c.SoftPercent/100))
	}
	if m.ballast = min(c.Ballast, total/ballastShare); m.ballast < ballastLeast {
		m.ballast = 0
	}
	m.hard = min(m.soft/4, max(m.ballast/ballastSteps, ballastLeast/4))
	return m
}

// next is the state that follows now with so much free.
func (m marks) next(now Room, free int64) Room {
	switch {
	case free < m.hard, now == Hard && free < 2*m.hard:
		return Hard
	case free < m.soft, now != Plenty && free < m.soft+m.soft/4:
		return Soft
	}
	return Plenty
}

// wanted tells how large the ballast should be with so much free, when it has
// size bytes; again says that there was one before. On a large volume it is made
// only once that begins to fill up: where there is more than enough it would only
// be in the way. It never brings the volume to its watermark.
func (m marks) wanted(size, free int64, again bool) int64 {
	missing := m.ballast - size
	due := again || size > 0 || m.total < smallVolume || free < 8*(m.soft+m.ballast)
	if missing > 0 && due && free-missing >= m.soft+m.soft/4 {
		return m.ballast
	}
	return size
}

// Room says how full the volume is. It is cheap to ask.
func (d *device) Room() Room { return Room(d.state.Load()) }

// Crowded is nil while there is plenty of room; otherwise the error, which wraps
// KAFKA_STORAGE_ERROR, that a client's records are refused with.
func (d *device) Crowded() error {
	if err := d.full.Load(); err != nil {
		return *err
	}
	return nil
}

// lookAtRoom asks how much is free and does what follows. An error is not acted
// on: a volume that does not say counts as it did before.
func (d *device) lookAtRoom() {
	space, err := d.fs.Space(d.path)
	if err != nil {
		d.logger.Warn("the log directory does not tell its free space", "dir", d.path, "error", err)
		return
	}
	d.free.Store(space.Free)
	d.total.Store(space.Total)
	if d.cfg.SoftBytes <= 0 {
		return
	}
	m := d.cfg.marks(space.Total)
	now := d.Room()
	next := m.next(now, space.Free)
	if next != Plenty {
		err := fmt.Errorf("the disk is nearly full: %d bytes are free, log.dir.soft.free.bytes and .percent ask for %d; "+
			"free some space, delete records or topics, or shorten retention: %w", space.Free, m.soft, kafka.KafkaStorageError)
		d.full.Store(&err)
	} else {
		d.full.Store(nil)
	}
	d.state.Store(int32(next))
	switch {
	case next > now:
		d.logger.Warn("log directory runs full", "dir", d.path, "room", next.String(), "free", space.Free, "soft", m.soft, "hard", m.hard)
	case next < now:
		d.logger.Info("log directory has room again", "dir", d.path, "room", next.String(), "free", space.Free)
	}
	if next == Hard {
		d.Relieve()
		return
	}
	d.keepBallast(m, space.Free)
}

// foundFull notes that a write found the volume full, and has the watcher look.
func (d *device) foundFull() {
	d.hits.Add(1)
	select {
	case d.look <- struct{}{}:
	default: // it will
	}
}

// Relieve gives up a step of the ballast, for what must be written although the
// volume is full: offsets, checkpoints, what retention needs. It says whether that
// made room, so that the write may be tried again. The last step is not its to
// give, see RelieveLast.
func (d *device) Relieve() bool { return d.giveUp(1) }

// Ballast is how large the ballast is.
func (d *device) Ballast() int64 { return d.ballast.Load() }

// RelieveSince is Relieve for a write that began when the ballast had so many
// bytes. Others, the watcher among them, may have given up the step that it would
// have asked for: then there is room that it has not tried.
func (d *device) RelieveSince(had int64) bool { return d.Relieve() || d.Ballast() < had }

// RelieveLast is Relieve for the metadata log, which gets the last step too:
// without it the node could neither start nor delete anything.
func (d *device) RelieveLast() bool { return d.giveUp(0) }

// giveUp gives up a step of the ballast as long as so many are left.
func (d *device) giveUp(keep int64) bool {
	if d.ballast.Load() == 0 {
		return false
	}
	d.turn.lock()
	defer d.turn.unlock()
	size := d.ballast.Load()
	step := max(d.cfg.marks(d.total.Load()).ballast/ballastSteps, ballastLeast/ballastSteps)
	if size == 0 || keep > 0 && size < (keep+1)*step {
		return false
	}
	left := max(0, size-step)
	if err := d.cutBallast(left); err != nil {
		d.logger.Warn("the ballast cannot be given up", "dir", d.path, "error", err)
		return false
	}
	d.ballast.Store(left)
	d.again.Store(true)
	d.logger.Warn("log directory is full: ballast is given up", "dir", d.path, "bytes", size-left, "left", left)
	return true
}

func (d *device) cutBallast(size int64) error {
	if size == 0 {
		return d.fs.Remove(d.ballastName())
	}
	f, err := d.fs.Open(d.ballastName(), vfs.ReadWrite)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// keepBallast makes the ballast, or what is missing of it, when it is time to.
func (d *device) keepBallast(m marks, free int64) {
	size := d.ballast.Load()
	want := m.wanted(size, free, d.again.Load())
	if want <= size {
		return
	}
	d.turn.lock()
	defer d.turn.unlock()
	f, err := d.fs.Open(d.ballastName(), vfs.ReadWrite|vfs.CreateNew)
	if err == nil {
		err = errors.Join(vfs.Allocate(f, want), f.Close())
	}
	if err != nil {
		d.logger.Warn("no ballast on the log directory", "dir", d.path, "error", err)
		d.cutBallast(0) //nolint:errcheck // it is tried again at the next look
		d.ballast.Store(0)
		return
	}
	d.ballast.Store(want)
	d.logger.Info("log directory keeps a ballast for when it is full", "dir", d.path, "bytes", want)
}

func (d *device) ballastName() string { return d.path + "/" + ballastFile }

// findBallast takes over the ballast that the last owner left.
func (d *device) findBallast() error {
	info, err := d.fs.Stat(d.ballastName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d.ballast.Store(info.Size)
	return err
}

// relieved does a write that must not fail for want of room: as long as it finds
// the volume full and there is ballast, that makes way.
func (d *device) relieved(write func() error) error {
	for {
		had := d.Ballast()
		err := write()
		if err == nil || !vfs.IsNoSpace(err) {
			return err
		}
		d.foundFull()
		if !d.RelieveSince(had) {
			return err
		}
	}
}
