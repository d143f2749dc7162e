package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// maxFleet is how many nodes dev starts at most: a cluster to try things on.
const maxFleet = 9

// fleet is several brokers in this process, as one node that listens at several
// addresses.
type fleet struct {
	nodes []node
	ready chan struct{}
}

// openFleet opens the brokers of `dev -n`. listeners are open already, by the
// address that the settings of a node name: so free ports are known to all
// before the first one starts.
func openFleet(all []*config.Broker, listeners map[string]net.Listener, log *slog.Logger, level *slog.LevelVar) (*fleet, error) {
	f := &fleet{ready: make(chan struct{})}
	for _, b := range all {
		n, err := broker.Open(broker.Config{Properties: b, Logger: log.With("node", b.NodeID()), Level: level, Format: true, Version: build().Version,
			Listen: func(network, address string) (net.Listener, error) {
				if l := listeners[address]; l != nil {
					return l, nil
				}
				return net.Listen(network, address)
			}})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("node %d: %w", b.NodeID(), err), f.Close())
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

// Run runs all until ctx ends or one of them does by itself.
func (f *fleet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error)
	for i, n := range f.nodes {
		go func() {
			err := n.Run(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				err = fmt.Errorf("node %d: %w", i+1, err)
			}
			ends <- err
		}()
	}
	go f.watch(ctx)
	var all []error
	for range f.nodes {
		all = append(all, <-ends)
		cancel() // one alone that ended takes the others along: it is one process
	}
	return errors.Join(all...)
}

// watch closes ready when every node serves.
func (f *fleet) watch(ctx context.Context) {
	for _, n := range f.nodes {
		select { //house:select a fleet that ends need not become ready
		case <-n.Ready():
		case <-ctx.Done():
			return
		}
	}
	close(f.ready)
}

func (f *fleet) Ready() <-chan struct{} { return f.ready }

// Addr lists where the nodes listen, in the form of bootstrap.servers.
func (f *fleet) Addr(listener string) string {
	return f.list(func(n node) string { return n.Addr(listener) })
}

func (f *fleet) AdminAddr() string { return f.list(node.AdminAddr) }

func (f *fleet) list(of func(node) string) string {
	var all []string
	for _, n := range f.nodes {
		if a := of(n); a != "" {
			all = append(all, a)
		}
	}
	return strings.Join(all, ",")
}

func (f *fleet) Close() error {
	var all []error
	for _, n := range f.nodes {
		all = append(all, n.Close())
	}
	return errors.Join(all...)
}

// fleetPorts opens the sockets of n nodes: for clients from listen's port on, and
// behind these for what controllers say to each other, which have to be the same
// at the next start; free ones if that port is 0.
func fleetPorts(listen string, n int) (clients, controllers []string, open map[string]net.Listener, err error) {
	host, port, _ := net.SplitHostPort(listen) // devFlags.address made it
	first, err := strconv.Atoi(port)
	if err != nil || first+2*n-1 > 65535 {
		return nil, nil, nil, usage("--listen %s: -n %d needs twice as many ports from there on", listen, n)
	}
	open = map[string]net.Listener{}
	bind := func(host string, port int) (string, error) {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return "", err
		}
		open[l.Addr().String()] = l
		return l.Addr().String(), nil
	}
	for i := range n {
		at, inner := 0, 0
		if first != 0 {
			at, inner = first+i, first+n+i
		}
		client, failed := bind(host, at)
		controller := ""
		if failed == nil {
			controller, failed = bind("127.0.0.1", inner)
		}
		if failed != nil {
			closeAll(open)
			return nil, nil, nil, failed
		}
		clients, controllers = append(clients, client), append(controllers, controller)
	}
	return clients, controllers, open, nil
}

func closeAll(open map[string]net.Listener) {
	for _, l := range open {
		l.Close()
	}
}

// fleetCluster is the id of the cluster that lives in dir, or a new one. A
// directory of a single node is refused: its topics would seem to be gone.
func fleetCluster(dir string) (string, error) {
	if info, err := metadata.ReadInfo(vfs.OS(), dir); err == nil && info.Formatted {
		return "", usage("%s holds the data of one node; choose another directory for several with --data-dir", dir)
	}
	info, err := metadata.ReadInfo(vfs.OS(), filepath.Join(dir, "1"))
	if err == nil && info.Formatted {
		return info.ClusterID, nil
	}
	var id kafka.UUID
	for i := range id {
		id[i] = byte(rand.IntN(256))
	}
	return id.String(), nil
}

// fleetSettings are what node i of a fleet is told besides what dev sets anyway.
func fleetSettings(i int, dir, cluster string, clients, controllers []string) config.Settings {
	voters := make([]string, len(controllers))
	for j, c := range controllers {
		voters[j] = fmt.Sprintf("%d@%s", j+1, c)
	}
	set := config.Settings{}
	for k, v := range map[string]string{
		"node.id":                    strconv.Itoa(i + 1),
		"log.dirs":                   filepath.Join(dir, strconv.Itoa(i+1)),
		"cluster.id":                 cluster,
		"controller.quorum.voters":   strings.Join(voters, ","),
		"listeners":                  "PLAINTEXT://" + clients[i] + ",CONTROLLER://" + controllers[i],
		"default.replication.factor": strconv.Itoa(min(3, len(clients))),
		"min.insync.replicas":        strconv.Itoa(min(2, (len(clients)+1)/2)),
	} {
		set[k] = config.Setting{Value: v, Origin: devOrigin}
	}
	if i > 0 {
		set["admin.listener"] = config.Setting{Value: "127.0.0.1:0", Origin: devOrigin}
	}
	return set
}

// runFleet is runDev for several nodes.
func runFleet(a *app, ctx context.Context, f devFlags, listen, dir string) error {
	cluster, err := fleetCluster(dir)
	if err != nil {
		return err
	}
	clients, controllers, open, err := fleetPorts(listen, f.nodes)
	if err != nil {
		return nodeFault(config.NewBroker(nil), err)
	}
	all := make([]*config.Broker, f.nodes)
	for i := range all {
		defaults := config.Merge(devDefaults(listen, dir, a.verbose), fleetSettings(i, dir, cluster, clients, controllers))
		set, err := a.settings(f.settingFlags, defaults)
		if err == nil {
			all[i], err = a.resolve(set, f.strict)
		}
		if err == nil {
			err = exposed(all[i], f.insecure)
		}
		if err != nil {
			closeAll(open)
			return err
		}
	}
	if f.readyFile != "" {
		os.Remove(f.readyFile)
	}
	log, level := logger(a, all[0])
	n, err := openFleet(all, open, log, level)
	if err != nil {
		closeAll(open)
		return nodeFault(all[0], err)
	}
	return keep(ctx, all[0], n, f.readyFile, func(n node) { banner(a, all[0], n, f.ephemeral) })
}
