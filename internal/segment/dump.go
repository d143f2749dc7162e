package segment

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// OffsetEntry is an entry of .index.
type OffsetEntry struct{ Offset, Position int64 }

// TimeEntry is an entry of .timeindex.
type TimeEntry struct{ Timestamp, Offset int64 }

// ReadOffsets reads an .index file as it is, without looking it over.
func ReadOffsets(f vfs.FS, name string, base int64) ([]OffsetEntry, error) {
	x, err := readRaw(f, name)
	if err != nil {
		return nil, err
	}
	t := index{offsets: x[:len(x)/offsetEntry*offsetEntry]}
	out := make([]OffsetEntry, t.offsetCount())
	for i := range out {
		rel, pos := t.offset(i)
		out[i] = OffsetEntry{base + int64(rel), pos}
	}
	return out, nil
}

// ReadTimes reads a .timeindex file as it is.
func ReadTimes(f vfs.FS, name string, base int64) ([]TimeEntry, error) {
	x, err := readRaw(f, name)
	if err != nil {
		return nil, err
	}
	t := index{times: x[:len(x)/timeEntry*timeEntry]}
	out := make([]TimeEntry, t.timeCount())
	for i := range out {
		ts, rel := t.time(i)
		out[i] = TimeEntry{ts, base + int64(rel)}
	}
	return out, nil
}

// ReadAborted reads a .txnindex file.
func ReadAborted(f vfs.FS, name string) ([]AbortedTxn, error) {
	x, err := readRaw(f, name)
	if err != nil {
		return nil, err
	}
	var out []AbortedTxn
	for ; len(x) >= abortedEntry; x = x[abortedEntry:] {
		a, ok := parseAborted(x)
		if !ok {
			return out, fmt.Errorf("%s, entry %d: %w", name, len(out), ErrBadIndex)
		}
		out = append(out, a)
	}
	return out, nil
}

func readRaw(f vfs.FS, name string) ([]byte, error) {
	return vfs.ReadFile(f, name, 1<<30)
}
