// Package compat runs real clients of other languages, unchanged, against a
// real myelin process, and compares its answers with a real Apache Kafka.
//
// It compares in two ways. TestWireComparison and TestWireSequences send raw
// requests, and their differences stand in testdata/differences.txt.
// TestToolsComparison runs Apache's command-line tools for groups and
// transactions and compares what they print; its conversations and differences
// stand in testdata/tools.
//
// What needs a cluster has three nodes in three processes (startTrio): Apache's
// tools for clusters, and clients that run on while the nodes restart in turn.
// With COMPAT_MIRROR=1 MirrorMaker 2 copies between them and a real Kafka, which
// takes minutes.
//
// The tests need the build tag compat, Java 17 with Maven, Python 3 and kcat;
// `make compat` runs them. A tool that is missing fails the test that needs it:
// a skip would look like a pass. Set COMPAT_BOOTSTRAP=host:port to aim the
// client tests at another broker, such as a Kafka, to learn what it does, and
// COMPAT_BINARY to a myelin that is built already. WIRE_API=Produce narrows
// TestWireComparison to one API, -run TestToolsComparison/3 TestToolsComparison
// to one conversation.
package compat
