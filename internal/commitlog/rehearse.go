package commitlog

import (
	"errors"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Rehearsal is what a start would do to a log directory.
type Rehearsal struct {
	Directory string      `json:"directory"`
	Clean     bool        `json:"clean"`     // the last owner ended in order
	SameBoot  bool        `json:"same_boot"` // the machine has not restarted since
	Logs      []Rehearsed `json:"logs"`
	// Changes are the differences that the start would make, by file.
	Changes []vfs.Change `json:"changes"`
}

// Rehearsed is what would become of one log.
type Rehearsed struct {
	Log   string `json:"log"`
	Error string `json:"error,omitempty"` // the start would refuse it
	Recovered
}

// Lossy tells whether the start would refuse or quarantine anything, or finds
// something missing. What it cuts off was never acknowledged as durable.
func (r *Rehearsal) Lossy() bool {
	for _, l := range r.Logs {
		if l.Error != "" || l.Missing > 0 || len(l.Quarantined) > 0 {
			return true
		}
	}
	return false
}

// RehearseConfig says what to rehearse. FS and Path must be set.
type RehearseConfig struct {
	FS     vfs.FS
	Path   string
	Now    func() time.Time
	Logger *slog.Logger
	// Begin is Config.Begin of a log; nil is 0 for all.
	Begin func(kafka.TopicPartition) int64
}

// Rehearse opens every log of a directory as a start would, over an overlay that
// keeps all writes to itself: so what it tells is what the recovery does, not
// what somebody thinks of it. The directory stays as it is, byte for byte. It
// must be free: [vfs.ErrLocked] otherwise.
//
// Indexes are made anew with Kafka's default interval; a topic that has another
// gets other entries.
func Rehearse(cfg RehearseConfig) (*Rehearsal, error) {
	over := vfs.NewOverlay(cfg.FS)
	if _, err := cfg.FS.Stat(cfg.Path); err != nil {
		return nil, err
	}
	h, err := OpenHome(HomeConfig{FS: over, Path: cfg.Path, Now: cfg.Now, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	r := &Rehearsal{Directory: h.path, Clean: h.Clean(), SameBoot: h.SameBoot(), Logs: []Rehearsed{}, Changes: []vfs.Change{}}
	err = r.run(h, over, cfg.Begin)
	// What closing writes is not part of a start.
	return r, errors.Join(err, h.Close(false))
}

func (r *Rehearsal) run(h *Home, over *vfs.Overlay, begin func(kafka.TopicPartition) int64) error {
	changes, err := over.Changes(h.path)
	if err != nil {
		return err
	}
	r.add(changes)
	logs, err := h.Logs()
	if err != nil {
		return err
	}
	for _, tp := range logs {
		at := int64(0)
		if begin != nil {
			at = begin(tp)
		}
		l, rec, err := Open(Config{Home: h, Topic: tp.Topic, Partition: tp.Partition, TopicID: writtenID(over, path.Join(h.path, tp.String())), Logger: h.logger,
			Tunables: Tunables{KeepAll: true}, Begin: at})
		out := Rehearsed{Log: tp.String(), Recovered: rec}
		if err != nil {
			out.Error = oneLine(err)
		}
		r.Logs = append(r.Logs, out)
		changes, cerr := over.Changes(path.Join(h.path, tp.String()))
		if cerr != nil {
			return cerr
		}
		r.add(changes)
		if err == nil {
			if err := l.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// writtenID is the topic id that a log's folder says, zero if it says none.
func writtenID(f vfs.FS, dir string) kafka.UUID {
	data, err := vfs.ReadFile(f, path.Join(dir, metadataFile), 1<<10)
	if err != nil {
		return kafka.UUID{}
	}
	id, err := parseTopicID(data)
	if err != nil {
		return kafka.UUID{}
	}
	return id
}

// add takes changes in, with names below the directory.
func (r *Rehearsal) add(changes []vfs.Change) {
	below := func(name string) string { return strings.TrimPrefix(strings.TrimPrefix(name, r.Directory), "/") }
	for _, c := range changes {
		c.Name, c.From = below(c.Name), below(c.From)
		if c.Name != lockFile {
			r.Changes = append(r.Changes, c)
		}
	}
}
