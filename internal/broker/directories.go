package broker

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"syscall"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// directories are the log directories of a node.
type directories struct {
	homes    []*commitlog.Home // those that are open, in the order of log.dirs; the metadata's own last if it is apart
	data     []replica.Dir     // those that hold partitions
	broken   []brokenDir       // those of log.dirs that could not be opened
	metadata *commitlog.Home
	info     metadata.Info
}

// brokenDir is a directory that failed before it was open. The node goes on
// without it, as long as another is left.
type brokenDir struct {
	path string
	err  error
}

// openDirectories locks every directory of the node, formats empty ones if that
// is allowed, and opens them. On an error nothing stays locked.
//
// A directory whose disk fails is left out, with what it holds, unless it is the
// metadata's or the last. One that is in use, not formatted, or somebody else's is
// a mistake, and the node does not start.
func openDirectories(cfg *Config) (*directories, error) {
	d := &directories{}
	if err := d.open(cfg); err != nil {
		return nil, errors.Join(err, d.close(false))
	}
	return d, nil
}

// dirPaths are the node's directories, and which of them has the metadata.
func dirPaths(cfg *Config) (data, all []string, meta string) {
	data = cfg.Properties.DataDirs()
	if meta = cfg.Properties.String("metadata.log.dir"); meta == "" {
		meta = data[0]
	}
	if all = data; !slices.Contains(data, meta) {
		all = append(slices.Clone(data), meta)
	}
	return data, all, meta
}

// unusable tells whether err is the directory's own fault, of which the others know
// nothing: a device that fails or is gone, or something else in its place.
func unusable(err error) bool {
	return vfs.IsGone(err) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOTDIR)
}

func (d *directories) open(cfg *Config) error {
	data, all, meta := dirPaths(cfg)
	var paths []string // those that opened
	for _, dir := range all {
		limited := vfs.Limit(cfg.FS, cfg.Properties.Int("log.dir.io.tokens"))
		home, err := commitlog.OpenHome(homeConfig(cfg, limited, dir))
		if err != nil && dir != meta && unusable(err) {
			cfg.Logger.Error("log directory is offline", "dir", dir, "cause", err)
			d.broken = append(d.broken, brokenDir{dir, err})
			continue
		}
		if err != nil {
			return explainDirectory(dir, err)
		}
		paths = append(paths, dir)
		d.homes = append(d.homes, home)
		if dir == meta {
			d.metadata = home
		}
		if slices.Contains(data, dir) {
			d.data = append(d.data, replica.Dir{Home: home, FS: limited, Flusher: newFlusher(cfg)})
		}
	}
	if len(d.data) == 0 {
		return fmt.Errorf("none of the directories in log.dirs can be used: %w", d.broken[0].err)
	}
	return d.identify(cfg, paths, meta)
}

// health is how the directories are, for metrics.
func (d *directories) health() []metrics.LogDir {
	var out []metrics.LogDir
	for _, home := range d.homes {
		h := home.Health()
		out = append(out, metrics.LogDir{Dir: h.Path, Offline: h.Offline, ClockDoubted: h.ClockDoubted, Room: int(h.Room), Free: h.Free, Total: h.Total,
			Ballast: h.Ballast, Full: h.Full, Slowest: h.Slowest.Seconds(), Waiting: h.Waiting, FailedReads: h.FailedReads})
	}
	for _, b := range d.broken {
		out = append(out, metrics.LogDir{Dir: b.path, Offline: true})
	}
	return out
}

func homeConfig(cfg *Config, limited vfs.FS, dir string) commitlog.HomeConfig {
	return commitlog.HomeConfig{
		FS: limited, Path: dir, Logger: cfg.Logger, Now: cfg.Now,
		MaxOpenFiles:    maxOpenFiles(cfg.Properties.Int("max.open.files")),
		IndexCacheBytes: cfg.Properties.Int("index.cache.bytes"),
		NoSums:          !cfg.Properties.Bool("log.block.checksums"),
		ColdReads:       cfg.Properties.Int("log.dir.cold.reads"),
		ColdCacheBytes:  cfg.Properties.Int("log.dir.cold.cache.bytes"),
		ClockSettle:     cfg.Properties.Millis("log.retention.clock.settle.ms"),
		Room: commitlog.RoomConfig{
			SoftBytes:   cfg.Properties.Int64("log.dir.soft.free.bytes"),
			SoftPercent: cfg.Properties.Float("log.dir.soft.free.percent"),
			Ballast:     cfg.Properties.Int64("log.dir.ballast.bytes"),
		},
	}
}

// identify formats what is empty and checks that all directories are this
// node's, and no two the same.
func (d *directories) identify(cfg *Config, paths []string, meta string) error {
	if cfg.Format {
		how, err := formatting(cfg, metadata.FormatConfig{
			FS: cfg.FS, LogDirs: paths, Metadata: meta, NodeID: cfg.Properties.NodeID(),
			ClusterID: cfg.Properties.String("cluster.id"), Rand: cfg.Rand,
		})
		if err == nil {
			_, err = metadata.Format(how)
		}
		if err != nil && !errors.Is(err, metadata.ErrFormatted) {
			return err
		}
	}
	seen := map[kafka.UUID]string{}
	var cluster, formatted string
	for i, dir := range paths {
		info, err := metadata.ReadInfo(cfg.FS, dir)
		switch {
		case err != nil:
			return fmt.Errorf("directory %s: %w", dir, err)
		case !info.Formatted && formatted != "":
			return fmt.Errorf("directory %s is empty or not formatted, but %s is: if it is a mount point, its disk may not be mounted; if it is new, run `myelin storage format` once", dir, formatted)
		case !info.Formatted:
			return fmt.Errorf("directory %s is not formatted: run `myelin storage format` once for a new node or a new directory; if there is data of this node, its disk may not be mounted", dir)
		case info.NodeID != cfg.Properties.NodeID():
			return fmt.Errorf("directory %s belongs to node %d, but node.id is %d: point log.dirs at this node's own data", dir, info.NodeID, cfg.Properties.NodeID())
		case cluster != "" && info.ClusterID != cluster:
			return fmt.Errorf("directory %s belongs to cluster %s, but %s to cluster %s: point log.dirs at the data of one", dir, info.ClusterID, paths[0], cluster)
		case seen[info.DirectoryID] != "" && !info.DirectoryID.IsZero():
			return fmt.Errorf("directories %s and %s have the same directory.id %s: one is a copy; take it out of log.dirs", seen[info.DirectoryID], dir, info.DirectoryID)
		}
		cluster, formatted, seen[info.DirectoryID] = info.ClusterID, dir, dir
		if dir == meta {
			if err := loner(cfg, dir); err != nil {
				return err
			}
			d.info = info
		} else if there, err := vfs.Exists(cfg.FS, path.Join(dir, kafka.MetadataTopic+"-0")); err == nil && there {
			return fmt.Errorf("directory %s holds a metadata log, but metadata.log.dir is %s: name the right one", dir, meta)
		}
		if i < len(d.data) {
			d.data[i].ID = info.DirectoryID
		}
	}
	return nil
}

// ids are the directory ids of those that hold partitions.
func (d *directories) ids() []kafka.UUID {
	var ids []kafka.UUID
	for _, dir := range d.data {
		ids = append(ids, dir.ID)
	}
	return ids
}

// previousEpoch is the broker epoch under which the last run used the directories,
// if none of them lost what it wrote: -1 if one may have, or one was set back to
// another day. Those that nobody has used yet have no say.
func (d *directories) previousEpoch() int64 {
	epoch := int64(-1)
	for _, h := range d.homes {
		switch e := h.PreviousEpoch(); {
		case h.Fresh(), e < 0 && h.Clean():
		case e < 0, epoch >= 0 && e != epoch:
			return -1
		default:
			epoch = e
		}
	}
	return epoch
}

// setEpoch says under which epoch the node is registered, and keepEpoch makes that
// durable.
func (d *directories) setEpoch(epoch int64) {
	for _, h := range d.homes {
		h.SetEpoch(epoch)
	}
}

func (d *directories) keepEpoch(epoch int64) error {
	var errs []error
	for _, h := range d.homes {
		if h.Failed() == nil {
			errs = append(errs, commitlog.KeepEpoch(h, epoch))
		}
	}
	return errors.Join(errs...)
}

// lost are the ids of those that failed while the node ran.
func (d *directories) lost() []kafka.UUID {
	var ids []kafka.UUID
	for _, dir := range d.data {
		if dir.Home.Failed() != nil {
			ids = append(ids, dir.ID)
		}
	}
	return ids
}

// brokenPaths are those that failed before they were open.
func (d *directories) brokenPaths() (paths []string) {
	for _, b := range d.broken {
		paths = append(paths, path.Clean(b.path))
	}
	return paths
}

// offlinePaths are those of log.dirs that cannot be used.
func (d *directories) offlinePaths() []string {
	paths := d.brokenPaths()
	for _, dir := range d.data {
		if dir.Home.Failed() != nil {
			paths = append(paths, dir.Home.Path())
		}
	}
	return paths
}

// offline is how many of log.dirs cannot be used.
func (d *directories) offline() int { return len(d.broken) + len(d.lost()) }

// close gives the directories back; clean leaves the mark that spares the next
// start the examination of the logs.
func (d *directories) close(clean bool) error {
	var errs []error
	for _, h := range d.homes {
		errs = append(errs, h.Close(clean))
	}
	d.homes = nil
	return errors.Join(errs...)
}

func explainDirectory(path string, err error) error {
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return fmt.Errorf("directory %s is in use by another process: stop that one, or choose another directory", path)
	case vfs.IsNoSpace(err):
		return fmt.Errorf("directory %s: the disk is full: free some space and start again (%w)", path, err)
	}
	return fmt.Errorf("directory %s cannot be opened: %w", path, err)
}
