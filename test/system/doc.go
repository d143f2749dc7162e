// Package system runs a real myelin process into kills, full disks, power cuts
// and failing devices, and checks that nothing it acknowledged is lost.
//
// The tests need the build tag system; `make system` runs them, in a short form
// unless the environment says how long:
//
//	SYSTEM_KILLS=200   how often TestKill kills -9
//	SYSTEM_CUTS=100    how often TestPowerCuts cuts the power
//	SYSTEM_MINUTES=60  how long TestNodes throws the dice over faults of a cluster
//	SYSTEM_FAULTS=A,B  which faults they are, by name
//	SYSTEM_TOGETHER=20 how often TestTogether kills -9 all nodes at once
//	SYSTEM_KEEP=DIR    where directories and logs of a failure go
//	SYSTEM_DIRS=3      how many log directories a node has
//	SYSTEM_SEED=1      the dice of a run; each run logs its own
//	SYSTEM_BINARY=P    a myelin that is built already
//
// Those that mount file systems need root, and say so when they are skipped.
//
// One load serves all of them. Producers write records that carry who wrote
// them, a number that rises by one within a partition, and a checksum; they are
// idempotent, wait for acks=all and never give up. So every partition must hold
// every number of every producer once, in order, whatever was killed meanwhile,
// at the offset that was acknowledged; and what a consumer has once seen stays.
//
// A cluster has three nodes, which reach each other through gates of the test
// (links), while clients reach them directly. Transactions run beside the records;
// package history says whether what their clients did and saw can be.
package system
