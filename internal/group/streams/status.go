package streams

// What members are told of the group beside their tasks, as Kafka numbers it.
const (
	StaleTopology          int8 = 0
	MissingSourceTopics    int8 = 1
	IncorrectlyPartitioned int8 = 2
	MissingInternalTopics  int8 = 3
	ShutdownApplication    int8 = 4
	AssignmentDelayed      int8 = 5
	MissingClientTags      int8 = 6
)
