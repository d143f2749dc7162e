package broker

import (
	"net/http"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/quota"
)

// newTable makes the dispatch table with every handler that this node has.
func (b *Broker) newTable(props *config.Broker) (*api.Table, error) {
	return api.NewTable(api.Config{
		Data: &api.DataHandlers{
			Replicas: b.replicas, Image: b.metadata.Image, NodeID: b.self,
			Sessions:      api.NewFetchSessions(props.Int("max.incremental.fetch.session.cache.slots"), b.dice(), b.cfg.Now),
			FetchMaxBytes: int32(props.Int("fetch.max.bytes")),
		},
		Groups:     &api.GroupHandlers{},
		Admin:      &api.AdminHandlers{},
		Cluster:    &api.ClusterHandlers{},
		Self:       api.Self{NodeID: b.self, Image: b.metadata.Image},
		Authorizer: auth.AllowAll{},
		Quotas:     quota.Unlimited{},
		Metrics:    b.requests,
		Logger:     b.logger.With("component", "api"),
		Now:        b.cfg.Now,
	})
}

func (b *Broker) newMetrics() http.Handler { return http.NotFoundHandler() }
