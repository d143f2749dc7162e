package metadata

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// FormatConfig says how to format.
type FormatConfig struct {
	FS        vfs.FS
	LogDirs   []string // all log directories, metadata.log.dir too if it is one of its own
	Metadata  string   // which of them holds the metadata log
	NodeID    int32
	ClusterID string // "" draws one, or takes that of a directory that has one

	// Voters are the voters of a new quorum, equal on all of them; this node's row
	// says which directory.id its metadata directory gets, and where a row has none
	// it follows from cluster and node: see [StaticDirectory]. A node without a row
	// joins. No rows: this node is the only voter.
	Voters []Voter

	// Join makes the node one that joins a quorum: it votes for nothing until it was
	// added, and its directory.id is drawn even where Voters has the node.
	Join bool

	Rand *rand.Rand // for the ids that are drawn

	// Begin are records that the cluster begins with beside those of every
	// cluster: credentials of its first users.
	Begin []state.Record
}

// Info is what a formatted directory says of itself, in meta.properties.
type Info struct {
	Formatted   bool
	Version     int
	NodeID      int32
	ClusterID   string
	DirectoryID kafka.UUID
	Voters      []Voter // with which the directory was formatted, if they were named
}

// ErrFormatted says that a directory is formatted already.
var ErrFormatted = errors.New("already formatted")

// ErrForeign says that a directory belongs to another node or cluster.
var ErrForeign = errors.New("the directory belongs to another node or cluster")

// ErrNoMetadata says that the directory for the metadata is empty although the
// node has others that are not: to format it would be to forget the cluster.
var ErrNoMetadata = errors.New("the metadata directory is empty, and other directories of the node are not: its disk may not be mounted, or name the one that holds __cluster_metadata-0 as metadata.log.dir")

// The file that marks a formatted directory, as Kafka writes it.
const (
	propertiesFile    = "meta.properties"
	propertiesVersion = 1
	maxProperties     = 64 << 10
)

// Format makes empty directories those of a node: each gets a directory.id,
// and the one for metadata the state of a quorum in which this node is the only
// voter. Directories that are formatted for the same node and cluster are left
// alone (so that one can be added); if all are, the error is [ErrFormatted].
//
// meta.properties is written last: a directory without it is not formatted, and
// what an interrupted call left there is written anew.
func Format(cfg FormatConfig) (Info, error) {
	if err := cfg.check(); err != nil {
		return Info{}, err
	}
	want := Info{Formatted: true, Version: propertiesVersion, NodeID: cfg.NodeID, ClusterID: cfg.ClusterID}
	infos := make([]Info, len(cfg.LogDirs))
	fresh := 0
	for i, dir := range cfg.LogDirs {
		var err error
		if infos[i], err = ReadInfo(cfg.FS, dir); err != nil {
			return Info{}, err
		}
		if !infos[i].Formatted {
			fresh++
			continue
		}
		if want.ClusterID == "" {
			want.ClusterID = infos[i].ClusterID
		}
		if infos[i].ClusterID != want.ClusterID || infos[i].NodeID != want.NodeID {
			return Info{}, fmt.Errorf("%s: %w: node %d of cluster %s", dir, ErrForeign, infos[i].NodeID, infos[i].ClusterID)
		}
	}
	if at := slices.Index(cfg.LogDirs, cfg.Metadata); fresh < len(cfg.LogDirs) && at >= 0 && !infos[at].Formatted {
		return Info{}, fmt.Errorf("%s: %w", cfg.Metadata, ErrNoMetadata)
	}
	if want.ClusterID == "" {
		id := drawID(cfg.Rand)
		want.ClusterID = base64.RawURLEncoding.EncodeToString(id[:])
	}
	var home Info
	for i, dir := range cfg.LogDirs {
		if !infos[i].Formatted {
			infos[i] = want
			infos[i].DirectoryID = drawID(cfg.Rand)
			if dir == cfg.Metadata {
				infos[i].Voters = cfg.voters(want.ClusterID)
				infos[i].DirectoryID = cfg.identity(infos[i])
			}
			if err := formatDir(&cfg, dir, infos[i]); err != nil {
				return Info{}, fmt.Errorf("format %s: %w", dir, err)
			}
		}
		if dir == cfg.Metadata {
			home = infos[i]
		}
	}
	if fresh == 0 {
		return home, ErrFormatted
	}
	return home, nil
}

func formatDir(cfg *FormatConfig, dir string, info Info) error {
	if err := cfg.FS.MkdirAll(dir); err != nil {
		return err
	}
	if dir == cfg.Metadata {
		if err := writeBegin(cfg.FS, dir, cfg.Begin); err != nil {
			return err
		}
		self := quorum.Member{Node: info.NodeID, Directory: info.DirectoryID}
		if err := quorum.Format(cfg.FS, quorum.Folder(dir), self, cfg.members(self, info.Voters)); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "version=%d\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n",
		info.Version, info.ClusterID, info.NodeID, info.DirectoryID)
	if len(info.Voters) > 0 {
		fmt.Fprintf(&b, "%s=%s\n", votersKey, FormatVoters(info.Voters))
	}
	// The sync of dir that ends this makes the folder of the quorum durable too.
	return vfs.WriteAtomic(cfg.FS, dir+"/"+propertiesFile, b.Bytes())
}

// ReadInfo reads a log directory; Formatted is false for one that is not.
func ReadInfo(f vfs.FS, dir string) (Info, error) {
	name := dir + "/" + propertiesFile
	text, err := vfs.ReadFile(f, name, maxProperties)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, nil
	}
	if err != nil {
		return Info{}, err
	}
	info := Info{Formatted: true, NodeID: kafka.NoBroker}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if err := info.set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return Info{}, fmt.Errorf("%s: %s: %w", name, key, err)
		}
	}
	switch {
	case info.Version != propertiesVersion:
		return Info{}, fmt.Errorf("%s has version %d, this build reads version %d: open it with the release that wrote it", name, info.Version, propertiesVersion)
	case info.ClusterID == "" || info.NodeID < 0:
		return Info{}, fmt.Errorf("%s: cluster.id or node.id is missing", name)
	}
	return info, nil
}

func (i *Info) set(key, value string) error {
	var err error
	switch key {
	case "version":
		i.Version, err = strconv.Atoi(value)
	case "cluster.id":
		i.ClusterID = value
	case "node.id":
		var n int64
		n, err = strconv.ParseInt(value, 10, 32)
		i.NodeID = int32(n)
	case "directory.id":
		i.DirectoryID, err = kafka.ParseUUID(value)
	case votersKey:
		i.Voters, err = ParseVoters(value)
	}
	return err
}
