package torture

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// site is a place in the program that calls the file system: the operation, and
// the functions and lines that led there.
type site struct {
	kind vfs.OpKind
	hash uint64
}

// siege is a disk on which the operations of one site fail from some time on.
type siege struct {
	*vfs.Mem
	mu sync.Mutex // memory only

	hits  map[site]int
	where map[site]string // the innermost function of the broker
	bad   site
	first int   // the hit at which it begins
	err   error // EIO fails one operation, ENOSPC all that need room until relieved
	began bool
	over  bool
	retry bool // a planted bug: a sync that fails is asked once more
}

func newSiege() *siege {
	return &siege{Mem: vfs.NewMem(vfs.MemConfig{Now: time.Now}), hits: map[site]int{}, where: map[site]string{}}
}

// callers finds the site, leaving out what is above the packages under test.
func callers(kind vfs.OpKind) (site, string) {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	h := fnv.New64a()
	name := ""
	for depth := 0; depth < 12; {
		f, more := frames.Next()
		if strings.Contains(f.Function, "/myelin/internal/") && !strings.Contains(f.Function, "/internal/torture") {
			if name == "" {
				name = fmt.Sprintf("%s:%d", f.Function[strings.LastIndexByte(f.Function, '/')+1:], f.Line)
			}
			fmt.Fprintf(h, "%s:%d ", f.Function, f.Line)
			depth++
		}
		if !more {
			break
		}
	}
	return site{kind, h.Sum64()}, fmt.Sprintf("%s in %s", kind, name)
}

// needsRoom tells which operations a full disk refuses.
func needsRoom(kind vfs.OpKind) bool {
	return kind == vfs.OpWrite || kind == vfs.OpCreate || kind == vfs.OpMkdir
}

// hit counts an operation and says whether it fails.
func (s *siege) hit(kind vfs.OpKind) error {
	at, name := callers(kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits[at]++
	s.where[at] = name
	switch {
	case s.err == nil || s.over:
		return nil
	case !s.began && at == s.bad && s.hits[at] >= s.first:
		s.began = true
		s.over = !errors.Is(s.err, syscall.ENOSPC)
		return s.err
	case s.began && needsRoom(kind):
		return s.err
	}
	return nil
}

// begun tells whether an operation has failed.
func (s *siege) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// relieve gives room again.
func (s *siege) relieve() (begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return s.began
}

func (s *siege) Create(name string) (vfs.File, error) {
	return s.Open(name, vfs.ReadWrite|vfs.CreateNew|vfs.Truncate)
}

func (s *siege) Open(name string, flag vfs.Flag) (vfs.File, error) {
	kind := vfs.OpOpen
	if flag&(vfs.CreateNew|vfs.Truncate) != 0 {
		kind = vfs.OpCreate
	}
	if err := s.hit(kind); err != nil {
		return nil, err
	}
	f, err := s.Mem.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return siegeFile{f, s}, nil
}

func (s *siege) Remove(name string) error {
	if err := s.hit(vfs.OpRemove); err != nil {
		return err
	}
	return s.Mem.Remove(name)
}

func (s *siege) RemoveAll(name string) error {
	if err := s.hit(vfs.OpRemove); err != nil {
		return err
	}
	return s.Mem.RemoveAll(name)
}

func (s *siege) Rename(oldName, newName string) error {
	if err := s.hit(vfs.OpRename); err != nil {
		return err
	}
	return s.Mem.Rename(oldName, newName)
}

func (s *siege) MkdirAll(name string) error {
	if err := s.hit(vfs.OpMkdir); err != nil {
		return err
	}
	return s.Mem.MkdirAll(name)
}

func (s *siege) ReadDir(name string) ([]vfs.Info, error) {
	if err := s.hit(vfs.OpReadDir); err != nil {
		return nil, err
	}
	return s.Mem.ReadDir(name)
}

func (s *siege) Stat(name string) (vfs.Info, error) {
	if err := s.hit(vfs.OpStat); err != nil {
		return vfs.Info{}, err
	}
	return s.Mem.Stat(name)
}

func (s *siege) SyncDir(name string) error {
	if err := s.hit(vfs.OpSyncDir); err != nil {
		return err
	}
	return s.Mem.SyncDir(name)
}

func (s *siege) Lock(name string) (io.Closer, error) { return s.Mem.Lock(name) }

type siegeFile struct {
	vfs.File
	s *siege
}

func (f siegeFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.s.hit(vfs.OpRead); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f siegeFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.Writev([][]byte{p}, off)
	return int(n), err
}

// Writev puts down half of what it is given when it fails.
func (f siegeFile) Writev(bufs [][]byte, off int64) (int64, error) {
	if err := f.s.hit(vfs.OpWrite); err != nil {
		all := slices.Concat(bufs...)
		n, werr := f.File.WriteAt(all[:len(all)/2], off)
		return int64(n), errors.Join(err, werr)
	}
	return f.File.Writev(bufs, off)
}

// Sync that fails takes with it what was written, and the next one says yes.
func (f siegeFile) Sync() error {
	if err := f.s.hit(vfs.OpSync); err != nil {
		f.s.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpSync {
				v.Err = err
			}
			return v
		})
		err := f.File.Sync()
		f.s.SetHook(nil)
		if f.s.retry {
			return f.File.Sync()
		}
		return err
	}
	return f.File.Sync()
}

func (f siegeFile) Truncate(size int64) error {
	if err := f.s.hit(vfs.OpTruncate); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f siegeFile) Size() (int64, error) {
	if err := f.s.hit(vfs.OpStat); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// broker is a table of replicas on a besieged disk. It lives in a bubble of
// testing/synctest.
type broker struct {
	disk  *siege
	home  *commitlog.Home
	table *replica.Table
	stop  func()
	rng   *rand.Rand
	seqs  [fronts]int32
	epoch [fronts]int16            // of the producers
	acked [fronts]map[int64][]byte // by base offset
	start [fronts]int64            // asked of delete-records at most
}

// fronts is how many partitions it has.
const fronts = 3

// startBroker opens what is on the disk.
func startBroker(disk *siege, seed uint64) (*broker, error) {
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: disk, Path: root, Now: time.Now})
	if err != nil {
		return nil, err
	}
	flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now})
	table := replica.NewTable(replica.Config{
		Self: 1, Dirs: []replica.Dir{{Home: home, FS: disk, Flusher: flusher}}, Pool: record.NewPool(record.PoolConfig{}),
		Now: time.Now, RetentionEvery: 3 * time.Second, CheckpointEvery: time.Second,
	})
	b := &broker{disk: disk, home: home, table: table, rng: rand.New(rand.NewPCG(seed, 5))}
	ctx, cancel := context.WithCancel(context.Background())
	var upper, lower sync.WaitGroup
	flush, end := context.WithCancel(context.Background())
	upper.Go(func() { _ = table.Run(ctx) })
	lower.Go(func() { _ = flusher.Run(flush) })
	lower.Go(func() { _ = home.Run(flush) })
	b.stop = func() {
		cancel()
		upper.Wait()
		end()
		lower.Wait()
		_ = home.Close(false)
	}
	d := replica.Delta{Complete: true}
	for i := range fronts {
		conf := replica.DefaultTopicConfig()
		conf.Log = commitlog.Tunables{SegmentBytes: 4000, IndexInterval: 500, RetentionBytes: 20000}
		d.Assigned = append(d.Assigned, replica.Assignment{TopicPartition: partitionOf(i), TopicID: topicID(i + 1), Config: &conf,
			Role: partition.Assignment{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}})
		b.acked[i] = map[int64][]byte{}
	}
	table.Apply(d)
	return b, nil
}

// produce sends a batch and waits for its answer, at most a second.
func (b *broker) produce(i int) error {
	r, err := b.table.Get("t", int32(i))
	if err != nil {
		return err
	}
	build := record.Builder{}
	if b.rng.IntN(2) == 0 {
		build.Producer = &record.Producer{ID: int64(100 + i), Epoch: b.epoch[i], Sequence: b.seqs[i]}
	}
	n := 1 + b.rng.IntN(3)
	for range n {
		build.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, 20+b.rng.IntN(200))})
	}
	bytes := slices.Clone(build.Bytes())
	head, err := record.CheckClient(bytes)
	if err != nil {
		return err
	}
	got, err := r.Append(replica.Batch{Bytes: bytes, Header: head, Epoch: kafka.NoEpoch, Durable: true})
	if err != nil {
		return err
	}
	answer := make(chan error, 1)
	w := replica.Waiter{Offset: got.Last + 1, Durable: true, Done: func(err error) { answer <- err }}
	r.AwaitCommitted(&w)
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	//house:select either way the answer is looked at once
	select {
	case err = <-answer:
	case <-timeout.C:
		if r.Forget(&w) {
			return errNoAnswer
		}
		err = <-answer
	}
	if err != nil {
		return err
	}
	if build.Producer != nil {
		b.seqs[i] = record.AddSequence(b.seqs[i], int32(n))
	}
	if !got.Duplicate {
		b.acked[i][got.Base] = bytes
	}
	return nil
}

// begin makes the producer of a partition begin anew, when it does not know what
// became of its last batch.
func (b *broker) begin(i int) { b.epoch[i], b.seqs[i] = b.epoch[i]+1, 0 }

var errNoAnswer = errors.New("no answer for a second")

// step is one thing that a client does.
func (b *broker) step() {
	i := b.rng.IntN(fronts)
	switch b.rng.IntN(20) {
	case 0:
		if r, err := b.table.Get("t", int32(i)); err == nil {
			to := max(r.HW()-30, 0)
			b.start[i] = max(b.start[i], to)
			_, _ = r.DeleteRecords(to)
		}
	case 1, 2, 3:
		if r, err := b.table.Get("t", int32(i)); err == nil {
			_, _, _ = r.Batches(r.LogStart(), 1<<16, replica.ReadCommitted)
		}
	default:
		if err := b.produce(i); err != nil {
			b.begin(i)
			time.Sleep(100 * time.Millisecond)
		}
	}
	time.Sleep(time.Duration(b.rng.IntN(60)) * time.Millisecond)
}

// kept holds what is on a disk to what was acknowledged.
func (b *broker) kept(disk *vfs.Mem) error {
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: disk, Path: root, Now: time.Now})
	if err != nil {
		return err
	}
	for i := range fronts {
		l, _, err := commitlog.Open(commitlog.Config{Home: home, Topic: "t", Partition: int32(i), TopicID: topicID(i + 1)})
		if err != nil {
			return err
		}
		data, err := readAll(l)
		if err != nil {
			return err
		}
		there := map[int64][]byte{}
		for len(data) > 0 {
			head, err := record.Check(data[:record.Size(data)])
			if err != nil {
				return err
			}
			there[head.BaseOffset] = data[:head.Size()]
			data = data[head.Size():]
		}
		for base, want := range b.acked[i] { //house:maporder one that is missing is as good as another
			if got := there[base]; !slices.Equal(got, want) && base >= l.Start() {
				return fmt.Errorf("partition %d: the batch at %d was acknowledged and is not there: %d bytes of %d; the log is %d to %d",
					i, base, len(got), len(want), l.Start(), l.End())
			}
		}
	}
	return home.Close(false)
}
