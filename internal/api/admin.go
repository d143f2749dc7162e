package api

import (
	"log/slog"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/replica"
)

// AdminHandlers answer what changes topics and configs, and what describes them.
type AdminHandlers struct {
	Metadata *metadata.Metadata
	Replicas LocalReplicas
	NodeID   int32

	// LogDirs lists the broker's log directories; it asks the disks.
	LogDirs func() []LogDir

	// Level is that of the root logger, which is the only one there is. Nil
	// keeps it as it is.
	Level *slog.LevelVar
}

// LocalReplicas are the copies of partitions that this broker holds, as
// [replica.Table] does.
type LocalReplicas interface {
	Replicas
	Standings(do func(*replica.Standing))
	Move(tp kafka.TopicPartition, dir string) error
}

// LogDir is one log directory.
type LogDir struct {
	Path        string
	Total, Free int64 // bytes of its volume, -1 unknown
	Cordoned    bool  // takes no new replicas (KIP-1066)
	Err         error // it cannot be used
}

func (h *AdminHandlers) rows() []Row {
	describe := Access{auth.Describe, auth.Topic}
	describeConfigs := []Access{{auth.DescribeConfigs, auth.Topic}, {auth.DescribeConfigs, auth.Cluster}, {auth.DescribeConfigs, auth.Group}}
	alterConfigs := []Access{{auth.AlterConfigs, auth.Topic}, {auth.AlterConfigs, auth.Cluster}, {auth.AlterConfigs, auth.Group}}
	return []Row{
		row(kafka.KeyCreateTopics, cold(h.createTopics), Access{auth.Create, auth.Topic}, Access{auth.Create, auth.Cluster},
			Access{auth.DescribeConfigs, auth.Topic}),
		row(kafka.KeyDeleteTopics, cold(h.deleteTopics), Access{auth.Delete, auth.Topic}, describe),
		row(kafka.KeyDeleteRecords, cold(h.deleteRecords), Access{auth.Delete, auth.Topic}, describe),
		row(kafka.KeyCreatePartitions, cold(h.createPartitions), Access{auth.Alter, auth.Topic}),
		row(kafka.KeyDescribeConfigs, cold(h.describeConfigs), describeConfigs...),
		row(kafka.KeyAlterConfigs, cold(h.alterConfigs), alterConfigs...),
		row(kafka.KeyIncrementalAlterConfigs, cold(h.incrementalAlterConfigs), alterConfigs...),
		row(kafka.KeyAlterPartitionReassignments, cold(h.alterPartitionReassignments), Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyElectLeaders, cold(h.electLeaders), Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyListPartitionReassignments, cold(h.listPartitionReassignments), Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyListConfigResources, cold(h.listConfigResources), Access{auth.DescribeConfigs, auth.Cluster}),
		row(kafka.KeyAlterReplicaLogDirs, cold(h.alterReplicaLogDirs), Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyDescribeLogDirs, cold(h.describeLogDirs), Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyDescribeClientQuotas, cold(h.describeClientQuotas), Access{auth.DescribeConfigs, auth.Cluster}),
		row(kafka.KeyDescribeUserScramCredentials, cold(h.describeUserScramCredentials), Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyAlterUserScramCredentials, cold(h.alterUserScramCredentials), Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyDescribeProducers, cold(h.describeProducers), Access{auth.Read, auth.Topic}, describe),
	}
}

// unauthorizedText is what Kafka adds to a refusal in responses with texts.
const unauthorizedText = "Authorization failed."
