package metadata

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// beginFile holds what a cluster begins with beside the records of every
// cluster, under the name and in the form that Kafka has for it. It is written
// when the directory is formatted and counts until the cluster has records.
const beginFile = "bootstrap.checkpoint"

func writeBegin(f vfs.FS, dir string, records []state.Record) error {
	if len(records) == 0 {
		return nil
	}
	return quorum.WriteCheckpoint(f, dir, beginFile, func(yield func([]byte) bool) {
		for _, r := range records {
			_, version := r.Versions()
			if !yield(state.MarshalRecord(r, version)) {
				return
			}
		}
	})
}

// readBegin reads the credentials of a directory's first users, none where
// nothing was written. Levels of features, which Kafka writes there too, are this
// build's to choose.
func readBegin(f vfs.FS, dir string) ([]state.Record, error) {
	var records []state.Record
	for value, err := range quorum.ReadCheckpoint(f, dir, beginFile) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, err
		}
		r, _, err := state.ParseRecord(state.Metadata, append([]byte(nil), value...))
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, beginFile, err)
		}
		if _, ok := r.(*state.UserScramCredentialRecord); ok {
			records = append(records, r)
		}
	}
	return records, nil
}
