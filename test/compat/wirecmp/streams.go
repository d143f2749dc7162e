package wirecmp

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// streamsRequests are those of streams groups: a member joins a group of its own,
// whose topology reads a topic and keeps nothing.
func streamsRequests(m map[int16]Build) {
	m[kafka.KeyStreamsGroupHeartbeat] = func(label string) msg.Request {
		r := msg.NewStreamsGroupHeartbeatRequest()
		r.GroupID, r.MemberID, r.ProcessID, r.RebalanceTimeoutMs = "streams-"+label, "m1", ptr("p1"), 30000
		r.Topology = &msg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []msg.StreamsGroupHeartbeatRequestTopologySubtopology{
			{SubtopologyID: "0", SourceTopics: []string{Topic}},
		}}
		r.ActiveTasks, r.StandbyTasks, r.WarmupTasks = []msg.StreamsGroupHeartbeatRequestTaskID{}, []msg.StreamsGroupHeartbeatRequestTaskID{}, []msg.StreamsGroupHeartbeatRequestTaskID{}
		r.UserEndpoint = &msg.StreamsGroupHeartbeatRequestEndpoint{Host: "h", Port: 80}
		r.ClientTags = []msg.StreamsGroupHeartbeatRequestKeyValue{{Key: "zone", Value: "z1"}}
		r.TaskOffsets = []msg.StreamsGroupHeartbeatRequestTaskOffset{{SubtopologyID: "0", Partition: 1, Offset: 5}}
		r.TaskEndOffsets = []msg.StreamsGroupHeartbeatRequestTaskOffset{{SubtopologyID: "0", Partition: 1, Offset: 9}}
		return &r
	}
	m[kafka.KeyStreamsGroupDescribe] = func(string) msg.Request {
		return &msg.StreamsGroupDescribeRequest{GroupIDs: []string{"streams-none"}, IncludeAuthorizedOperations: true, IncludeTopologyDescription: true}
	}
	m[kafka.KeyStreamsGroupTopologyDescriptionUpdate] = func(string) msg.Request {
		return &msg.StreamsGroupTopologyDescriptionUpdateRequest{GroupID: "streams-none", MemberID: "m1",
			TopologyDescription: msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription{
				Subtopologies: []msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionSubtopology{{SubtopologyID: "0",
					Nodes: []msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode{{Name: "source", NodeType: 1, SourceTopics: []string{Topic}}}}},
			}}
	}
}
