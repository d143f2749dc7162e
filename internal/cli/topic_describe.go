package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/kafka"
)

type describedTopic struct {
	Topic      string               `json:"topic"`
	ID         string               `json:"id"`
	Internal   bool                 `json:"internal"`
	Partitions []describedPartition `json:"partitions"`
	Configs    []describedConfig    `json:"configs,omitempty"`
	Reasons    []groupReason        `json:"reasons,omitempty"` // why partitions are not whole
}

type describedPartition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Epoch     int32   `json:"leader_epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	Offline   []int32 `json:"offline_replicas"`
	Start     int64   `json:"log_start_offset"`
	End       int64   `json:"high_watermark"`
	Error     string  `json:"error,omitempty"`

	Directories []replicaDir `json:"directories,omitempty"` // with --dirs
}

type describedConfig struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func topicDescribeCmd(a *app) *cobra.Command {
	var parts, configs, dirs bool
	c := &cobra.Command{
		Use: "describe TOPIC...", Short: "Show partitions and properties of topics", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics,
		RunE: func(c *cobra.Command, topics []string) error {
			if !parts && !configs {
				parts, configs = true, true
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			adm := kadm.NewClient(cl)
			all, err := describeTopics(c.Context(), adm, topics, configs)
			if err != nil {
				return err
			}
			if dirs {
				if err := addHomes(c.Context(), adm, topics, all); err != nil {
					return err
				}
			}
			if err := addReasons(a, c.Context(), cl, all); err != nil {
				return err
			}
			if a.output != "table" && a.output != "wide" {
				return show(a, all, column[describedTopic]{"TOPIC", false, func(t describedTopic) string { return t.Topic }})
			}
			for i, t := range all {
				if i > 0 {
					fmt.Fprintln(a.Out)
				}
				if err := showTopic(a, t, describeWhat{parts, configs, dirs}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&parts, "partitions", "p", false, "only the partitions")
	c.Flags().BoolVarP(&configs, "configs", "c", false, "only the properties")
	c.Flags().BoolVar(&dirs, "dirs", false, "show in which log directory each replica is, as node:directory")
	return c
}

// addReasons says why partitions are not whole. Where all are, nothing more is
// asked for.
func addReasons(a *app, ctx context.Context, cl *kgo.Client, all []describedTopic) error {
	whole := func(p describedPartition) bool { return p.Leader >= 0 && len(p.ISR) == len(p.Replicas) }
	if !slices.ContainsFunc(all, func(t describedTopic) bool {
		return slices.ContainsFunc(t.Partitions, func(p describedPartition) bool { return !whole(p) })
	}) {
		return nil
	}
	f, err := gather(a, ctx, cl)
	if err != nil {
		return err
	}
	for i := range all {
		topics := []kadm.TopicDetail{f.topics[all[i].Topic]}
		m, err := f.ask(ctx, cl, topics)
		if err != nil {
			return err
		}
		all[i].Reasons = f.judge(topics, m).reasons
	}
	return nil
}

// addHomes adds where the replicas are.
func addHomes(ctx context.Context, adm *kadm.Client, topics []string, all []describedTopic) error {
	found, err := homes(ctx, adm, topics)
	if err != nil {
		return err
	}
	for _, t := range all {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			p.Directories = found[place{t.Topic, p.Partition}]
		}
	}
	return nil
}

func describeTopics(ctx context.Context, adm *kadm.Client, topics []string, configs bool) ([]describedTopic, error) {
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, err
	}
	starts, err := reachable(adm.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, err
	}
	ends, err := reachable(adm.ListEndOffsets(ctx, topics...))
	if err != nil {
		return nil, err
	}
	var all []describedTopic
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return nil, refusal("topic "+t.Topic, t.Err, "")
		}
		d := describedTopic{Topic: t.Topic, ID: kafka.UUID(t.ID).String(), Internal: t.IsInternal}
		for _, p := range t.Partitions.Sorted() {
			row := describedPartition{Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
				Offline: p.OfflineReplicas, Start: -1, End: -1}
			if o, ok := starts.Lookup(t.Topic, p.Partition); ok && o.Err == nil {
				row.Start = o.Offset
			}
			if o, ok := ends.Lookup(t.Topic, p.Partition); ok && o.Err == nil {
				row.End = o.Offset
			}
			switch {
			case p.Leader < 0:
				row.Error = "offline"
			case p.Err != nil:
				row.Error = p.Err.Error()
			}
			d.Partitions = append(d.Partitions, row)
		}
		if configs {
			if d.Configs, err = topicConfigs(ctx, adm, t.Topic); err != nil {
				return nil, err
			}
		}
		all = append(all, d)
	}
	return all, nil
}

func topicConfigs(ctx context.Context, adm *kadm.Client, topic string) ([]describedConfig, error) {
	got, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	var rows []describedConfig
	for _, r := range got {
		if r.Err != nil {
			return nil, refusal("topic "+r.Name, r.Err, r.ErrMessage)
		}
		for _, c := range r.Configs {
			rows = append(rows, describedConfig{c.Key, c.MaybeValue(), sourceName(c.Source)})
		}
	}
	slices.SortFunc(rows, func(a, b describedConfig) int { return strings.Compare(a.Key, b.Key) })
	return rows, nil
}

// sourceName is DEFAULT, TOPIC, BROKER, ...: Kafka's names without their frame.
func sourceName(s kmsg.ConfigSource) string {
	return strings.TrimSuffix(strings.TrimPrefix(s.String(), "DYNAMIC_"), "_CONFIG")
}

// describeWhat is what to show of a topic.
type describeWhat struct{ parts, configs, dirs bool }

func showTopic(a *app, t describedTopic, what describeWhat) error {
	fmt.Fprintf(a.Out, "topic %s  id %s  partitions %d\n", t.Topic, t.ID, len(t.Partitions))
	if what.parts {
		fmt.Fprintln(a.Out)
		well := !slices.ContainsFunc(t.Partitions, func(p describedPartition) bool { return p.Error != "" })
		cols := []column[describedPartition]{
			{"PARTITION", false, func(p describedPartition) string { return strconv.Itoa(int(p.Partition)) }},
			{"LEADER", false, func(p describedPartition) string { return strconv.Itoa(int(p.Leader)) }},
			{"EPOCH", true, func(p describedPartition) string { return strconv.Itoa(int(p.Epoch)) }},
			{"REPLICAS", false, func(p describedPartition) string { return ids(p.Replicas) }},
			{"ISR", false, func(p describedPartition) string { return ids(p.ISR) }},
			{"START", false, func(p describedPartition) string { return strconv.FormatInt(p.Start, 10) }},
			{"END", false, func(p describedPartition) string { return strconv.FormatInt(p.End, 10) }},
			{"ERROR", well, func(p describedPartition) string { return p.Error }},
		}
		if what.dirs {
			cols = append(cols, column[describedPartition]{"DIRECTORIES", false, func(p describedPartition) string { return homesText(p.Directories) }})
		}
		if err := show(a, t.Partitions, cols...); err != nil {
			return err
		}
		if len(t.Reasons) > 0 {
			fmt.Fprintln(a.Out)
			writeReasons(a.Out, t.Reasons)
		}
	}
	if what.configs {
		fmt.Fprintln(a.Out)
		rows := slices.DeleteFunc(slices.Clone(t.Configs), func(c describedConfig) bool { return c.Source == "DEFAULT" && a.output != "wide" && !a.verbose })
		if len(rows) == 0 {
			a.hint("every property has its default; -o wide shows them")
			return nil
		}
		return showConfigs(a, rows)
	}
	return nil
}

// homesText lists where the replicas of a partition are.
func homesText(list []replicaDir) string {
	texts := make([]string, len(list))
	for i, d := range list {
		texts[i] = fmt.Sprintf("%d:%s", d.Node, d.Directory)
		if d.Moving {
			texts[i] += " (moving there)"
		}
	}
	return orDash(strings.Join(texts, ", "))
}

func showConfigs(a *app, rows []describedConfig) error {
	return show(a, rows,
		column[describedConfig]{"KEY", false, func(c describedConfig) string { return c.Key }},
		column[describedConfig]{"VALUE", false, func(c describedConfig) string { return c.Value }},
		column[describedConfig]{"SOURCE", false, func(c describedConfig) string { return c.Source }})
}

func ids(list []int32) string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = strconv.Itoa(int(n))
	}
	return strings.Join(parts, ",")
}
