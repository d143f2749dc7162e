// Package classic decides what happens in a group of the classic rebalance
// protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup).
//
//	         first member                    all joined, or time is up
//	Empty ────────────────▶ PreparingRebalance ────────────────▶ CompletingRebalance
//	  ▲                       │  ▲         ▲                        │         │
//	  └── nobody is left ─────┘  │         └── somebody comes or ───┘         │ leader's
//	                             │             goes, or never syncs           │ assignment
//	                             └─────────── somebody comes or goes ─ Stable ◀┘ is stored
//
// A [Group] does no I/O and reads no clock. Each step takes an event with the
// time it happened and returns a [Step]: answers to requests that waited, a
// snapshot to store, and when to call Tick next. The caller hands a waiting
// request in as a [Ticket] and gets it back with its answer.
//
// The words used here:
//
//   - A member is dynamic, known by the id that the coordinator drew for it, or
//     static, known across restarts by the instance id that its operator chose
//     (KIP-345).
//   - A generation is one round of joining; its members share a number, a leader
//     and a protocol (for consumers: an assignor).
//   - A member that joins or syncs is parked until the round is complete. A
//     parked member does not heartbeat, so its session does not end, with one
//     exception: a new member, which has no id yet, waits five minutes at most,
//     since nobody can tell whether it is still there.
//   - A pending member was given an id and told to come again with it (KIP-394).
package classic
