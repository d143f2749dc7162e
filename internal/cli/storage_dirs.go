package cli

import (
	"context"
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

// homes says in which directory of which node each replica of some topics is; a
// node that does not answer is left out.
func homes(ctx context.Context, adm *kadm.Client, topics []string) (map[place][]replicaDir, error) {
	want := kadm.TopicsSet{}
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, err
	}
	for _, t := range details {
		want.Add(t.Topic, t.Partitions.Numbers()...)
	}
	all, err := adm.DescribeAllLogDirs(ctx, want)
	if err = passed(err, away); err != nil {
		return nil, fmt.Errorf("log directories: %w", err)
	}
	found := map[place][]replicaDir{}
	for _, d := range logDirectories(all) {
		for _, p := range d.Partitions {
			at := place{p.Topic, p.Partition}
			found[at] = append(found[at], replicaDir{d.Node, d.Directory, p.Moving, d.Free, d.Total})
		}
	}
	return found, nil
}

// replicaDir is where one replica is, or a copy that is to take its place.
type replicaDir struct {
	Node      int32  `json:"node"`
	Directory string `json:"directory"`
	Moving    bool   `json:"moving"`

	free, total int64
}

// diskFault says why a broker answers a write with KAFKA_STORAGE_ERROR.
func diskFault(ctx context.Context, adm *kadm.Client, p place) error {
	text := fmt.Sprintf("topic %s, partition %d: the broker cannot write to its disk (KAFKA_STORAGE_ERROR)", p.topic, p.partition)
	details, err := adm.ListTopicsWithInternal(ctx, p.topic)
	if err == nil {
		var dirs map[place][]replicaDir
		leader := details[p.topic].Partitions[p.partition].Leader
		dirs, err = homes(ctx, adm, []string{p.topic})
		for _, d := range dirs[p] {
			if d.Node == leader && !d.Moving {
				text += diskText(d)
			}
		}
	}
	if err != nil {
		text += "; asked which one, it says: " + oneLine(err)
	}
	return &fault{exitFailed, text + "; see: myelin storage dirs"}
}

// diskText says how much room the disk of a replica has. It is called full below
// the default of the watermark, log.dir.soft.free.bytes and .percent, and a bit.
func diskText(d replicaDir) string {
	state := "takes no records now"
	if watermark := min(512<<20, d.total/20); d.total > 0 && d.free < watermark+watermark/4 {
		state = "is full"
	}
	return fmt.Sprintf("; the disk of %s on node %d %s: %d MiB of %d MiB are free", d.Directory, d.Node, state, d.free>>20, d.total>>20)
}
