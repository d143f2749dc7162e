package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/myelin-stream/myelin/internal/config"
)

func topicConfigCmd(a *app) *cobra.Command {
	get := &cobra.Command{
		Use: "get TOPIC [KEY...]", Short: "Show a topic's properties", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			rows, err := topicConfigs(c.Context(), adm, args[0])
			if err != nil {
				return err
			}
			for _, key := range args[1:] {
				if !slices.ContainsFunc(rows, func(r describedConfig) bool { return r.Key == key }) {
					return missing("%s", unknownTopicKey(key))
				}
			}
			if len(args) > 1 {
				rows = slices.DeleteFunc(rows, func(r describedConfig) bool { return !slices.Contains(args[1:], r.Key) })
			}
			return showConfigs(a, rows)
		},
	}
	set := &cobra.Command{
		Use: "set TOPIC KEY=VALUE...", Short: "Change a topic's properties", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			values, err := pairs(args[1:])
			if err != nil {
				return err
			}
			var changes []kadm.AlterConfig
			for _, arg := range args[1:] {
				key, _, _ := strings.Cut(arg, "=")
				changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: values[key]})
			}
			return alterTopic(a, c.Context(), args[0], changes)
		},
	}
	unset := &cobra.Command{
		Use: "unset TOPIC KEY...", Short: "Return a topic's properties to the broker's", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var changes []kadm.AlterConfig
			for _, key := range args[1:] {
				changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
			}
			return alterTopic(a, c.Context(), args[0], changes)
		},
	}
	for _, sub := range []*cobra.Command{get, set, unset} {
		sub.ValidArgsFunction = a.completeTopics
	}
	return parent("config", "Properties of a topic", get, set, unset)
}

func alterTopic(a *app, ctx context.Context, topic string, changes []kadm.AlterConfig) error {
	adm, done, err := a.admin(ctx)
	if err != nil {
		return err
	}
	defer done()
	alter := adm.AlterTopicConfigs
	if a.dryRun {
		alter = adm.ValidateAlterTopicConfigs
	}
	got, err := alter(ctx, changes, topic)
	if err != nil {
		return err
	}
	for _, r := range got {
		if r.Err == nil {
			continue
		}
		return topicRefusal(r.Name, r.Err, r.ErrMessage)
	}
	if a.dryRun {
		a.hint("the broker would take it; nothing was changed (--dry-run)")
	}
	return nil
}

// topicRefusal is refusal for what concerns a topic's properties too.
func topicRefusal(topic string, err error, message string) error {
	if key, ok := strings.CutPrefix(message, "Unknown topic config name: "); ok {
		return &fault{exitUsage, unknownTopicKey(key)}
	}
	return refusal("topic "+topic, err, message)
}

func unknownTopicKey(key string) string {
	text := fmt.Sprintf("topics have no property %s", key)
	if near := config.Nearest(key, config.Topic); near != "" {
		return text + "; did you mean " + near + "?"
	}
	return text + "; list them with: myelin topic config get TOPIC"
}
