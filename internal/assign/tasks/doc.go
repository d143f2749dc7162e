// Package tasks assigns the tasks of a Kafka Streams application to its members:
// the sticky assignor of streams groups (KIP-1071).
//
//	subtopologies ─▶ tasks ─┬─ active   1. to who has it
//	                        │           2. to who has a copy of its state
//	                        │           3. to who has the least to do
//	                        └─ standby  the same in three steps, as many as are
//	                                    wanted, never in a process that has the task
//
// The words used here:
//
//   - A task is one partition of a subtopology. It is stateful if the subtopology
//     has a changelog, and only then has standbys, which copy its state.
//   - A member is a thread. Members of one process share its disk: one copy of a
//     state is enough for all of them, and a second one is no help when the
//     process dies.
//   - A member's quota is its even share of what is not given out yet. Steps 1 and
//     2 stop there, and that is what keeps the assignment balanced.
//
// The assignment is the one that Kafka 4.4 makes, up to the order among equals: it
// goes by the order of hash tables there, by the order of ids here. Equal
// arguments give equal results, in whatever order they stand.
package tasks
