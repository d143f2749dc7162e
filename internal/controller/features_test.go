package controller

import (
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestUpdateFeatures goes through what may be asked of a new cluster with one
// broker that knows no streams groups.
func TestUpdateFeatures(t *testing.T) {
	d := cluster.NewDelta(cluster.Empty("test-cluster-0000000000"))
	for _, f := range Supported() {
		if err := d.Replay(featureLevel(f.Name, f.Max)); err != nil {
			t.Fatal(err)
		}
	}
	b := state.NewRegisterBrokerRecord()
	b.BrokerID = 7
	for _, f := range Supported() {
		if f.Name != FeatureStreams {
			b.Features = append(b.Features, state.RegisterBrokerRecordFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
		}
	}
	if err := d.Replay(&b); err != nil {
		t.Fatal(err)
	}
	s := &State{Image: d.Apply(1, 1)}
	for _, c := range []struct {
		feature string
		level   int16
		kind    int8
		why     string // "" is success
		records int
	}{
		{FeatureTransactions, 2, upgrade, "", 0},
		{FeatureTransactions, 1, upgrade, "setting the upgrade type", 0},
		{FeatureTransactions, 1, safeDowngrade, "", 1},
		{FeatureTransactions, 0, unsafeDowngrade, "", 1},
		{FeatureTransactions, 3, upgrade, "Broker 7 only supports versions 0-2", 0},
		{FeatureTransactions, -1, upgrade, "cannot be less than 0", 0},
		{FeatureTransactions, 1, 0, "upgrade type", 0},
		{FeatureTransactions, 1, 9, "upgrade type", 0},
		{FeatureStreams, 1, upgrade, "Broker 7 does not support this feature.", 0},
		{FeatureMetadata, 30, safeDowngrade, "delete metadata", 0},
		{FeatureMetadata, MetadataLevel, upgrade, "", 0},
		{"nonsense.version", 1, upgrade, "does not support this feature", 0},
		{"nonsense.version", 0, upgrade, "Feature nonsense.version not found.", 0},
	} {
		req := msg.NewUpdateFeaturesRequest()
		req.FeatureUpdates = []msg.UpdateFeaturesRequestFeatureUpdate{{Feature: c.feature, MaxVersionLevel: c.level, UpgradeType: c.kind}}
		recs, resp := UpdateFeatures(s, &req, 2)
		got, text := kafka.Code(resp.ErrorCode), ""
		if resp.ErrorMessage != nil {
			text = *resp.ErrorMessage
		}
		want := kafka.None
		if c.why != "" {
			want = kafka.InvalidUpdateVersion
		}
		if got != want || !strings.Contains(text, c.why) || len(recs) != c.records {
			t.Errorf("%+v: %s %q, %d records", c, got.Name(), text, len(recs))
		}
		req.ValidateOnly = true
		if recs, resp := UpdateFeatures(s, &req, 1); len(recs) != 0 || kafka.Code(resp.ErrorCode) != want || want == kafka.None && len(resp.Results) != 1 {
			t.Errorf("%+v, only tried: %d records, %+v", c, len(recs), resp)
		}
	}

	// One that cannot be keeps the others from being.
	req := msg.NewUpdateFeaturesRequest()
	req.FeatureUpdates = []msg.UpdateFeaturesRequestFeatureUpdate{{Feature: FeatureShare, MaxVersionLevel: 1, UpgradeType: safeDowngrade},
		{Feature: FeatureGroup, MaxVersionLevel: 5, UpgradeType: upgrade}}
	if recs, resp := UpdateFeatures(s, &req, 2); len(recs) != 0 || kafka.Code(resp.ErrorCode) != kafka.InvalidUpdateVersion {
		t.Errorf("%d records, %+v", len(recs), resp)
	}
	// Of two wishes for one the last counts.
	req.FeatureUpdates = []msg.UpdateFeaturesRequestFeatureUpdate{{Feature: FeatureShare, MaxVersionLevel: 0, UpgradeType: safeDowngrade},
		{Feature: FeatureShare, MaxVersionLevel: 1, UpgradeType: safeDowngrade}}
	if recs, resp := UpdateFeatures(s, &req, 1); len(recs) != 1 || recs[0].(*state.FeatureLevelRecord).FeatureLevel != 1 || len(resp.Results) != 2 {
		t.Errorf("%v, %+v", recs, resp)
	}
	// Version 0 says otherwise that it wants to go down.
	req.FeatureUpdates = []msg.UpdateFeaturesRequestFeatureUpdate{{Feature: FeatureShare, MaxVersionLevel: 1, AllowDowngrade: true}}
	if recs, _ := UpdateFeatures(s, &req, 0); len(recs) != 1 {
		t.Errorf("%d records", len(recs))
	}
}
