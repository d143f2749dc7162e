// Package cli is the command tree of myelin, one file per command.
//
// Data goes to stdout and nothing else does; hints, previews and progress go to
// stderr, progress only to a terminal. An error is one line that says what
// happened and what to do next. The exit code tells its kind:
//
//	0  done
//	1  failed
//	2  the command line or a file is wrong
//	3  what was named does not exist
//	4  denied
//	5  nothing answered, or not in time
//	6  some of it was done
//
// Verbs that destroy print what they would do and do it only when confirmed or
// given --yes. The client commands are ordinary Kafka clients (franz-go), so
// they work on any Kafka; dev and serve run a broker in this process.
package cli
