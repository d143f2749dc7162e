package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/myelin-stream/myelin/internal/kafka"
)

func topicCmd(a *app) *cobra.Command {
	parts := parent("partitions", "Partitions of topics", partitionsAddCmd(a))
	c := parent("topic", "Create, list, describe, change and delete topics",
		topicCreateCmd(a), topicListCmd(a), topicDescribeCmd(a), topicDeleteCmd(a), topicConfigCmd(a), parts, topicTrimCmd(a))
	c.Aliases = []string{"topics"}
	return c
}

func topicCreateCmd(a *app) *cobra.Command {
	var (
		partitions  int32
		replicas    int16
		configs     []string
		ifNotExists bool
	)
	c := &cobra.Command{
		Use: "create TOPIC...", Short: "Create topics", Args: cobra.MinimumNArgs(1),
		Example: "  myelin topic create orders -p 12 -c retention.ms=86400000",
		RunE: func(c *cobra.Command, topics []string) error {
			set, err := pairs(configs)
			if err != nil {
				return err
			}
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			create := adm.CreateTopics
			if a.dryRun {
				create = adm.ValidateCreateTopics
			}
			got, err := create(c.Context(), partitions, replicas, set, topics...)
			if err != nil {
				return err
			}
			return created(a, got, ifNotExists)
		},
	}
	f := c.Flags()
	f.Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1 is the broker's default")
	f.Int16VarP(&replicas, "replicas", "r", -1, "replication factor; -1 is the broker's default")
	f.StringArrayVarP(&configs, "config", "c", nil, "topic property KEY=VALUE; repeatable")
	f.BoolVar(&ifNotExists, "if-not-exists", false, "succeed if a topic exists already")
	return c
}

type createdTopic struct {
	Topic      string `json:"topic"`
	ID         string `json:"id"`
	Partitions int32  `json:"partitions"`
	Replicas   int16  `json:"replication_factor"`
}

func created(a *app, got kadm.CreateTopicResponses, ifNotExists bool) error {
	var rows []createdTopic
	var failed []error
	existed := 0
	for _, r := range got.Sorted() {
		switch {
		case errors.Is(r.Err, kerr.TopicAlreadyExists) && ifNotExists:
			a.hint("topic %s exists already", r.Topic)
			existed++
		case errors.Is(r.Err, kerr.TopicAlreadyExists):
			failed = append(failed, &fault{exitFailed, fmt.Sprintf("topic %s exists already; describe it with: myelin topic describe %s", r.Topic, r.Topic)})
		case r.Err != nil:
			failed = append(failed, topicRefusal(r.Topic, r.Err, r.ErrMessage))
		default:
			rows = append(rows, createdTopic{r.Topic, kafka.UUID(r.ID).String(), r.NumPartitions, r.ReplicationFactor})
		}
	}
	slices.SortFunc(rows, func(x, y createdTopic) int { return strings.Compare(x.Topic, y.Topic) })
	if a.dryRun && len(failed) == 0 {
		a.hint("nothing was created (--dry-run)")
	}
	if len(rows) > 0 || a.output == "json" {
		err := show(a, rows,
			column[createdTopic]{"TOPIC", false, func(t createdTopic) string { return t.Topic }},
			column[createdTopic]{"PARTITIONS", false, func(t createdTopic) string { return strconv.Itoa(int(t.Partitions)) }},
			column[createdTopic]{"REPLICAS", false, func(t createdTopic) string { return strconv.Itoa(int(t.Replicas)) }},
			column[createdTopic]{"ID", true, func(t createdTopic) string { return t.ID }})
		if err != nil {
			return err
		}
	}
	return partial(len(rows)+existed, failed)
}

// refusal joins what a broker refused with its reason: the message it sent, or
// else the error code's own text.
func refusal(what string, err error, message string) error {
	if message == "" {
		if isAny(err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.GroupIDNotFound) {
			list, _, _ := strings.Cut(what, " ")
			return missing("%s does not exist; list %ss with: myelin %s list", what, list, list)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	f := classify(err)
	return &fault{f.code, what + ": " + strings.TrimSuffix(message, ".")}
}

// pairs reads KEY=VALUE arguments.
func pairs(args []string) (map[string]*string, error) {
	set := map[string]*string{}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usage("%s: want KEY=VALUE", arg)
		}
		set[k] = &v
	}
	return set, nil
}

type listedTopic struct {
	Topic      string `json:"topic"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replication_factor"`
	Internal   bool   `json:"internal"`
	Bytes      *int64 `json:"bytes,omitempty"`
}

func topicListCmd(a *app) *cobra.Command {
	var (
		pattern         string
		internal, sizes bool
	)
	c := &cobra.Command{
		Use: "list", Short: "List topics", Args: cobra.NoArgs, Aliases: []string{"ls"},
		RunE: func(c *cobra.Command, _ []string) error {
			match, err := regexp.Compile(pattern)
			if err != nil {
				return usage("-r: %s", oneLine(err))
			}
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			details, err := adm.ListTopicsWithInternal(c.Context())
			if err != nil {
				return err
			}
			var bytes map[string]int64
			if sizes {
				if bytes, err = topicSizes(c.Context(), adm); err != nil {
					return err
				}
			}
			var rows []listedTopic
			for _, t := range details.Sorted() {
				if t.Err != nil || t.IsInternal && !internal || !match.MatchString(t.Topic) {
					continue
				}
				row := listedTopic{Topic: t.Topic, ID: kafka.UUID(t.ID).String(), Partitions: len(t.Partitions), Replicas: t.Partitions.NumReplicas(), Internal: t.IsInternal}
				if n, ok := bytes[t.Topic]; ok {
					row.Bytes = &n
				}
				rows = append(rows, row)
			}
			if len(rows) == 0 {
				a.hint("no topics; create one with: myelin topic create NAME")
			}
			return showTopics(a, rows, sizes)
		},
	}
	f := c.Flags()
	f.StringVarP(&pattern, "regex", "r", "", "only topics whose name matches")
	f.BoolVar(&internal, "internal", false, "internal topics too")
	f.BoolVar(&sizes, "sizes", false, "bytes on disk, all replicas together")
	return c
}

func showTopics(a *app, rows []listedTopic, sizes bool) error {
	cols := []column[listedTopic]{
		{"TOPIC", false, func(t listedTopic) string { return t.Topic }},
		{"PARTITIONS", false, func(t listedTopic) string { return strconv.Itoa(t.Partitions) }},
		{"REPLICAS", false, func(t listedTopic) string { return strconv.Itoa(t.Replicas) }},
		{"ID", true, func(t listedTopic) string { return t.ID }},
	}
	if sizes {
		cols = append(cols, column[listedTopic]{"BYTES", false, func(t listedTopic) string {
			if t.Bytes == nil {
				return "-"
			}
			return strconv.FormatInt(*t.Bytes, 10)
		}})
	}
	return show(a, rows, cols...)
}

func topicSizes(ctx context.Context, adm *kadm.Client) (map[string]int64, error) {
	dirs, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) { sizes[p.Topic] += p.Size })
	})
	return sizes, nil
}

func topicDeleteCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete TOPIC...", Short: "Delete topics and their records", Args: cobra.MinimumNArgs(1), Aliases: []string{"rm"},
		ValidArgsFunction: a.completeTopics,
		RunE: func(c *cobra.Command, topics []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			details, err := adm.ListTopicsWithInternal(c.Context(), topics...)
			if err != nil {
				return err
			}
			ends, err := adm.ListEndOffsets(c.Context(), topics...)
			if err != nil {
				return err
			}
			var plan []string
			for _, t := range details.Sorted() {
				if t.Err != nil {
					return refusal("topic "+t.Topic, t.Err, "")
				}
				var n int64
				for _, o := range ends[t.Topic] {
					n += o.Offset
				}
				plan = append(plan, fmt.Sprintf("%s: %d partitions, %d records written so far", t.Topic, len(t.Partitions), n))
			}
			ok, err := a.confirm("These topics and all their records go for good:", plan...)
			if err != nil || !ok {
				return err
			}
			got, err := adm.DeleteTopics(c.Context(), topics...)
			if err != nil {
				return err
			}
			var failed []error
			gone := 0
			for _, r := range got.Sorted() {
				if r.Err != nil {
					failed = append(failed, refusal("topic "+r.Topic, r.Err, r.ErrMessage))
					continue
				}
				gone++
				fmt.Fprintln(a.Out, r.Topic)
			}
			return partial(gone, failed)
		},
	}
}

func partitionsAddCmd(a *app) *cobra.Command {
	var to int
	c := &cobra.Command{
		Use: "add TOPIC --to N", Short: "Raise the number of partitions of a topic", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTopics,
		RunE: func(c *cobra.Command, topics []string) error {
			if to <= 0 {
				return usage("--to: say how many partitions %s is to have", topics[0])
			}
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			update := adm.UpdatePartitions
			if a.dryRun {
				update = adm.ValidateUpdatePartitions
			}
			got, err := update(c.Context(), to, topics...)
			if err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(got)) {
				if r := got[name]; r.Err != nil {
					return refusal("topic "+r.Topic, r.Err, r.ErrMessage)
				}
			}
			a.hint("%s has %d partitions; records with a key may now go to another partition than before", topics[0], to)
			return nil
		},
	}
	c.Flags().IntVar(&to, "to", 0, "how many partitions there are to be")
	return c
}
