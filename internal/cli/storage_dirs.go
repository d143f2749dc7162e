package cli

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// logDirectory is what a running node says of one of its log directories.
type logDirectory struct {
	Node       int32           `json:"node"`
	Directory  string          `json:"directory"`
	State      string          `json:"state"` // online, cordoned or offline
	Partitions []logDirReplica `json:"partitions"`
	Bytes      int64           `json:"bytes"` // of all partitions
	Free       int64           `json:"free_bytes"`
	Total      int64           `json:"total_bytes"`
}

// logDirReplica is a partition in a log directory, or a copy on its way there.
type logDirReplica struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Bytes     int64  `json:"bytes"`
	Lag       int64  `json:"offset_lag"`
	Moving    bool   `json:"moving"` // a copy that is to take the place of one in another directory
}

func storageDirsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "dirs", Short: "Show the log directories of running nodes and what is in them", Args: cobra.NoArgs,
		Example: "  myelin storage dirs\n  myelin storage dirs -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			all, err := adm.DescribeAllLogDirs(c.Context(), nil)
			if err != nil {
				return fmt.Errorf("log directories: %w", err)
			}
			return show(a, logDirectories(all),
				column[logDirectory]{"NODE", false, func(d logDirectory) string { return strconv.Itoa(int(d.Node)) }},
				column[logDirectory]{"DIRECTORY", false, func(d logDirectory) string { return d.Directory }},
				column[logDirectory]{"STATE", false, func(d logDirectory) string { return d.State }},
				column[logDirectory]{"PARTITIONS", false, func(d logDirectory) string { return strconv.Itoa(len(d.Partitions) - d.moving()) }},
				column[logDirectory]{"MOVING", false, func(d logDirectory) string { return strconv.Itoa(d.moving()) }},
				column[logDirectory]{"BYTES", false, func(d logDirectory) string { return strconv.FormatInt(d.Bytes, 10) }},
				column[logDirectory]{"FREE", false, func(d logDirectory) string { return strconv.FormatInt(d.Free, 10) }},
				column[logDirectory]{"TOTAL", true, func(d logDirectory) string { return strconv.FormatInt(d.Total, 10) }})
		},
	}
}

// moving is how many copies are on their way to the directory.
func (d *logDirectory) moving() (n int) {
	for _, p := range d.Partitions {
		if p.Moving {
			n++
		}
	}
	return n
}

// logDirectories are the rows, by node and path.
func logDirectories(all kadm.DescribedAllLogDirs) []logDirectory {
	rows := []logDirectory{}
	for _, d := range all.Sorted() {
		row := logDirectory{Node: d.Broker, Directory: d.Dir, State: "online", Partitions: []logDirReplica{}, Free: d.UsableBytes, Total: d.TotalBytes}
		switch {
		case d.Err != nil:
			row.State = "offline"
		case d.IsCordoned:
			row.State = "cordoned"
		}
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			row.Partitions = append(row.Partitions, logDirReplica{p.Topic, p.Partition, p.Size, p.OffsetLag, p.IsFuture})
			row.Bytes += p.Size
		})
		slices.SortFunc(row.Partitions, func(a, b logDirReplica) int {
			if a.Topic != b.Topic {
				if a.Topic < b.Topic {
					return -1
				}
				return 1
			}
			return int(a.Partition - b.Partition)
		})
		rows = append(rows, row)
	}
	return rows
}
