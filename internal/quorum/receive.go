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
	fs   vfs.FS
	dir  string
	slot chan struct{} // one value: the right to what follows
	name string        // "" while none comes
	from Member
	size int64
	have int64
	file vfs.File
}

// Receive takes in a piece and says how much of the file is here, which is where
// the sender goes on, be it further back than the piece. After the piece that makes
// the file whole, that is its size and the message has been given to raft. On an
// error the sender may begin anew.
func (n *Node) Receive(p Piece) (have int64, err error) {
	at, ok := parseSnapshotName(p.Name)
	if !ok || p.Size <= 0 || p.Size > maxIncoming || p.Position < 0 || int64(len(p.Data)) > p.Size-p.Position {
		return 0, fmt.Errorf("a piece of snapshot %q, %d bytes at %d of %d: %w", p.Name, len(p.Data), p.Position, p.Size, kafka.InvalidRequest)
	}
	if Checksum(p.Data) != p.Checksum {
		return 0, fmt.Errorf("a piece of snapshot %s does not have its checksum: %w", p.Name, kafka.CorruptMessage)
	}
	in := n.incoming
	in.slot <- struct{}{}
	defer func() { <-in.slot }()
	if in.name != p.Name && p.Position+int64(len(p.Data)) == p.Size && p.Position > 0 {
		// The last piece again, whose answer was lost: Step knows whether the file is here.
		if err := n.Step(p.From, p.Message); err == nil {
			return p.Size, nil
		}
	}
	if have, err = in.take(p); err != nil || have < p.Size {
		return have, err
	}
	if err := in.complete(at); err != nil {
		return 0, err
	}
	return p.Size, n.Step(p.From, p.Message)
}

// take writes a piece to its place, if it is the next, and says how much is there.
func (in *incoming) take(p Piece) (have int64, err error) {
	if in.name != p.Name || in.from != p.From || in.size != p.Size {
		if p.Position > 0 {
			return 0, nil
		}
		if err := in.begin(p); err != nil {
			return 0, err
		}
	}
	if p.Position != in.have {
		return in.have, nil
	}
	if _, err := in.file.WriteAt(p.Data, p.Position); err != nil {
		return 0, errors.Join(fmt.Errorf("snapshot %s: %w", p.Name, err), in.drop())
	}
	in.have += int64(len(p.Data))
	return in.have, nil
}

func (in *incoming) path() string { return in.dir + "/" + in.name + incomingSuffix }

func (in *incoming) begin(p Piece) error {
	if err := in.drop(); err != nil {
		return err
	}
	file, err := in.fs.Create(in.dir + "/" + p.Name + incomingSuffix)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", p.Name, err)
	}
	in.name, in.from, in.size, in.have, in.file = p.Name, p.From, p.Size, 0, file
	return nil
}

// drop forgets what came so far.
func (in *incoming) drop() error {
	if in.name == "" {
		return nil
	}
	err := errors.Join(in.file.Close(), in.fs.Remove(in.path()))
	in.name, in.file = "", nil
	return err
}

// complete checks the file and makes it one that raft may be told of.
func (in *incoming) complete(at mark) error {
	err := readChunks(in.file, func([]byte) bool { return true })
	if err == nil {
		err = in.file.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s from node %d: %w", ErrSnapshot, in.name, in.from.Node, err), in.drop())
	}
	from := in.path()
	in.name = ""
	if err := errors.Join(in.file.Close(), in.fs.Rename(from, in.dir+"/"+snapshotName(at))); err != nil {
		return err
	}
	return in.fs.SyncDir(in.dir)
}

// end leaves nothing of a snapshot that has not come whole.
func (in *incoming) end() error {
	in.slot <- struct{}{}
	defer func() { <-in.slot }()
	return in.drop()
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
