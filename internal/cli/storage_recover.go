package cli

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func storageRecoverCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "recover DIRECTORY...", Short: "With --dry-run: what a start would cut, rebuild and quarantine", Args: cobra.MinimumNArgs(1),
		Long: "Say what the next start would do to log directories: which logs it examines, what it cuts off and from where, what it\n" +
			"makes anew, what it quarantines. It runs the recovery itself, over a layer that keeps every write to itself: the disk stays\n" +
			"as it is. A start recovers by itself; there is nothing to do by hand, so --dry-run must be given.\n\n" +
			"Exit codes: 0 nothing durable is missing, 1 something is damaged or would be refused, 2 it could not look.",
		Example: "  myelin storage recover --dry-run /var/lib/myelin\n  myelin storage recover --dry-run -o json /var/lib/myelin",
		RunE: func(_ *cobra.Command, dirs []string) error {
			if !a.dryRun {
				return usage("a start of the node recovers by itself; add --dry-run to see what it would do")
			}
			var all []*commitlog.Rehearsal
			for _, dir := range dirs {
				dir = filepath.ToSlash(dir)
				logger := quietLogger(a)
				r, err := commitlog.Rehearse(commitlog.RehearseConfig{FS: vfs.OS(), Path: dir, Now: time.Now, Logger: logger, Begin: begins(dir)})
				if err != nil {
					return cannotLook(dir, err)
				}
				all = append(all, r)
			}
			return a.showRehearsals(all)
		},
	}
}

// quietLogger is the log of commands that open a directory as a node does: it is
// shown with --verbose.
func quietLogger(a *app) *slog.Logger {
	if a.verbose {
		return slog.New(slog.NewTextHandler(a.Err, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func (a *app) showRehearsals(all []*commitlog.Rehearsal) error {
	if a.output != "table" && a.output != "wide" && a.output != "" {
		if err := show(a, all, column[*commitlog.Rehearsal]{"DIRECTORY", false, func(r *commitlog.Rehearsal) string { return r.Directory }},
			column[*commitlog.Rehearsal]{"LOGS", false, func(r *commitlog.Rehearsal) string { return strconv.Itoa(len(r.Logs)) }}); err != nil {
			return err
		}
		return lossy(all)
	}
	for _, r := range all {
		fmt.Fprintf(a.Out, "%s: %s\n", r.Directory, howLeft(r))
		if len(r.Changes) > 0 {
			fmt.Fprintln(a.Out, "the next start would do this (nothing is changed now):")
		}
		for _, l := range r.Logs {
			for _, line := range tellLog(l) {
				fmt.Fprintf(a.Out, "%s: %s\n", l.Log, line)
			}
		}
		for _, c := range r.Changes {
			fmt.Fprintf(a.Out, "file %s\n", tellChange(c))
		}
	}
	return lossy(all)
}

func howLeft(r *commitlog.Rehearsal) string {
	switch {
	case r.Clean:
		return fmt.Sprintf("%d logs, all closed in order", len(r.Logs))
	case r.SameBoot:
		return fmt.Sprintf("%d logs; the node was killed, the machine ran on", len(r.Logs))
	}
	return fmt.Sprintf("%d logs; the machine has restarted since the node last wrote, or some logs were not examined after it did", len(r.Logs))
}

// tellLog says what would become of a log, nothing if nothing would.
func tellLog(l commitlog.Rehearsed) (out []string) {
	if l.Error != "" {
		return []string{"REFUSED: " + l.Error}
	}
	if l.ScannedBytes > 0 {
		out = append(out, fmt.Sprintf("%d bytes above offset %d examined, the indexes of %d segments made anew", l.ScannedBytes, l.RecoveryPoint, l.RebuiltIndexes))
	}
	if l.CutFrom >= 0 {
		out = append(out, fmt.Sprintf("torn end cut off at offset %d: %d bytes and %d whole segments; nothing of it was acknowledged as durable", l.CutFrom, l.CutBytes, l.CutSegments))
	}
	for _, d := range l.Quarantined {
		if d.Bytes == 0 {
			out = append(out, fmt.Sprintf("MISSING: offsets %s: %s", span(d.From, d.To), d.Reason))
			continue
		}
		out = append(out, fmt.Sprintf("QUARANTINED: offsets %s, segment %d bytes %s: %s", span(d.From, d.To), d.Segment, span(d.Position, d.Position+d.Bytes), d.Reason))
	}
	if l.Missing > 0 && !slices.ContainsFunc(l.Quarantined, func(d commitlog.Damage) bool { return d.Bytes == 0 }) {
		out = append(out, fmt.Sprintf("MISSING: %d durable offsets: files were lost or emptied", l.Missing))
	}
	return out
}

func tellChange(c vfs.Change) string {
	switch c.What {
	case "created":
		return fmt.Sprintf("%s: created, %d bytes", c.Name, c.After)
	case "removed":
		return fmt.Sprintf("%s: removed, %d bytes", c.Name, c.Before)
	case "renamed":
		return fmt.Sprintf("%s: renamed from %s", c.Name, c.From)
	case "cut", "grown":
		return fmt.Sprintf("%s: %s from %d to %d bytes", c.Name, c.What, c.Before, c.After)
	}
	return fmt.Sprintf("%s: rewritten, %d bytes differ, from %d to %d bytes", c.Name, c.Differ, c.Before, c.After)
}

func lossy(all []*commitlog.Rehearsal) error {
	for _, r := range all {
		if r.Lossy() {
			return &fault{exitFailed, r.Directory + ": something durable is damaged or missing; a start leaves it as it is and serves the rest; find out more with: myelin storage check " + r.Directory}
		}
	}
	return nil
}
