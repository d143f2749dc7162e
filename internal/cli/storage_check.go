package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
)

type checkFlags struct {
	running, repair bool
}

// checkedDirectory is what storage check says of one directory.
type checkedDirectory struct {
	*commitlog.Checked
	Repaired []commitlog.Repaired `json:"repaired,omitempty"`
}

// problemRow is a line of the table.
type problemRow struct {
	commitlog.Problem
	Directory string `json:"directory"`
}

// state is what a problem means to whoever reads of it.
func (p problemRow) state() string {
	switch {
	case p.Pending:
		return "next start mends it"
	case p.Repairable:
		return "cache, repairable"
	}
	return "DAMAGED"
}

func storageCheckCmd(a *app) *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use: "check DIRECTORY...", Short: "Look at every file of log directories, and say what is damaged", Args: cobra.MinimumNArgs(1),
		Long: "Look at every file of log directories: batches and their order, checksums of blocks, indexes against the batches, snapshots,\n" +
			"checkpoints, the manifest, the metadata log. Nothing is written, and the node must be stopped (or --running).\n\n" +
			"--repair makes caches anew that are wrong: indexes, snapshots, epoch files, checkpoints, the manifest. It never changes records.\n\n" +
			"Exit codes: 0 nothing is damaged, 1 something is, 2 it could not look.",
		Example: "  myelin storage check /var/lib/myelin\n  myelin storage check --repair /var/lib/myelin\n  myelin storage check --running -o json /var/lib/myelin",
		RunE:    func(_ *cobra.Command, dirs []string) error { return a.checkStorage(f, dirs) },
	}
	c.Flags().BoolVar(&f.running, "running", false, "leave out what a running node may be writing: active segments, checkpoints under way")
	c.Flags().BoolVar(&f.repair, "repair", false, "make caches anew that are wrong; records are never touched")
	return c
}

func (a *app) checkStorage(f checkFlags, dirs []string) error {
	if f.running && f.repair {
		return usage("--repair and --running: stop the node to repair its files")
	}
	var all []checkedDirectory
	for _, dir := range dirs {
		dir = filepath.ToSlash(dir)
		found, err := checkDirectory(dir, f.running)
		if err != nil {
			return cannotLook(dir, err)
		}
		one := checkedDirectory{Checked: found}
		if f.repair && !a.dryRun {
			if one.Repaired, err = a.repairDirectory(dir, found); err != nil {
				return &fault{exitFailed, oneLine(err) + "; see what is wrong with: myelin storage check " + dir}
			}
			if len(one.Repaired) > 0 {
				if one.Checked, err = checkDirectory(dir, false); err != nil {
					return cannotLook(dir, err)
				}
			}
		}
		all = append(all, one)
	}
	if err := a.showChecked(all); err != nil {
		return err
	}
	return verdict(all)
}

// cannotLook is the fault of a check that did not come to look.
func cannotLook(dir string, err error) error {
	next := "name a log directory, one of log.dirs"
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return &fault{exitUsage, fmt.Sprintf("%s is in use by a running node; stop it, or look at what it is not writing with: myelin storage check --running %s", dir, dir)}
	case errors.Is(err, fs.ErrPermission):
		next = "run this as the user of the node"
	}
	return &fault{exitUsage, fmt.Sprintf("cannot look at %s: %s; %s", dir, oneLine(err), next)}
}

func checkDirectory(dir string, running bool) (*commitlog.Checked, error) {
	found, err := commitlog.Check(commitlog.CheckConfig{FS: vfs.OS(), Path: dir, Running: running})
	if err != nil {
		return nil, err
	}
	known := found.Logs > 0
	if _, err := vfs.OS().Stat(path.Join(dir, "meta.properties")); err == nil {
		known = true
		if _, err := metadata.ReadInfo(vfs.OS(), dir); err != nil {
			found.Problems = append(found.Problems, commitlog.Problem{File: "meta.properties", What: oneLine(err)})
		}
	} else if known {
		found.Problems = append(found.Problems, commitlog.Problem{File: "meta.properties", What: "is missing: the directory counts as not formatted; restore it"})
	}
	if !known {
		return nil, errors.New("it holds no logs and no meta.properties")
	}
	checkQuorum(dir, found)
	return found, nil
}

// checkQuorum looks at what the metadata quorum keeps beside its log, and into
// the log's entries.
func checkQuorum(dir string, found *commitlog.Checked) {
	folder := quorum.Folder(dir)
	rel := path.Base(folder)
	if _, err := vfs.OS().Stat(folder); err != nil {
		return
	}
	add := func(name string, err error) {
		found.Problems = append(found.Problems, commitlog.Problem{File: path.Join(rel, name), What: oneLine(err)})
	}
	s, err := quorum.ReadState(vfs.OS(), folder)
	if err != nil {
		add("quorum-state", fmt.Errorf("%w; the node cannot take part: format a new directory and join again", err))
		return
	}
	if name, err := quorum.VerifySnapshot(vfs.OS(), folder, s); err != nil {
		add(name, err)
	}
	list, _ := vfs.OS().ReadDir(folder)
	for _, i := range list {
		name := path.Join(rel, i.Name)
		sound := !slices.ContainsFunc(found.Problems, func(p commitlog.Problem) bool { return p.File == name })
		if !strings.HasSuffix(i.Name, ".log") || !sound {
			continue
		}
		if err := checkEntries(path.Join(folder, i.Name)); err != nil {
			add(i.Name, err)
		}
	}
}

// checkEntries parses every entry of a segment of the metadata log.
func checkEntries(file string) error {
	return commitlog.Dump(vfs.OS(), file, true, func(l commitlog.DumpLine) error {
		if l.Kind != "record" {
			return nil
		}
		value, _ := field(l, "value").([]byte)
		if len(value) == 0 || value[0] != 0 {
			return nil
		}
		_, err := metadata.ParseEntry(value[1:])
		if err != nil {
			return fmt.Errorf("entry %v: %w", field(l, "offset"), err)
		}
		return nil
	})
}

// field is a named value of a dumped line, nil if it has none.
func field(l commitlog.DumpLine, name string) any {
	for _, f := range l.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// begins tells where the metadata log of a directory may begin.
func begins(dir string) func(kafka.TopicPartition) int64 {
	return func(tp kafka.TopicPartition) int64 {
		if tp.Topic != quorum.Topic {
			return 0
		}
		s, err := quorum.ReadState(vfs.OS(), quorum.Folder(dir))
		if err != nil {
			return 1 << 62 // not to be told: then nothing is lost by that
		}
		return s.Begin()
	}
}

func (a *app) repairDirectory(dir string, found *commitlog.Checked) ([]commitlog.Repaired, error) {
	logger := quietLogger(a)
	return commitlog.Repair(commitlog.RepairConfig{FS: vfs.OS(), Path: dir, Found: found, Now: time.Now, Logger: logger, Begin: begins(dir)})
}

func (a *app) showChecked(all []checkedDirectory) error {
	if a.output != "table" && a.output != "wide" && a.output != "" {
		return show(a, all, column[checkedDirectory]{"DIRECTORY", false, func(d checkedDirectory) string { return d.Directory }},
			column[checkedDirectory]{"PROBLEMS", false, func(d checkedDirectory) string { return strconv.Itoa(len(d.Problems)) }})
	}
	var rows []problemRow
	file := func(p problemRow) string { return p.File }
	if len(all) > 1 { // the same name may be in each of them
		file = func(p problemRow) string { return path.Join(p.Directory, p.File) }
	}
	for _, d := range all {
		ended := "its last owner ended in order"
		if !d.Clean {
			ended = "its last owner did not end in order, or runs"
		}
		fmt.Fprintf(a.Out, "%s: %d logs, %d segments, %d batches, %d bytes; %s\n", d.Directory, d.Logs, d.Segments, d.Batches, d.Bytes, ended)
		for _, r := range d.Repaired {
			fmt.Fprintf(a.Out, "repaired %s: %s\n", r.File, r.Done)
		}
		for _, p := range d.Problems {
			rows = append(rows, problemRow{p, d.Directory})
		}
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.Out, "nothing is wrong")
		return nil
	}
	return show(a, rows,
		column[problemRow]{"FILE", false, file},
		column[problemRow]{"BYTES", false, func(p problemRow) string { return span(p.Position, p.Position+p.Bytes) }},
		column[problemRow]{"OFFSETS", false, func(p problemRow) string { return span(p.From, p.To) }},
		column[problemRow]{"STATE", false, problemRow.state},
		column[problemRow]{"WHAT", false, func(p problemRow) string { return p.What }})
}

// span is a range without its end; "-" is none.
func span(from, to int64) string {
	if to <= from {
		return "-"
	}
	return fmt.Sprintf("%d to %d", from, to-1)
}

// verdict is the exit code of a check, and what to do next.
func verdict(all []checkedDirectory) error {
	var caches, lost []string
	for _, d := range all {
		for _, p := range d.Problems {
			switch {
			case p.Pending:
			case p.Repairable:
				caches = append(caches, d.Directory)
			default:
				lost = append(lost, d.Directory)
			}
		}
	}
	text := ""
	if len(lost) > 0 {
		text = fmt.Sprintf("damaged and not to be made anew: %d; the rest is served: restore those files from a backup, or let another replica fill them", len(lost))
	}
	if len(caches) > 0 {
		if text != "" {
			text += "\nmyelin: "
		}
		slices.Sort(caches)
		text += fmt.Sprintf("wrong caches: %d; make them anew with: myelin storage check --repair %s", len(caches), strings.Join(slices.Compact(caches), " "))
	}
	if text == "" {
		return nil
	}
	return &fault{exitFailed, text}
}
