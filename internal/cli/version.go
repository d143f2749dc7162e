package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// kafkaRelease is the Kafka whose protocol this binary speaks.
const kafkaRelease = "4.4"

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Kafka   string `json:"kafka"`
	Go      string `json:"go"`
	System  string `json:"system"`
}

func versionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "What this binary is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := build()
			if a.output == "table" {
				fmt.Fprintf(a.Out, "myelin %s (%s) Kafka %s, %s %s\n", v.Version, v.Commit, v.Kafka, v.Go, v.System)
				return nil
			}
			return show(a, []versionInfo{v}, column[versionInfo]{"VERSION", false, func(v versionInfo) string { return v.Version }},
				column[versionInfo]{"COMMIT", false, func(v versionInfo) string { return v.Commit }})
		},
	}
}

func build() versionInfo {
	v := versionInfo{Version: "(devel)", Commit: "unknown", Kafka: kafkaRelease, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
