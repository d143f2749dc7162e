// Package wirecmp sends the same raw requests to two brokers and compares what
// they answer, field by field.
//
// A case is one request of one key and version. An ordinary request of each
// API is written by hand (ordinary.go); the rest are made from it by changing
// one thing at a time (mutate.go): a string emptied or unknown, an array
// emptied, nulled or doubled, a number out of range, bytes cut off or added.
// Answers are compared (compare.go) except for ids, times, addresses and the
// wording of error messages. What may differ stands in testdata/differences.txt
// with its reason.
package wirecmp
