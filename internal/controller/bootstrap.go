package controller

import (
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// The features that this build knows. The level of the metadata gates the form
// of every later record; it is ours and does not count with Kafka's.
const (
	FeatureMetadata = "metadata.version"
	FeatureELR      = "eligible.leader.replicas.version"

	// MetadataLevel is the level that this build writes, and the highest it reads.
	MetadataLevel = 33
	elrLevel      = 1
)

// MinISR is the setting that eligible leader replicas rest on.
const MinISR = "min.insync.replicas"

// Supported are the features of this build with their ranges.
func Supported() []cluster.FeatureRange {
	return []cluster.FeatureRange{
		{Name: FeatureELR, Min: 0, Max: elrLevel},
		{Name: FeatureMetadata, Min: 7, Max: MetadataLevel},
	}
}

// Bootstrap gives the first records of a new cluster: the levels, the
// metadata's before all else, and the minimum ISR as a setting of all brokers,
// so that no broker's own file can disagree on which replicas hold what is
// committed.
func Bootstrap(s *State) Records {
	var recs Records
	for _, f := range []struct {
		name  string
		level int16
	}{{FeatureMetadata, MetadataLevel}, {FeatureELR, elrLevel}} {
		r := state.NewFeatureLevelRecord()
		r.Name, r.FeatureLevel = f.name, f.level
		recs = append(recs, &r)
	}
	r := state.NewConfigRecord()
	r.ResourceType, r.Name, r.Value = int8(cluster.BrokerResource), MinISR, new(s.Config.String(MinISR))
	return append(recs, &r)
}

// Bootstrapped says whether the first records are there.
func Bootstrapped(m *cluster.Image) bool { return m.Feature(FeatureMetadata) > 0 }
