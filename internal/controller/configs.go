package controller

import (
	"strconv"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// IncrementalAlterConfigs decides on changes of settings (KIP-339). Those of one
// resource all hold or none. node is the broker that was asked: a broker's own
// settings are changed there.
func IncrementalAlterConfigs(s *State, req *msg.IncrementalAlterConfigsRequest, node int32) (Records, *msg.IncrementalAlterConfigsResponse) {
	resp := msg.NewIncrementalAlterConfigsResponse()
	named := map[cluster.Resource]int{}
	for i := range req.Resources {
		named[resourceOf(req.Resources[i].ResourceType, req.Resources[i].ResourceName)]++
	}
	var recs Records
	for i := range req.Resources {
		rr := &req.Resources[i]
		res := resourceOf(rr.ResourceType, rr.ResourceName)
		changes := make([]config.Change, 0, len(rr.Configs))
		for _, c := range rr.Configs {
			changes = append(changes, config.Change{Name: c.Name, Op: config.Op(c.ConfigOperation), Value: c.Value})
		}
		more, err := s.alterConfigs(res, changes, node, named[res] > 1, s.Config.Alter)
		recs = append(recs, more...)
		row := msg.IncrementalAlterConfigsResponseResponse{ResourceType: rr.ResourceType, ResourceName: rr.ResourceName}
		row.ErrorCode, row.ErrorMessage = answer(err)
		resp.Responses = append(resp.Responses, row)
	}
	if req.ValidateOnly {
		return nil, &resp
	}
	return append(recs, s.elections(recs)...), &resp
}

// AlterConfigs decides on new settings that replace all that a resource has; old
// tools still ask so.
func AlterConfigs(s *State, req *msg.AlterConfigsRequest, node int32) (Records, *msg.AlterConfigsResponse) {
	resp := msg.NewAlterConfigsResponse()
	named := map[cluster.Resource]int{}
	for i := range req.Resources {
		named[resourceOf(req.Resources[i].ResourceType, req.Resources[i].ResourceName)]++
	}
	var recs Records
	for i := range req.Resources {
		rr := &req.Resources[i]
		res := resourceOf(rr.ResourceType, rr.ResourceName)
		pairs := make([]config.Change, 0, len(rr.Configs))
		for _, c := range rr.Configs {
			pairs = append(pairs, config.Change{Name: c.Name, Value: c.Value})
		}
		more, err := s.alterConfigs(res, pairs, node, named[res] > 1, s.Config.Replace)
		recs = append(recs, more...)
		row := msg.AlterConfigsResponseResponse{ResourceType: rr.ResourceType, ResourceName: rr.ResourceName}
		row.ErrorCode, row.ErrorMessage = answer(err)
		resp.Responses = append(resp.Responses, row)
	}
	if req.ValidateOnly {
		return nil, &resp
	}
	return append(recs, s.elections(recs)...), &resp
}

func resourceOf(kind int8, name string) cluster.Resource {
	return cluster.Resource{Kind: cluster.Kind(kind), Name: name}
}

// alteration is how package config applies changes, or a replacement, to settings.
type alteration func(r config.Resource, current map[string]string, changes []config.Change) ([]config.Delta, error)

func (s *State) alterConfigs(res cluster.Resource, changes []config.Change, node int32, twice bool, apply alteration) (Records, error) {
	if twice {
		return nil, refuse(kafka.InvalidRequest, "Each resource must appear at most once.")
	}
	if err := s.checkResource(res, node); err != nil {
		return nil, err
	}
	deltas, err := apply(config.Resource{Scope: scopes[res.Kind], Name: res.Name}, s.Image.Config(res).Map(), changes)
	if err != nil {
		return nil, err
	}
	var recs Records
	for _, d := range deltas {
		if err := s.guardMinISR(res, d); err != nil {
			return nil, err
		}
		recs = append(recs, configRecord(res, d.Name, d.Value))
	}
	return recs, nil
}

// checkResource says whether there is such a thing and whether this broker may
// be asked to change it.
func (s *State) checkResource(res cluster.Resource, node int32) error {
	switch res.Kind {
	case cluster.TopicResource:
		if res.Name == "" {
			return refuse(kafka.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := CheckTopicName(res.Name); err != nil {
			return err
		}
		if s.Image.Topic(res.Name) == nil {
			return refuse(kafka.UnknownTopicOrPartition, "The topic '%s' does not exist.", res.Name)
		}
	case cluster.BrokerResource:
		if res.Name == "" {
			return nil
		}
		id, err := strconv.ParseInt(res.Name, 10, 32)
		if err != nil {
			return refuse(kafka.InvalidRequest, "Node id must be an integer, but it is: %s", res.Name)
		}
		if int32(id) != node {
			return refuse(kafka.InvalidRequest, "Unexpected broker id, expected %d, but received %s", node, res.Name)
		}
	case cluster.GroupResource:
		if res.Name == "" {
			return refuse(kafka.InvalidRequest, "Default group resources are not allowed.")
		}
	case cluster.ClientMetricsResource:
		if res.Name == "" {
			return refuse(kafka.InvalidRequest, "Subscription name can't be empty")
		}
	default:
		return refuse(kafka.InvalidRequest, "Unknown resource type %d", res.Kind)
	}
	return nil
}

// guardMinISR keeps the minimum ISR one setting for all brokers while eligible
// leader replicas rest on it.
func (s *State) guardMinISR(res cluster.Resource, d config.Delta) error {
	switch {
	case res.Kind != cluster.BrokerResource || d.Name != MinISR || !s.elr():
		return nil
	case res.Name != "":
		return refuse(kafka.InvalidConfig, "Broker-level %s cannot be altered while ELR is enabled.", MinISR)
	case d.Value == nil:
		return refuse(kafka.InvalidConfig, "Cluster-level %s cannot be removed while ELR is enabled.", MinISR)
	}
	return nil
}

// elections are what changes of settings bring about at once: a topic that may
// elect a replica which misses records does so where nobody leads, and where a
// smaller ISR suffices, those that left it are no longer known to hold all that
// is committed.
func (s *State) elections(recs Records) Records {
	concerned := map[string]bool{} // topics; "" is all
	for _, r := range recs {
		if c, ok := r.(*state.ConfigRecord); ok && (c.Name == MinISR || c.Name == Unclean) &&
			(cluster.Kind(c.ResourceType) == cluster.TopicResource || c.ResourceName == "") {
			concerned[c.ResourceName] = true
		}
	}
	if len(concerned) == 0 {
		return nil
	}
	return s.after(recs).sweep(func(c *change) bool {
		return (concerned[""] || concerned[c.t.Name]) && (c.p.Leader == kafka.NoBroker || len(c.p.ELR) > 0)
	})
}
