//go:build compat

package compat

import (
	"fmt"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// Features are brought up and down while the brokers run, and protocols are turned
// off by property: what then is served, and what is told, is as in Kafka.
func TestWireFeatures(t *testing.T) {
	for name, play := range map[string]struct {
		properties []string
		talk       func(*dialogue)
	}{
		"levels":       {[]string{"group.share.assignment.interval.ms=0", "group.streams.initial.rebalance.delay.ms=0"}, featureLevels},
		"classic only": {[]string{"group.coordinator.rebalance.protocols=classic"}, gated},
		"no streams":   {[]string{"group.coordinator.rebalance.protocols=classic,consumer"}, gated},
	} {
		t.Run(name, func(t *testing.T) {
			c := &comparison{peers: startBoth(t, play.properties...), listed: listed(t)}
			d := &dialogue{t: t, name: name, c: c, answers: new(int)}
			d.connect()
			play.talk(d)
			t.Logf("%d answers compared", *d.answers)
		})
	}
}

// gated asks by every API that a feature or a property can turn off, in every
// version, and says what the broker can do.
func gated(d *dialogue) {
	d.t.Helper()
	for _, key := range []int16{
		kafka.KeyConsumerGroupHeartbeat, kafka.KeyConsumerGroupDescribe, kafka.KeyStreamsGroupHeartbeat, kafka.KeyStreamsGroupDescribe,
		kafka.KeyStreamsGroupTopologyDescriptionUpdate, kafka.KeyShareGroupHeartbeat, kafka.KeyShareGroupDescribe, kafka.KeyShareFetch,
		kafka.KeyShareAcknowledge, kafka.KeyDescribeShareGroupOffsets, kafka.KeyAlterShareGroupOffsets, kafka.KeyDeleteShareGroupOffsets,
		kafka.KeyInitializeShareGroupState, kafka.KeyReadShareGroupState, kafka.KeyWriteShareGroupState, kafka.KeyDeleteShareGroupState,
		kafka.KeyReadShareGroupStateSummary,
	} {
		api, _ := msg.APIByKey(key)
		for v := api.Min; v <= api.Max; v++ {
			d.raw("ordinary", key, v)
		}
	}
	for v := int16(0); v <= 5; v++ {
		req := msg.NewAPIVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "wirecmp", "1"
		ask[msg.APIVersionsResponse](d, "what is there", v, same(&req))
	}
}

// raw asks what is ordinary for an API.
func (d *dialogue) raw(step string, key, version int16) {
	d.t.Helper()
	var bodies [2][]byte
	for i, p := range d.peers {
		bodies[i] = wirecmp.Ordinary(p)[key](fmt.Sprint(step, version)).Append(nil, version)
	}
	outcomes, answers, err := exchange(d.peers, key, version, bodies)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, line := range wirecmp.Differences(key, version, outcomes, answers) {
		if !allowed(d.c.listed, kafka.KeyName(key), d.name+": "+step, line) {
			d.t.Errorf("%s v%d [%s: %s] %.300s", kafka.KeyName(key), version, d.name, step, line)
		}
	}
	*d.answers++
}

// level is one wish about a feature.
type level struct {
	feature string
	level   int16
	kind    int8 // 1 upgrade, 2 safe, 3 unsafe downgrade
}

// update asks for levels in every version, first as a trial where there is one.
func update(d *dialogue, step string, only int16, levels ...level) {
	d.t.Helper()
	for v := int16(0); v <= 2; v++ {
		for _, trial := range []bool{true, false} {
			if trial && v == 0 || !trial && only >= 0 && v != only {
				continue
			}
			req := msg.NewUpdateFeaturesRequest()
			req.TimeoutMs, req.ValidateOnly = 10000, trial
			for _, l := range levels {
				u := msg.NewUpdateFeaturesRequestFeatureUpdate()
				u.Feature, u.MaxVersionLevel, u.UpgradeType, u.AllowDowngrade = l.feature, l.level, l.kind, l.kind > 1
				req.FeatureUpdates = append(req.FeatureUpdates, u)
			}
			ask[msg.UpdateFeaturesResponse](d, fmt.Sprintf("%s, trial %t", step, trial), v, same(&req))
		}
	}
}

// awaitLevel returns when both brokers know of a level.
func awaitLevel(d *dialogue, feature string, level int16) {
	d.t.Helper()
	req := msg.NewAPIVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "wirecmp", "1"
	await(d, 4, same(&req), func(r *msg.APIVersionsResponse) bool {
		for _, f := range r.FinalizedFeatures {
			if f.Name == feature {
				return f.MaxVersionLevel == level
			}
		}
		return level == 0
	})
}

// featureLevels goes through the levels of each feature with groups alive.
func featureLevels(d *dialogue) {
	gated(d)
	for _, feature := range []string{"group.version", "streams.version", "share.version", "transaction.version", "eligible.leader.replicas.version", "metadata.version", "none"} {
		for _, to := range []int16{-1, 0, 1, 2, 3, 99} {
			for kind := int8(0); kind <= 4; kind++ {
				trial := msg.NewUpdateFeaturesRequest()
				trial.TimeoutMs, trial.ValidateOnly = 10000, true
				u := msg.NewUpdateFeaturesRequestFeatureUpdate()
				u.Feature, u.MaxVersionLevel, u.UpgradeType = feature, to, kind
				trial.FeatureUpdates = []msg.UpdateFeaturesRequestFeatureUpdate{u}
				ask[msg.UpdateFeaturesResponse](d, fmt.Sprintf("%s %d by %d", feature, to, kind), 2, same(&trial))
			}
		}
	}
	ids := d.newTopic("featured", 2)
	instantly(d, "featured")
	m := &consumerMember{d: d, group: "featured", id: "m", topic: ids, version: 1, names: []string{"featured"}}
	m.beat("joins")
	classic := &member{d: d, v: groupVersions{9, 5, 4, 5, 9, 9}, group: "featured", generation: -1, topic: "featured"}
	classic.join("asks for an id", "range")
	classic.join("joins beside", "range")
	update(d, "down without saying so", -1, level{"group.version", 0, 1})
	for _, down := range []level{{"group.version", 0, 2}, {"streams.version", 0, 3}, {"share.version", 0, 2}, {"share.version", 1, 1}, {"share.version", 2, 1}, {"transaction.version", 1, 2}, {"transaction.version", 0, 3}} {
		step := fmt.Sprintf("%s=%d", down.feature, down.level)
		update(d, step, 1, down)
		awaitLevel(d, down.feature, down.level)
		e := *d
		e.name += ": " + step
		gated(&e)
		if down.feature == "group.version" {
			m.as("with the feature off", m.epoch, nil)
			classic.heartbeat("with the feature off")
			committing{"featured", "featured", ids, "m", m.epoch}.commits(d, "with the feature off")
			fetches(d, "featured", "featured")
			listGroups(d)
			classic.seen("with the feature off")
			classic.deleteGroup("delete with the feature off")
		}
	}
	both := []level{{"group.version", 1, 1}, {"streams.version", 7, 1}}
	update(d, "one of two fails", -1, both...)
	both[1].level = 1
	update(d, "two at once", 2, both...)
	awaitLevel(d, "streams.version", 1)
	update(d, "named twice", -1, level{"group.version", 0, 2}, level{"group.version", 1, 1})
	update(d, "none", -1)
	m.as("with the feature on again", m.epoch, nil)
	update(d, "transactions up", 2, level{"transaction.version", 2, 1})
	awaitLevel(d, "transaction.version", 2)
	gated(d)
}
