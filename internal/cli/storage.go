package cli

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func storageCmd(a *app) *cobra.Command {
	return parent("storage", "Format and look into data directories", storageFormatCmd(a), storageInfoCmd(a), storageDirsCmd(a), storageCheckCmd(a), storageRecoverCmd(a), dumpLogCmd(a))
}

func storageFormatCmd(a *app) *cobra.Command {
	var (
		s        settingFlags
		cluster  string
		ifNeeded bool
		scram    []string
		first    firstVoters
	)
	c := &cobra.Command{
		Use: "format", Short: "Make empty directories those of a node", Args: cobra.NoArgs,
		Long: "Make empty directories those of a node. Without a word about others in the configuration the node is a cluster of its own.\n" +
			"Where controller.quorum.voters names several nodes, it is the same on all of them, and each is formatted with the same --cluster-id.\n" +
			"A voter that lost its disk is formatted with --no-initial-controllers: it joins under a new identity.",
		Example: "  myelin storage format --config server.properties --cluster-id $(uuidgen)\n" +
			"  myelin storage format --config server.properties --cluster-id ID --no-initial-controllers",
		RunE: func(*cobra.Command, []string) error {
			b, err := storageConfig(a, s)
			if err != nil {
				return err
			}
			if cluster == "" {
				cluster = b.String("cluster.id")
			}
			meta := b.String("metadata.log.dir")
			if meta == "" {
				meta = b.DataDirs()[0]
			}
			dirs := b.DataDirs()
			if !slices.Contains(dirs, meta) {
				dirs = append(slices.Clone(dirs), meta)
			}
			if a.dryRun {
				a.hint("would format %v for node %d; nothing was done (--dry-run)", dirs, b.NodeID())
				return nil
			}
			users, err := scramRecords(scram)
			if err != nil {
				return err
			}
			how, err := first.apply(b, metadata.FormatConfig{Begin: users, FS: vfs.OS(), LogDirs: dirs, Metadata: meta, NodeID: b.NodeID(), ClusterID: cluster,
				Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))})
			if err != nil {
				return err
			}
			info, err := metadata.Format(how)
			switch {
			case errors.Is(err, metadata.ErrFormatted) && ifNeeded:
				a.hint("already formatted")
				return nil
			case errors.Is(err, metadata.ErrFormatted):
				return &fault{exitFailed, oneLine(err) + "; that is well, unless you meant another directory (--if-needed makes it no error)"}
			case err != nil:
				return nodeFault(b, err)
			}
			fmt.Fprintf(a.Out, "%s\n", info.ClusterID)
			a.hint("formatted %v for node %d of cluster %s", dirs, info.NodeID, info.ClusterID)
			return nil
		},
	}
	s.flags(c)
	c.Flags().StringVar(&cluster, "cluster-id", "", "id of the cluster (default drawn at random)")
	c.Flags().StringArrayVar(&scram, "add-scram", nil, "a first user, such as SCRAM-SHA-256=[name=alice,password=secret]; may be repeated")
	c.Flags().BoolVar(&ifNeeded, "if-needed", false, "succeed if everything is formatted already")
	first.flags(c)
	return c
}

type directoryInfo struct {
	Directory   string `json:"directory"`
	Formatted   bool   `json:"formatted"`
	Version     int    `json:"version"`
	NodeID      int32  `json:"node_id"`
	ClusterID   string `json:"cluster_id"`
	DirectoryID string `json:"directory_id"`
	Free        int64  `json:"free_bytes"`
	Total       int64  `json:"total_bytes"`
}

func storageInfoCmd(a *app) *cobra.Command {
	var s settingFlags
	c := &cobra.Command{
		Use: "info [DIRECTORY...]", Short: "What data directories say of themselves",
		RunE: func(_ *cobra.Command, dirs []string) error {
			if len(dirs) == 0 {
				b, err := storageConfig(a, s)
				if err != nil {
					return err
				}
				dirs = b.DataDirs()
			}
			var rows []directoryInfo
			var failures []error
			for _, dir := range dirs {
				if _, err := os.Stat(dir); err != nil {
					failures = append(failures, err)
					continue
				}
				info, err := metadata.ReadInfo(vfs.OS(), dir)
				if err != nil {
					return fmt.Errorf("%s: %w", dir, err)
				}
				row := directoryInfo{Directory: dir, Formatted: info.Formatted, Version: info.Version, NodeID: info.NodeID, ClusterID: info.ClusterID,
					DirectoryID: info.DirectoryID.String()}
				if space, err := vfs.OS().Space(dir); err == nil {
					row.Free, row.Total = space.Free, space.Total
				}
				rows = append(rows, row)
			}
			if len(rows) == 0 && len(failures) > 0 {
				return partial(0, failures)
			}
			err := show(a, rows,
				column[directoryInfo]{"DIRECTORY", false, func(d directoryInfo) string { return d.Directory }},
				column[directoryInfo]{"FORMATTED", false, func(d directoryInfo) string { return strconv.FormatBool(d.Formatted) }},
				column[directoryInfo]{"NODE", false, func(d directoryInfo) string { return strconv.Itoa(int(d.NodeID)) }},
				column[directoryInfo]{"CLUSTER", false, func(d directoryInfo) string { return orDash(d.ClusterID) }},
				column[directoryInfo]{"ID", true, func(d directoryInfo) string { return d.DirectoryID }},
				column[directoryInfo]{"FREE", false, func(d directoryInfo) string { return strconv.FormatInt(d.Free, 10) }})
			return cmp.Or(err, partial(len(rows), failures))
		},
	}
	s.flags(c)
	return c
}

func storageConfig(a *app, s settingFlags) (*config.Broker, error) {
	set, err := a.settings(s, nil)
	if err != nil {
		return nil, err
	}
	return a.resolve(set, s.strict)
}
