package cli

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-stream/myelin/internal/config"
)

// devOrigin is where dev's own settings say they come from.
const devOrigin = "dev"

type devFlags struct {
	nodeFlags
	dataDir   string
	ephemeral bool
	listen    string
	port      int
	nodes     int
}

func devCmd(a *app) *cobra.Command {
	var f devFlags
	c := &cobra.Command{
		Use: "dev", Short: "Run a broker for development: no configuration, one process", Args: cobra.NoArgs,
		Long: "Run a broker for development at 127.0.0.1:9092, with its data in ./.myelin. Topics are created when they are used.",
		Example: "  myelin dev\n" +
			"  myelin dev -n 3                                      # a cluster of three in one process\n" +
			"  myelin dev --ephemeral --port 0 --ready-file addr    # for tests: a free port, no data left behind",
		RunE: func(c *cobra.Command, _ []string) error { return a.runDev(c, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.dataDir, "data-dir", "./.myelin", "where the data goes")
	fl.BoolVar(&f.ephemeral, "ephemeral", false, "keep the data in a temporary directory and delete it at the end")
	fl.StringVar(&f.listen, "listen", defaultBroker, "address to listen on, HOST:PORT")
	fl.IntVar(&f.port, "port", 0, "port to listen on, in place of --listen's; 0 takes a free one")
	fl.IntVarP(&f.nodes, "nodes", "n", 1, "how many nodes; more than one take as many ports from --listen's on, and as many behind these for themselves")
	fl.StringArrayVar(&f.set, "set", nil, "broker property KEY=VALUE; repeatable")
	fl.BoolVar(&f.strict, "strict", false, "refuse unknown properties and those without effect")
	fl.StringVar(&f.readyFile, "ready-file", "", "write the bootstrap address to this file once the broker is ready")
	fl.BoolVar(&f.insecure, "insecure", false, "allow an address that others reach, without authentication")
	return c
}

func (a *app) runDev(c *cobra.Command, f devFlags) error {
	listen, err := f.address(c.Flags().Changed("port"))
	if err != nil {
		return err
	}
	if f.nodes < 1 || f.nodes > maxFleet {
		return usage("-n %d: want 1 to %d nodes in one process", f.nodes, maxFleet)
	}
	dir := f.dataDir
	if f.ephemeral {
		if c.Flags().Changed("data-dir") {
			return usage("--ephemeral and --data-dir: one of them")
		}
		if dir, err = os.MkdirTemp("", "myelin-"); err != nil {
			return fmt.Errorf("--ephemeral: %w", err)
		}
		defer os.RemoveAll(dir)
	}
	if f.nodes != 1 {
		return runFleet(a, c.Context(), f, listen, dir)
	}
	set, err := a.settings(f.settingFlags, devDefaults(listen, dir, a.verbose))
	if err != nil {
		return err
	}
	b, err := a.resolve(set, f.strict)
	if err != nil {
		return err
	}
	return a.runNode(c.Context(), b, f.nodeFlags, func(n node) { banner(a, b, n, f.ephemeral) })
}

// address is where dev listens.
func (f devFlags) address(portGiven bool) (string, error) {
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil {
		return "", usage("--listen %s: want HOST:PORT", f.listen)
	}
	if portGiven {
		if f.port < 0 || f.port > 65535 {
			return "", usage("--port %d: want 0 to 65535", f.port)
		}
		port = strconv.Itoa(f.port)
	}
	return net.JoinHostPort(host, port), nil
}

// devDefaults are what dev sets where nobody else does. Beside any port but
// Kafka's own, the admin address is any free one, so that two of them run.
func devDefaults(listen, dir string, verbose bool) config.Settings {
	admin, level := "127.0.0.1:9644", "warn"
	if !strings.HasSuffix(listen, ":9092") {
		admin = "127.0.0.1:0"
	}
	if verbose {
		level = "info"
	}
	set := config.Settings{}
	for k, v := range map[string]string{
		"listeners":                        "PLAINTEXT://" + listen,
		"advertised.listeners":             "auto",
		"log.dirs":                         dir,
		"admin.listener":                   admin,
		"log.level":                        level,
		"group.initial.rebalance.delay.ms": "0",
	} {
		set[k] = config.Setting{Value: v, Origin: devOrigin}
	}
	return set
}

func banner(a *app, b *config.Broker, n node, ephemeral bool) {
	at := bootstrap(b, n)
	data := "data in " + strings.Join(b.DataDirs(), ", ")
	if ephemeral {
		data = "data is deleted at the end"
	}
	flag := ""
	if at != defaultBroker {
		flag = " -b " + at
	}
	fmt.Fprintf(a.Out, "Myelin is ready at %s (%s)\n", at, data)
	fmt.Fprintf(a.Out, "  write   echo hello | myelin produce demo%s\n", flag)
	fmt.Fprintf(a.Out, "  read    myelin consume demo%s\n", flag)
	fmt.Fprintf(a.Out, "  topics  myelin topic list%s\n", flag)
	if admin := n.AdminAddr(); admin != "" {
		first, _, _ := strings.Cut(admin, ",")
		fmt.Fprintf(a.Out, "  watch   curl http://%s/metrics\n", first)
	} else {
		fmt.Fprintln(a.Out, "  watch   set admin.listener for /metrics")
	}
	fmt.Fprintln(a.Out, "  stop    Ctrl-C")
}
