package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/config"
)

func configCmd(a *app) *cobra.Command {
	var s settingFlags
	explain := &cobra.Command{
		Use: "explain KEY...", Short: "What a property does, and what it is set to where", Args: cobra.MinimumNArgs(1),
		Example: "  myelin config explain log.retention.ms --config server.properties",
		RunE: func(_ *cobra.Command, keys []string) error {
			set, err := a.settings(s, nil)
			if err != nil {
				return err
			}
			b := config.NewBroker(set)
			for i, key := range keys {
				text, err := b.Explain(key)
				if err != nil {
					return missing("%s", err)
				}
				if i > 0 {
					fmt.Fprintln(a.Out)
				}
				fmt.Fprint(a.Out, text)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, d := range config.All(config.BrokerScope) {
				names = append(names, d.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	s.flags(explain)
	var l settingFlags
	lint := &cobra.Command{
		Use: "lint FILE...", Short: "Check a configuration without starting anything", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			l.files = files
			set, err := a.settings(l, nil)
			if err != nil {
				return err
			}
			notices, err := config.Check(set)
			for _, n := range notices {
				fmt.Fprintln(a.Out, n)
			}
			if err != nil {
				return &fault{exitUsage, strings.ReplaceAll(err.Error(), "\n", "\nmyelin: ")}
			}
			if len(notices) > 0 && l.strict {
				return &fault{exitUsage, fmt.Sprintf("%d notices with --strict", len(notices))}
			}
			a.hint("%d properties, %d notices", len(set), len(notices))
			return nil
		},
	}
	lint.Flags().BoolVar(&l.strict, "strict", false, "a notice is an error")
	return parent("config", "Explain and check configuration", explain, lint)
}

// settingFlags are where static settings come from.
type settingFlags struct {
	files  []string
	set    []string
	strict bool
}

func (s *settingFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&s.files, "config", nil, "file in YAML (.yaml, .yml) or server.properties syntax; repeatable, a later one wins")
	f.StringArrayVar(&s.set, "set", nil, "broker property KEY=VALUE; repeatable, wins over files and environment")
	f.BoolVar(&s.strict, "strict", false, "refuse unknown properties and those without effect")
}

// settings reads static settings from all their places, defaults of the command
// below all else.
func (a *app) settings(s settingFlags, defaults config.Settings) (config.Settings, error) {
	layers := []config.Settings{defaults}
	for _, file := range s.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		parse := config.ParseProperties
		switch strings.ToLower(filepath.Ext(file)) {
		case ".yaml", ".yml", ".json":
			parse = config.ParseYAML
		}
		set, err := parse(file, text)
		if err != nil {
			return nil, usage("%s", err)
		}
		layers = append(layers, set)
	}
	env, err := config.FromEnv(a.Env, os.ReadFile)
	if err != nil {
		return nil, err
	}
	flags, err := config.ParseSet(s.set)
	if err != nil {
		return nil, usage("%s", err)
	}
	return config.Merge(append(layers, env, flags)...), nil
}

// resolve judges settings and says on stderr what their author should know.
func (a *app) resolve(set config.Settings, strict bool) (*config.Broker, error) {
	notices, err := config.Check(set)
	for _, n := range notices {
		if n.Origin != devOrigin {
			a.hint("note: %s", n)
		}
	}
	if err == nil && strict && len(notices) > 0 {
		err = errors.New("--strict: see the notes above")
	}
	if err != nil {
		return nil, &fault{exitUsage, strings.ReplaceAll(err.Error(), "\n", "\nmyelin: ")}
	}
	return config.NewBroker(set), nil
}
