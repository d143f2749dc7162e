//go:build compat

package compat

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// groupKeys are the settings of a group, and values of each that are odd: around
// the bounds of what it may be, and of another type.
var groupKeys = map[string][]string{
	"consumer.assignment.interval.ms":           {"0", "1000", "15000", "15001"},
	"consumer.assignor.offload.enable":          {"false", "TRUE"},
	"consumer.heartbeat.interval.ms":            {"4999", "5000", "15000", "15001"},
	"consumer.session.timeout.ms":               {"44999", "45000", "60000", "60001"},
	"errors.deadletterqueue.copy.record.enable": {"false", "true"},
	"errors.deadletterqueue.topic.name":         {"dlq.x", "x", "__consumer_offsets", "dlq.", "dlq.a b"},
	"share.assignment.interval.ms":              {"0", "1000", "15000", "15001"},
	"share.assignor.offload.enable":             {"false"},
	"share.auto.offset.reset":                   {"earliest", "latest", "LATEST", "by_duration:PT1H", "by_duration:-PT1H", "by_duration:x", "by_duration:PT0S", "none"},
	"share.delivery.count.limit":                {"1", "2", "5", "10", "11"},
	"share.heartbeat.interval.ms":               {"4999", "5000", "15000", "15001"},
	"share.isolation.level":                     {"read_committed", "READ_COMMITTED", "serializable"},
	"share.partition.max.record.locks":          {"99", "100", "2000", "4000", "4001", "10000"},
	"share.record.lock.duration.ms":             {"999", "1000", "14999", "15000", "60000", "60001"},
	"share.renew.acknowledge.enable":            {"false", "yes"},
	"share.session.timeout.ms":                  {"44999", "45000", "60000", "60001"},
	"streams.acceptable.recovery.lag":           {"0", "1", "10000000000"},
	"streams.assignment.interval.ms":            {"0", "15000", "15001"},
	"streams.assignor.name":                     {"sticky", "none", "uniform"},
	"streams.assignor.offload.enable":           {"false"},
	"streams.heartbeat.interval.ms":             {"4999", "5000", "15000", "15001"},
	"streams.initial.rebalance.delay.ms":        {"0", "3000", "2147483647"},
	"streams.num.standby.replicas":              {"0", "1", "2", "3"},
	"streams.num.warmup.replicas":               {"0", "1", "2", "20", "21"},
	"streams.rack.aware.assignment.tags":        {"a", "a,b", "a,a", "a,b,c,d,e,f"},
	"streams.session.timeout.ms":                {"44999", "45000", "60000", "60001"},
	"streams.task.offset.interval.ms":           {"14999", "15000", "60000", "3600000"},
	"no.such.setting":                           {"1"},
	"group.consumer.session.timeout.ms":         {"45000"},
	"retention.ms":                              {"1000"},
}

// The operations of IncrementalAlterConfigs.
const (
	opSet int8 = iota
	opDelete
	opAppend
	opSubtract
)

// setting is one wish about a setting.
type setting struct {
	name, value string
	op          int8
}

// alterGroups sends a wish to both brokers, only to be tried or for good.
func alterGroups(d *dialogue, step, group string, trial bool, all ...setting) {
	d.t.Helper()
	req := msg.NewIncrementalAlterConfigsRequest()
	req.ValidateOnly = trial
	r := msg.IncrementalAlterConfigsRequestResource{ResourceType: 32, ResourceName: group}
	for _, s := range all {
		c := msg.IncrementalAlterConfigsRequestResourceConfig{Name: s.name, ConfigOperation: s.op, Value: &s.value}
		if s.op == opDelete {
			c.Value = nil
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = []msg.IncrementalAlterConfigsRequestResource{r}
	ask[msg.IncrementalAlterConfigsResponse](d, step, 1, same(&req))
}

// describeSettings shows the settings of groups, all of them or those that are
// named.
func describeSettings(d *dialogue, step string, keys []string, groups ...string) {
	d.t.Helper()
	for v := int16(1); v <= 4; v++ {
		req := msg.NewDescribeConfigsRequest()
		req.IncludeSynonyms, req.IncludeDocumentation = true, v == 4
		for _, g := range groups {
			req.Resources = append(req.Resources, msg.DescribeConfigsRequestResource{ResourceType: 32, ResourceName: g, ConfigurationKeys: keys})
		}
		ask[msg.DescribeConfigsResponse](d, step, v, same(&req))
	}
}

// groupSettings tries every setting of a group with every odd value and
// operation, and sees where what holds comes from.
func groupSettings(d *dialogue) {
	const group = "settings"
	describeSettings(d, "nothing set", nil, group, "another", "")
	describeSettings(d, "some", []string{"share.session.timeout.ms", "no.such.setting"}, group)
	for name, values := range groupKeys {
		for _, v := range append([]string{"", " ", "-1", "0", "x", "1.5", "99999999999999999999"}, values...) {
			alterGroups(d, fmt.Sprintf("try %s=%s", name, v), group, true, setting{name, v, opSet})
		}
		for _, op := range []int8{opDelete, opAppend, opSubtract} {
			alterGroups(d, fmt.Sprintf("try operation %d on %s", op, name), group, true, setting{name, values[0], op})
		}
	}
	alterGroups(d, "no name of a group", "", true, setting{"share.session.timeout.ms", "45000", opSet})
	alterGroups(d, "twice", group, true, setting{"share.session.timeout.ms", "45000", opSet}, setting{"share.session.timeout.ms", "46000", opSet})
	alterGroups(d, "one of two is wrong", group, false, setting{"share.session.timeout.ms", "46000", opSet}, setting{"share.heartbeat.interval.ms", "1", opSet})
	alterGroups(d, "session below heartbeat", group, true, setting{"consumer.session.timeout.ms", "45000", opSet}, setting{"consumer.heartbeat.interval.ms", "15000", opSet})
	alterGroups(d, "nothing", group, false)
	describeSettings(d, "still nothing set", nil, group)
	alterGroups(d, "set", group, false, setting{"consumer.session.timeout.ms", "50000", opSet}, setting{"share.auto.offset.reset", "earliest", opSet},
		setting{"streams.num.standby.replicas", "1", opSet}, setting{"consumer.heartbeat.interval.ms", "6000", opSet})
	awaitConfig(d, group, "consumer.session.timeout.ms", "50000")
	describeSettings(d, "set", nil, group)
	list := msg.NewListConfigResourcesRequest()
	list.ResourceTypes = []int8{32}
	await(d, 1, same(&list), func(r *msg.ListConfigResourcesResponse) bool { return len(r.ConfigResources) > 0 })
	ask[msg.ListConfigResourcesResponse](d, "list", 1, same(&list))
	alterGroups(d, "taken back", group, false, setting{"consumer.session.timeout.ms", "", opDelete}, setting{"streams.num.warmup.replicas", "", opDelete})
	awaitConfig(d, group, "consumer.session.timeout.ms", "45000")
	describeSettings(d, "taken back", nil, group)
	old := msg.NewAlterConfigsRequest()
	old.Resources = []msg.AlterConfigsRequestResource{{ResourceType: 32, ResourceName: group, Configs: []msg.AlterConfigsRequestResourceConfig{
		{Name: "consumer.session.timeout.ms", Value: ptr("55000")}}}}
	for v := int16(0); v <= 2; v++ {
		ask[msg.AlterConfigsResponse](d, "all at once", v, same(&old))
	}
	awaitConfig(d, group, "consumer.session.timeout.ms", "55000")
	describeSettings(d, "all at once", nil, group)
	old.Resources[0].Configs[0].Value = ptr("1")
	ask[msg.AlterConfigsResponse](d, "all at once, wrong", 2, same(&old))
	old.Resources[0].Configs[0].Value = nil
	ask[msg.AlterConfigsResponse](d, "all at once, null", 2, same(&old))
	old.Resources[0].Configs = nil
	ask[msg.AlterConfigsResponse](d, "none at all", 2, same(&old))
	awaitConfig(d, group, "consumer.session.timeout.ms", "45000")
	describeSettings(d, "none at all", nil, group)
	brokerWide(d, "group.consumer.assignment.interval.ms", "3000", "consumer.assignment.interval.ms", group)
}

// brokerWide sets a default of the cluster and sees it in a group.
func brokerWide(d *dialogue, name, value, of, group string) {
	d.t.Helper()
	req := msg.NewIncrementalAlterConfigsRequest()
	r := msg.IncrementalAlterConfigsRequestResource{ResourceType: 4, ResourceName: "", Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}}}
	req.Resources = []msg.IncrementalAlterConfigsRequestResource{r}
	ask[msg.IncrementalAlterConfigsResponse](d, "default of the cluster", 1, same(&req))
	awaitConfig(d, group, of, value)
	describeSettings(d, "default of the cluster", nil, group)
	req.Resources[0].Configs[0].ConfigOperation, req.Resources[0].Configs[0].Value = opDelete, nil
	ask[msg.IncrementalAlterConfigsResponse](d, "default of the cluster taken back", 1, same(&req))
	awaitConfig(d, group, of, "1000")
}
