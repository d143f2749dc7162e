package quorum

import (
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// A snapshot comes in pieces, in order, each with its checksum, into a file
// <name>.incoming. When its last byte is there the file is read through to its
// footer, every batch against its CRC, made durable and renamed; only then raft is
// given the message that belongs to it. A member takes in one snapshot at a time:
// the first piece of another one puts it in the place of the one before.
const incomingSuffix = ".incoming"

// maxIncoming is how large a snapshot from another member may be.
const maxIncoming = 64 << 30

// Piece is a piece of a snapshot on its way to this member.
type Piece struct {
	From     Member
	Name     string // of the file, see [Message]
	Size     int64  // of the whole file
	Position int64  // of Data in it
	Checksum uint32 // CRC-32C of Data
	Data     []byte

	// Message is that of [Message.Data]. Only that of the last piece counts.
	Message []byte
}

// Checksum is the checksum of a piece.
func Checksum(piece []byte) uint32 { return crc32.Checksum(piece, castagnoli) }

// incoming is a snapshot that comes in. The slot is held over I/O.
type incoming struct {
	slot chan struct{} // one value: the right to what follows
	name string        // "" while none comes
	from Member
	size int64
	have int64
	file vfs.File
}

func newIncoming() incoming { return incoming{slot: make(chan struct{}, 1)} }

// Receive takes in a piece and says how much of the file is here, which is where
// the sender goes on, be it further back than the piece. After the piece that makes
// the file whole, that is its size and the message has been given to raft. On an
// error the sender may begin anew.
func (n *Node) Receive(p Piece) (have int64, err error) {
	in := &n.incoming
	in.slot <- struct{}{}
	defer func() { <-in.slot }()
	at, ok := parseSnapshotName(p.Name)
	if !ok || p.Size <= 0 || p.Size > maxIncoming || p.Position < 0 || int64(len(p.Data)) > p.Size-p.Position {
		return 0, fmt.Errorf("a piece of snapshot %q, %d bytes at %d of %d: %w", p.Name, len(p.Data), p.Position, p.Size, kafka.InvalidRequest)
	}
	if Checksum(p.Data) != p.Checksum {
		return 0, fmt.Errorf("a piece of snapshot %s does not have its checksum: %w", p.Name, kafka.CorruptMessage)
	}
	if in.name != p.Name || in.from != p.From || in.size != p.Size {
		if p.Position > 0 {
			return 0, nil
		}
		if err := n.beginIncoming(p); err != nil {
			return 0, err
		}
	}
	if p.Position != in.have {
		return in.have, nil
	}
	if _, err := in.file.WriteAt(p.Data, p.Position); err != nil {
		return 0, errors.Join(fmt.Errorf("snapshot %s: %w", p.Name, err), n.dropIncoming())
	}
	if in.have += int64(len(p.Data)); in.have < in.size {
		return in.have, nil
	}
	if err := n.completeIncoming(at); err != nil {
		return 0, err
	}
	return p.Size, n.Step(p.From, p.Message)
}

func (n *Node) incomingPath() string { return n.dir + "/" + n.incoming.name + incomingSuffix }

func (n *Node) beginIncoming(p Piece) error {
	if err := n.dropIncoming(); err != nil {
		return err
	}
	file, err := n.cfg.FS.Create(n.dir + "/" + p.Name + incomingSuffix)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", p.Name, err)
	}
	in := &n.incoming
	in.name, in.from, in.size, in.have, in.file = p.Name, p.From, p.Size, 0, file
	return nil
}

// dropIncoming forgets what came so far.
func (n *Node) dropIncoming() error {
	in := &n.incoming
	if in.name == "" {
		return nil
	}
	err := errors.Join(in.file.Close(), n.cfg.FS.Remove(n.incomingPath()))
	in.name, in.file = "", nil
	return err
}

// completeIncoming checks the file and makes it one that raft may be told of.
func (n *Node) completeIncoming(at mark) error {
	in := &n.incoming
	err := readChunks(in.file, func([]byte) bool { return true })
	if err == nil {
		err = in.file.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s from node %d: %w", ErrSnapshot, in.name, in.from.Node, err), n.dropIncoming())
	}
	from := n.incomingPath()
	in.name = ""
	if err := errors.Join(in.file.Close(), n.cfg.FS.Rename(from, n.dir+"/"+snapshotName(at))); err != nil {
		return err
	}
	return n.cfg.FS.SyncDir(n.dir)
}

// endIncoming leaves nothing of a snapshot that has not come whole.
func (n *Node) endIncoming() error {
	n.incoming.slot <- struct{}{}
	defer func() { <-n.incoming.slot }()
	return n.dropIncoming()
}

// sweepIncoming removes what an earlier process had of a snapshot.
func sweepIncoming(fs vfs.FS, dir string) error {
	files, err := fs.ReadDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // openState says what is wrong
	}
	var errs []error
	for _, f := range files {
		if strings.HasSuffix(f.Name, incomingSuffix) {
			errs = append(errs, fs.Remove(dir+"/"+f.Name))
		}
	}
	return errors.Join(append(errs, err)...)
}

// ReportSnapshot says whether a snapshot has reached a member, see [Message].
func (n *Node) ReportSnapshot(to Member, ok bool) {
	n.inbox.put(item{report: &report{to.ID(), ok}})
}
