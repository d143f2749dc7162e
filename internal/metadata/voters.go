package metadata

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
)

// Voter is a member of a quorum to be, with the address of its controller
// listener, host:port.
type Voter struct {
	Node      int32
	Directory kafka.UUID // zero: see [StaticDirectory]
	Address   string
}

// votersKey is the line of meta.properties, in the metadata directory, that says
// where the first voters were. It is ours; others pass over it.
const votersKey = "myelin.initial.controllers"

// VotersOf parses controller.quorum.voters.
func VotersOf(props *config.Broker) ([]Voter, error) {
	list := props.List("controller.quorum.voters")
	if len(list) == 0 {
		return nil, nil
	}
	return ParseVoters(strings.Join(list, ","))
}

// For is how a node with these properties is to be formatted, where nothing else was
// said: as one of controller.quorum.voters if it is among several, as the only voter
// if nobody else is named anywhere, else as one that joins.
func (cfg FormatConfig) For(props *config.Broker) (FormatConfig, error) {
	if cfg.Join || len(cfg.Voters) > 0 {
		return cfg, nil
	}
	voters, err := VotersOf(props)
	self := slices.ContainsFunc(voters, func(v Voter) bool { return v.Node == cfg.NodeID })
	switch {
	case err != nil:
		return cfg, err
	case len(voters) == 0:
		cfg.Join = len(props.List("controller.quorum.bootstrap.servers")) > 0
	case !self:
		cfg.Join = true
	case len(voters) > 1:
		cfg.Voters = voters
	}
	return cfg, nil
}

// StaticDirectory is the directory.id of a voter that is named in
// controller.quorum.voters, where there is no room for one. All voters come to the
// same ids without having spoken. So does one that lost its disk and is formatted
// again in the same way; it has to be formatted as one that joins.
func StaticDirectory(cluster string, node int32) kafka.UUID {
	sum := sha256.Sum256([]byte("myelin voter " + cluster + " " + strconv.Itoa(int(node))))
	return kafka.UUID(sum[:16])
}

// ParseVoters reads voters as Kafka writes them, with commas between them:
// id@host:port in controller.quorum.voters, id@host:port:directory-id for its
// storage tool.
func ParseVoters(text string) ([]Voter, error) {
	var out []Voter
	for _, one := range strings.Split(text, ",") {
		one = strings.TrimSpace(one)
		id, rest, ok := strings.Cut(one, "@")
		node, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || node < 0 {
			return nil, fmt.Errorf("%q is no voter: want id@host:port, or id@host:port:directory-id", one)
		}
		v := Voter{Node: int32(node), Address: rest}
		if at := strings.LastIndexByte(rest, ':'); at > 0 {
			if dir, err := kafka.ParseUUID(rest[at+1:]); err == nil {
				v.Address, v.Directory = rest[:at], dir
			}
		}
		if _, port, err := net.SplitHostPort(v.Address); err != nil || port == "" {
			return nil, fmt.Errorf("%q is no voter: %s is not host:port", one, v.Address)
		}
		if slices.ContainsFunc(out, func(o Voter) bool { return o.Node == v.Node }) {
			return nil, fmt.Errorf("node %d is named twice among the voters", v.Node)
		}
		out = append(out, v)
	}
	return out, nil
}

// FormatVoters is the text of voters, see [ParseVoters].
func FormatVoters(list []Voter) string {
	var all []string
	for _, v := range list {
		one := fmt.Sprintf("%d@%s", v.Node, v.Address)
		if !v.Directory.IsZero() {
			one += ":" + v.Directory.String()
		}
		all = append(all, one)
	}
	return strings.Join(all, ",")
}

// check says whether voters can be those of one quorum.
func (cfg *FormatConfig) check() error {
	seen := map[kafka.UUID]int32{}
	for _, v := range cfg.Voters {
		if other, twice := seen[v.Directory]; twice && !v.Directory.IsZero() {
			return fmt.Errorf("voters %d and %d have the same directory.id %s", other, v.Node, v.Directory)
		}
		seen[v.Directory] = v.Node
	}
	members := map[uint64]int32{}
	for _, v := range cfg.Voters {
		m := quorum.Member{Node: v.Node, Directory: v.Directory}
		if v.Directory.IsZero() {
			continue // follows from the node
		}
		other, twice := members[m.ID()]
		if twice || !m.Valid() {
			return fmt.Errorf("the directory.id %s of voter %d cannot name a member of the quorum (it has to differ in its first 8 bytes from zero and from that of voter %d): draw another", v.Directory, v.Node, other)
		}
		members[m.ID()] = v.Node
	}
	if cfg.ClusterID == "" && len(cfg.Voters) > 1 {
		return errors.New("a quorum of several voters needs a cluster.id that all of them have: name one")
	}
	if cfg.ClusterID == "" && cfg.Join {
		return errors.New("a node that joins a cluster needs its cluster.id")
	}
	return nil
}

// voters are the rows with a directory each.
func (cfg *FormatConfig) voters(cluster string) []Voter {
	if cfg.Join {
		return nil
	}
	out := slices.Clone(cfg.Voters)
	for i := range out {
		if out[i].Directory.IsZero() {
			out[i].Directory = StaticDirectory(cluster, out[i].Node)
		}
	}
	return out
}

// identity is the directory.id of the metadata's directory: that of its row among
// the voters, else the one that was drawn.
func (cfg *FormatConfig) identity(info Info) kafka.UUID {
	for _, v := range info.Voters {
		if v.Node == info.NodeID {
			return v.Directory
		}
	}
	return info.DirectoryID
}

// members are the voters as the quorum takes them.
func (cfg *FormatConfig) members(self quorum.Member, voters []Voter) []quorum.Member {
	switch {
	case cfg.Join:
		return nil
	case len(voters) == 0:
		return []quorum.Member{self}
	}
	var all []quorum.Member
	for _, v := range voters {
		all = append(all, quorum.Member{Node: v.Node, Directory: v.Directory})
	}
	return all
}
