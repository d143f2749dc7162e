//go:build !linux

package listen

import "errors"

// raw drives a socket's descriptor directly, which only Linux does.
type raw struct{}

var errNoRaw = errors.New("no raw sockets here")

func newRaw(*conn) *raw                                { return nil }
func (*raw) fill(*reader) error                        { return errNoRaw }
func (*raw) writeMore(*conn, []byte) error             { return errNoRaw }
func (*raw) sendfile(*conn, uintptr, int64, int) error { return errNoRaw }

// left would say whether the client has closed its side.
func (*conn) left() bool { return false }
