package metadata

import (
	"fmt"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// RaftMessages answers RaftMessages: messages of the quorum from another member.
//
//	cluster  INCONSISTENT_CLUSTER_ID
//	member   INVALID_VOTER_KEY: they are for another directory, which this node had once
//	step     INVALID_REQUEST: it is no message
func (m *Metadata) RaftMessages(req *msg.RaftMessagesRequest) *msg.RaftMessagesResponse {
	resp := msg.NewRaftMessagesResponse()
	resp.Directory = m.node.Self().Directory
	from := quorum.Member{Node: req.FromNode, Directory: req.FromDirectory}
	err := door{m}.meant(req.ClusterID, from, quorum.Member{Node: req.ToNode, Directory: req.ToDirectory})
	for i := range req.Messages {
		if err != nil {
			break
		}
		err = m.node.Step(from, req.Messages[i].Data)
	}
	resp.ErrorCode, resp.ErrorMessage = outcome(err)
	return &resp
}

// RaftSnapshot answers RaftSnapshot: a piece of a snapshot from another member. Its
// errors are those of RaftMessages and
//
//	piece    CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR
func (m *Metadata) RaftSnapshot(req *msg.RaftSnapshotRequest) *msg.RaftSnapshotResponse {
	resp := msg.NewRaftSnapshotResponse()
	resp.Directory = m.node.Self().Directory
	from := quorum.Member{Node: req.FromNode, Directory: req.FromDirectory}
	err := door{m}.meant(req.ClusterID, from, quorum.Member{Node: req.ToNode, Directory: req.ToDirectory})
	if err == nil {
		resp.Position, err = m.node.Receive(quorum.Piece{
			From: from, Name: req.Name, Size: req.Size, Position: req.Position,
			Checksum: req.Checksum, Data: req.Piece, Message: req.Message,
		})
	}
	if err != nil && kafka.CodeOf(err) == kafka.UnknownServerError {
		err = fmt.Errorf("%w: %w", kafka.KafkaStorageError, err)
	}
	resp.ErrorCode, resp.ErrorMessage = outcome(err)
	return &resp
}

// outcome is answer where there may be no error.
func outcome(err error) (code int16, text *string) {
	if err == nil {
		return 0, nil
	}
	return answer(err)
}

// meant says whether this node is whom another one of the same cluster means.
func (m door) meant(cluster string, from, to quorum.Member) error {
	self := m.node.Self()
	switch {
	case cluster != m.cfg.ClusterID:
		return m.stranger(from, fmt.Errorf("node %d belongs to cluster %s, this is cluster %s: %w", from.Node, cluster, m.cfg.ClusterID, kafka.InconsistentClusterID))
	case to != self:
		return m.stranger(from, fmt.Errorf("this is node %d with directory.id %s, not node %d with %s: %w", self.Node, self.Directory, to.Node, to.Directory, kafka.InvalidVoterKey))
	case from.Node == self.Node:
		return m.stranger(from, fmt.Errorf("this is node %d too, with another directory.id: %w", self.Node, kafka.InvalidVoterKey))
	}
	return nil
}

// stranger tells the log of a node that was refused, once for each.
func (m door) stranger(from quorum.Member, err error) error {
	if m.strangers.first(from) {
		m.cfg.Logger.Error("messages of the metadata quorum are refused", "node", from.Node, "directory", from.Directory, "err", err)
	}
	return err
}

// strangers are those that the log knows of.
type strangers struct {
	mu struct {
		sync.Mutex // memory only
		known      map[quorum.Member]bool
	}
}

// maxStrangers is how many they may be; the log is told of no more.
const maxStrangers = 100

// first is true once for each stranger.
func (s *strangers) first(m quorum.Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.known[m] || len(s.mu.known) >= maxStrangers {
		return false
	}
	if s.mu.known == nil {
		s.mu.known = map[quorum.Member]bool{}
	}
	s.mu.known[m] = true
	return true
}
