package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
)

type dumpFlags struct {
	records, decode bool
}

func dumpLogCmd(a *app) *cobra.Command {
	var f dumpFlags
	c := &cobra.Command{
		Use: "dump-log FILE...", Short: "Show what any file of a log directory holds", Args: cobra.MinimumNArgs(1),
		Long: "Show what files of a log directory hold, known by their names: segments (.log) and their .index, .timeindex, .txnindex, .sums;\n" +
			"producer snapshots, epochs, damage, partition.metadata; the checkpoints, marks and the manifest of the directory; the metadata\n" +
			"log with its snapshots and quorum-state. docs/format draws each. Nothing is written; a running node does not mind.",
		Example: "  myelin storage dump-log --records /var/lib/myelin/orders-0/00000000000000000000.log\n" +
			"  myelin storage dump-log --decode /var/lib/myelin/__consumer_offsets-3/*.log",
		RunE: func(_ *cobra.Command, files []string) error {
			damaged := 0
			for _, file := range files {
				bad, err := dumpFile(a, filepath.ToSlash(file), f)
				if err != nil {
					return err
				}
				damaged += bad
			}
			if damaged > 0 {
				return &fault{exitFailed, fmt.Sprintf("damaged places: %d; see what that means with: myelin storage check DIRECTORY", damaged)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&f.records, "records", false, "the records too")
	c.Flags().BoolVar(&f.decode, "decode", false, "the records too, and those of internal topics and of the metadata log decoded")
	return c
}

// dumpFile shows one file and counts what is damaged in it.
func dumpFile(a *app, file string, f dumpFlags) (damaged int, err error) {
	base := path.Base(file)
	switch {
	case strings.HasSuffix(base, ".log") || strings.HasSuffix(base, ".checkpoint"):
		return dumpBatchFile(a, file, f)
	case base == "meta.properties":
		return dumpOne(a, "directory", func() (any, error) { return describeProperties(path.Dir(file)) })
	case base == "quorum-state":
		return dumpOne(a, "quorum", func() (any, error) { return quorum.ReadState(vfs.OS(), path.Dir(file)) })
	}
	err = commitlog.Dump(vfs.OS(), file, false, func(l commitlog.DumpLine) error {
		a.dumpFields(l)
		return nil
	})
	switch {
	case errors.Is(err, commitlog.ErrUnknownFile):
		in, err := os.Open(file)
		if err != nil {
			return 0, err
		}
		defer in.Close()
		if i, err := in.Stat(); err == nil && i.IsDir() {
			return 0, usage("%s is a directory: name files in it", file)
		}
		return 0, usage("%s: no file of a log directory has such a name; rename a copy to what it was called", file)
	case unreadable(err):
		return 0, err
	case err != nil:
		a.dumpError(err)
		return 1, nil
	}
	return 0, nil
}

// unreadable tells an error of looking at a file from one of its content.
func unreadable(err error) bool {
	var what interface{ Timeout() bool } // a *fs.PathError, whatever it wraps
	return errors.As(err, &what)
}

func (a *app) json() bool { return a.output == "json" || a.output == "jsonl" }

func (a *app) dumpError(err error) {
	if a.json() {
		line, _ := json.Marshal(map[string]string{"error": oneLine(err)})
		fmt.Fprintf(a.Out, "%s\n", line)
		return
	}
	fmt.Fprintf(a.Out, "DAMAGED: %s\n", oneLine(err))
}

// dumpFields shows a line of names and values, in the order of the layout.
func (a *app) dumpFields(l commitlog.DumpLine) {
	var b strings.Builder
	if a.json() {
		fmt.Fprintf(&b, "{%q:%q", "kind", l.Kind)
		for _, f := range l.Fields {
			value, _ := json.Marshal(f.Value) // numbers, texts and truths
			fmt.Fprintf(&b, ",%q:%s", f.Name, value)
		}
		b.WriteString("}")
	} else {
		b.WriteString(l.Kind)
		for _, f := range l.Fields {
			if s, ok := f.Value.(string); ok {
				f.Value = quoted(s)
			}
			fmt.Fprintf(&b, " %s %v", f.Name, f.Value)
		}
	}
	fmt.Fprintln(a.Out, b.String())
}

// quoted puts a text into quotes if it would not read as one word.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\"") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// dumpOne shows a file that is one thing, as JSON.
func dumpOne(a *app, kind string, read func() (any, error)) (damaged int, err error) {
	v, err := read()
	if unreadable(err) {
		return 0, err
	}
	if err != nil {
		a.dumpError(err)
		return 1, nil
	}
	text, err := json.Marshal(v)
	if !a.json() {
		text = append([]byte(kind+" "), text...)
	}
	fmt.Fprintf(a.Out, "%s\n", text)
	return 0, err
}

func describeProperties(dir string) (any, error) {
	info, err := metadata.ReadInfo(vfs.OS(), dir)
	if err != nil {
		return nil, err
	}
	return directoryInfo{Directory: dir, Formatted: info.Formatted, Version: info.Version, NodeID: info.NodeID, ClusterID: info.ClusterID,
		DirectoryID: info.DirectoryID.String()}, nil
}
