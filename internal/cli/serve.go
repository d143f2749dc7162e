package cli

import (
	"github.com/spf13/cobra"
)

func serveCmd(a *app) *cobra.Command {
	var f nodeFlags
	c := &cobra.Command{
		Use: "serve", Short: "Run a broker from a configuration file", Args: cobra.NoArgs,
		Long: "Run a broker. Settings come from --set, else the environment (MYELIN_*, KAFKA_*), else --config, else their defaults.\n" +
			"An empty data directory is formatted. SIGTERM drains and ends it; a second one ends it at once.",
		Example: "  myelin serve --config /etc/myelin/myelin.yaml\n" +
			"  myelin serve --config server.properties --set log.retention.hours=24",
		RunE: func(c *cobra.Command, _ []string) error {
			set, err := a.settings(f.settingFlags, nil)
			if err != nil {
				return err
			}
			b, err := a.resolve(set, f.strict)
			if err != nil {
				return err
			}
			if b.AdvertisedAuto() {
				return usage("advertised.listeners=auto is for dev only: it makes what clients are told depend on where they are; name the addresses")
			}
			return a.runNode(c.Context(), b, f, func(n node) { a.hint("ready at %s", bootstrap(b, n)) })
		},
	}
	f.flags(c)
	c.Flags().StringVar(&f.readyFile, "ready-file", "", "write the bootstrap address to this file once the broker is ready")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "allow addresses that others reach, without authentication")
	return c
}
