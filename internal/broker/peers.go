package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/peer"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// newPeers makes the connections to other nodes. None is opened before there is
// another node to speak to.
func newPeers(b *Broker) *peer.Pool {
	changed := func(node int32) { b.metadata.Down(node) }
	return peer.New(peer.Config{
		Self: b.self, ClusterID: b.dirs.info.ClusterID, ClientID: "myelin-" + strconv.Itoa(int(b.self)),
		Dial:    func(ctx context.Context, addr string) (net.Conn, error) { return b.cfg.Dial(ctx, "tcp", addr) },
		Address: func(node int32, controller bool) (string, bool) { return b.metadata.Address(node, controller) },
		Down:    changed, Refused: changed,
		Rand: b.dice(), Logger: b.logger.With("component", "peer"),
	})
}

// nodes are the other nodes as the metadata sees them.
type nodes struct{ *Broker }

var _ metadata.Peers = nodes{}

// Ask is as [metadata.Peers] says. Heartbeats have a connection of their own.
func (n nodes) Ask(ctx context.Context, node int32, req msg.Request, resp msg.Response, version int16) error {
	why := peer.Control
	if q, ok := req.(*msg.ControllerAskRequest); ok && q.APIKey == kafka.KeyBrokerHeartbeat {
		why = peer.Heartbeat
	}
	return n.peers.To(node, why).Do(ctx, req, resp, version)
}

// Probe is as [metadata.Peers] says.
func (n nodes) Probe(ctx context.Context, node int32) bool {
	for _, controller := range []bool{false, true} {
		addr, ok := n.metadata.Address(node, controller)
		if !ok {
			continue
		}
		conn, err := n.cfg.Dial(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil || !errors.Is(err, syscall.ECONNREFUSED)
	}
	return true
}

// quorumConfig is what the properties say of the quorum, and the directory that was
// formatted with it.
type quorumConfig struct {
	voters    []metadata.Voter
	bootstrap []string
}

// newQuorumConfig reads it. What the properties name comes first: addresses may have
// changed since the directory was formatted.
func newQuorumConfig(props *config.Broker, info metadata.Info) (quorumConfig, error) {
	voters, err := metadata.VotersOf(props)
	if err != nil {
		return quorumConfig{}, err
	}
	q := quorumConfig{voters: append(voters, info.Voters...), bootstrap: props.List("controller.quorum.bootstrap.servers")}
	if len(q.bootstrap) == 0 {
		for _, v := range q.voters {
			if v.Node != props.NodeID() && !slices.Contains(q.bootstrap, v.Address) {
				q.bootstrap = append(q.bootstrap, v.Address)
			}
		}
	}
	return q, nil
}

// rolesOf is what process.roles says.
func rolesOf(props *config.Broker) metadata.Roles {
	roles := props.List("process.roles")
	return metadata.Roles{Broker: slices.Contains(roles, "broker"), Controller: slices.Contains(roles, "controller")}
}

// loner says that a directory was formatted as the only voter of a cluster of its
// own, while the properties name several: three such nodes would be three clusters.
func loner(cfg *Config, dir string) error {
	voters, err := metadata.VotersOf(cfg.Properties)
	self := cfg.Properties.NodeID()
	if err != nil || len(voters) < 2 || !slices.ContainsFunc(voters, func(v metadata.Voter) bool { return v.Node == self }) {
		return err
	}
	saved, err := quorum.ReadState(cfg.FS, quorum.Folder(dir))
	if err != nil || len(saved.Voters) != 1 || saved.Voters[0] != saved.Self.RaftID {
		return nil // what is wrong with it is said by who opens it
	}
	return fmt.Errorf("directory %s belongs to the only voter of a cluster, but controller.quorum.voters names %d: "+
		"format an empty directory with these properties, or name the others once the quorum has them", dir, len(voters))
}

// formatting says how an empty directory of this node is to be formatted.
func formatting(cfg *Config, f metadata.FormatConfig) (metadata.FormatConfig, error) {
	f.Join = cfg.Join
	return f.For(cfg.Properties)
}
