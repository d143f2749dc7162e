package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Process is what a command has of its process. Tests give their own.
type Process struct {
	Args []string // without the program's name
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
	Env  []string // KEY=VALUE
}

// OS is the process as the system started it.
func OS() Process {
	return Process{Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ()}
}

// app is one run of the command: the process and the flags that all commands
// share.
type app struct {
	Process
	brokers []string
	x       []string
	output  string
	timeout time.Duration
	quiet   bool
	verbose bool
	yes     bool
	dryRun  bool
}

// Run runs one command and returns its exit code. It returns soon after ctx
// ends; dev and serve then have drained.
func Run(ctx context.Context, p Process) int {
	a := &app{Process: p}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	f := classify(err)
	if f.text != "" {
		fmt.Fprintf(p.Err, "myelin: %s\n", f.text)
	}
	return f.code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "myelin",
		Short: "An event-streaming platform that speaks Kafka, in one file",
		Long: "Myelin is an event-streaming platform that speaks the Apache Kafka protocol.\n\n" +
			"  myelin dev                      a broker at 127.0.0.1:9092, data in ./.myelin\n" +
			"  echo hello | myelin produce t   write a record\n" +
			"  myelin consume t                read it back",
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.NoArgs,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	f := root.PersistentFlags()
	f.StringSliceVarP(&a.brokers, "brokers", "b", nil, "addresses of brokers (default $MYELIN_BROKERS or "+defaultBroker+")")
	f.StringArrayVarP(&a.x, "x", "X", nil, "client property KEY=VALUE, such as security.protocol=SASL_SSL; repeatable")
	f.StringVarP(&a.output, "output", "o", "table", "table, wide, json, jsonl, yaml, csv, name, template=GO-TEMPLATE, or help")
	f.DurationVar(&a.timeout, "timeout", 10*time.Second, "how long to wait for answers")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no hints")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "more detail")
	f.BoolVarP(&a.yes, "yes", "y", false, "do not ask before destroying something")
	f.BoolVar(&a.dryRun, "dry-run", false, "say what would be done and do nothing")
	f.Bool("no-color", false, "no colour (there is none yet; NO_COLOR is honoured too)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%s; see: %s --help", err, c.CommandPath())
	})
	root.AddCommand(devCmd(a), serveCmd(a), storageCmd(a), topicCmd(a), produceCmd(a), consumeCmd(a), groupCmd(a), shareGroupCmd(a),
		streamsGroupCmd(a), txnCmd(a), clusterCmd(a), doctorCmd(a), pingCmd(a), configCmd(a), benchCmd(a), healthCmd(a), versionCmd(a))
	root.CompletionOptions.HiddenDefaultCmd = false
	wrapArgs(root)
	return root
}

// wrapArgs makes every complaint about arguments a usage error with a way on.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			if c.HasSubCommands() && len(args) > 0 {
				text := fmt.Sprintf("unknown command %q for %s", args[0], c.CommandPath())
				if near := c.SuggestionsFor(args[0]); len(near) > 0 {
					return usage("%s; did you mean %s?", text, strings.Join(near, " or "))
				}
				return usage("%s; see: %s --help", text, c.CommandPath())
			}
			return usage("%s; see: %s --help", err, c.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// parent makes a command that only holds others.
func parent(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(subs...)
	return c
}

// hint tells the user something that is not data.
func (a *app) hint(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.Err, format+"\n", args...)
	}
}

// env is the value of an environment variable, or "".
func (a *app) env(name string) string {
	for _, kv := range a.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// terminal says whether w is a terminal, where someone can read progress.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm shows a plan and says whether to go on: --yes, or a yes typed on a
// terminal. Without either it is a usage error, so that a script never destroys
// by accident.
func (a *app) confirm(what string, plan ...string) (bool, error) {
	a.hint("%s", what)
	for _, line := range plan {
		a.hint("  %s", line)
	}
	switch {
	case a.dryRun:
		a.hint("nothing was done (--dry-run)")
		return false, nil
	case a.yes:
		return true, nil
	case !terminal(a.In):
		return false, usage("not done: add --yes to go on without being asked")
	}
	fmt.Fprint(a.Err, "Go on? [y/N] ")
	var answer string
	fmt.Fscanln(a.In, &answer)
	if !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		a.hint("nothing was done")
		return false, nil
	}
	return true, nil
}
