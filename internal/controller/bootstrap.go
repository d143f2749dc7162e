package controller

import (
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// The features that this build knows. The level of the metadata gates the form
// of every later record; it is ours and does not count with Kafka's.
const (
	FeatureMetadata     = "metadata.version"
	FeatureELR          = "eligible.leader.replicas.version"
	FeatureGroup        = "group.version"       // KIP-848 from 1 on
	FeatureShare        = "share.version"       // KIP-932 from 1 on
	FeatureStreams      = "streams.version"     // KIP-1071 from 1 on
	FeatureTransactions = "transaction.version" // KIP-890: 1 flexible records, 2 an epoch for each transaction

	// MetadataLevel is the level that this build writes, and the highest it reads.
	MetadataLevel = 33
)

// MinISR is the setting that eligible leader replicas rest on.
const MinISR = "min.insync.replicas"

// Supported are the features of this build with their ranges, by name.
func Supported() []cluster.FeatureRange {
	return []cluster.FeatureRange{
		{Name: FeatureELR, Min: 0, Max: 1},
		{Name: FeatureGroup, Min: 0, Max: 1},
		{Name: FeatureMetadata, Min: 7, Max: MetadataLevel},
		{Name: FeatureShare, Min: 0, Max: 2},
		{Name: FeatureStreams, Min: 0, Max: 1},
		{Name: FeatureTransactions, Min: 0, Max: 2},
	}
}

// Bootstrap gives the first records of a new cluster: the highest levels, the
// metadata's before all else, and the minimum ISR as a setting of all brokers,
// so that no broker's own file can disagree on which replicas hold what is
// committed.
func Bootstrap(s *State) Records {
	recs := Records{featureLevel(FeatureMetadata, MetadataLevel)}
	for _, f := range Supported() {
		if f.Name != FeatureMetadata {
			recs = append(recs, featureLevel(f.Name, f.Max))
		}
	}
	r := state.NewConfigRecord()
	r.ResourceType, r.Name, r.Value = int8(cluster.BrokerResource), MinISR, new(s.Config.String(MinISR))
	return append(recs, &r)
}

func featureLevel(name string, level int16) *state.FeatureLevelRecord {
	r := state.NewFeatureLevelRecord()
	r.Name, r.FeatureLevel = name, level
	return &r
}

// Bootstrapped says whether the first records are there.
func Bootstrapped(m *cluster.Image) bool { return m.Feature(FeatureMetadata) > 0 }
