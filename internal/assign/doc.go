// Package assign decides which member of a group reads which partition.
//
//	members with what they subscribe to ─┐
//	what each had in the last assignment ─┼──▶ an [Assignor] ──▶ a [Set] for each member
//	topics with their partitions         ─┘
//
// It is pure: the same group gives the same assignment, whatever the order in
// which anything was learned. Two promises hold for every assignor:
//
//   - each partition of a topic that somebody subscribes to has exactly one
//     member, and that member subscribes to the topic;
//   - nobody gets a topic that is not there, or a partition beyond the last.
//
// [Uniform] gives all members the same number of partitions, as far as their
// subscriptions let it, and moves as few partitions as that needs. [Range] gives
// each member the same range of every topic, so that partitions with the same
// number meet at the same member; it moves what that needs.
//
// Racks play no part: the assignors of Apache Kafka 4.4 do not look at them
// either. A change of racks does lead to a new assignment, see package
// group/consumer.
package assign
