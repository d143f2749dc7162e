package broker

import (
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// directories are the open log directories of a node.
type directories struct {
	homes    []*commitlog.Home // as in log.dirs, and the metadata's own last if it is apart
	data     []replica.Dir     // those that hold partitions
	metadata *commitlog.Home
	info     metadata.Info
}

// openDirectories locks every directory of the node, formats empty ones if that
// is allowed, and opens them. On an error nothing stays locked.
func openDirectories(cfg *Config) (*directories, error) {
	paths := cfg.Properties.DataDirs()
	metaPath := cfg.Properties.String("metadata.log.dir")
	if metaPath == "" {
		metaPath = paths[0]
	}
	all := paths
	if !contains(paths, metaPath) {
		all = append(append([]string(nil), paths...), metaPath)
	}
	d := &directories{}
	for _, path := range all {
		limited := vfs.Limit(cfg.FS, cfg.Properties.Int("log.dir.io.tokens"))
		home, err := commitlog.OpenHome(commitlog.HomeConfig{
			FS: limited, Path: path, Logger: cfg.Logger, Now: cfg.Now,
			MaxOpenFiles: maxOpenFiles(cfg.Properties.Int("max.open.files")), IndexCacheBytes: cfg.Properties.Int("index.cache.bytes"),
			ColdReads: cfg.Properties.Int("log.dir.cold.reads"), ColdCacheBytes: cfg.Properties.Int("log.dir.cold.cache.bytes"),
		})
		if err != nil {
			d.close(false)
			return nil, explainDirectory(path, err)
		}
		d.homes = append(d.homes, home)
		if len(d.data) < len(paths) {
			d.data = append(d.data, replica.Dir{Home: home, FS: limited, Flusher: newFlusher(cfg)})
		}
		if path == metaPath {
			d.metadata = home
		}
	}
	if err := d.identify(cfg, all, metaPath); err != nil {
		d.close(false)
		return nil, err
	}
	return d, nil
}

// identify formats what is empty and checks that all directories are this
// node's.
func (d *directories) identify(cfg *Config, all []string, metaPath string) error {
	if cfg.Format {
		_, err := metadata.Format(metadata.FormatConfig{
			FS: cfg.FS, LogDirs: all, Metadata: metaPath, NodeID: cfg.Properties.NodeID(),
			ClusterID: cfg.Properties.String("cluster.id"), Rand: cfg.Rand,
		})
		if err != nil && !errors.Is(err, metadata.ErrFormatted) {
			return err
		}
	}
	for i, path := range all {
		info, err := metadata.ReadInfo(cfg.FS, path)
		switch {
		case err != nil:
			return fmt.Errorf("directory %s: %w", path, err)
		case !info.Formatted:
			return fmt.Errorf("directory %s is not formatted: run `myelin storage format` once for a new node", path)
		case info.NodeID != cfg.Properties.NodeID():
			return fmt.Errorf("directory %s belongs to node %d, but node.id is %d: point log.dirs at this node's own data", path, info.NodeID, cfg.Properties.NodeID())
		}
		if path == metaPath {
			d.info = info
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

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
