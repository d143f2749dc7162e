package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/metadata"
)

// firstVoters are the flags of Kafka's storage tool that say who votes first.
type firstVoters struct {
	standalone bool
	initial    string
	none       bool
}

func (f *firstVoters) flags(c *cobra.Command) {
	fl := c.Flags()
	fl.BoolVar(&f.standalone, "standalone", false, "this node is the only voter")
	fl.StringVar(&f.initial, "initial-controllers", "", "the first voters, the same on all: ID@HOST:PORT:DIRECTORY-ID,...")
	fl.BoolVar(&f.none, "no-initial-controllers", false, "this node joins a quorum that is there, at controller.quorum.bootstrap.servers")
	c.MarkFlagsMutuallyExclusive("standalone", "initial-controllers", "no-initial-controllers")
}

// apply adds what the flags say, and the configuration where they say nothing.
func (f *firstVoters) apply(b *config.Broker, how metadata.FormatConfig) (metadata.FormatConfig, error) {
	static := len(b.List("controller.quorum.voters")) > 0
	switch {
	case static && (f.standalone || f.initial != ""):
		return how, usage("controller.quorum.voters says who votes first: leave it out, or --standalone and --initial-controllers")
	case f.standalone:
		return how, nil
	case f.none:
		how.Join = true
		return how, nil
	case f.initial != "":
		voters, err := metadata.ParseVoters(f.initial)
		if err != nil {
			return how, usage("--initial-controllers: %s", err)
		}
		for _, v := range voters {
			if v.Directory.IsZero() {
				return how, usage("--initial-controllers: node %d has no directory id: want ID@HOST:PORT:DIRECTORY-ID", v.Node)
			}
		}
		how.Voters = voters
		return how, nil
	case !static && slices.Contains(b.List("process.roles"), "controller") && len(b.List("controller.quorum.bootstrap.servers")) > 0:
		return how, usage("controller.quorum.voters is not set, so say who votes first: --standalone, --initial-controllers or --no-initial-controllers")
	}
	return how.For(b)
}
