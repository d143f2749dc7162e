package torture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// options are the settings of a story.
type options struct {
	name       string
	partitions int
	homes      int // log directories, 0 is 1
	log        commitlog.Tunables
	home       commitlog.HomeConfig // FS, Path and Now are the story's
	codecs     []record.Codec
	batch      int // records of a batch at most
	value      int // bytes of a value at most
	keys       int // how many different keys; 0: no keys
	// keep is how many segments retention and deletion leave alone, spare how
	// many of the logs are never reset or removed.
	keep, spare int
	// early, a planted bug: a duplicate is answered before its original is
	// durable.
	early bool
}

// root is the first log directory of every story; others have a number behind.
const root = "/data"

// story is what happens to the logs of a few directories.
type story struct {
	opt   options
	rng   *rand.Rand
	fs    vfs.FS
	disk  *vfs.Mem // behind fs, where there are accidents
	now   time.Time
	homes []*commitlog.Home
	parts []*part
	tape  *tape // who records it; nil for nobody
	made  int   // topics so far

	checkpoints int // so far
}

// part is one log of a story with its history.
type part struct {
	index int
	tp    kafka.TopicPartition
	log   *commitlog.Log
	hist  *history
	epoch int32
	clock int64 // ms: its batches' times rise from here
}

// began is the time at which every story begins.
var began = time.UnixMilli(1_700_000_000_000)

// begin opens the logs of a story on an empty file system.
func begin(opt options, seed uint64, fs vfs.FS, tape *tape) (*story, error) {
	s := &story{opt: opt, rng: rand.New(rand.NewPCG(seed, 17)), fs: fs, now: began, tape: tape}
	for i := range opt.partitions {
		s.made++
		p := &part{index: i, tp: partitionOf(i), hist: newHistory(topicID(s.made)), clock: began.UnixMilli()}
		s.parts = append(s.parts, p)
		s.note(p, event{kind: removed, id: p.hist.id})
	}
	return s, s.open()
}

func partitionOf(n int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: "t", Partition: int32(n)}
}

func topicID(n int) kafka.UUID { return kafka.UUID{0: 1, 14: byte(n >> 8), 15: byte(n)} }

// note lets the history know, and the tape.
func (s *story) note(p *part, e event) {
	p.hist.apply(e)
	if s.tape != nil {
		s.tape.note(p.index, e)
	}
}

// open opens the directories and every log.
func (s *story) open() error {
	if err := s.openHomes(); err != nil {
		return err
	}
	for _, p := range s.parts {
		if _, err := s.openLog(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) openHomes() error {
	s.homes = nil
	for i := range max(s.opt.homes, 1) {
		cfg := s.opt.home
		cfg.FS, cfg.Path, cfg.Now = s.fs, root, func() time.Time { return s.now }
		if i > 0 {
			cfg.Path = fmt.Sprint(root, i)
		}
		h, err := commitlog.OpenHome(cfg)
		if err != nil {
			return err
		}
		s.homes = append(s.homes, h)
	}
	return nil
}

// home is the directory of a log.
func (s *story) home(p *part) *commitlog.Home { return s.homes[p.index%len(s.homes)] }

func (s *story) openLog(p *part) (rec commitlog.Recovered, err error) {
	p.log, rec, err = commitlog.Open(commitlog.Config{
		Home: s.home(p), Topic: p.tp.Topic, Partition: p.tp.Partition, TopicID: p.hist.id, Tunables: s.opt.log,
	})
	return rec, err
}

// close closes everything in order.
func (s *story) close() error {
	for _, p := range s.parts {
		if err := p.log.Close(); err != nil {
			return err
		}
		s.note(p, event{kind: flushed, at: p.log.Flushed()})
	}
	for _, h := range s.homes {
		if err := h.Close(true); err != nil {
			return err
		}
	}
	return nil
}

// act is something that can happen, as often as weight says.
type act struct {
	name   string
	weight int
	do     func(*story, *part) error
}

// acts are what a broker does to its logs.
var acts = [...]act{
	{"append", 420, (*story).append},
	{"flush", 240, (*story).flush},
	{"send again", 30, (*story).again},
	{"begin an epoch", 6, (*story).lead},
	{"checkpoint", 30, (*story).checkpoint},
	{"delete records", 12, (*story).deleteRecords},
	{"retain", 16, (*story).retain},
	{"truncate", 8, (*story).truncate},
	{"compact", 10, (*story).compact},
	{"reset", 1, (*story).reset},
	{"reopen", 4, (*story).reopen},
	{"restart", 2, (*story).restart},
	{"remove", 1, (*story).remove},
}

// step lets one thing happen.
func (s *story) step(acts []act) error {
	p := s.parts[s.rng.IntN(len(s.parts))]
	s.now = s.now.Add(time.Duration(s.rng.IntN(400)) * time.Millisecond)
	total := 0
	for i := range acts {
		total += acts[i].weight
	}
	n := s.rng.IntN(total)
	for i := range acts {
		if n -= acts[i].weight; n < 0 {
			if err := acts[i].do(s, p); err != nil {
				return fmt.Errorf("%s, %s: %w", acts[i].name, p.tp, err)
			}
			break
		}
	}
	return nil
}

// append writes one to three batches with one call.
func (s *story) append(p *part) error {
	var list []commitlog.Batch
	for range 1 + s.rng.IntN(3) {
		b := s.batch(p)
		if b == nil {
			continue
		}
		if b.head.Idempotent() && !b.marker() {
			if v, err := p.log.Producers().Check(&b.head); err != nil || v.Duplicate {
				return fmt.Errorf("producer %d, sequence %d: %+v, %w", b.head.ProducerID, b.head.BaseSequence, v, err)
			}
		}
		s.note(p, event{kind: given, batch: b})
		p.log.Producers().Update(&b.head)
		list = append(list, commitlog.Batch{Bytes: b.bytes, Header: b.head})
	}
	if len(list) == 0 {
		return nil
	}
	if err := p.log.Append(list); err != nil {
		return err
	}
	if got := p.log.End(); got != p.hist.end() {
		return fmt.Errorf("ends at %d after the append, it must end at %d", got, p.hist.end())
	}
	return nil
}

// flush is what lets a producer have its answer.
func (s *story) flush(p *part) error {
	if err := p.log.Flush(); err != nil {
		return err
	}
	s.note(p, event{kind: flushed, at: p.log.Flushed()})
	return nil
}

// again sends one of a producer's last batches once more: it is known, and
// answered once it is durable.
func (s *story) again(p *part) error {
	st := p.hist.fold()
	ids := st.ids()
	if len(ids) == 0 {
		return nil
	}
	from := st.producers[ids[s.rng.IntN(len(ids))]]
	known := p.hist.told(from)
	if len(known) == 0 {
		return nil
	}
	b := known[s.rng.IntN(len(known))]
	v, err := p.log.Producers().Check(&b.head)
	if err != nil || !v.Duplicate || v.Base != b.head.BaseOffset || v.Last != b.head.LastOffset() {
		return fmt.Errorf("sent again, offsets %d to %d: %+v, %w", b.head.BaseOffset, b.head.LastOffset(), v, err)
	}
	if s.opt.early {
		s.note(p, event{kind: flushed, at: v.Last + 1})
		return nil
	}
	return s.flush(p)
}

// lead begins a leader epoch.
func (s *story) lead(p *part) error {
	p.epoch++
	s.note(p, event{kind: led, epoch: p.epoch, at: p.log.End()})
	return p.log.AssignEpoch(p.epoch, p.log.End())
}

// checkpoint writes the durable points down, every other time as it is done when
// much was flushed.
func (s *story) checkpoint(p *part) error {
	s.checkpoints++
	if s.checkpoints%2 == 0 {
		return commitlog.Moved{Home: s.home(p)}.Checkpoint()
	}
	return s.home(p).Checkpoint()
}

// deleteRecords moves the start somewhere, up to what is flushed.
func (s *story) deleteRecords(p *part) error {
	if err := s.flush(p); err != nil {
		return err
	}
	to := p.log.Start() + s.rng.Int64N(max(1, (s.keepFrom(p)-p.log.Start())*3/2))
	if to > s.keepFrom(p) {
		return nil
	}
	s.note(p, event{kind: starting, at: to})
	if err := p.log.DeleteTo(to); err != nil {
		return err
	}
	return s.started(p)
}

// keepFrom is where the segments begin that are not to be deleted.
func (s *story) keepFrom(p *part) int64 {
	segs := p.log.Segments()
	if s.opt.keep == 0 {
		return p.log.Flushed()
	}
	if len(segs) <= s.opt.keep {
		return p.log.Start()
	}
	return min(segs[len(segs)-s.opt.keep].Base, p.log.Flushed())
}

// started takes the log's start as a promise.
func (s *story) started(p *part) error {
	start := p.log.Start()
	if start < p.hist.start || start > max(p.hist.asked, p.hist.start) {
		return fmt.Errorf("starts at %d now, it began at %d and %d was asked for", start, p.hist.start, p.hist.asked)
	}
	s.note(p, event{kind: flushed, at: p.log.Flushed()})
	s.note(p, event{kind: started, at: start})
	return nil
}

func (s *story) retain(p *part) error {
	limit := min(p.log.Flushed(), s.keepFrom(p))
	s.note(p, event{kind: starting, at: limit})
	if _, err := p.log.Retain(limit); err != nil {
		return err
	}
	return s.started(p)
}

// truncate cuts off an end, as a follower with a diverging history does, and
// goes on in a new epoch.
func (s *story) truncate(p *part) error {
	end := p.log.End()
	low := max(p.log.Start(), p.hist.firm, end-1-s.rng.Int64N(60))
	to := low + s.rng.Int64N(max(1, end-low+1))
	if p.hist.boundary(to) < p.hist.firm || p.hist.boundary(to) < p.log.Start() {
		return nil
	}
	s.note(p, event{kind: cutting, at: to})
	if err := p.log.TruncateTo(to); err != nil {
		return err
	}
	s.note(p, event{kind: cut, at: to})
	s.note(p, event{kind: flushed, at: p.log.Flushed()})
	if err := p.hist.stands(p.log); err != nil {
		return fmt.Errorf("truncated to %d: %w", to, err)
	}
	return s.lead(p)
}

// reset empties the log, as a follower does that fell behind its leader's start.
func (s *story) reset(p *part) error {
	if p.index < s.opt.spare {
		return nil
	}
	to := p.log.End() + s.rng.Int64N(100)
	s.note(p, event{kind: emptying, at: to})
	if err := p.log.ResetTo(to); err != nil {
		return err
	}
	s.note(p, event{kind: emptied, at: to})
	return s.lead(p)
}

// reopen closes one log in order and opens it again.
func (s *story) reopen(p *part) error {
	if err := p.log.Close(); err != nil {
		return err
	}
	s.note(p, event{kind: flushed, at: p.log.Flushed()})
	rec, err := s.openLog(p)
	if err != nil {
		return err
	}
	return s.unharmed(p, rec)
}

func (s *story) unharmed(p *part, rec commitlog.Recovered) error {
	if !rec.Clean {
		return fmt.Errorf("closed in order, opened as if not: %+v", rec)
	}
	return p.hist.exactly(p.log)
}

// restart closes and opens the directory.
func (s *story) restart(*part) error {
	if err := s.close(); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	for _, p := range s.parts {
		if err := p.hist.exactly(p.log); err != nil {
			return fmt.Errorf("%s: %w", p.tp, err)
		}
	}
	return nil
}

// remove deletes the topic, and makes another of that name.
func (s *story) remove(p *part) error {
	if p.index < s.opt.spare {
		return nil
	}
	if err := p.log.Close(); err != nil {
		return err
	}
	s.note(p, event{kind: flushed, at: p.log.Flushed()})
	s.note(p, event{kind: removing})
	if err := s.home(p).RemoveLog(p.tp); err != nil {
		return err
	}
	s.made++
	s.note(p, event{kind: removed, id: topicID(s.made)})
	p.epoch = 0
	if _, err := s.openLog(p); err != nil {
		return err
	}
	if p.log.Start() != 0 || p.log.End() != 0 {
		return errors.New("a removed log is still there")
	}
	return nil
}
