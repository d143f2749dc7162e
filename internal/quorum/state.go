package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// The quorum-state file has three slots of 32 KiB. A write goes to the next
// slot in turn and is synced before anything rests on it:
//
//	offset size  field
//	     0    8  "MYLQUOR1"
//	     8    8  number of the write, ascending
//	    16    4  length n of the body
//	    20    4  CRC-32C of bytes 0 to 19 and of the body
//	    24    n  body, see encodeState
//
// The slot with the highest number and a right CRC counts. Three and not two:
// after a crash between write and sync the newest slot may be readable and yet
// not durable. The next write then leaves both it and its durable forerunner
// alone, and its sync covers all.
const (
	stateFile  = "quorum-state"
	stateMagic = "MYLQUOR1"
	slotSize   = 32 << 10
	slotCount  = 3
	slotHead   = 24
)

// ErrState says that quorum-state is missing or damaged: this directory cannot
// say any more what it voted for, and must not take part.
var ErrState = errors.New("quorum-state cannot be used")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mark is a place in the log.
type mark struct{ index, term uint64 }

// state is what must survive besides the entries.
type state struct {
	self    Member
	term    uint64
	vote    uint64
	commit  uint64        // a lower bound; see store.InitialState
	conf    *pb.ConfState // as of the last applied configuration change
	members members

	snapshot     mark          // the newest whole snapshot; index 1: empty, no file
	snapshotConf *pb.ConfState // as of the snapshot
	cut          mark          // the entries up to here may be gone
}

// genesis is the state of a fresh directory. A voter begins at index 1 of term
// 1, on which all voters agree; who joins later begins before that and so cannot
// go on without a snapshot, which tells it who the members are.
func genesis(self Member, voters []Member) *state {
	s := &state{self: self, conf: pb.EnsureConfState(nil)}
	if slices.Contains(voters, self) {
		s.term, s.commit, s.snapshot, s.cut = 1, 1, mark{1, 1}, mark{1, 1}
	} else {
		voters = nil
	}
	for _, v := range voters {
		s.members = s.members.with(v)
	}
	for _, m := range s.members {
		s.conf.Voters = append(s.conf.Voters, m.ID())
	}
	s.snapshotConf = s.conf
	return s
}

// lone says whether id is the only one that decides, so that what is durable
// here is committed.
func (s *state) lone() bool {
	return len(s.conf.Voters) == 1 && s.conf.Voters[0] == s.self.ID() && len(s.conf.VotersOutgoing) == 0
}

const stateVersion = 1

// encodeState writes, all big-endian: version (2), self, term, vote, commit,
// snapshot index and term, cut index and term (8 each), the configuration, that
// of the snapshot, and the members.
func encodeState(b []byte, s *state) []byte {
	b = binary.BigEndian.AppendUint16(b, stateVersion)
	b = s.self.encode(b)
	for _, n := range []uint64{s.term, s.vote, s.commit, s.snapshot.index, s.snapshot.term, s.cut.index, s.cut.term} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = encodeConf(encodeConf(b, s.conf), s.snapshotConf)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.members)))
	for _, m := range s.members {
		b = m.encode(b)
	}
	return b
}

// encodeConf writes four lists of ids (voters, learners, voters going out,
// learners to come), each with its length in 4 bytes, and the auto-leave flag.
func encodeConf(b []byte, c *pb.ConfState) []byte {
	for _, list := range [][]uint64{c.Voters, c.Learners, c.VotersOutgoing, c.LearnersNext} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
		for _, id := range list {
			b = binary.BigEndian.AppendUint64(b, id)
		}
	}
	if c.GetAutoLeave() {
		return append(b, 1)
	}
	return append(b, 0)
}

// cursor reads fixed-size fields; after the first lack of bytes it reads zeros
// and short is set.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.short, c.b = true, nil
		return make([]byte, max(0, min(n, slotSize)))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

// count reads a length and checks it against the bytes that are left.
func (c *cursor) count(size int) int {
	n := int(binary.BigEndian.Uint32(c.take(4)))
	if n > len(c.b)/size {
		c.short = true
		return 0
	}
	return n
}

func (c *cursor) member() Member {
	m, _ := decodeMember(c.take(memberSize))
	return m
}

func (c *cursor) conf() *pb.ConfState {
	conf := pb.EnsureConfState(nil)
	for _, list := range []*[]uint64{&conf.Voters, &conf.Learners, &conf.VotersOutgoing, &conf.LearnersNext} {
		for range c.count(8) {
			*list = append(*list, c.u64())
		}
	}
	*conf.AutoLeave = c.take(1)[0] == 1
	return conf
}

func decodeState(b []byte) (*state, error) {
	c := &cursor{b: b}
	if v := c.u16(); v != stateVersion {
		return nil, fmt.Errorf("%w: version %d, this build knows %d", ErrState, v, stateVersion)
	}
	s := &state{self: c.member()}
	for _, n := range []*uint64{&s.term, &s.vote, &s.commit, &s.snapshot.index, &s.snapshot.term, &s.cut.index, &s.cut.term} {
		*n = c.u64()
	}
	s.conf, s.snapshotConf = c.conf(), c.conf()
	for range c.count(memberSize) {
		s.members = s.members.with(c.member())
	}
	if c.short || len(c.b) > 0 {
		return nil, fmt.Errorf("%w: its body is malformed", ErrState)
	}
	return s, nil
}

// stateLog writes states, one after the other, into the slots of one file.
type stateLog struct {
	fs     vfs.FS
	name   string
	file   vfs.File
	seq    uint64
	buf    []byte
	broken bool // a sync failed: the file is at its end
}

// createState makes the files of a fresh directory: the state, and before it an
// empty segment, so that the log begins where the state says without being
// emptied first. The sync of dir that ends the call covers both names.
func createState(fs vfs.FS, dir string, s *state) error {
	b, err := sealState(nil, 0, s)
	if err != nil {
		return err
	}
	empty, err := fs.Create(dir + "/" + segment.Name(int64(s.cut.index)+1, segment.LogSuffix))
	if err != nil {
		return err
	}
	if err := empty.Close(); err != nil {
		return err
	}
	return vfs.WriteAtomic(fs, dir+"/"+stateFile, b)
}

// openState reads the newest state.
func openState(fs vfs.FS, dir string) (*stateLog, *state, error) {
	name := dir + "/" + stateFile
	all, err := vfs.ReadFile(fs, name, slotSize*slotCount)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	var body []byte
	l := &stateLog{fs: fs, name: name}
	for at := 0; at < len(all); at += slotSize {
		if seq, b, ok := openSlot(all[at:min(at+slotSize, len(all))]); ok && (body == nil || seq > l.seq) {
			l.seq, body = seq, b
		}
	}
	if body == nil {
		return nil, nil, fmt.Errorf("%w: %s holds no whole copy", ErrState, name)
	}
	s, err := decodeState(body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	l.file, err = fs.Open(name, vfs.ReadWrite)
	return l, s, err
}

func openSlot(b []byte) (seq uint64, body []byte, ok bool) {
	if len(b) < slotHead || string(b[:8]) != stateMagic {
		return 0, nil, false
	}
	n := int(binary.BigEndian.Uint32(b[16:]))
	if n > len(b)-slotHead {
		return 0, nil, false
	}
	body = b[slotHead : slotHead+n]
	sum := crc32.Update(crc32.Checksum(b[:20], castagnoli), castagnoli, body)
	return binary.BigEndian.Uint64(b[8:]), body, sum == binary.BigEndian.Uint32(b[20:])
}

func sealState(b []byte, seq uint64, s *state) ([]byte, error) {
	b = append(b[:0], stateMagic...)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = append(b, make([]byte, slotHead-16)...)
	b = encodeState(b, s)
	if len(b) > slotSize {
		return nil, fmt.Errorf("%d members do not fit into quorum-state", len(s.members))
	}
	binary.BigEndian.PutUint32(b[16:], uint32(len(b)-slotHead))
	sum := crc32.Update(crc32.Checksum(b[:20], castagnoli), castagnoli, b[slotHead:])
	binary.BigEndian.PutUint32(b[20:], sum)
	return b, nil
}

// save makes s durable. An error is final, except that of a full disk: save may
// be called again, and goes to the same slot, which holds nothing that counts.
func (l *stateLog) save(s *state) error {
	var err error
	if l.buf, err = sealState(l.buf, l.seq+1, s); err != nil {
		return err
	}
	at := int64((l.seq+1)%slotCount) * slotSize
	if l.broken {
		err = l.replace(at)
	} else if _, err = l.file.WriteAt(l.buf, at); err == nil {
		err = l.file.Sync()
		l.broken = err != nil
	}
	if err == nil {
		l.seq++
	}
	return err
}

// replace makes another file, which holds the newest state alone, at its place.
// It is for when a sync found the disk full: what the old file holds from then
// on nobody can say.
func (l *stateLog) replace(at int64) error {
	if err := vfs.WriteAtomic(l.fs, l.name, append(make([]byte, at), l.buf...)); err != nil {
		return err
	}
	file, err := l.fs.Open(l.name, vfs.ReadWrite)
	if err != nil {
		return err
	}
	_ = l.file.Close() // nothing in it counts any more
	l.file, l.broken = file, false
	return nil
}

func (l *stateLog) close() error { return l.file.Close() }

// Format makes dir, the folder of the log, that of a new member in a quorum of
// the given initial voters, which must be the same on all of them. The member
// itself is not among them if it is to join as a learner.
func Format(fs vfs.FS, dir string, self Member, voters []Member) error {
	for _, m := range slices.Concat([]Member{self}, voters) {
		if !m.Valid() {
			return fmt.Errorf("directory id %s of node %d cannot name a member: draw another", m.Directory, m.Node)
		}
	}
	if err := unused(fs, dir); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir); err != nil {
		return err
	}
	return createState(fs, dir, genesis(self, voters))
}

// ErrInUse says that a folder to be formatted holds the log of a member that has
// taken part.
var ErrInUse = errors.New("there is a metadata log already")

// unused says whether dir may be formatted: it is new, or an earlier call left
// it before anything came of it. Whoever lost the file that says whose directory
// this is must not lose the log for it.
func unused(fs vfs.FS, dir string) error {
	if there, err := vfs.Exists(fs, dir+"/"+stateFile); err != nil || !there {
		return err
	}
	l, s, err := openState(fs, dir)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", dir, ErrInUse, err)
	}
	if s.term > 1 || s.commit > 1 {
		err = fmt.Errorf("%s: %w, of node %d with directory.id %s", dir, ErrInUse, s.self.Node, s.self.Directory)
	}
	return errors.Join(err, l.close())
}
