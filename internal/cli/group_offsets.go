package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// savedOffset is one line of a file of offsets.
type savedOffset struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func groupOffsetsCmd(a groups) *cobra.Command {
	return parent("offsets", "Save, restore and delete what "+a.noun()+" have committed",
		groupExportCmd(a), groupImportCmd(a), groupForgetCmd(a))
}

func groupExportCmd(a groups) *cobra.Command {
	var topics []string
	c := &cobra.Command{
		Use: "export GROUP...", Short: "Write offsets as lines that can be edited and imported", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.complete,
		Long: "Write the offsets of a group as lines TOPIC,PARTITION,OFFSET, those of several groups as GROUP,TOPIC,PARTITION,OFFSET:\n" +
			"the files of Apache's kafka-consumer-groups --export, which its --from-file reads too. With -o json as JSON.",
		Example: "  myelin group offsets export orders-app > offsets.csv\n" +
			"  myelin group offsets import orders-app --file offsets.csv --yes",
		RunE: func(c *cobra.Command, names []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			var rows []savedOffset
			for _, name := range names {
				g, err := a.find(c.Context(), cl, name)
				if err != nil {
					return err
				}
				at, err := standings(c.Context(), kadm.NewClient(cl), g)
				if err != nil {
					return err
				}
				places := slices.Collect(maps.Keys(at))
				sortPlaces(places)
				for _, p := range places {
					if s := at[p]; s.err == nil && s.at >= 0 && (len(topics) == 0 || slices.Contains(topics, p.topic)) {
						rows = append(rows, savedOffset{name, p.topic, p.partition, s.at})
					}
				}
			}
			return a.writeOffsets(rows, len(names) > 1)
		},
	}
	c.Flags().StringSliceVar(&topics, "topics", nil, "only these topics")
	return c
}

// writeOffsets writes the lines that Apache's tool reads, unless -o asks for
// another form.
func (a groups) writeOffsets(rows []savedOffset, named bool) error {
	if a.output != "table" && a.output != "wide" && a.output != "csv" {
		return show(a.app, rows, column[savedOffset]{"GROUP", false, func(o savedOffset) string { return o.Group }})
	}
	if len(rows) == 0 {
		a.hint("nothing is committed")
	}
	w := csv.NewWriter(a.Out)
	for _, o := range rows {
		fields := []string{o.Group, o.Topic, strconv.Itoa(int(o.Partition)), strconv.FormatInt(o.Offset, 10)}
		if !named {
			fields = fields[1:]
		}
		if err := w.Write(fields); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func groupImportCmd(a groups) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "import [GROUP...] --file FILE", Short: "Set offsets from a file (shows a preview unless --yes)", ValidArgsFunction: a.complete,
		Long: "Set the offsets of groups that have no members from lines TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET, or from\n" +
			"the JSON of export. Lines without a group are for the one that is named. Empty lines, lines that begin with # and a\n" +
			"line of column names are passed over; what the file does not name stays as it is.",
		RunE: func(c *cobra.Command, names []string) error {
			if file == "" {
				return usage("--file: say which file, - for standard input")
			}
			all, err := a.parseOffsets(file)
			if err != nil {
				return err
			}
			if names, err = all.groups(names, fileName(file)); err != nil {
				return err
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			var failed []error
			for i, name := range names {
				if i > 0 || len(names) > 1 {
					a.hint("group %s", name)
				}
				if err := a.importInto(c.Context(), cl, name, all.of(name)); err != nil {
					failed = append(failed, err)
				}
			}
			return partial(len(names)-len(failed), failed)
		},
	}
	c.Flags().StringVar(&file, "file", "", "the file, - for standard input")
	return c
}

func (a groups) importInto(ctx context.Context, cl *kgo.Client, group string, targets map[place]int64) error {
	now, kind, err := a.committed(ctx, cl, group)
	if err != nil {
		return err
	}
	b, err := limits(ctx, kadm.NewClient(cl), topicsOf(targets), nil)
	if err != nil {
		return err
	}
	for _, p := range slices.SortedFunc(maps.Keys(targets), comparePlaces) {
		if _, ok := b.end[p]; !ok && !slices.Contains(b.offline, p) {
			return missing("topic %s has no partition %d; see: myelin topic describe %s", p.topic, p.partition, p.topic)
		}
	}
	return a.move(ctx, cl, moveGroup{group, kind, stepsTo(b, now, targets), b.offlineFault()})
}

// savedOffsets are the lines of a file.
type savedOffsets []savedOffset

// groups are those to import: the ones that are named, or all in the file.
func (all savedOffsets) groups(named []string, file string) ([]string, error) {
	if len(all) == 0 {
		return nil, usage("%s holds no offsets", file)
	}
	var inside []string
	for _, o := range all {
		inside = append(inside, o.Group)
	}
	slices.Sort(inside)
	inside = slices.Compact(inside)
	anonymous := slices.Equal(inside, []string{""})
	switch {
	case anonymous && len(named) == 0:
		return nil, usage("%s names no groups: say which one these offsets are for", file)
	case len(named) == 0:
		return slices.DeleteFunc(inside, func(g string) bool { return g == "" }), nil
	}
	for _, g := range named {
		if !anonymous && !slices.Contains(inside, g) {
			return nil, missing("%s has no offsets of group %s; it has those of %s", file, g, some(inside, 6))
		}
	}
	return named, nil
}

// of are the offsets of a group: its own, and those without a group.
func (all savedOffsets) of(group string) map[place]int64 {
	at := map[place]int64{}
	for _, o := range all {
		if o.Group == group || o.Group == "" {
			at[place{o.Topic, o.Partition}] = o.Offset
		}
	}
	return at
}

// readOffsets are the offsets that a file has for a group. A file of one other
// group serves too.
func (a groups) readOffsets(file, group string) (map[place]int64, error) {
	all, err := a.parseOffsets(file)
	if err != nil {
		return nil, err
	}
	at := all.of(group)
	if len(at) == 0 {
		inside, err := all.groups(nil, file)
		if err != nil {
			return nil, err
		}
		if len(inside) > 1 {
			return nil, missing("%s has no offsets of group %s; it has those of %s", file, group, some(inside, 6))
		}
		at = all.of(inside[0])
	}
	return at, nil
}

func (a groups) parseOffsets(file string) (savedOffsets, error) {
	text, err := a.readFile(file)
	if err != nil {
		return nil, err
	}
	file = fileName(file)
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && (trimmed[0] == '[' || trimmed[0] == '{') {
		return parseOffsetsJSON(file, trimmed)
	}
	return parseOffsetsCSV(file, text)
}

func fileName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// readFile reads a file, or standard input if that is named -.
func (a *app) readFile(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(a.In)
	}
	return os.ReadFile(file)
}

// parseOffsetsJSON reads a list, or objects one after the other.
func parseOffsetsJSON(file string, text []byte) (all savedOffsets, err error) {
	if text[0] == '[' {
		err = json.Unmarshal(text, &all)
	} else {
		for d := json.NewDecoder(bytes.NewReader(text)); d.More() && err == nil; {
			var o savedOffset
			if err = d.Decode(&o); err == nil {
				all = append(all, o)
			}
		}
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return nil, usage("%s: %s: a %s does not fit there", file, wrong.Field, wrong.Value)
	case err != nil:
		return nil, usage("%s: %s", file, oneLine(err))
	}
	for i, o := range all {
		if o.Topic == "" || o.Partition < 0 || o.Offset < 0 {
			return nil, usage("%s: entry %d: want a topic, a partition and an offset", file, i+1)
		}
	}
	return all, nil
}

func parseOffsetsCSV(file string, text []byte) (all savedOffsets, err error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.Comment, r.TrimLeadingSpace = -1, '#', true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, usage("%s: %s", file, oneLine(err))
	}
	for i, fields := range lines {
		n := len(fields)
		if i == 0 && n > 2 && strings.EqualFold(strings.TrimSpace(fields[n-1]), "offset") {
			continue // the names of the columns
		}
		if n != 3 && n != 4 {
			return nil, usage("%s: %q: want TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET", file, strings.Join(fields, ","))
		}
		partition, err1 := strconv.ParseInt(strings.TrimSpace(fields[n-2]), 10, 32)
		offset, err2 := strconv.ParseInt(strings.TrimSpace(fields[n-1]), 10, 64)
		if err1 != nil || err2 != nil || partition < 0 || offset < 0 || fields[n-3] == "" {
			return nil, usage("%s: %q: want a topic, the number of a partition and an offset", file, strings.Join(fields, ","))
		}
		o := savedOffset{Topic: fields[n-3], Partition: int32(partition), Offset: offset}
		if n == 4 {
			o.Group = fields[0]
		}
		all = append(all, o)
	}
	return all, nil
}

func groupForgetCmd(a groups) *cobra.Command {
	var topics []string
	c := &cobra.Command{
		Use: "delete GROUP --topics T,...", Short: "Forget where a group stands in topics", Args: cobra.ExactArgs(1), Aliases: []string{"rm"},
		ValidArgsFunction: a.complete,
		RunE: func(c *cobra.Command, args []string) error {
			if len(topics) == 0 {
				return usage("--topics: say of which topics; the whole group goes with: %s delete %s", a.command(), args[0])
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			g, err := a.find(c.Context(), cl, args[0])
			if err != nil {
				return err
			}
			at, err := standings(c.Context(), kadm.NewClient(cl), g)
			if err != nil {
				return err
			}
			return a.forget(c.Context(), kadm.NewClient(cl), g, at, topics)
		},
	}
	c.Flags().StringSliceVar(&topics, "topics", nil, "the topics")
	return c
}

func (a groups) forget(ctx context.Context, adm *kadm.Client, g *describedGroup, at map[place]standing, topics []string) error {
	var plan []string
	set := kadm.TopicsSet{}
	for _, p := range slices.SortedFunc(maps.Keys(at), comparePlaces) {
		if slices.Contains(topics, p.topic) {
			set.Add(p.topic, p.partition)
			plan = append(plan, fmt.Sprintf("%s: offset %s", p, offsetText(at[p].at)))
		}
	}
	for _, t := range topics {
		if len(set[t]) == 0 {
			return missing("group %s has no offsets of topic %s; see: %s describe %s", g.Group, t, a.command(), g.Group)
		}
	}
	ok, err := a.confirm("Group "+g.Group+" forgets where it stands in:", plan...)
	if err != nil || !ok {
		return err
	}
	if g.Type == shareGroup {
		return a.forgetShare(ctx, adm, g.Group, topics)
	}
	got, err := adm.DeleteOffsets(ctx, g.Group, set)
	if err != nil {
		return refusal("group "+g.Group, err, "")
	}
	var failed []error
	done := 0
	for _, t := range slices.Sorted(maps.Keys(got)) {
		for _, p := range slices.Sorted(maps.Keys(got[t])) {
			switch err := got[t][p]; {
			case isAny(err, kerr.GroupSubscribedToTopic):
				return &fault{exitFailed, fmt.Sprintf("members of group %s read topic %s; stop them first, see: %s describe %s --members", g.Group, t, a.command(), g.Group)}
			case err != nil:
				failed = append(failed, refusal(place{t, p}.String(), err, ""))
			default:
				done++
			}
		}
	}
	return partial(done, failed)
}

func (a groups) forgetShare(ctx context.Context, adm *kadm.Client, group string, topics []string) error {
	got, err := adm.DeleteShareGroupOffsets(ctx, group, topics...)
	switch {
	case hasMembers(err):
		return a.busy(group)
	case err != nil:
		return refusal("group "+group, err, "")
	}
	var failed []error
	for _, t := range topics {
		if err := got[t]; err != nil {
			failed = append(failed, refusal("topic "+t, err, ""))
		}
	}
	return partial(len(topics)-len(failed), failed)
}
