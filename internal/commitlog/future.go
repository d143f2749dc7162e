package commitlog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// futureSuffix marks the folder of a log that is a copy on its way to take the
// place of the log of its name in another directory, as in Kafka.
const futureSuffix = "-future"

// FutureFolder is the name of the folder in which a partition of a topic is
// copied: topic-partition.id-future.
func FutureFolder(tp kafka.TopicPartition, id kafka.UUID) string {
	return tp.String() + "." + hex.EncodeToString(id[:]) + futureSuffix
}

// Futures are the copies in a log directory that are on their way to replace
// logs in others. They are opened with [Config.Folder].
//
// A copy never comes to rest in the manifest, which knows logs by their names.
type Futures struct{ *Home }

// List gives the folders of copies by partition; of several the last by name.
func (f Futures) List() (map[kafka.TopicPartition]string, error) {
	list, err := f.fs.ReadDir(f.path)
	if err != nil {
		return nil, f.fail(err)
	}
	out := map[kafka.TopicPartition]string{}
	for _, i := range list {
		name, ok := strings.CutSuffix(i.Name, futureSuffix)
		if !ok || !i.Dir {
			continue
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			continue
		}
		if tp, ok := parseFolder(name[:dot]); ok {
			out[tp] = i.Name
		}
	}
	return out, nil
}

// Promote closes a copy in order and gives its folder the log's own name. Once
// it returns nil the log is there, also after a power cut. On an error it is
// unknown which name the folder has.
func (f Futures) Promote(l *Log) error {
	if err := l.Close(); err != nil {
		return err
	}
	if err := f.saving.do(); err != nil { // its start and its recovery point
		return err
	}
	// The manifest may still praise the log as it was before it left this
	// directory: the topic id is the same.
	if err := f.journal.stir(l); err != nil {
		return err
	}
	if err := f.journal.syncing.do(); err != nil {
		return err
	}
	if err := f.fs.Rename(l.dir, f.join(l.tp.String())); err != nil {
		return f.fail(err)
	}
	if err := f.syncing.do(); err != nil {
		return f.fail(err)
	}
	return nil
}

// Remove takes away a copy that is closed, and what the checkpoints say of it.
func (f Futures) Remove(tp kafka.TopicPartition, folder string) error {
	gone := f.join(tp.String() + ".1" + deleteSuffix)
	if err := f.fs.RemoveAll(gone); err != nil {
		return f.fail(err)
	}
	err := f.fs.Rename(f.join(folder), gone)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.fail(err)
	}
	if err := f.syncing.do(); err != nil {
		return f.fail(err)
	}
	f.mu.Lock()
	delete(f.mu.points, tp)
	f.mu.order, f.mu.news = nil, true
	delete(f.mu.starts, tp)
	delete(f.mu.trust, tp)
	f.mu.buried[tp] = true
	f.mu.Unlock()
	if err := f.fs.RemoveAll(gone); err != nil {
		return f.fail(err)
	}
	return nil
}

// TakeState makes what a copy knows beside its records what the original knows:
// the producers, of whom the records may tell only a part, and the epochs. Both
// must have the same end, and nobody may write to either.
func TakeState(to, from *Log) error {
	to.turn.lock()
	defer to.turn.unlock()
	if to.End() != from.End() {
		return fmt.Errorf("log %s: the copy ends at %d, the log at %d: %w", to.tp, to.End(), from.End(), kafka.KafkaStorageError)
	}
	if err := to.producers.decode(from.producers.encode(from.End())); err != nil {
		return err
	}
	entries := slices.DeleteFunc(from.epochs.all(), func(e EpochStart) bool { return e.Start > to.End() })
	to.epochs.set(entries)
	to.epochs.touch()
	to.closedAt = -1 // what a close wrote before is of another state
	return nil
}

// TakeEnded tells the log that has taken another's place which transactions
// ended and may not be committed yet; no snapshot holds them.
func TakeEnded(to, from *Log) {
	from.producers.mu.Lock()
	ended := slices.Clone(from.producers.ended)
	from.producers.mu.Unlock()
	to.producers.mu.Lock()
	defer to.producers.mu.Unlock()
	to.producers.ended = ended
}

// folderOf is where a log's files lie.
func folderOf(cfg *Config) string {
	if cfg.Folder != "" {
		return path.Join(cfg.Home.path, cfg.Folder)
	}
	return path.Join(cfg.Home.path, kafka.TopicPartition{Topic: cfg.Topic, Partition: cfg.Partition}.String())
}
