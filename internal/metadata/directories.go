package metadata

import (
	"context"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// AssignReplicasToDirs answers AssignReplicasToDirs: a broker says in which log
// directories its replicas are.
func (m *Metadata) AssignReplicasToDirs(ctx context.Context, req *msg.AssignReplicasToDirsRequest) *msg.AssignReplicasToDirsResponse {
	resp, err := ask[msg.AssignReplicasToDirsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewAssignReplicasToDirsResponse())
		resp.ErrorCode, _ = answer(err)
	}
	return resp
}

// ReportDirs tells the controller which of this broker's log directories are
// offline and which are cordoned, as a heartbeat does. This broker must be
// registered.
func (m *Metadata) ReportDirs(ctx context.Context, offline, cordoned []kafka.UUID) error {
	req := msg.NewBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch = m.cfg.NodeID, m.BrokerEpoch()
	req.CurrentMetadataOffset = m.Image().Index()
	req.OfflineLogDirs, req.CordonedLogDirs = offline, append([]kafka.UUID{}, cordoned...)
	resp, err := ask[msg.BrokerHeartbeatResponse](ctx, m, &req, newest(&req))
	if err == nil && resp.ErrorCode != 0 {
		err = kafka.Code(resp.ErrorCode)
	}
	return err
}
