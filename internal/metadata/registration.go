package metadata

import (
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// registration is how this process is known to the cluster as a broker.
type registration struct {
	incarnation kafka.UUID   // of this process
	epoch       atomic.Int64 // 0 until in service for the first time
	fenced      atomic.Bool  // not in service as of the last image
}

// request is the registration as a request, with every listener.
func (r *registration) request(cfg *Config) *msg.BrokerRegistrationRequest {
	req := msg.NewBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = cfg.NodeID, cfg.ClusterID, r.incarnation
	req.Rack, req.LogDirs, req.PreviousBrokerEpoch = cfg.Rack, cfg.LogDirs, cfg.PreviousEpoch
	for _, e := range cfg.Endpoints {
		req.Listeners = append(req.Listeners, msg.BrokerRegistrationRequestListener{
			Name: e.Listener, Host: e.Host, Port: e.Port, SecurityProtocol: e.Protocol})
	}
	for _, f := range controller.Supported() {
		req.Features = append(req.Features, msg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	return &req
}

// in says whether the image shows this process as a broker.
func (r *registration) in(img *cluster.Image, node int32) bool {
	b := img.Broker(node)
	return b != nil && b.Incarnation == r.incarnation
}

// seen looks for this process in a new image; the first that shows it in service
// opens ready. It says whether anything about it is new.
func (r *registration) seen(img *cluster.Image, node int32, ready chan struct{}) bool {
	b := img.Broker(node)
	if b == nil || b.Incarnation != r.incarnation {
		return !r.fenced.Swap(true)
	}
	first := r.epoch.Load() == 0
	news := r.fenced.Swap(b.Fenced) != b.Fenced || r.epoch.Load() != b.Epoch
	if !first || !b.Fenced {
		r.epoch.Store(b.Epoch)
	}
	if first && !b.Fenced {
		close(ready)
	}
	return news
}

// BrokerEpoch is the epoch under which this broker is registered, -1 before.
func (m *Metadata) BrokerEpoch() int64 {
	if e := m.self.epoch.Load(); e != 0 {
		return e
	}
	return -1
}
