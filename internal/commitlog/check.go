package commitlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Problem is something on the disk that is not as it was written.
type Problem struct {
	File     string `json:"file"` // below the log directory
	Position int64  `json:"position"`
	Bytes    int64  `json:"bytes"` // 0 if the whole file is meant
	From     int64  `json:"from"`  // offsets [From, To) cannot be read; none if they are equal
	To       int64  `json:"to"`
	What     string `json:"what"`
	// Repairable is a cache, which is made anew from the batches.
	Repairable bool `json:"repairable"`
	// Pending is what an unclean end leaves: the next start mends it by itself.
	Pending bool `json:"pending"`

	absent bool // the file is not there
}

// Checked is what [Check] found in a log directory.
type Checked struct {
	Directory string    `json:"directory"`
	Clean     bool      `json:"clean"` // the last owner ended in order
	Logs      int       `json:"logs"`
	Segments  int       `json:"segments"`
	Batches   int64     `json:"batches"`
	Bytes     int64     `json:"bytes"` // of batches that were looked at
	Problems  []Problem `json:"problems"`
}

// Damaged tells whether there is a problem that the next start does not mend by
// itself.
func (c *Checked) Damaged() bool {
	return slices.ContainsFunc(c.Problems, func(p Problem) bool { return !p.Pending })
}

// CheckConfig says what to check. FS and Path must be set.
type CheckConfig struct {
	FS   vfs.FS
	Path string
	// Running leaves out what an owner may be writing: then the directory need not
	// be free. Otherwise Check takes its lock, and fails with [vfs.ErrLocked].
	Running bool
}

// Check looks at every file of a log directory and writes nothing. What is wrong
// is a [Problem]; an error says that it could not look.
//
//	checkpoints, manifest, marks   form, checksums
//	.log                           every batch: header, CRC, order of offsets; every block's sum
//	.index, .timeindex             every entry against the batch it leads to; the seal's checksum
//	.txnindex                      against the abort markers
//	leader-epoch-checkpoint        against the batches' epochs
//	.snapshot, damage              their checksums
//	partition.metadata             form
func Check(cfg CheckConfig) (*Checked, error) {
	c := &checker{fs: cfg.FS, root: path.Clean(cfg.Path), running: cfg.Running}
	c.Directory, c.Problems = c.root, []Problem{}
	list, err := c.fs.ReadDir(c.root)
	if err != nil {
		return nil, err
	}
	free, err := c.lock()
	if err != nil {
		return nil, err
	}
	err = c.run(list)
	return &c.Checked, errors.Join(err, free())
}

// lock keeps owners away while the check runs. It makes no lock file: without
// one there is no owner.
func (c *checker) lock() (free func() error, err error) {
	name := path.Join(c.root, lockFile)
	there, err := vfs.Exists(c.fs, name)
	if err != nil || !there || c.running {
		return func() error { return nil }, err
	}
	held, err := c.fs.Lock(name)
	if err != nil {
		return nil, err
	}
	return held.Close, nil
}

// checker is one check under way.
type checker struct {
	fs      vfs.FS
	root    string
	running bool
	ours    bool // a Myelin has written here
	points  offsetTable
	starts  offsetTable
	Checked
}

func (c *checker) problem(p Problem) { c.Problems = append(c.Problems, p) }

func (c *checker) run(list []vfs.Info) error {
	files := map[string]bool{}
	for _, i := range list {
		files[i.Name] = !i.Dir
	}
	c.Clean = files[cleanFile]
	c.points = c.table(pointFile, "every log is examined whole at the next start", true)
	c.starts = c.table(startFile, "no start is possible, or deleted records might come back: restore it, or remove it if nothing was ever deleted", false)
	c.table(cleanPointFile, "compacted logs are cleaned whole", true)
	c.marks()
	if !c.running {
		c.manifest()
	}
	for _, i := range list {
		tp, ok := parseFolder(i.Name)
		if !ok || !i.Dir {
			continue
		}
		l := &logCheck{checker: c, tp: tp, dir: path.Join(c.root, i.Name), rel: i.Name}
		if err := l.run(); err != nil {
			return err
		}
		c.Logs++
	}
	return nil
}

// table reads an offset checkpoint.
func (c *checker) table(name, effect string, cache bool) offsetTable {
	t, err := readOffsetTable(c.fs, path.Join(c.root, name))
	if err != nil {
		c.problem(Problem{File: name, What: fmt.Sprintf("%s; %s", oneLine(err), effect), Repairable: cache && errors.Is(err, errMalformed)})
		return offsetTable{}
	}
	return t
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// marks looks at the notes of how the directory was left.
func (c *checker) marks() {
	data, ok := c.read("", bootFile)
	c.ours = ok && parseBoot(data) != ""
	if ok && !c.ours {
		c.problem(Problem{File: bootFile, What: "unreadable; it counts as that of another run of the machine", Pending: true})
	}
	if data, ok := c.read("", tenantFile); ok {
		if _, whole := parseTenant(data); !whole {
			c.problem(Problem{File: tenantFile, What: "unreadable; after a kill the broker counts as one that has lost something", Pending: true})
		}
	}
	if data, ok := c.read("", cleanFile); ok && json.Unmarshal(data, &cleanMark{}) != nil && len(bytes.TrimSpace(data)) > 0 {
		c.problem(Problem{File: cleanFile, What: "unreadable; its presence still says that the end was clean, of a broker that nobody knows", Pending: true})
	}
}

// read reads a small file of a folder; false if it is not there or does not
// read, which is then a problem.
func (c *checker) read(folder, name string) ([]byte, bool) {
	data, err := vfs.ReadFile(c.fs, path.Join(c.root, folder, name), maxCheckpoint)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem(Problem{File: path.Join(folder, name), What: "does not read: " + oneLine(err)})
	}
	return data, err == nil
}

func (c *checker) manifest() {
	data, ok := c.read("", manifestFile)
	if !ok {
		return
	}
	m, err := parseManifest(data)
	if err != nil {
		c.problem(Problem{File: manifestFile, What: oneLine(err) + "; the next start walks the folders", Repairable: true})
		return
	}
	if m.good < int64(len(data)) {
		c.problem(Problem{File: manifestFile, Position: m.good, Bytes: int64(len(data)) - m.good, What: "no frame is whole from here on; nothing of it counts",
			Repairable: true, Pending: !c.Clean})
	}
}

// logCheck is the check of one log's folder.
type logCheck struct {
	*checker
	tp       kafka.TopicPartition
	dir, rel string
	end      int64 // after the last batch
	epochs   []epochRun
	small    bool
}

func (l *logCheck) run() error {
	list, err := l.fs.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) && l.running {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if data, ok := l.read(l.rel, metadataFile); ok {
		if _, err := parseTopicID(data); err != nil {
			l.problem(Problem{File: path.Join(l.rel, metadataFile), What: oneLine(err), Pending: !l.Clean})
		}
	} else if l.ours && l.points[l.tp] > 0 && l.tp.Topic != metadataTopic && !slices.ContainsFunc(list, func(i vfs.Info) bool { return i.Name == metadataFile }) {
		l.problem(Problem{File: path.Join(l.rel, metadataFile), What: "is missing; a start that knows the topic's id writes it anew", Pending: true})
	}
	var bases []int64
	for _, i := range list {
		if base, suffix, ok := segment.ParseName(i.Name); ok && suffix == segment.LogSuffix {
			bases = append(bases, base)
		}
	}
	l.small = len(bases) == 1
	if len(bases) > 0 {
		l.end = bases[0]
	}
	for i, base := range bases {
		next := int64(-1)
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		if err := l.segment(base, next); err != nil {
			return err
		}
	}
	l.known()
	if !l.running {
		l.ends(bases)
		l.epochFile()
		l.snapshots(list)
	}
	return nil
}

// segment checks one segment. What lies above the recovery point of a directory
// that was not closed in order is the next start's business.
func (l *logCheck) segment(base, next int64) error {
	if l.running && next < 0 {
		return nil // it is being written
	}
	s := &segmentCheck{fs: l.fs, dir: l.dir, base: base, next: next, end: base, ended: l.Clean}
	err := s.run()
	if errors.Is(err, fs.ErrNotExist) && l.running {
		return nil // retention or compaction took it
	}
	if err != nil {
		return err
	}
	l.Segments++
	l.small = l.small && s.size <= smallLog
	l.Batches, l.Bytes, l.end = l.Batches+s.batches, l.Bytes+s.size, max(s.end, base)
	point := l.points[l.tp]
	for _, p := range s.problems {
		if !l.Clean && !l.running {
			p.Pending = p.From >= point && p.To > p.From || p.Repairable && (p.absent || s.end > point)
		}
		p.File = path.Join(l.rel, p.File)
		l.problem(p)
	}
	for _, e := range s.epochs {
		if n := len(l.epochs); n > 0 && l.epochs[n-1].epoch == e.epoch {
			l.epochs[n-1].last = e.last
		} else {
			l.epochs = append(l.epochs, e)
		}
	}
	if s.follower >= 0 && next > s.follower && next <= point {
		l.problem(Problem{File: path.Join(l.rel, segment.Name(s.follower, segment.LogSuffix)), From: s.follower, To: next, What: fileMissing})
	}
	return nil
}

// ends compares where the log begins and ends with what was told of that.
func (l *logCheck) ends(bases []int64) {
	start, point := l.starts[l.tp], l.points[l.tp]
	told := len(bases) > 0 && slices.ContainsFunc(l.Problems, func(p Problem) bool {
		return path.Dir(p.File) == l.rel && p.From <= start && bases[0] <= p.To
	})
	if len(bases) > 0 && bases[0] > start && l.ours && l.tp.Topic != metadataTopic && !told {
		l.problem(Problem{File: l.rel, From: start, To: bases[0], What: fmt.Sprintf("the log begins at %d, and nothing before it was deleted", bases[0]),
			Pending: !l.Clean && bases[0] > point})
	}
	if l.end < point {
		l.problem(Problem{File: l.rel, From: l.end, To: point, What: fmt.Sprintf("the log ends at %d, but was durable to %d: files are missing or were emptied", l.end, point)})
	}
}

// metadataTopic is the log that begins above 0 without anybody's saying so.
const metadataTopic = "__cluster_metadata"

// known adds what the log itself knows to be damaged and the check did not find.
func (l *logCheck) known() {
	all, err := ReadDamage(l.fs, l.dir)
	if err != nil {
		l.problem(Problem{File: path.Join(l.rel, damageFile), What: oneLine(err) + "; what it told of is found again", Repairable: errors.Is(err, errMalformed)})
	}
	for _, d := range all {
		file := path.Join(l.rel, segment.Name(d.Segment, segment.LogSuffix))
		if !slices.ContainsFunc(l.Problems, func(p Problem) bool { return p.File == file && p.From < d.To && d.From < p.To }) {
			l.problem(Problem{File: file, Position: d.Position, Bytes: d.Bytes, From: d.From, To: d.To, What: "known to be damaged: " + d.Reason})
		}
	}
}

// epochFile compares leader-epoch-checkpoint with the epochs of the batches.
func (l *logCheck) epochFile() {
	name := path.Join(l.rel, epochFile)
	data, ok := l.read(l.rel, epochFile)
	if !ok {
		if len(l.epochs) > 0 {
			// A small log may be left without: it is looked at whole anyway.
			l.problem(Problem{File: name, What: "is missing; the next start makes it from every batch", Repairable: true, Pending: !l.Clean || l.small})
		}
		return
	}
	entries, err := parseEpochs(data)
	if err != nil {
		l.problem(Problem{File: name, What: oneLine(err), Repairable: true, Pending: !l.Clean})
		return
	}
	of := func(offset int64) int32 {
		i := len(entries) - 1
		for i >= 0 && entries[i].Start > offset {
			i--
		}
		if i < 0 {
			return -1
		}
		return entries[i].Epoch
	}
	for _, e := range l.epochs {
		from := max(e.first, l.starts[l.tp]) // what is deleted needs none
		if from > e.last || of(from) == e.epoch && of(e.last) == e.epoch {
			continue
		}
		l.problem(Problem{File: name, What: fmt.Sprintf("offsets %d to %d are of epoch %d, the file says otherwise", from, e.last, e.epoch),
			Repairable: true, Pending: !l.Clean && e.last >= l.points[l.tp]})
		return
	}
}

func (l *logCheck) snapshots(list []vfs.Info) {
	for _, i := range list {
		off, suffix, ok := segment.ParseName(i.Name)
		if !ok || suffix != snapshotSuffix {
			continue
		}
		name := path.Join(l.rel, i.Name)
		data, ok := l.read(l.rel, i.Name)
		if !ok {
			continue
		}
		if err := newProducerState().decode(data); err != nil {
			l.problem(Problem{File: name, What: oneLine(err) + "; the batches are read instead", Repairable: true})
		} else if off > l.end {
			l.problem(Problem{File: name, What: fmt.Sprintf("is of offset %d, the log ends at %d", off, l.end), Repairable: true, Pending: !l.Clean})
		}
	}
}

// CheckSegment looks at the files of one segment in the folder dir of a log, and
// writes nothing. next is the base of the following segment, -1 if there is none.
// Files are named without the folder.
func CheckSegment(f vfs.FS, dir string, base, next int64) ([]Problem, error) {
	s := &segmentCheck{fs: f, dir: dir, base: base, next: next, end: base}
	err := s.run()
	return s.problems, err
}

// fileSize is a file's size, false if it is not there.
func fileSize(f vfs.FS, name string) (int64, bool, error) {
	info, err := f.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	return info.Size, err == nil, err
}

// endOfFile makes a short read an error of its own.
func endOfFile(n, want int, err error) error {
	if n == want {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
